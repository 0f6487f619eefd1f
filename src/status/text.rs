//! The block of a running job, as lines that fit a terminal of any width.
//!
//! A row is a name, a number, and remarks of which each is shown whole or not at all: half a number would be
//! another number. What does not fit even so is cut, and says so.

use jiff::Timestamp;
use slackwater_dataflow::lookup::counts::LookupFigures;
use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::sink::OutputStream;
use slackwater_operators::reject::grouped;

use crate::status::Status;

/// Stands for what was cut off.
const CUT: char = '…';

/// Characters of the bar: each is five percent.
const BAR_CHARS: u64 = 20;

/// The least width of the column of numbers, that of a million: so that it seldom grows while one watches.
const NUMBER_CHARS: usize = 9;

/// Between a row's parts.
const GAP: &str = "  ";

/// The block, none of whose lines has more than `width` characters.
pub(super) fn lines(status: &Status, width: usize) -> Vec<String> {
    let rows = rows(status);
    let names = rows.iter().map(|row| row.name.chars().count());
    let name_chars = names.max().unwrap_or_default();
    let numbers = rows.iter().filter(|row| row.is_number);
    let numbers = numbers.map(|row| row.value.chars().count());
    let number_chars = numbers.max().unwrap_or_default().max(NUMBER_CHARS);
    let line = |row: &Row| {
        let (name, value) = (&row.name, &row.value);
        // What is no number begins where the longest number does.
        let start = if row.is_number {
            format!(" {name:<name_chars$} {value:>number_chars$}")
        } else {
            format!(" {name:<name_chars$} {value}")
        };
        fitted(&start, &row.remarks, width)
    };
    let rows = rows.iter().map(line);
    [title(status, width)].into_iter().chain(rows).collect()
}

/// A row of the block.
struct Row {
    name: String,
    value: String,
    /// Stands at the right of its column.
    is_number: bool,
    /// The most important one first.
    remarks: Vec<String>,
}

impl Row {
    fn number(name: &str, number: u64, remarks: impl Into<Vec<String>>) -> Self {
        Row {
            name: name.replace('_', " "),
            value: grouped(number),
            is_number: true,
            remarks: remarks.into(),
        }
    }
}

fn rows(status: &Status) -> Vec<Row> {
    let totals = &status.totals;
    let share = |count: u64| {
        let percent = 100.0 * count as f64 / totals.read.max(1) as f64;
        [format!("{percent:>6.2} %")]
    };
    let speed = [
        format!("{}/s", grouped(status.per_second)),
        format!("mean {}/s", grouped(status.mean_per_second())),
    ];
    let mut rows = vec![Row::number("read", totals.read, speed)];
    for stream in OutputStream::ALL {
        let count = totals.settled(stream);
        let name = status.product.of(stream);
        rows.push(Row::number(name, count, share(count)));
    }
    if totals.filtered > 0 {
        rows.push(Row::number(
            "filtered",
            totals.filtered,
            share(totals.filtered),
        ));
    }
    let in_flight = totals.in_flight();
    let mut remarks = share(in_flight).to_vec();
    if status.waiting > 0 {
        let waiting = grouped(status.waiting);
        remarks.push(format!("{waiting} wait for event time"));
    }
    rows.push(Row::number("in flight", in_flight, remarks));
    rows.push(event_time(status));
    rows.extend(status.lookups.iter().map(lookup));
    rows.extend(status.trouble.as_ref().map(|trouble| Row {
        name: "trouble".to_owned(),
        value: one_line(trouble),
        is_number: false,
        remarks: Vec::new(),
    }));
    rows
}

/// What was asked of a store; that it is away first of all.
fn lookup(lookup: &LookupFigures) -> Row {
    let counts = &lookup.counts;
    let away = lookup.away.as_ref();
    let mut remarks: Vec<String> = away.map(|why| one_line(why)).into_iter().collect();
    for (count, what) in [
        (counts.timed_out, "timed out"),
        (counts.unavailable, "unavailable"),
        (counts.remembered, "remembered"),
        (counts.last_known, "last known"),
    ] {
        if count > 0 {
            remarks.push(format!("{} {what}", grouped(count)));
        }
    }
    if away.is_some() {
        remarks.insert(0, "ITS STORE IS AWAY".to_owned());
    }
    Row {
        name: format!("lookup {}", lookup.name),
        value: grouped(counts.answered),
        is_number: true,
        remarks,
    }
}

/// A text without line feeds.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn event_time(status: &Status) -> Row {
    let (value, remarks) = match status.span {
        None => ("none yet".to_owned(), Vec::new()),
        Some(span) => match span.least {
            None => {
                let why = "a partition has brought no event";
                ("none yet".to_owned(), vec![why.to_owned()])
            }
            Some(reached) => (date(reached), behind(status)),
        },
    };
    Row {
        name: "event time, UTC".to_owned(),
        value,
        is_number: false,
        remarks,
    }
}

fn behind(status: &Status) -> Vec<String> {
    let now = status.behind_now_ms().map(|ms| (ms, "now"));
    let newest = status.behind_newest_ms().map(|ms| (ms, "the newest event"));
    let said = |(ms, what)| format!("{} behind {what}", lag(ms));
    now.or(newest).map(said).into_iter().collect()
}

/// The job's name, how long it has been running, and how much of it is done if that is known.
fn title(status: &Status, width: usize) -> String {
    let elapsed = duration(status.elapsed.as_secs());
    // However long the name is, the time is to be seen.
    let room = width.saturating_sub(1 + GAP.len() + elapsed.chars().count());
    let start = format!(" {}{GAP}{elapsed}", cut(&status.job, room));
    let done = status.expected.map(|expected| {
        let read = status.totals.read.min(expected);
        (read, expected)
    });
    let Some((read, expected)) = done else {
        return fitted(&start, &[], width);
    };
    let part =
        |parts: u64| (u128::from(read) * u128::from(parts) / u128::from(expected.max(1))) as usize;
    let (full, percent) = (part(BAR_CHARS), part(100));
    let empty = BAR_CHARS as usize - full.min(BAR_CHARS as usize);
    let bar = format!("{}{} {percent:>3} %", "█".repeat(full), "░".repeat(empty));
    let left = (expected - read).checked_div(status.per_second);
    let left = left.map(|seconds| format!("about {} left", duration(seconds)));
    let remarks: Vec<String> = [Some(bar), left].into_iter().flatten().collect();
    fitted(&start, &remarks, width)
}

/// The start of a line and as many remarks as fit whole.
fn fitted(start: &str, remarks: &[String], width: usize) -> String {
    let mut line = start.to_owned();
    let mut chars = line.chars().count();
    for remark in remarks {
        chars += GAP.len() + remark.chars().count();
        if chars > width {
            break;
        }
        line.push_str(GAP);
        line.push_str(remark);
    }
    cut(&line, width)
}

/// At most `width` characters of a text.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept = text.chars().take(width.saturating_sub(1));
    kept.chain([CUT]).take(width).collect()
}

/// A time as people read it; of a year that has no four digits, its milliseconds.
fn date(time: EventTime) -> String {
    match Timestamp::from_millisecond(time.0) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => format!("{} ms", time.0),
    }
}

/// How far one thing is behind another, as exact as it makes sense.
fn lag(ms: u64) -> String {
    if ms < 60_000 {
        let tenths = ms / 100;
        format!("{}.{} s", tenths / 10, tenths % 10)
    } else {
        duration(ms / 1_000)
    }
}

/// A time span in its two largest units.
fn duration(seconds: u64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3_600);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{minutes} min {} s", seconds % 60),
        3_600..86_400 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{} d {} h", grouped(hours / 24), hours % 24),
    }
}
