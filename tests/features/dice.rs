//! Random draws from a seed.

use std::ops::RangeInclusive;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What is drawn follows from the seed alone.
pub struct Dice(ChaCha8Rng);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Dice(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A number below the bound, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.0.next_u64() % bound as u64) as usize
    }

    pub fn within(&mut self, range: RangeInclusive<i64>) -> i64 {
        let width = range.end().abs_diff(*range.start());
        let drawn = self.0.next_u64();
        let drawn = width.checked_add(1).map_or(drawn, |width| drawn % width);
        range.start().wrapping_add_unsigned(drawn)
    }

    /// True in so many of a hundred.
    pub fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    /// One of some, which there are.
    pub fn of<T: Clone>(&mut self, some: &[T]) -> T {
        some[self.below(some.len())].clone()
    }

    /// One of some, the first of them half of the time.
    pub fn mostly_first<T: Clone>(&mut self, some: &[T]) -> T {
        if self.percent(50) {
            some[0].clone()
        } else {
            self.of(some)
        }
    }

    pub fn shuffle<T>(&mut self, some: &mut [T]) {
        for last in (1..some.len()).rev() {
            let other = self.below(last + 1);
            some.swap(last, other);
        }
    }
}
