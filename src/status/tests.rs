//! What is said of a run, and does it fit?

use std::io;
use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};
use std::thread;

use slackwater_dataflow::clock::ManualClock;
use slackwater_dataflow::lookup::counts::AskCounts;
use slackwater_dataflow::sink::OutputStream;

use super::*;

/// The first of January 2026, 00:00.
const NEW_YEAR: i64 = 1_767_225_600_000;

/// A run of a generator that is a third done.
fn third() -> Status {
    Status {
        job: "user-events".to_owned(),
        product: ProductName::Predictions,
        elapsed: Duration::from_millis(12_400),
        totals: Totals {
            read: 3_300_000,
            outcomes: [3_150_221, 25_001, 6_402, 32_000],
            dropped: 2,
            filtered: 0,
        },
        waiting: 0,
        per_second: 268_123,
        expected: Some(10_000_000),
        span: Some(Span {
            least: Some(EventTime(NEW_YEAR + 3_200_000)),
            most: EventTime(NEW_YEAR + 3_200_100),
        }),
        max_out_of_orderness_ms: 2_000,
        now_ms: None,
        lookups: Vec::new(),
        trouble: None,
    }
}

/// A lookup whose store is there, or not.
fn looked_up(away: bool) -> LookupFigures {
    LookupFigures {
        name: "profile".to_owned(),
        counts: AskCounts {
            answered: 1_234,
            timed_out: 5,
            unavailable: 6,
            ..AskCounts::default()
        },
        away: away.then(|| "it has failed\n5 times".to_owned()),
    }
}

fn check(status: &Status, width: usize, expected: &[&str]) {
    let lines = text::lines(status, width);
    assert_eq!(lines, expected);
    let widest = lines.iter().map(|line| line.chars().count()).max();
    assert!(widest.unwrap() <= width);
}

#[test]
fn what_does_a_terminal_of_eighty_columns_show() {
    check(
        &third(),
        79,
        &[
            " user-events  12 s  ██████░░░░░░░░░░░░░░  33 %  about 24 s left",
            " read              3,300,000  268,123/s  mean 266,129/s",
            " predictions       3,150,221   95.46 %",
            " validation errors    25,001    0.76 %",
            " processing errors     6,402    0.19 %",
            " late events          32,002    0.97 %",
            " in flight            86,374    2.62 %",
            " event time, UTC   2026-01-01 00:53:20  2.1 s behind the newest event",
        ],
    );
}

#[test]
fn what_does_a_terminal_of_forty_columns_show() {
    check(
        &third(),
        39,
        &[
            " user-events  12 s",
            " read              3,300,000  268,123/s",
            " predictions       3,150,221   95.46 %",
            " validation errors    25,001    0.76 %",
            " processing errors     6,402    0.19 %",
            " late events          32,002    0.97 %",
            " in flight            86,374    2.62 %",
            " event time, UTC   2026-01-01 00:53:20",
        ],
    );
}

#[test]
fn does_a_terminal_show_why_a_job_waits() {
    let status = Status {
        trouble: Some("cannot append to data/x:\nno space left".to_owned()),
        ..third()
    };
    let lines = text::lines(&status, 79);
    let expected = " trouble           cannot append to data/x: no space left";
    assert_eq!(lines.last().unwrap(), expected);
    let lines = text::lines(&status, 30);
    assert_eq!(lines.last().unwrap(), " trouble           cannot app…");
}

#[test]
fn does_a_terminal_show_that_a_store_is_away() {
    let check = |away, expected: &str| {
        let status = Status {
            lookups: vec![looked_up(away)],
            ..third()
        };
        let lines = text::lines(&status, 79);
        assert_eq!(lines.last().unwrap(), expected);
    };
    check(
        false,
        " lookup profile        1,234  5 timed out  6 unavailable",
    );
    check(
        true,
        " lookup profile        1,234  ITS STORE IS AWAY  it has failed 5 times",
    );
}

#[test]
fn what_is_shown_before_the_first_event() {
    let status = Status {
        product: ProductName::Features,
        elapsed: Duration::ZERO,
        totals: Totals::default(),
        per_second: 0,
        expected: None,
        span: None,
        now_ms: Some(NEW_YEAR),
        ..third()
    };
    check(
        &status,
        79,
        &[
            " user-events  0 s",
            " read                      0  0/s  mean 0/s",
            " features                  0    0.00 %",
            " validation errors         0    0.00 %",
            " processing errors         0    0.00 %",
            " late events               0    0.00 %",
            " in flight                 0    0.00 %",
            " event time, UTC   none yet",
        ],
    );
    // A job of nothing is not divided by.
    let status = Status {
        expected: Some(0),
        span: Some(Span {
            least: None,
            most: EventTime(5),
        }),
        ..status
    };
    let lines = text::lines(&status, 79);
    let title = " user-events  0 s  ░░░░░░░░░░░░░░░░░░░░   0 %";
    assert_eq!(lines[0], title);
    let silent = " event time, UTC   none yet  a partition has brought no event";
    assert_eq!(lines[7], silent);
}

#[test]
fn what_is_shown_of_the_largest_numbers() {
    let status = Status {
        job: "n".repeat(64),
        elapsed: Duration::MAX,
        totals: Totals {
            read: u64::MAX,
            outcomes: [u64::MAX, 0, 0, 0],
            dropped: 0,
            filtered: 0,
        },
        waiting: u64::MAX,
        per_second: u64::MAX,
        expected: Some(u64::MAX),
        span: Some(Span {
            least: Some(EventTime(i64::MIN + 1)),
            most: EventTime(i64::MAX - 1),
        }),
        max_out_of_orderness_ms: u64::MAX,
        now_ms: Some(i64::MAX),
        ..third()
    };
    let most = "18,446,744,073,709,551,615";
    let name = "n".repeat(50);
    check(
        &status,
        79,
        &[
            &format!(" {name}…  213,503,982,334,601 d 7 h"),
            &format!(" read              {most}  {most}/s"),
            &format!(" predictions       {most}  100.00 %"),
            " validation errors                          0    0.00 %",
            " processing errors                          0    0.00 %",
            " late events                                0    0.00 %",
            " in flight                                  0    0.00 %",
            " event time, UTC   -9223372036854775807 ms",
        ],
    );
    for width in 0..100 {
        for line in text::lines(&status, width) {
            assert!(line.chars().count() <= width, "{width}: {line}");
        }
    }
    let cut = text::lines(&status, 30);
    assert_eq!(cut[1], " read              18,446,744…");
}

#[test]
fn what_is_shown_of_events_that_come_as_they_happen() {
    let check = |late_ms: i64, expected: &str| {
        let status = Status {
            now_ms: Some(NEW_YEAR + 3_200_000 + late_ms),
            waiting: 1_234,
            ..third()
        };
        let lines = text::lines(&status, 79);
        assert_eq!(
            lines[7],
            format!(" event time, UTC   2026-01-01 00:53:20  {expected}")
        );
        let waiting = " in flight            86,374    2.62 %  1,234 wait for event time";
        assert_eq!(lines[6], waiting);
    };
    check(-5, "0.0 s behind now");
    check(59_999, "59.9 s behind now");
    check(60_000, "1 min 0 s behind now");
    check(3_723_000, "1 h 2 min behind now");
    check(86_400_000, "1 d 0 h behind now");
    check(86_400_001, "2.1 s behind the newest event");
}

/// Where the log of a test goes.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn which_fields_has_a_line_of_the_log() {
    let written = Written::default();
    let output = written.clone();
    let writer = line::writer(move || output.clone());
    tracing::subscriber::with_default(writer, || {
        line::write(&third(), false);
        let status = Status {
            product: ProductName::Features,
            expected: None,
            span: None,
            ..third()
        };
        line::write(&status, true);
        let status = Status {
            lookups: vec![looked_up(true)],
            ..status
        };
        line::write(&status, true);
    });
    let text = written.text();
    let lines: Vec<_> = text.lines().map(|line| line.split_once(" INFO ")).collect();
    let lines: Vec<_> = lines.into_iter().map(|parts| parts.unwrap()).collect();
    let rest = "validation_errors=25001 processing_errors=6402 late_events=32002 in_flight=86374 waiting=0";
    let expected = [
        format!(
            "running job=\"user-events\" seconds=12 read=3300000 expected=10000000 per_second=268123 \
             predictions=3150221 {rest} event_time=1767228800000 behind_newest_ms=2100"
        ),
        format!(
            "ended job=\"user-events\" seconds=12 read=3300000 per_second=266129 features=3150221 {rest}"
        ),
        format!(
            "ended job=\"user-events\" seconds=12 read=3300000 per_second=266129 features=3150221 {rest} \
             lookups_unanswered=11 stores_away=\"profile\""
        ),
    ];
    let said: Vec<_> = lines.iter().map(|(_, said)| *said).collect();
    assert_eq!(said, expected);
    // When it was, as the RFC 3339 has it.
    for (when, _) in lines {
        assert!(when.trim_end().parse::<jiff::Timestamp>().is_ok(), "{when}");
    }
}

/// A run that shall last until this many lines of its log are there; its log.
fn logged(lines: usize, pause: Duration) -> String {
    let written = Written::default();
    let output = written.clone();
    let (tell, told) = channel();
    let mut watch = watch(&Arc::new(ManualClock::at(NEW_YEAR)));
    let show = move || live::show(&mut watch, &told, None, move || output.clone(), pause);
    let thread = thread::spawn(show);
    while written.text().lines().count() < lines {
        thread::yield_now();
    }
    tell.send(live::Told::Ended).unwrap();
    thread.join().unwrap();
    written.text()
}

#[test]
fn what_is_logged_of_a_long_run_and_of_a_short_one() {
    let text = logged(3, Duration::from_millis(1));
    let mut lines: Vec<_> = text.lines().collect();
    assert!(
        lines.pop().unwrap().contains(" INFO ended job=\"a\""),
        "{text}"
    );
    assert!(lines.len() >= 3, "{text}");
    let is_running = |line: &&str| line.contains(" INFO running job=\"a\"");
    assert!(lines.iter().all(is_running), "{text}");
    assert_eq!(logged(0, Duration::from_secs(3_600)), "");
}

#[test]
fn is_what_went_wrong_logged_soon_and_not_each_time() {
    let written = Written::default();
    let output = written.clone();
    let (tell, told) = channel();
    let meters = Arc::new(Meters::default());
    let clock = Arc::new(ManualClock::at(NEW_YEAR));
    let reached = Arc::new(Reached::new(1));
    let mut watch = Watch::new(subject(), Arc::clone(&meters), reached, None, clock);
    let hour = Duration::from_secs(3_600);
    let show = move || live::show(&mut watch, &told, None, move || output.clone(), hour);
    let thread = thread::spawn(show);
    while written.text().is_empty() {
        meters.note_trouble("the disk is full".to_owned());
        thread::yield_now();
    }
    meters.note_trouble("the disk is full".to_owned());
    tell.send(live::Told::Ended).unwrap();
    thread.join().unwrap();
    let text = written.text();
    assert_eq!(text.lines().count(), 1, "{text}");
    let said = " WARN running, with trouble job=\"a\" seconds=0 trouble=\"the disk is full\"\n";
    assert!(text.ends_with(said), "{text}");
}

/// Watches a run that counts nothing.
fn watch(clock: &Arc<ManualClock>) -> Watch {
    let reached = Arc::new(Reached::new(1));
    Watch::new(
        subject(),
        Arc::default(),
        reached,
        None,
        Arc::<ManualClock>::clone(clock),
    )
}

fn subject() -> Subject {
    Subject {
        job: "a".to_owned(),
        product: ProductName::Predictions,
        expected: None,
        max_out_of_orderness_ms: 5,
        as_they_happen: true,
    }
}

#[test]
fn does_a_look_see_what_was_counted() {
    let clock = Arc::new(ManualClock::at(NEW_YEAR));
    let meters = Arc::new(Meters::default());
    let reached = Arc::new(Reached::new(1));
    let mut watch = Watch::new(
        subject(),
        Arc::clone(&meters),
        Arc::clone(&reached),
        None,
        Arc::<ManualClock>::clone(&clock),
    );
    assert_eq!(watch.look().totals, Totals::default());
    meters.count_read(30);
    meters.count_written(OutputStream::LateEvents, 10);
    let watermarks = [NEW_YEAR - 100, NEW_YEAR - 20].map(EventTime);
    reached.tell(0, watermarks.into_iter());
    clock.set(NEW_YEAR + 500);
    let status = watch.look();
    assert_eq!(status.totals.in_flight(), 20);
    assert_eq!((status.per_second, status.mean_per_second()), (60, 60));
    assert_eq!(status.elapsed, Duration::from_millis(500));
    assert_eq!(status.behind_newest_ms(), Some(85));
    assert_eq!(status.behind_now_ms(), Some(600));
}
