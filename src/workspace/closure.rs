//! A set of entries of one lock file, by their numbers.

/// The locked packages that some dependencies lead to: a set of entries, one bit for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Closure(Vec<u64>);

impl Closure {
    /// Adds an entry; whether it was not there before.
    pub(super) fn add(&mut self, entry: u32) -> bool {
        let (word, bit) = (entry as usize / 64, 1 << (entry % 64));
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        let is_new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        is_new
    }

    pub(super) fn has(&self, entry: u32) -> bool {
        self.0.get(entry as usize / 64).is_some_and(|word| word >> (entry % 64) & 1 == 1)
    }

    pub(super) fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & b != 0)
    }

    /// The entries, ascending.
    pub(super) fn members(&self) -> impl Iterator<Item = u32> {
        let mut members = Vec::with_capacity(self.0.iter().map(|word| word.count_ones() as usize).sum());
        for (number, word) in (0u32..).zip(&self.0) {
            let mut rest = *word;
            while rest != 0 {
                members.push(number * 64 + rest.trailing_zeros());
                rest &= rest - 1;
            }
        }
        members.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_knows_its_members() {
        let mut set = Closure::default();
        assert_eq!(set.members().next(), None);
        for entry in [200, 0, 63, 64, 200] {
            set.add(entry);
        }
        assert_eq!(set.members().collect::<Vec<_>>(), [0, 63, 64, 200]);
        assert!(set.has(64) && !set.has(65) && !set.has(100_000));
        let mut other = Closure::default();
        other.add(65);
        assert!(!set.meets(&other));
        other.add(63);
        assert!(set.meets(&other) && !set.has(65));
    }
}
