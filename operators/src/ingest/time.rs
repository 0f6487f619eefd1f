//! Event time, as fields and records say it.

use jiff::Timestamp;
use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::source::RecordTime;

use crate::event::TimeUnit;

/// Length of a date and a time of day without fraction, as RFC 3339 writes them.
const DATE_AND_TIME_BYTES: usize = "2026-01-01T00:00:00".len();

/// The time that a number says, rounded down to the millisecond before; none if event time cannot hold it, or if a
/// number of this unit says none.
pub(super) fn of_number(number: i64, unit: TimeUnit) -> Option<EventTime> {
    let ms = match unit {
        TimeUnit::Seconds => number.checked_mul(1_000)?,
        TimeUnit::Milliseconds => number,
        TimeUnit::Microseconds => number.div_euclid(1_000),
        TimeUnit::Nanoseconds => number.div_euclid(1_000_000),
        TimeUnit::Rfc3339 => return None,
    };
    Some(EventTime(ms))
}

/// The time that a text says, rounded down to the millisecond before; none unless it is one as RFC 3339 has it, in the
/// years 0 to 9999 and with at most nine digits of a second's fraction. A leap second counts as the second before it.
pub(super) fn of_text(text: &[u8]) -> Option<EventTime> {
    // The parser takes more than RFC 3339 does: dates without a day, names of time zones.
    has_form(text).then_some(())?;
    let time: Timestamp = str::from_utf8(text).ok()?.parse().ok()?;
    let ms = time.as_nanosecond().div_euclid(1_000_000);
    i64::try_from(ms).ok().map(EventTime)
}

/// When a record was written.
pub(super) fn of_record(written: RecordTime) -> EventTime {
    match written {
        RecordTime::Created(ms) | RecordTime::Appended(ms) => EventTime(ms),
    }
}

/// Whether digits and separators stand where RFC 3339 wants them.
fn has_form(text: &[u8]) -> bool {
    let Some((moment, rest)) = text.split_at_checked(DATE_AND_TIME_BYTES) else {
        return false;
    };
    let fits = |(at, byte): (usize, &u8)| match at {
        4 | 7 => *byte == b'-',
        10 => matches!(byte, b'T' | b't' | b' '),
        13 | 16 => *byte == b':',
        _ => byte.is_ascii_digit(),
    };
    let offset = match rest.split_first() {
        Some((b'.', fraction)) => {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit());
            fraction.get(digits.count()..).unwrap_or_default()
        }
        _ => rest,
    };
    let is_offset = match offset {
        [b'Z' | b'z'] => true,
        [b'+' | b'-', hours @ .., b':', a, b] => {
            hours.len() == 2 && hours.iter().chain([a, b]).all(u8::is_ascii_digit)
        }
        _ => false,
    };
    is_offset && moment.iter().enumerate().all(fits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any, prop_oneof, proptest};
    use proptest::sample::select;
    use slackwater_dataflow::moment::EventTime;

    use crate::event::TimeUnit;
    use crate::ingest::time::{of_number, of_text};

    #[test]
    fn what_time_does_a_number_say() {
        let check = |number, unit, expected: Option<i64>| {
            assert_eq!(of_number(number, unit), expected.map(EventTime), "{number}");
        };
        check(1_767_225_600, TimeUnit::Seconds, Some(1_767_225_600_000));
        check(-1, TimeUnit::Seconds, Some(-1_000));
        let most = i64::MAX / 1_000;
        check(most, TimeUnit::Seconds, Some(most * 1_000));
        check(most + 1, TimeUnit::Seconds, None);
        check(-most - 1, TimeUnit::Seconds, None);
        check(i64::MIN, TimeUnit::Milliseconds, Some(i64::MIN));
        check(1_999, TimeUnit::Microseconds, Some(1));
        check(-1, TimeUnit::Microseconds, Some(-1));
        check(-1_000, TimeUnit::Microseconds, Some(-1));
        check(-1_000_001, TimeUnit::Nanoseconds, Some(-2));
        check(999_999, TimeUnit::Nanoseconds, Some(0));
        check(0, TimeUnit::Rfc3339, None);
    }

    #[test]
    fn what_time_does_a_text_say() {
        let check = |text: &str, expected: Option<i64>| {
            assert_eq!(of_text(text.as_bytes()), expected.map(EventTime), "{text}");
        };
        let start = 1_767_225_600_000;
        check("2026-01-01T00:00:00Z", Some(start));
        check("2026-01-01t00:00:00z", Some(start));
        check("2026-01-01 02:30:00+02:30", Some(start));
        check("2025-12-31T16:00:00-08:00", Some(start));
        check("2026-01-01T00:00:00-00:00", Some(start));
        check("2026-01-01T00:00:00.1239Z", Some(start + 123));
        check("2026-01-01T00:00:00.999999999Z", Some(start + 999));
        check("1969-12-31T23:59:59.9999Z", Some(-1));
        check("1969-12-31T23:59:59.999Z", Some(-1));
        check("2016-12-31T23:59:60Z", Some(1_483_228_799_000));
        check("2024-02-29T00:00:00Z", Some(1_709_164_800_000));
        check("0000-01-01T00:00:00Z", Some(-62_167_219_200_000));
        for none in [
            "",
            "yesterday",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00,5Z",
            "2026-01-01T00:00:00.1234567890Z",
            "2026-01-01T00:00:00+02",
            "2026-01-01T00:00:00+0200",
            "2026-01-01T00:00:00+02:00[Europe/Berlin]",
            "2026-01-01T00:00:00Z ",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "20260101T000000Z0000",
            "+02026-01-01T00:00:00Z",
            "1767225600000",
            "2026-01-01T00:00:00\u{2212}02:00",
        ] {
            check(none, None);
        }
    }

    /// Days since 1970, counted month by month.
    fn days(year: i64, month: i64, day: i64) -> i64 {
        let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let length = |month: i64| match month {
            2 => 28 + i64::from(leap(year)),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let of_year = |year: i64| 365 + i64::from(leap(year));
        let years: i64 = match year {
            1970.. => (1970..year).map(of_year).sum(),
            _ => -(year..1970).map(of_year).sum::<i64>(),
        };
        let months: i64 = (1..month).map(length).sum();
        years + months + day - 1
    }

    fn nanoseconds() -> impl Strategy<Value = (String, i64)> {
        let some = (0..1_000_000_000_i64, 1..10_usize).prop_map(|(nanoseconds, digits)| {
            let kept = format!("{nanoseconds:09}")[..digits].to_owned();
            let padded = format!("{kept:0<9}");
            (format!(".{kept}"), padded.parse().unwrap_or_default())
        });
        prop_oneof![some, select(vec![(String::new(), 0)])]
    }

    proptest! {
        #[test]
        fn is_any_time_of_any_offset_what_counting_says(
            (year, month, day) in (0..9999_i64, 1..13_i64, 1..29_i64),
            (hour, minute, second) in (0..24_i64, 0..60_i64, 0..60_i64),
            (fraction, nanoseconds) in nanoseconds(),
            (offset_hours, offset_minutes, east) in (0..24_i64, 0..60_i64, any::<bool>()),
        ) {
            let sign = if east { '+' } else { '-' };
            let text = format!(
                "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}\
                 {sign}{offset_hours:02}:{offset_minutes:02}"
            );
            let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
            let offset = (offset_hours * 60 + offset_minutes) * 60;
            let seconds = if east { seconds - offset } else { seconds + offset };
            let expected = EventTime(seconds * 1_000 + nanoseconds / 1_000_000);
            assert_eq!(of_text(text.as_bytes()), Some(expected), "{text}");
        }
    }
}
