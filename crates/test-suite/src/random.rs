//! A small generator (xorshift), so that a seed gives the same choices on every machine and with every version of every crate.

/// Numbers that follow from a seed.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers of a seed. A seed and the next even one below it may give the same.
    #[must_use]
    pub fn new(seed: u64) -> Random {
        Random(seed | 1)
    }

    /// A number of 64 bits, never 0.
    #[allow(clippy::should_implement_trait)] // It never ends, so it is no iterator to be looped over.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below a bound; 0 if the bound is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX);
        let number = self.next().checked_rem(bound).unwrap_or(0);
        usize::try_from(number).unwrap_or(0)
    }

    /// One of several.
    ///
    /// # Panics
    /// If there is none to pick.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}
