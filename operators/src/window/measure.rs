//! What is measured over a stretch of events: counts, sums, moments, extremes, and who came first and last.
//!
//! A measure takes some words of 64 bits. Those of two neighbouring stretches combine into those of both, the earlier one
//! on the left; nothing is ever subtracted but whole numbers. So the same stretch measured in the same parts gives the
//! same bits.

/// Numbers of an event that a log keeps beside its time. The first is a set of marks, one bit each.
pub(super) type Word = u64;

/// Of a number that is not there. No record holds a NaN.
pub(super) const NULL: Word = f64::NAN.to_bits();

/// Most marks of one log: bits of a word.
pub const MARKS_MAX: usize = 64;

/// A bit of an event's first word: whether a condition holds for it, or whether no later one has its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark(pub(super) u32);

impl Mark {
    pub(super) fn bit(self) -> Word {
        1 << self.0
    }

    /// Whether words are marked by it, or no mark is asked for.
    pub(super) fn is_on(mark: Option<Mark>, words: &[Word]) -> bool {
        mark.is_none_or(|mark| words.first().is_some_and(|marks| marks & mark.bit() != 0))
    }
}

/// What is measured of the events that bear a mark, or of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// How many there are: 1 word.
    Count(Mark),
    /// How many have a number, and the sum of these: 2 words.
    Sum(usize, Option<Mark>),
    /// How many have a number, the mean of these, and the sum of the squares of what they differ from it: 3 words.
    Moments(usize, Option<Mark>),
    /// The least number, null if there is none: 1 word.
    Least(usize, Option<Mark>),
    /// The greatest number, null if there is none: 1 word.
    Greatest(usize, Option<Mark>),
    /// The number of the one handled last that has one: when that was, from 1, and the number: 2 words, 0 and null if there is none.
    Newest(usize, Option<Mark>),
    /// When the one handled first was handled, from 1, and its time: 2 words, both 0 if there is none.
    First,
    /// The same of the one handled last.
    Last,
    /// The least time: 1 word.
    Oldest,
}

/// Words of the largest measure.
pub(super) const WORDS_MAX: usize = 3;

/// What a measure says; unused words are 0.
pub(super) type Measured = [Word; WORDS_MAX];

/// An event of a log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'l> {
    pub(super) time: i64,
    /// When it was handled, from 1.
    pub(super) turn: u64,
    pub(super) words: &'l [Word],
}

impl Entry<'_> {
    fn number(&self, column: usize, mark: Option<Mark>) -> Option<f64> {
        if !Mark::is_on(mark, self.words) {
            return None;
        }
        let number = f64::from_bits(self.words.get(column).copied()?);
        (!number.is_nan()).then_some(number)
    }
}

impl Measure {
    pub(super) fn words(self) -> usize {
        match self {
            Measure::Count(_) | Measure::Least(..) | Measure::Greatest(..) | Measure::Oldest => 1,
            Measure::Sum(..) | Measure::Newest(..) | Measure::First | Measure::Last => 2,
            Measure::Moments(..) => 3,
        }
    }

    /// Of no event.
    #[inline]
    pub(super) fn of_nothing(self) -> Measured {
        match self {
            Measure::Least(..) | Measure::Greatest(..) => [NULL, 0, 0],
            Measure::Newest(..) => [0, NULL, 0],
            Measure::Oldest => [i64::MAX as u64, 0, 0],
            Measure::Count(_)
            | Measure::Sum(..)
            | Measure::Moments(..)
            | Measure::First
            | Measure::Last => [0, 0, 0],
        }
    }

    /// Of one event.
    #[inline]
    pub(super) fn of_one(self, entry: &Entry<'_>) -> Measured {
        let nothing = self.of_nothing();
        match self {
            Measure::Count(mark) => [u64::from(Mark::is_on(Some(mark), entry.words)), 0, 0],
            Measure::Sum(column, mark) | Measure::Moments(column, mark) => {
                let number = entry.number(column, mark);
                number.map_or(nothing, |number| [1, number.to_bits(), 0])
            }
            Measure::Least(column, mark) | Measure::Greatest(column, mark) => {
                let number = entry.number(column, mark);
                number.map_or(nothing, |number| [number.to_bits(), 0, 0])
            }
            Measure::Newest(column, mark) => {
                let number = entry.number(column, mark);
                number.map_or(nothing, |number| [entry.turn, number.to_bits(), 0])
            }
            Measure::First | Measure::Last => [entry.turn, entry.time as u64, 0],
            Measure::Oldest => [entry.time as u64, 0, 0],
        }
    }

    /// Of two stretches, `left` the earlier one.
    #[inline]
    pub(super) fn combine(self, left: Measured, right: Measured) -> Measured {
        let number = |word: Word| f64::from_bits(word);
        match self {
            Measure::Count(_) => [left[0] + right[0], 0, 0],
            // What is not there adds nothing, not even the sign of a zero.
            Measure::Sum(..) | Measure::Moments(..) if right[0] == 0 => left,
            Measure::Sum(..) | Measure::Moments(..) if left[0] == 0 => right,
            Measure::Sum(..) => {
                let sum = number(left[1]) + number(right[1]);
                [left[0] + right[0], sum.to_bits(), 0]
            }
            Measure::Moments(..) => chan(left, right),
            // A NaN is the other one.
            Measure::Least(..) => [number(left[0]).min(number(right[0])).to_bits(), 0, 0],
            Measure::Greatest(..) => [number(left[0]).max(number(right[0])).to_bits(), 0, 0],
            Measure::Oldest => [(left[0] as i64).min(right[0] as i64) as u64, 0, 0],
            Measure::Newest(..) | Measure::Last if right[0] >= left[0] => right,
            Measure::First if left[0] == 0 || (right[0] != 0 && right[0] < left[0]) => right,
            Measure::Newest(..) | Measure::Last | Measure::First => left,
        }
    }
}

/// Chan's formula for two stretches that both hold numbers.
fn chan(left: Measured, right: Measured) -> Measured {
    let (of_left, of_right) = (left[0] as f64, right[0] as f64);
    let (mean, other) = (f64::from_bits(left[1]), f64::from_bits(right[1]));
    let all = of_left + of_right;
    let apart = other - mean;
    let squares = f64::from_bits(left[2])
        + f64::from_bits(right[2])
        + apart * apart * (of_left * of_right / all);
    let mean = mean + apart * (of_right / all);
    [left[0] + right[0], mean.to_bits(), squares.to_bits()]
}
