//! A pipeline as the random ones of these tests are, and its file. The oracle reads this, the engine the file.

use std::fmt::Write as _;
use std::path::Path;

use crate::conditions::{Condition, Expression, Literal};

/// A value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
}

impl Value {
    /// What sums and the like see of it.
    pub fn number(&self) -> Option<f64> {
        match self {
            Value::Null | Value::Text(_) => None,
            Value::Int(number) => Some(*number as f64),
            Value::Float(number) => Some(*number),
            Value::Bool(truth) => Some(f64::from(u8::from(*truth))),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Text,
    Int,
    Float,
    Bool,
}

impl Type {
    fn name(self) -> &'static str {
        match self {
            Type::Text => "string",
            Type::Int => "int",
            Type::Float => "float",
            Type::Bool => "bool",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Field {
    pub name: String,
    pub kind: Type,
    pub required: bool,
    /// Where it is in the record, if not below its name.
    pub path: Option<Vec<String>>,
    /// What it is where it is missing or null.
    pub default: Option<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    History,
    Last(usize),
    /// Milliseconds.
    Time(i64),
}

#[derive(Clone, Copy, Debug)]
pub enum Transform {
    Log1p,
    Clip(f64, f64),
    Scale(f64, f64),
}

/// A feature: which of these count follows from `of`, as in the file.
#[derive(Clone, Debug)]
pub struct Feature {
    pub name: String,
    pub of: &'static str,
    pub field: Option<usize>,
    pub values: Vec<String>,
    pub buckets: u64,
    pub value: f64,
    pub expression: Option<Expression>,
    pub condition: Option<Condition>,
    pub window: Option<Window>,
    pub includes_self: bool,
    /// Another key than the job's.
    pub key: Option<Vec<usize>>,
    pub fill: f64,
    pub transforms: Vec<Transform>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Validate,
    Feature,
}

#[derive(Clone, Debug)]
pub struct Check {
    pub rule: Rule,
    pub stage: Stage,
}

#[derive(Clone, Debug)]
pub enum Rule {
    /// The number of a field is at least so much, or null.
    Least(usize, f64),
    When(Condition),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Arrival,
    EventTime,
}

impl Order {
    pub fn name(self) -> &'static str {
        match self {
            Order::Arrival => "arrival",
            Order::EventTime => "event_time",
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct History {
    pub events: usize,
    pub ttl_ms: i64,
}

#[derive(Clone, Debug)]
pub struct Pipeline {
    pub order: Order,
    pub fields: Vec<Field>,
    pub key: Vec<usize>,
    /// The field that is the event time.
    pub time: usize,
    pub max_out_of_orderness_ms: i64,
    pub max_drift_ms: Option<i64>,
    pub max_ahead_ms: Option<i64>,
    /// `dead_letter`, `process` or `drop`.
    pub late: &'static str,
    pub checks: Vec<Check>,
    pub filter: Option<Condition>,
    pub history: Option<History>,
    pub features: Vec<Feature>,
}

impl Pipeline {
    /// The file, for a job on files below a folder.
    pub fn file(&self, inputs: &Path, workers: usize) -> String {
        let mut text = format!(
            "[job]\nname = \"case\"\nworkers = {workers}\norder = {}\n\n\
             [source]\nkind = \"file\"\npath = {}\n\n",
            quoted(self.order.name()),
            quoted(&inputs.join("*.jsonl").display().to_string()),
        );
        self.write_event(&mut text);
        for check in &self.checks {
            self.write_check(&mut text, check);
        }
        if let Some(keep) = &self.filter {
            let keep = quoted(&keep.text(&self.names()));
            writeln!(text, "[[filter]]\nkeep = {keep}\n").unwrap();
        }
        if let Some(History { events, ttl_ms }) = self.history {
            let kept: Vec<usize> = (0..self.fields.len()).collect();
            let kept = self.listed(&kept);
            writeln!(
                text,
                "[history]\nevents = {events}\nttl = \"{ttl_ms}ms\"\nfields = {kept}\n"
            )
            .unwrap();
        }
        for feature in &self.features {
            self.write_feature(&mut text, feature);
        }
        text + "[model]\npath = \"none.onnx\"\n\n[sink]\nkind = \"discard\"\n"
    }

    /// What else there is in it, and how often.
    pub fn also(&self) -> [(&'static str, usize); 6] {
        let is_when = |it: &&Check| matches!(it.rule, Rule::When(_));
        let is_cel = |it: &&Feature| matches!(&it.condition, Some(it) if !it.is_table());
        [
            (
                "checks with `when`",
                self.checks.iter().filter(is_when).count(),
            ),
            ("filters", usize::from(self.filter.is_some())),
            (
                "fields with a default",
                self.fields.iter().filter(|it| it.default.is_some()).count(),
            ),
            (
                "fields with a path",
                self.fields.iter().filter(|it| it.path.is_some()).count(),
            ),
            (
                "features of another key",
                self.features.iter().filter(|it| it.key.is_some()).count(),
            ),
            (
                "features with `where` in CEL",
                self.features.iter().filter(is_cel).count(),
            ),
        ]
    }

    pub fn names(&self) -> Vec<&str> {
        self.fields.iter().map(|it| it.name.as_str()).collect()
    }

    fn listed(&self, fields: &[usize]) -> String {
        let names = fields.iter().map(|&it| quoted(&self.fields[it].name));
        format!("[{}]", names.collect::<Vec<_>>().join(", "))
    }

    fn write_event(&self, text: &mut String) {
        let (key, time) = (self.listed(&self.key), quoted(&self.fields[self.time].name));
        let late = quoted(self.late);
        let disorder = self.max_out_of_orderness_ms;
        writeln!(
            text,
            "[event]\nkey = {key}\ntime = {{ field = {time}, unit = \"ms\" }}\n\
             late = {late}\nmax_out_of_orderness = \"{disorder}ms\""
        )
        .unwrap();
        for (name, ms) in [
            ("max_drift", self.max_drift_ms),
            ("max_ahead", self.max_ahead_ms),
        ] {
            if let Some(ms) = ms {
                writeln!(text, "{name} = \"{ms}ms\"").unwrap();
            }
        }
        for field in &self.fields {
            let (name, kind) = (quoted(&field.name), quoted(field.kind.name()));
            writeln!(text, "\n[[event.field]]\nname = {name}\ntype = {kind}").unwrap();
            match &field.default {
                Some(default) => writeln!(text, "default = {}", Literal(default)).unwrap(),
                None => writeln!(text, "required = {}", field.required).unwrap(),
            }
            if let Some(path) = &field.path {
                writeln!(text, "path = {}", quoted(&path.join("."))).unwrap();
            }
        }
        text.push('\n');
    }

    fn write_check(&self, text: &mut String, check: &Check) {
        text.push_str("[[check]]\n");
        match &check.rule {
            Rule::Least(field, least) => {
                let field = quoted(&self.fields[*field].name);
                writeln!(text, "field = {field}\nrule = \"min\"\nvalue = {least:?}").unwrap();
            }
            Rule::When(when) => {
                let when = quoted(&when.text(&self.names()));
                writeln!(text, "when = {when}\nmessage = \"no\"").unwrap();
            }
        }
        let stage = match check.stage {
            Stage::Validate => "validate",
            Stage::Feature => "feature",
        };
        writeln!(text, "stage = \"{stage}\"\n").unwrap();
    }

    fn write_feature(&self, text: &mut String, feature: &Feature) {
        let mut set = |key: &str, value: String| writeln!(text, "{key} = {value}").unwrap();
        set("[[feature]]\nname", quoted(&feature.name));
        set("of", quoted(feature.of));
        if let Some(field) = feature.field {
            set("field", quoted(&self.fields[field].name));
        }
        if !feature.values.is_empty() {
            let values: Vec<String> = feature.values.iter().map(|it| quoted(it)).collect();
            set("values", format!("[{}]", values.join(", ")));
        }
        match feature.of {
            "hash" => set("buckets", feature.buckets.to_string()),
            "constant" => set("value", format!("{:?}", feature.value)),
            _ => {}
        }
        if let Some(expression) = &feature.expression {
            set("expr", quoted(&expression.text()));
        }
        match &feature.condition {
            Some(condition @ Condition::Equal(_)) => set("where", condition.text(&self.names())),
            Some(condition) => set("where", quoted(&condition.text(&self.names()))),
            None => {}
        }
        match feature.window {
            Some(Window::History) => set("window", quoted("history")),
            Some(Window::Last(events)) => set("window", format!("\"last {events}\"")),
            Some(Window::Time(ms)) => set("window", format!("\"{ms}ms\"")),
            None => {}
        }
        if feature.window.is_some() && !feature.includes_self {
            set("include_self", "false".to_owned());
        }
        if let Some(key) = &feature.key {
            set("key", self.listed(key));
        }
        set("fill", format!("{:?}", feature.fill));
        let transforms = feature.transforms.iter().map(|transform| match transform {
            Transform::Log1p => "\"log1p\"".to_owned(),
            Transform::Clip(least, most) => format!("\"clip({least}, {most})\""),
            Transform::Scale(mean, deviation) => format!("\"scale({mean}, {deviation})\""),
        });
        let transforms = transforms.collect::<Vec<_>>().join(", ");
        set("transform", format!("[{transforms}]\n"));
    }
}

/// A text as TOML has it.
pub fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
