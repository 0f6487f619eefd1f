//! Medians, ranges, and ratios of runs that were made side by side.

/// The middle of some figures and the range that holds them all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The middle one, or between the middle two.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Summary {
    /// Of any number of figures; all zero of none.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (below, above) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
        let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
        Summary {
            median: (at(below) + at(above)) / 2.0,
            min: at(0),
            max: at(sorted.len().saturating_sub(1)),
        }
    }

    /// Of the ratios of figures that belong together, pair by pair.
    pub fn of_ratios(pairs: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let ratio = |(above, below): (f64, f64)| above / below;
        Self::of(pairs.into_iter().map(ratio))
    }
}

/// The order of a turn: what drifts, drifts for all alike.
pub fn forth_and_back<T>(all: impl IntoIterator<Item = T>, turn: usize) -> Vec<T> {
    let mut all: Vec<T> = all.into_iter().collect();
    if turn.is_multiple_of(2) {
        all.reverse();
    }
    all
}

/// Microseconds with two decimals.
pub fn us(us: f64) -> String {
    format!("{us:.2}")
}

/// So many thousands, a whole number of them.
pub fn thousands(number: f64) -> String {
    grouped(number / 1e3)
}

/// A whole number with a comma between thousands.
pub fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Summary, forth_and_back, grouped};

    #[test]
    fn where_is_the_middle() {
        let check = |figures: &[f64], median, min, max| {
            let found = Summary::of(figures.iter().copied());
            assert_eq!(found, Summary { median, min, max }, "{figures:?}");
        };
        check(&[3.0, 1.0, 2.0], 2.0, 1.0, 3.0);
        check(&[4.0, 1.0, 2.0, 3.0], 2.5, 1.0, 4.0);
        check(&[5.0], 5.0, 5.0, 5.0);
        check(&[], 0.0, 0.0, 0.0);
    }

    #[test]
    fn are_pairs_compared_pair_by_pair() {
        // A machine that is half as fast in the second pair changes nothing.
        let found = Summary::of_ratios([(80.0, 100.0), (40.0, 50.0), (90.0, 100.0)]);
        assert_eq!((found.median, found.min, found.max), (0.8, 0.8, 0.9));
    }

    #[test]
    fn do_turns_go_forth_and_back() {
        assert_eq!(forth_and_back(["a", "b"], 1), ["a", "b"]);
        assert_eq!(forth_and_back(["a", "b"], 2), ["b", "a"]);
    }

    #[test]
    fn are_large_numbers_readable() {
        let check = |number, expected: &str| assert_eq!(grouped(number), expected);
        check(0.4, "0");
        check(999.6, "1,000");
        check(1_234_567.0, "1,234,567");
    }
}
