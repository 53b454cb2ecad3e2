//! Gzip as one member made of blocks that are compressed independently, each with the 32 KiB before it as dictionary
//! (as pigz does). The bytes depend on the input, the level and this recipe only, never on who compressed which block.

use flate2::{Compress, Compression, FlushCompress, Status};

/// Bytes of input in a block. Part of the recipe: another value gives other archives.
pub(crate) const BLOCK: usize = 128 << 10;

/// Deflate refers to at most this many bytes before the current one.
pub(crate) const WINDOW: usize = 32 << 10;

/// RFC 1952: no file name, no time, "maximum compression" where that is so, and no operating system.
pub(crate) fn header(level: u32) -> [u8; 10] {
    [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, if level == 9 { 2 } else { 0 }, 0xff]
}

/// RFC 1952: the checksum and the length (modulo 2³²) of all that was compressed.
pub(crate) fn trailer(checksum: u32, length: u64) -> [u8; 8] {
    let mut trailer = [0; 8];
    trailer[..4].copy_from_slice(&checksum.to_le_bytes());
    let length = (length & u64::from(u32::MAX)).to_le_bytes();
    trailer[4..].copy_from_slice(&length[..4]);
    trailer
}

/// Compresses blocks, one after the other; keeps its memory between them.
#[derive(Debug)]
pub(crate) struct Deflater {
    compress: Compress,
    level: u32,
}

/// Something that cannot happen with correct input to zlib.
#[derive(Debug, thiserror::Error)]
#[error("the compressor failed")]
pub(crate) struct DeflateFailed;

impl Deflater {
    pub(crate) fn new(level: u32) -> Self {
        Self { compress: Compress::new(Compression::new(level), false), level }
    }

    pub(crate) fn level(&self) -> u32 {
        self.level
    }

    /// Compresses `block`, before which `window` stood.
    pub(crate) fn block(&mut self, window: &[u8], block: &[u8], last: bool) -> Result<Vec<u8>, DeflateFailed> {
        self.compress.reset();
        if !window.is_empty() {
            self.compress.set_dictionary(window).map_err(|_| DeflateFailed)?;
        }
        let flush = if last { FlushCompress::Finish } else { FlushCompress::Sync };
        let mut out = Vec::with_capacity(block.len() / 2 + 512);
        loop {
            let consumed = usize::try_from(self.compress.total_in()).map_err(|_| DeflateFailed)?;
            let rest = block.get(consumed..).ok_or(DeflateFailed)?;
            let status = self.compress.compress_vec(rest, &mut out, flush).map_err(|_| DeflateFailed)?;
            let all_in = self.compress.total_in() == block.len() as u64;
            // A flush is complete when it leaves room in the output.
            if status == Status::StreamEnd || !last && all_in && out.len() < out.capacity() {
                return Ok(out);
            }
            out.reserve(BLOCK / 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    /// Bytes that compress a little, and never twice alike.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 7_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0] >> (state & 3)
        };
        (0..length).map(|_| next()).collect()
    }

    fn gzip(input: &[u8], level: u32) -> Vec<u8> {
        let mut deflater = Deflater::new(level);
        let mut archive = header(level).to_vec();
        let blocks = input.len() / BLOCK;
        for (position, block) in input.chunks(BLOCK).enumerate() {
            let start = position * BLOCK;
            let window = &input[start.saturating_sub(WINDOW)..start];
            archive.extend(deflater.block(window, block, false).unwrap());
        }
        archive.extend(
            deflater.block(&input[(blocks * BLOCK).saturating_sub(WINDOW)..blocks * BLOCK], &[], true).unwrap(),
        );
        archive.extend(trailer(crc32fast::hash(input), input.len() as u64));
        archive
    }

    #[test]
    fn blocks_make_one_member() {
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 17] {
            let input = noise(length);
            for level in [1, 6, 9] {
                let mut output = Vec::new();
                // `GzDecoder`, unlike `MultiGzDecoder`, reads one member only.
                flate2::read::GzDecoder::new(gzip(&input, level).as_slice()).read_to_end(&mut output).unwrap();
                assert!(output == input, "{length} bytes at level {level}");
            }
        }
    }
}
