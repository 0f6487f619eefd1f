//! How long to wait before a question is asked once more.

use std::time::Duration;

/// The middle of the first pause.
const FIRST: Duration = Duration::from_millis(5);

/// The middle of the longest.
const LONGEST: Duration = Duration::from_millis(80);

/// The pause after so many tries, twice as long each time. `chance`, from 0 to 1, spreads it over half to one and a half of
/// that: who failed together does not come again together.
pub fn pause(tries: u32, chance: f64) -> Duration {
    let doublings = tries.saturating_sub(1).min(16);
    let middle = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    middle.mul_f64(0.5 + chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::pause;

    #[test]
    fn how_long_is_a_pause() {
        let check = |tries, chance, us| {
            let expected = Duration::from_micros(us);
            assert_eq!(pause(tries, chance), expected, "{tries} {chance}");
        };
        check(1, 0.0, 2_500);
        check(1, 0.5, 5_000);
        check(1, 1.0, 7_500);
        check(2, 0.5, 10_000);
        check(5, 0.5, 80_000);
        check(6, 0.5, 80_000);
        check(u32::MAX, 1.0, 120_000);
        check(0, f64::NAN.max(0.0), 2_500);
    }
}
