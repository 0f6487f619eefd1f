//! Is a history what a plain list of everything handled says, and does it forget what it may?

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, prop_oneof, proptest};
use slackwater_dataflow::moment::EventTime;
use slackwater_dataflow::place::{KeyHash, Offset, PartitionId};

use crate::batch::{Cell, NewRow, Rows, Span};
use crate::check::Constant;
use crate::event::FieldIndex;
use crate::history::{Condition, Histories, HistoryPlan, KeyHistory, Tally};

const KEYS: usize = 3;
/// Fields of an event: kind, product (both kept), one that is not kept, and a number (kept).
const FIELDS: usize = 4;
const KIND: FieldIndex = FieldIndex(0);
const PRODUCT: FieldIndex = FieldIndex(1);
const NUMBER: FieldIndex = FieldIndex(3);

/// A value of a text field; `None` is null.
type Word = Option<&'static str>;

const WORDS: [Word; 5] = [
    Some("view"),
    Some("click"),
    Some(""),
    Some("a longer one"),
    None,
];
const NUMBERS: [Cell; 4] = [Cell::Int(1), Cell::Int(2), Cell::Bool(true), Cell::Null];

/// An event handled.
#[derive(Clone, Copy, Debug)]
struct Entry {
    time: i64,
    kind: Word,
    product: Word,
    number: Cell,
}

/// A step of a random life.
#[derive(Clone, Debug)]
enum Step {
    /// An event of a key: time above the watermark, kind, product, number.
    Event(usize, i64, usize, usize, usize),
    /// The watermark rises by this.
    Rise(i64),
    /// Every key, or one, is swept.
    Sweep(Option<usize>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let event = (
        0..KEYS,
        0..30_i64,
        0..WORDS.len(),
        0..WORDS.len(),
        0..NUMBERS.len(),
    );
    let step = prop_oneof![
        8 => event.prop_map(|(key, time, kind, product, number)| {
            Step::Event(key, time, kind, product, number)
        }),
        3 => (0..25_i64).prop_map(Step::Rise),
        1 => proptest::option::of(0..KEYS).prop_map(Step::Sweep),
    ];
    vec(step, 0..120)
}

fn text(value: &str) -> Constant {
    Constant::Text(value.to_owned())
}

fn where_all(conditions: &[(FieldIndex, &[Constant])]) -> Tally {
    let condition = |(field, values): &(FieldIndex, &[Constant])| Condition {
        field: *field,
        values: values.to_vec(),
    };
    Tally::Where(conditions.iter().map(condition).collect())
}

fn plan(events: u32, ttl_ms: u64) -> HistoryPlan {
    HistoryPlan {
        events,
        ttl_ms,
        fields: vec![PRODUCT, KIND, NUMBER],
        tallies: vec![
            where_all(&[(KIND, &[text("view")])]),
            where_all(&[(KIND, &[text("click"), text("")])]),
            where_all(&[(KIND, &[text("view")]), (PRODUCT, &[text("click")])]),
            where_all(&[(NUMBER, &[Constant::Int(2), Constant::Bool(true)])]),
            where_all(&[]),
            Tally::Distinct(PRODUCT),
            Tally::Distinct(KIND),
            Tally::Distinct(NUMBER),
        ],
    }
}

/// Constants of the plan: view, click, the empty text, 2 and true keep their numbers.
const PINNED: usize = 5;

/// The event as the only row of a batch.
fn row(entry: &Entry) -> Rows {
    let mut record = Vec::new();
    let mut cell = |word: Word| {
        word.map_or(Cell::Null, |word| {
            let start = record.len() as u32;
            record.extend_from_slice(word.as_bytes());
            let len = word.len() as u32;
            Cell::Text {
                span: Span { start, len },
                plain: true,
            }
        })
    };
    let cells = [
        cell(entry.kind),
        cell(entry.product),
        cell(Some("other")),
        entry.number,
    ];
    let mut rows = Rows::with_capacity(FIELDS, 1, 64);
    rows.push(NewRow {
        partition: PartitionId(0),
        offset: Offset(0),
        time: EventTime(entry.time),
        order_time: EventTime(entry.time),
        key_hash: KeyHash(0),
        key: b"",
        origin: &[],
        record: &record,
        cells: &cells,
        scratch: b"",
    });
    rows
}

/// A window, owned.
#[derive(Debug, PartialEq)]
struct Seen {
    events: u32,
    tallies: Vec<u32>,
    previous: Option<i64>,
    first: i64,
    last: i64,
}

fn add(histories: &mut Histories, history: &mut KeyHistory, entry: &Entry) -> Seen {
    let rows = row(entry);
    histories.read(&rows);
    let window = histories.add(history, 0, rows.rows()[0].time);
    Seen {
        events: window.events,
        tallies: window.tallies.to_vec(),
        previous: window.previous.map(|time| time.0),
        first: window.first.0,
        last: window.last.0,
    }
}

/// From the whole list: the last n handled, and of those the ones above t - ttl.
fn expected(all: &[Entry], events: u32, ttl_ms: u64) -> Seen {
    let time = all[all.len() - 1].time;
    let last_n = &all[all.len().saturating_sub(events as usize)..];
    let boundary = i128::from(time) - i128::from(ttl_ms);
    let seen: Vec<&Entry> = last_n
        .iter()
        .filter(|e| i128::from(e.time) > boundary)
        .collect();
    let count = |holds: &dyn Fn(&Entry) -> bool| seen.iter().filter(|e| holds(e)).count() as u32;
    let different = |of: &dyn Fn(&Entry) -> Option<String>| {
        let mut values: Vec<String> = seen.iter().filter_map(|e| of(e)).collect();
        values.sort();
        values.dedup();
        values.len() as u32
    };
    let number = |e: &Entry| (e.number != Cell::Null).then(|| format!("{:?}", e.number));
    Seen {
        events: seen.len() as u32,
        tallies: vec![
            count(&|e| e.kind == Some("view")),
            count(&|e| e.kind == Some("click") || e.kind == Some("")),
            count(&|e| e.kind == Some("view") && e.product == Some("click")),
            count(&|e| e.number == Cell::Int(2) || e.number == Cell::Bool(true)),
            count(&|_| true),
            different(&|e| e.product.map(str::to_owned)),
            different(&|e| e.kind.map(str::to_owned)),
            different(&number),
        ],
        previous: seen.len().checked_sub(2).map(|at| seen[at].time),
        first: seen[0].time,
        last: time,
    }
}

fn live(steps: &[Step], events: u32, ttl_ms: u64) {
    let mut histories = Histories::new(&plan(events, ttl_ms));
    let mut kept: Vec<KeyHistory> = (0..KEYS).map(|_| KeyHistory::default()).collect();
    let mut all: Vec<Vec<Entry>> = vec![Vec::new(); KEYS];
    let mut watermark = 0;
    histories.on_watermark(EventTime(watermark));
    for step in steps {
        match *step {
            Step::Event(key, above, kind, product, number) => {
                let entry = Entry {
                    time: watermark + above,
                    kind: WORDS[kind],
                    product: WORDS[product],
                    number: NUMBERS[number],
                };
                all[key].push(entry);
                let found = add(&mut histories, &mut kept[key], &entry);
                assert_eq!(
                    found,
                    expected(&all[key], events, ttl_ms),
                    "key {key}: {:?}",
                    all[key]
                );
                assert!(kept[key].len() <= events as usize);
            }
            Step::Rise(by) => {
                watermark += by;
                histories.on_watermark(EventTime(watermark));
            }
            Step::Sweep(which) => {
                for (key, history) in kept.iter_mut().enumerate() {
                    if which.is_none_or(|which| which == key) && !histories.keep(history) {
                        *history = KeyHistory::default();
                    }
                }
            }
        }
    }
    // When nothing can be seen any more, nothing is left but what the plan itself names.
    histories.on_watermark(EventTime(watermark + 30 + ttl_ms as i64));
    for history in &mut kept {
        assert!(!histories.keep(history));
        assert!(history.is_empty());
    }
    assert_eq!(histories.texts.len(), PINNED);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn is_a_window_what_the_whole_list_says(
        steps in steps(),
        events in prop_oneof![1..6_u32, 1..60_u32],
        ttl_ms in prop_oneof![1..12_u64, 1..80_u64, 1_000..1_001_u64],
    ) {
        live(&steps, events, ttl_ms);
    }
}

#[test]
fn does_a_ring_of_any_capacity_keep_the_last_events() {
    for events in 1..=60_u32 {
        let mut histories = Histories::new(&plan(events, 1_000_000));
        let (mut history, mut all) = (KeyHistory::default(), Vec::new());
        for time in 0..150_i64 {
            let at = time as usize;
            let entry = Entry {
                time,
                kind: WORDS[at % 5],
                product: WORDS[at / 3 % 5],
                number: NUMBERS[at % 4],
            };
            all.push(entry);
            let found = add(&mut histories, &mut history, &entry);
            assert_eq!(
                found,
                expected(&all, events, 1_000_000),
                "{events} at {time}"
            );
            assert_eq!(history.len(), all.len().min(events as usize));
            assert!(
                history.times.len() <= events as usize,
                "no room beyond what is declared"
            );
        }
    }
}

/// Times at both ends of what 64 bits hold: spans saturate, and an event always sees itself.
#[test]
fn does_an_event_at_the_ends_of_time_see_itself() {
    let check = |times: &[i64], ttl_ms: u64| {
        let mut histories = Histories::new(&plan(10, ttl_ms));
        let (mut history, mut all) = (KeyHistory::default(), Vec::new());
        for &time in times {
            let entry = Entry {
                time,
                kind: WORDS[0],
                product: WORDS[1],
                number: NUMBERS[0],
            };
            all.push(entry);
            let found = add(&mut histories, &mut history, &entry);
            assert_eq!(found, expected(&all, 10, ttl_ms), "{times:?}");
        }
    };
    check(&[i64::MAX, i64::MAX - 1, i64::MAX], 5);
    check(&[i64::MIN + 1, i64::MIN + 2, i64::MIN + 9], 5);
    check(&[i64::MIN + 1, 0, i64::MAX], u64::MAX);
    check(&[i64::MIN, i64::MIN, i64::MIN + 3], 5);
    check(&[i64::MAX, i64::MIN, i64::MAX], 5);
}

#[test]
fn do_features_that_count_the_same_share_a_tally() {
    let mut tallies = Vec::new();
    let mut place = |tally: Tally| tally.place_in(&mut tallies);
    let all = || Tally::Where(Vec::new());
    let places = [all(), Tally::Distinct(FieldIndex(1)), all()].map(&mut place);
    assert_eq!((places, tallies.len()), ([0, 1, 0], 2));
}
