//! Random pipelines, and which values their events draw from.

use crate::conditions::{Condition, Expression, Form};
use crate::declared::{
    Check, Feature, Field, History, Order, Pipeline, Rule, Stage, Transform, Type, Value, Window,
};
use crate::dice::Dice;

const DAY_MS: i64 = 86_400_000;

/// What names of fields begin with that an expression may use.
const PLAIN: &str = "plain";
/// Of the event time.
const TIME: &str = "at";

/// Kinds that look at a window. Of these some want a field, and some a condition.
const OVER_WINDOWS: [&str; 11] = [
    "count",
    "sum",
    "mean",
    "min",
    "max",
    "std",
    "last",
    "distinct",
    "share",
    "since_previous",
    "mean_gap",
];
const OF_THE_EVENT: [&str; 8] = [
    "value",
    "one_hot",
    "index",
    "hash",
    "hour_sin",
    "hour_cos",
    "day_of_week",
    "constant",
];

/// A pipeline, and what its events are made of.
pub struct Drawn {
    pub pipeline: Pipeline,
    /// Values that each field has now and then. None is null.
    pub pools: Vec<Vec<Value>>,
    /// Milliseconds of which most spans and gaps are multiples, so that many events stand right at an edge.
    pub tick_ms: i64,
}

/// A pipeline in this order.
pub fn draw(dice: &mut Dice, order: Order) -> Drawn {
    let tick_ms = dice.of(&[1, 10, 1_000, 60_000, 3_600_000]);
    let (fields, key, time) = fields(dice);
    let pools: Vec<Vec<Value>> = fields.iter().map(|it| pool(dice, it.kind)).collect();
    let history = dice.percent(80).then(|| History {
        events: dice.of(&[1, 2, 3, 5, 8, 9, 20, 50, 300, 2000]),
        ttl_ms: if dice.percent(30) {
            3650 * DAY_MS
        } else {
            span(dice, tick_ms)
        },
    });
    let mut pipeline = Pipeline {
        order,
        fields,
        key,
        time,
        max_out_of_orderness_ms: match dice.below(4) {
            0 => 0,
            1 => dice.within(0..=3) * tick_ms,
            2 => dice.within(0..=30) * tick_ms + dice.within(0..=1),
            _ => 30 * DAY_MS,
        },
        max_drift_ms: dice.percent(40).then(|| dice.within(0..=5) * tick_ms),
        max_ahead_ms: dice.percent(10).then(|| dice.within(5..=50) * tick_ms),
        late: dice.of(&["dead_letter", "process", "process", "drop"]),
        checks: Vec::new(),
        filter: None,
        history,
        features: Vec::new(),
    };
    let mut drawing = Drawing {
        dice,
        pools: &pools,
        tick_ms,
    };
    for _ in 0..drawing.dice.of(&[0, 0, 0, 1, 2]) {
        pipeline.checks.extend(drawing.check(&pipeline));
    }
    if drawing.can_say_cel(&pipeline) && drawing.dice.percent(25) {
        pipeline.filter = Some(drawing.in_cel(&pipeline, 2));
    }
    for nth in 0..=drawing.dice.below(12) {
        let feature = drawing.feature(&pipeline, nth);
        pipeline.features.push(feature);
    }
    Drawn {
        pipeline,
        pools,
        tick_ms,
    }
}

/// A window's length.
fn span(dice: &mut Dice, tick_ms: i64) -> i64 {
    match dice.below(10) {
        0 => 1,
        1 => dice.within(1..=30) * DAY_MS,
        2 => dice.within(1..=10) * tick_ms + 1,
        3 => (tick_ms - 1).max(1),
        _ => dice.within(1..=12) * tick_ms,
    }
}

/// Fields of all types, those of the key and the time.
fn fields(dice: &mut Dice) -> (Vec<Field>, Vec<usize>, usize) {
    let mut kinds = vec![Type::Text, Type::Int, Type::Float];
    for _ in 0..dice.below(6) {
        kinds.push(dice.of(&[Type::Text, Type::Int, Type::Float, Type::Bool]));
    }
    dice.shuffle(&mut kinds);
    let (is_plain, has_paths) = (dice.percent(70), dice.percent(30));
    let mut fields: Vec<Field> = Vec::new();
    for (nth, kind) in kinds.into_iter().enumerate() {
        let name = if is_plain {
            PLAIN
        } else {
            dice.mostly_first(&[PLAIN, "Größe №", "a \"b\" \\ c", "x.y", ""])
        };
        let default = dice.percent(15);
        fields.push(Field {
            name: format!("{name}{nth}"),
            kind,
            required: !default && dice.percent(50),
            path: (has_paths && dice.percent(50)).then(|| path(dice, nth)),
            default: default.then(|| pool(dice, kind)[0].clone()),
        });
    }
    let keys: Vec<usize> = (0..fields.len())
        .filter(|&it| matches!(fields[it].kind, Type::Text | Type::Int))
        .collect();
    let mut key = vec![dice.of(&keys)];
    if dice.percent(25) {
        key.extend(
            dice.of(&keys
                .into_iter()
                .filter(|it| *it != key[0])
                .map(Some)
                .chain([None])
                .collect::<Vec<_>>()),
        );
    }
    let time = dice.below(fields.len() + 1);
    for it in &mut key {
        fields[*it].required = fields[*it].default.is_none();
        *it += usize::from(*it >= time);
    }
    fields.insert(
        time,
        Field {
            name: TIME.to_owned(),
            kind: Type::Int,
            required: true,
            path: None,
            default: None,
        },
    );
    (fields, key, time)
}

fn path(dice: &mut Dice, nth: usize) -> Vec<String> {
    let above = [vec!["up"], vec!["up", "more"], vec!["down"], vec![]];
    let mut path: Vec<String> = dice.of(&above).into_iter().map(str::to_owned).collect();
    path.push(format!("leaf{nth}"));
    path
}

/// Values of a field: few, so that many events have the same.
fn pool(dice: &mut Dice, kind: Type) -> Vec<Value> {
    const TEXTS: [&str; 12] = [
        "a",
        "b",
        "",
        "view",
        "Größe",
        "日本語",
        "😀 \u{10ffff}",
        "say \"so\"\\",
        "two\nlines\t\u{1}",
        "/",
        "a long text that is longer than what fits into a few words, and goes on for a while: 0123456789",
        "null",
    ];
    const INTS: [i64; 12] = [
        0,
        1,
        -1,
        2,
        7,
        100,
        -40,
        1 << 53,
        (1 << 53) + 1,
        i64::MAX,
        i64::MIN,
        i64::MAX - 1,
    ];
    const FLOATS: [f64; 14] = [
        0.0,
        -0.0,
        1.0,
        0.5,
        -1.0,
        0.1,
        -0.9,
        3.25,
        1e6,
        -1e9,
        1e-100,
        1e100,
        -1e100,
        123_456.789,
    ];
    // Most pools have nothing in them that makes everything else vanish.
    let (ints, floats) = if dice.percent(70) {
        (&INTS[..7], &FLOATS[..9])
    } else {
        (&INTS[..], &FLOATS[..])
    };
    let size = 1 + dice.below(8);
    let values = (0..size).map(|_| match kind {
        Type::Text => Value::Text(dice.of(&TEXTS).to_owned()),
        Type::Int => Value::Int(dice.of(ints)),
        Type::Float => Value::Float(dice.of(floats)),
        Type::Bool => Value::Bool(dice.percent(50)),
    });
    values.collect()
}

struct Drawing<'d> {
    dice: &'d mut Dice,
    pools: &'d [Vec<Value>],
    tick_ms: i64,
}

impl Drawing<'_> {
    fn field(&mut self, pipeline: &Pipeline, kinds: &[Type]) -> usize {
        let fields = pipeline.fields.iter().enumerate();
        let fits: Vec<usize> = fields
            .filter(|(_, field)| kinds.contains(&field.kind))
            .map(|(index, _)| index)
            .collect();
        self.dice.of(&fits)
    }

    fn feature(&mut self, pipeline: &Pipeline, nth: usize) -> Feature {
        const NUMBERS: &[Type] = &[Type::Int, Type::Float, Type::Bool];
        const ALL: &[Type] = &[Type::Text, Type::Int, Type::Float, Type::Bool];
        let of = if self.dice.percent(75) {
            self.dice.of(&OVER_WINDOWS)
        } else {
            self.dice.of(&OF_THE_EVENT)
        };
        let fields = match of {
            "value" | "sum" | "mean" | "min" | "max" | "std" | "last" => Some(NUMBERS),
            "one_hot" | "index" | "hash" => Some(&[Type::Text][..]),
            "distinct" => Some(ALL),
            _ => None,
        };
        let field = fields.map(|kinds| self.field(pipeline, kinds));
        let has_window = OVER_WINDOWS.contains(&of);
        let may_count = has_window && !matches!(of, "since_previous" | "mean_gap");
        let has_condition = of == "share" || may_count && self.dice.percent(40);
        let has_key = has_window && self.dice.percent(25);
        let feature = Feature {
            name: format!("f{nth}"),
            of,
            field,
            values: match (of, field) {
                ("one_hot" | "index", Some(field)) => self.texts(field),
                _ => Vec::new(),
            },
            buckets: self.dice.of(&[1, 2, 7, 20, 1 << 24]),
            value: self.dice.of(&[0.0, 1.0, -2.5, 1e300]),
            expression: None,
            condition: has_condition.then(|| self.condition(pipeline)),
            window: has_window.then(|| self.window(pipeline)),
            includes_self: self.dice.percent(70),
            key: has_key.then(|| self.key(pipeline)),
            fill: self.dice.of(&[0.0, 0.0, -1.0, 7.5]),
            transforms: self.transforms(),
        };
        match self.expression(pipeline) {
            Some(expression) => Feature {
                of: "expr",
                expression: Some(expression),
                field: None,
                values: Vec::new(),
                condition: None,
                window: None,
                key: None,
                ..feature
            },
            None => feature,
        }
    }

    /// Fields of any key, also of one that is null now and then, or the job's.
    fn key(&mut self, pipeline: &Pipeline) -> Vec<usize> {
        let mut key = vec![self.field(pipeline, &[Type::Text, Type::Int])];
        let other = self.field(pipeline, &[Type::Text, Type::Int]);
        if other != key[0] && self.dice.percent(30) {
            key.push(other);
        }
        key
    }

    fn expression(&mut self, pipeline: &Pipeline) -> Option<Expression> {
        let earlier = pipeline.features.iter().filter(|it| it.of != "one_hot");
        let earlier: Vec<String> = earlier.map(|it| it.name.clone()).collect();
        (!earlier.is_empty() && self.dice.percent(10)).then(|| Expression {
            form: self.dice.of(&[Form::Sum, Form::TwiceLess, Form::Greater]),
            left: self.dice.of(&earlier),
            right: self.dice.of(&earlier),
        })
    }

    /// Different texts, most of them of the field's. An empty one cannot be listed.
    fn texts(&mut self, field: usize) -> Vec<String> {
        let mut texts = vec!["none has this".to_owned()];
        for value in &self.pools[field] {
            if let Value::Text(text) = value
                && !text.is_empty()
                && !texts.contains(text)
            {
                texts.push(text.clone());
            }
        }
        self.dice.shuffle(&mut texts);
        texts.truncate(1 + self.dice.below(texts.len()));
        texts
    }

    fn window(&mut self, pipeline: &Pipeline) -> Window {
        match self.dice.below(3) {
            0 if pipeline.history.is_some() => Window::History,
            1 => Window::Last(self.dice.of(&[1, 2, 3, 7, 8, 9, 20, 64, 65, 100, 1000])),
            _ => Window::Time(span(self.dice, self.tick_ms)),
        }
    }

    fn transforms(&mut self) -> Vec<Transform> {
        let mut transforms = Vec::new();
        while transforms.len() < 3 && self.dice.percent(30) {
            transforms.push(match self.dice.below(3) {
                0 => Transform::Log1p,
                1 => self.dice.of(&[
                    Transform::Clip(0.0, 1e7),
                    Transform::Clip(-1.0, 2.0),
                    Transform::Clip(1.0, 1.0),
                ]),
                _ => self.dice.of(&[
                    Transform::Scale(0.0, 20.0),
                    Transform::Scale(2.5, -3.0),
                    Transform::Scale(-1.0, 0.001),
                ]),
            });
        }
        transforms
    }

    /// A value that the field has now and then, or nearly.
    fn value(&mut self, field: usize) -> Value {
        // Larger ones cannot be written where a number may have a fraction.
        let is_moderate = |value: &Value| match value {
            Value::Int(number) => number.unsigned_abs() <= 1 << 53,
            _ => true,
        };
        let pool = self.pools[field].iter().filter(|it| is_moderate(it));
        let mut pool: Vec<Value> = pool.cloned().collect();
        match &self.pools[field][0] {
            Value::Text(_) => pool.push(Value::Text("other".to_owned())),
            Value::Int(_) => pool.push(Value::Int(3)),
            Value::Float(_) => pool.push(Value::Float(0.25)),
            Value::Bool(_) => pool.push(Value::Bool(true)),
            Value::Null => {}
        }
        self.dice.of(&pool)
    }

    fn condition(&mut self, pipeline: &Pipeline) -> Condition {
        if self.can_say_cel(pipeline) && self.dice.percent(50) {
            return self.in_cel(pipeline, 2);
        }
        let mut fields: Vec<usize> = (0..pipeline.fields.len())
            .filter(|it| *it != pipeline.time)
            .collect();
        self.dice.shuffle(&mut fields);
        fields.truncate(self.dice.of(&[1, 1, 1, 2]));
        let fields = fields.into_iter().map(|field| {
            let mut any_of: Vec<Value> = Vec::new();
            for _ in 0..self.dice.of(&[1, 1, 2, 3]) {
                let value = self.value(field);
                if !any_of.contains(&value) {
                    any_of.push(value);
                }
            }
            (field, any_of)
        });
        Condition::Equal(fields.collect())
    }

    fn in_cel(&mut self, pipeline: &Pipeline, depth: usize) -> Condition {
        let fields = 0..pipeline.fields.len();
        let fields: Vec<usize> = fields.filter(|it| *it != pipeline.time).collect();
        let field = self.dice.of(&fields);
        let kind = pipeline.fields[field].kind;
        let number = matches!(kind, Type::Int | Type::Float);
        match self.dice.below(if depth > 0 { 6 } else { 3 }) {
            0 if number => Condition::AtLeast(field, self.value(field)),
            1 => Condition::IsNull(field),
            3 => Condition::Not(Box::new(self.in_cel(pipeline, depth - 1))),
            4 => Condition::Both(
                Box::new(self.in_cel(pipeline, depth - 1)),
                Box::new(self.in_cel(pipeline, depth - 1)),
            ),
            5 => Condition::Either(
                Box::new(self.in_cel(pipeline, depth - 1)),
                Box::new(self.in_cel(pipeline, depth - 1)),
            ),
            _ => Condition::Is(field, self.value(field)),
        }
    }

    /// Whether all fields have names that CEL can say.
    fn can_say_cel(&self, pipeline: &Pipeline) -> bool {
        let mut fields = pipeline.fields.iter();
        fields.all(|it| it.name.starts_with(PLAIN) || it.name == TIME)
    }

    fn check(&mut self, pipeline: &Pipeline) -> Option<Check> {
        let stage = self.dice.of(&[Stage::Validate, Stage::Feature]);
        if self.can_say_cel(pipeline) && self.dice.percent(50) {
            let rule = Rule::When(self.in_cel(pipeline, 2));
            return Some(Check { rule, stage });
        }
        let field = self.field(pipeline, &[Type::Int, Type::Float]);
        let least = self
            .value(field)
            .number()
            .filter(|_| field != pipeline.time)?;
        let rule = Rule::Least(field, least);
        Some(Check { rule, stage })
    }
}
