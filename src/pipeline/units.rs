//! Durations ("500ms", "2s", "24h", "7d") and sizes ("64KiB", "1MiB"): whole numbers with a unit.

/// Milliseconds in each unit of a duration.
pub(super) const DURATION_UNITS: &[(&str, u64)] = &[
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// Bytes in each unit of a size. Only binary units: "KB" means 1,000 to some and 1,024 to others.
pub(super) const SIZE_UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// Milliseconds of a duration such as "2s"; `None` when it is no duration or exceeds `u64`.
pub(super) fn duration_ms(text: &str) -> Option<u64> {
    amount(text, DURATION_UNITS)
}

/// Bytes of a size such as "64KiB"; `None` when it is no size or exceeds `u64`.
pub(super) fn size_bytes(text: &str) -> Option<u64> {
    amount(text, SIZE_UNITS)
}

/// Writes milliseconds in the largest unit that needs no fraction.
pub(super) fn show_ms(ms: u64) -> String {
    show(ms, DURATION_UNITS)
}

/// Writes bytes in the largest unit that needs no fraction.
pub(super) fn show_bytes(bytes: u64) -> String {
    show(bytes, SIZE_UNITS)
}

fn amount(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn show(amount: u64, units: &[(&str, u64)]) -> String {
    let fitting = units
        .iter()
        .rev()
        .find(|(_, factor)| amount >= *factor && amount.is_multiple_of(*factor));
    match fitting {
        Some((name, factor)) => format!("{}{name}", amount / factor),
        None => format!("{amount}{}", units.first().map_or("", |(name, _)| name)),
    }
}

#[cfg(test)]
mod tests {
    use super::{duration_ms, show_bytes, show_ms, size_bytes};

    #[test]
    fn which_durations_are_read() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(duration_ms(text), expected, "{text}");
            if let Some(ms) = expected {
                assert_eq!(
                    duration_ms(&show_ms(ms)),
                    expected,
                    "{text} shown and read again"
                );
            }
        };
        check("500ms", Some(500));
        check("2s", Some(2_000));
        check("1m", Some(60_000));
        check("24h", Some(86_400_000));
        check("7d", Some(604_800_000));
        check("0s", Some(0));
        check("213503982334601d", None);
        check("99999999999999999999s", None);
        for text in [
            "", "s", "5", "1.5s", "-1s", " 1s", "1 s", "1S", "1month", "1s2",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn which_sizes_are_read() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(size_bytes(text), expected, "{text}");
            if let Some(bytes) = expected {
                assert_eq!(
                    size_bytes(&show_bytes(bytes)),
                    expected,
                    "{text} shown and read again"
                );
            }
        };
        check("17B", Some(17));
        check("64KiB", Some(65_536));
        check("1MiB", Some(1_048_576));
        check("2GiB", Some(2_147_483_648));
        check("0B", Some(0));
        for text in ["", "64", "64KB", "64kib", "1.5MiB", "-1B", "17179869184GiB"] {
            check(text, None);
        }
    }
}
