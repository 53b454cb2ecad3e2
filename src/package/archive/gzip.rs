//! Gzip as one member made of blocks that are compressed independently, each with the 32 KiB before it as dictionary
//! (as pigz does). The bytes depend on the input, the level and this recipe only, never on who compressed which block.

use flate2::{Compress, Compression, FlushCompress, Status};

/// Bytes of input in a block. Part of the recipe: another value gives other archives; larger ones are no smaller.
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

/// Something that cannot happen with correct input to zlib.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the compressor failed")]
pub(crate) struct DeflateFailed;

/// Compresses `block`, before which `window` stood, at a `level` from 1 to 9.
pub(crate) fn compress(window: &[u8], block: &[u8], level: u32, last: bool) -> Result<Vec<u8>, DeflateFailed> {
    // A compressor of its own for each block: zlib-rs 0.6.8 looks at what an earlier block left in the memory of one
    // that was reset, and at most levels then finds other matches.
    let mut compress = Compress::new(Compression::new(level), false);
    if !window.is_empty() {
        compress.set_dictionary(window).map_err(|_| DeflateFailed)?;
    }
    let flush = if last { FlushCompress::Finish } else { FlushCompress::Sync };
    let mut out = Vec::with_capacity(block.len() / 2 + 512);
    loop {
        let consumed = usize::try_from(compress.total_in()).map_err(|_| DeflateFailed)?;
        let rest = block.get(consumed..).ok_or(DeflateFailed)?;
        let status = compress.compress_vec(rest, &mut out, flush).map_err(|_| DeflateFailed)?;
        let all_in = compress.total_in() == block.len() as u64;
        // A flush is complete when it leaves room in the output.
        if status == Status::StreamEnd || !last && all_in && out.len() < out.capacity() {
            return Ok(out);
        }
        out.reserve(BLOCK / 2);
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
        let mut archive = header(level).to_vec();
        for start in (0..input.len()).step_by(BLOCK) {
            let end = (start + BLOCK).min(input.len());
            let window = &input[start.saturating_sub(WINDOW)..start];
            archive.extend(compress(window, &input[start..end], level, false).unwrap());
        }
        archive.extend(compress(&input[input.len().saturating_sub(WINDOW)..], &[], level, true).unwrap());
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
