//! Random records: JSON in many spellings, out of order, late, missing things, and wrong ones among them.

use std::collections::BTreeMap;

use crate::declared::{Field, Pipeline, Type, Value};
use crate::dice::Dice;
use crate::files::Files;
use crate::pipelines::Drawn;

/// A line, and what it says.
#[derive(Clone, Debug)]
pub struct Record {
    /// Without its line feed.
    pub text: Vec<u8>,
    /// The value of each field; nothing if it is no event.
    pub values: Option<Vec<Value>>,
}

/// A file.
#[derive(Clone, Debug, Default)]
pub struct Input {
    pub records: Vec<Record>,
    /// The last line has no line feed.
    pub is_open: bool,
}

impl Input {
    /// The records with the places of their first bytes.
    pub fn places(&self) -> impl Iterator<Item = (u64, &Record)> {
        self.records.iter().scan(0, |next, record| {
            let place = *next;
            *next += record.text.len() as u64 + 1;
            Some((place, record))
        })
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for record in &self.records {
            bytes.extend_from_slice(&record.text);
            bytes.push(b'\n');
        }
        // Without a line feed an empty line is none.
        let last = self.records.last();
        if self.is_open && last.is_some_and(|last| !last.text.is_empty()) {
            bytes.pop();
        }
        bytes
    }
}

/// The first of January 2026.
const START_MS: i64 = 1_767_225_600_000;
const DAY_MS: i64 = 86_400_000;

/// How many records a case has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Most of them: up to 40.
    Few,
    /// Up to 250.
    Some,
    /// Up to 1,400.
    Many,
}

impl Size {
    pub fn draw(dice: &mut Dice) -> Self {
        match dice.below(100) {
            0..77 => Size::Few,
            77..97 => Size::Some,
            _ => Size::Many,
        }
    }

    /// The oracle goes through all events for each feature of each event.
    pub fn features_max(self) -> usize {
        match self {
            Size::Few | Size::Some => usize::MAX,
            Size::Many => 4,
        }
    }
}

/// One file, or some.
pub fn draw(dice: &mut Dice, drawn: &Drawn, files: &Files, size: Size) -> Vec<Input> {
    let count = match size {
        Size::Few => 1 + dice.below(40),
        Size::Some => 1 + dice.below(250),
        Size::Many => 600 + dice.below(800),
    };
    let start = dice.of(&[START_MS, START_MS + 82_799_999, 0, -5 * DAY_MS]);
    let one_key = dice.percent(if size == Size::Few { 20 } else { 50 });
    let mut clocks: Vec<Clock> = (0..files.count)
        .map(|_| Clock::new(start + dice.within(0..=10) * drawn.tick_ms))
        .collect();
    let mut inputs = vec![Input::default(); files.count];
    let wrong = dice.of(&[0, 2, 10]);
    for _ in 0..count {
        let file = dice.below(files.count);
        let time = clocks[file].next(dice, drawn);
        let mut values = values(dice, drawn, time);
        if one_key {
            for &it in &drawn.pipeline.key {
                values[it] = drawn.pools[it][0].clone();
            }
        }
        files.fit(dice, file, &drawn.pipeline, &drawn.pools, &mut values);
        let record = if dice.percent(wrong) {
            mistaken(dice, &drawn.pipeline, &values)
        } else {
            let spelled = spellings(dice, &values);
            Record {
                text: spell(dice, &drawn.pipeline, &spelled),
                values: Some(seen(&drawn.pipeline, values)),
            }
        };
        inputs[file].records.push(record);
    }
    for input in &mut inputs {
        input.is_open = dice.percent(20);
    }
    inputs
}

/// The time of a partition.
struct Clock {
    now: i64,
    highest: i64,
}

impl Clock {
    fn new(now: i64) -> Self {
        Clock { now, highest: now }
    }

    fn next(&mut self, dice: &mut Dice, drawn: &Drawn) -> i64 {
        let (tick, bound) = (drawn.tick_ms, drawn.pipeline.max_out_of_orderness_ms);
        self.now += match dice.below(100) {
            0..35 => 0,
            35..75 => tick,
            75..92 => dice.within(1..=15) * tick,
            92..97 => dice.within(1..=3),
            97..99 => dice.within(20..=2000) * tick,
            _ => dice.within(1..=40) * DAY_MS,
        };
        let time = match dice.below(100) {
            0..65 => self.now,
            65..80 => self.now - dice.within(0..=10) * tick,
            80..90 => self.now - dice.within(0..=bound),
            90..96 => self.highest - bound - dice.within(0..=1),
            _ => self.highest - bound - dice.within(1..=20) * tick,
        };
        self.highest = self.highest.max(time);
        time
    }
}

fn values(dice: &mut Dice, drawn: &Drawn, time: i64) -> Vec<Value> {
    let fields = drawn.pipeline.fields.iter().enumerate();
    let values = fields.map(|(index, field)| {
        let is_null = !field.required && dice.percent(25);
        match (field.kind, &drawn.pools[index]) {
            _ if index == drawn.pipeline.time => Value::Int(time),
            _ if is_null => Value::Null,
            (Type::Float, _) if dice.percent(30) => {
                Value::Float(dice.within(-1_000_000..=1_000_000) as f64 / 1024.0)
            }
            (Type::Int, _) if dice.percent(15) => Value::Int(dice.within(-50..=50)),
            (_, pool) => dice.mostly_first(pool),
        }
    });
    values.collect()
}

/// What the job sees of what was written.
fn seen(pipeline: &Pipeline, mut values: Vec<Value>) -> Vec<Value> {
    for (value, field) in values.iter_mut().zip(&pipeline.fields) {
        if let (Value::Null, Some(default)) = (&*value, &field.default) {
            *value = default.clone();
        }
    }
    values
}

/// JSON of each value; nothing where a field is left out.
type Spellings = Vec<Option<String>>;

fn spellings(dice: &mut Dice, values: &[Value]) -> Spellings {
    let spelling = |value: &Value| match value {
        Value::Null => dice.percent(50).then(|| "null".to_owned()),
        Value::Text(text) => Some(spell_text(dice, text)),
        Value::Int(0) if dice.percent(20) => Some("-0".to_owned()),
        Value::Int(number) => Some(number.to_string()),
        Value::Float(number) => Some(spell_float(dice, *number)),
        Value::Bool(truth) => Some(truth.to_string()),
    };
    values.iter().map(spelling).collect()
}

fn spell_float(dice: &mut Dice, number: f64) -> String {
    let is_whole = number.fract() == 0.0 && number.abs() < 1e15;
    match dice.below(5) {
        0 => format!("{number:e}"),
        1 => format!("{number:E}").replace('E', "E+").replace("+-", "-"),
        2 if is_whole => format!("{number:.0}"),
        // All the digits that it has.
        3 if (1e-3..1e7).contains(&number.abs()) => format!("{number:.60}"),
        _ => format!("{number:?}"),
    }
}

fn spell_text(dice: &mut Dice, text: &str) -> String {
    let escapes = dice.of(&[0, 0, 30]);
    let mut spelled = String::from("\"");
    for character in text.chars() {
        if dice.percent(escapes) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                spelled.push_str(&if dice.percent(50) {
                    format!("\\u{unit:04x}")
                } else {
                    format!("\\u{unit:04X}")
                });
            }
        } else if character == '/' && dice.percent(50) {
            spelled.push_str("\\/");
        } else {
            let quoted = serde_json::Value::from(character.to_string()).to_string();
            spelled.push_str(&quoted[1..quoted.len() - 1]);
        }
    }
    spelled + "\""
}

/// Names and their JSON, at a place of the record.
#[derive(Default)]
struct Object {
    members: Vec<(String, String)>,
    inner: BTreeMap<String, Object>,
}

impl Object {
    fn put(&mut self, path: &[String], value: String) {
        match path {
            [] => {}
            [name] => self.members.push((name.clone(), value)),
            [name, rest @ ..] => self.inner.entry(name.clone()).or_default().put(rest, value),
        }
    }

    fn spell(self, dice: &mut Dice) -> String {
        const OTHERS: [&str; 5] = ["7", "null", "\"x\"", "{\"a\":[1,{\"b\":null}]}", "[]"];
        let mut members: Vec<String> = Vec::new();
        for (name, value) in self.members {
            let name = spell_text(dice, &name);
            // Of two of a name the last wins.
            let earlier = dice.percent(3).then(|| dice.of(&OTHERS));
            let earlier = earlier.map(|it| format!("{name}:{it},"));
            members.push(format!("{}{name}:{value}", earlier.unwrap_or_default()));
        }
        for (name, inner) in self.inner {
            let name = spell_text(dice, &name);
            let earlier = dice.percent(3).then(|| dice.of(&OTHERS));
            let earlier = earlier.map(|it| format!("{name}:{it},"));
            let inner = inner.spell(dice);
            members.push(format!("{}{name}:{inner}", earlier.unwrap_or_default()));
        }
        if dice.percent(10) {
            members.push(format!("\"nobody knows\":{}", dice.of(&OTHERS)));
        }
        dice.shuffle(&mut members);
        let space = dice.mostly_first(&["", " ", "\t "]);
        let members = members.join(&format!("{space},{space}"));
        format!("{{{space}{members}{space}}}")
    }
}

fn spell(dice: &mut Dice, pipeline: &Pipeline, spellings: &Spellings) -> Vec<u8> {
    let mut record = Object::default();
    for (field, spelling) in pipeline.fields.iter().zip(spellings) {
        if let Some(spelling) = spelling {
            let path = field.path.as_deref();
            record.put(
                path.unwrap_or(std::slice::from_ref(&field.name)),
                spelling.clone(),
            );
        }
    }
    let line_break = dice.mostly_first(&["", "\r"]);
    (record.spell(dice) + line_break).into_bytes()
}

/// A record that is no event.
fn mistaken(dice: &mut Dice, pipeline: &Pipeline, values: &[Value]) -> Record {
    let mut spelled = spellings(dice, values);
    let field = dice.below(spelled.len());
    let Field { kind, required, .. } = &pipeline.fields[field];
    let text = match dice.below(8) {
        0 => Vec::new(),
        1 => b"[1]".to_vec(),
        2 => b"{\"open\":".to_vec(),
        3 => b"{\"a\":\"\xff\"}".to_vec(),
        4 if *required => {
            spelled[field] = dice.percent(50).then(|| "null".to_owned());
            spell(dice, pipeline, &spelled)
        }
        5 => {
            spelled[field] = Some("1e999".to_owned());
            spell(dice, pipeline, &spelled)
        }
        _ => {
            let wrong = match kind {
                Type::Text => "1",
                Type::Int => dice.of(&["1.0", "1e3", "true", "\"1\"", "9223372036854775808"]),
                Type::Float => dice.of(&["\"1\"", "false", "[]"]),
                Type::Bool => dice.of(&["0", "\"true\"", "{}"]),
            };
            spelled[field] = Some(wrong.to_owned());
            spell(dice, pipeline, &spelled)
        }
    };
    Record { text, values: None }
}
