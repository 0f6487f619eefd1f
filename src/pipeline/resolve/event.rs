//! Fields, and what refers to them: key, event time, history.

use std::collections::{BTreeMap, BTreeSet};

use slackwater_operators::event::{DefaultValue, FieldType, TimeUnit};

use crate::pipeline::mistakes::Findings;
use crate::pipeline::read::Section;
use crate::pipeline::resolve::field;
use crate::pipeline::spec::{EventSpec, FieldKind, FieldSpec, HistorySpec, Late, Order, TimeSpec};
use crate::pipeline::value::{Located, quoted, unknown};

pub(super) use crate::pipeline::resolve::field::type_name;

/// Most fields of an event: each is a column of every batch and of every history.
const MAX_FIELDS: usize = 256;

/// Most fields of one event of a history: an entry has a fixed place for each.
const MAX_KEPT_FIELDS: usize = 32;

/// A declared field, as far as it could be read.
struct Field {
    name: String,
    path: Located<Vec<String>>,
    kind: Option<FieldKind>,
    required: Option<bool>,
    default: Option<DefaultValue>,
    /// Whether a default is written, be it a wrong one.
    has_default: bool,
}

/// The declared fields.
pub(super) struct Fields {
    list: Vec<Field>,
    by_name: BTreeMap<String, usize>,
    /// Whether every declared field has a name; else a name that is not found proves nothing.
    complete: bool,
}

impl Fields {
    /// The index of a field; a name that is not declared is a mistake.
    pub(super) fn index(
        &self,
        name: &Located<impl AsRef<str>>,
        findings: &mut Findings,
    ) -> Option<usize> {
        let wanted = name.value.as_ref();
        if let Some(index) = self.by_name.get(wanted) {
            return Some(*index);
        }
        if self.complete {
            let names = || self.list.iter().map(|field| field.name.as_str());
            let all: Vec<_> = names().map(quoted).collect();
            let known = format!(", known are {}", all.join(", "));
            findings.add(name.at, unknown("field", wanted, names(), &known));
        }
        None
    }

    /// Indices of several fields; naming one twice is a mistake.
    pub(super) fn indices(
        &self,
        names: &[Located<String>],
        findings: &mut Findings,
    ) -> Option<Vec<usize>> {
        let mut seen = BTreeSet::new();
        for name in names {
            if !seen.insert(name.value.as_str()) {
                findings.add(
                    name.at,
                    format!("field {} is listed twice", quoted(&name.value)),
                );
            }
        }
        let indices: Vec<_> = names
            .iter()
            .map(|name| self.index(name, findings))
            .collect();
        indices.into_iter().collect()
    }

    /// The type of a field, when it could be read.
    pub(super) fn kind(&self, index: usize) -> Option<FieldKind> {
        self.list.get(index)?.kind
    }

    /// The type of the field of this name, when there is one and it could be read.
    pub(super) fn kind_of(&self, name: &str) -> Option<FieldKind> {
        self.by_name.get(name).and_then(|&index| self.kind(index))
    }

    /// The name of a field.
    pub(super) fn name(&self, index: usize) -> &str {
        self.list.get(index).map_or("", |field| field.name.as_str())
    }

    /// All fields with their types; none if one could not be read.
    pub(super) fn typed(&self) -> Option<Vec<(&str, FieldType)>> {
        let typed = self
            .list
            .iter()
            .map(|field| Some((field.name.as_str(), FieldType::from(field.kind?))));
        typed.collect::<Option<Vec<_>>>().filter(|_| self.complete)
    }

    fn required(&self, index: usize) -> Option<bool> {
        self.list.get(index)?.required
    }

    /// Whether the field may be null.
    fn is_nullable(&self, index: usize) -> bool {
        let field = self.list.get(index);
        field.is_some_and(|field| field.required == Some(false) && !field.has_default)
    }

    /// Adds a field, unless another one has its name.
    fn add(&mut self, name: &Located<&str>, field: Field, findings: &mut Findings) {
        if self.by_name.contains_key(name.value) {
            let message = format!("field {} is declared twice", quoted(name.value));
            findings.add(name.at, message);
            return;
        }
        let path = &field.path.value;
        let meets = |other: &&Field| {
            let other = &other.path.value;
            path.starts_with(other) || other.starts_with(path)
        };
        if let Some(other) = self.list.iter().find(meets) {
            let (other_name, place) = (quoted(&other.name), quoted(&other.path.value.join(".")));
            let message = if *path == other.path.value {
                format!("field {other_name} lies at {place} already")
            } else {
                format!(
                    "field {other_name} lies at {place}: of two fields neither can be an object that holds the other"
                )
            };
            findings.add(field.path.at, message);
        }
        self.by_name.insert(field.name.clone(), self.list.len());
        self.list.push(field);
    }
}

/// Reads the declared fields.
pub(super) fn fields(event: Option<&Section>, findings: &mut Findings) -> Fields {
    let sections = event.map_or(&[][..], |event| event.tables("field"));
    let complete = !sections.is_empty() && !findings.broken_header();
    let mut fields = Fields {
        list: Vec::new(),
        by_name: BTreeMap::new(),
        complete,
    };
    if let Some(beyond) = sections.get(MAX_FIELDS) {
        findings.add(
            beyond.at,
            format!("at most {MAX_FIELDS} [[event.field]] are allowed"),
        );
    }
    for section in sections {
        let kind = field::kind(section);
        let required = field::required(section, findings);
        let Some(name) = section.text("name") else {
            fields.complete = false;
            continue;
        };
        let field = Field {
            name: name.value.to_owned(),
            path: field::path(section, &name, findings),
            kind,
            required,
            default: kind.and_then(|kind| field::default(section, kind, findings)),
            has_default: section.is_meant("default"),
        };
        fields.add(&name, field, findings);
    }
    fields
}

/// Reads `[event]`.
pub(super) fn event(
    section: &Section,
    fields: &Fields,
    order: Option<Order>,
    findings: &mut Findings,
) -> Option<EventSpec> {
    let key = section.texts("key").and_then(|names| {
        if names.is_empty() {
            let at = section.get("key").map_or(section.at, |(at, _)| at);
            findings.add(at, "`key`: needs at least one field");
        }
        let indices = fields.indices(names, findings);
        for name in names {
            key_field(fields, name, findings);
        }
        indices
    });
    let time = time(section, fields, findings);
    if let Some(depth) = section.integer::<usize>("max_depth") {
        for field in &fields.list {
            if field.path.value.len() > depth {
                let message = format!("`path`: lies deeper than max_depth, which is {depth}");
                findings.add(field.path.at, message);
            }
        }
    }
    let list = fields.list.iter().map(|field| {
        Some(FieldSpec {
            name: field.name.clone(),
            path: field.path.value.clone(),
            kind: field.kind?,
            required: field.required?,
            default: match field.has_default {
                true => Some(field.default.clone()?),
                false => None,
            },
        })
    });
    Some(EventSpec {
        fields: list.collect::<Option<Vec<_>>>()?,
        key: key?,
        time: time?,
        max_out_of_orderness_ms: section.millis("max_out_of_orderness")?,
        late: match section.text("late")?.value {
            "process" => Late::Process,
            "drop" => Late::Drop,
            _ => Late::DeadLetter,
        },
        max_drift_ms: max_drift(section, order.unwrap_or(Order::EventTime))?,
        idle_timeout_ms: section.millis("idle_timeout"),
        max_ahead_ms: section.millis("max_ahead"),
        max_bytes: usize::try_from(section.bytes("max_bytes")?).ok()?,
        max_depth: section.integer("max_depth")?,
    })
}

/// How far a partition may run ahead. In arrival order, where nothing waits, as far as events of one partition are out of
/// order anyway; or a second, so that each is read for a while.
fn max_drift(section: &Section, order: Order) -> Option<u64> {
    const IN_TIME_ORDER_MS: u64 = 60_000;
    const LEAST_MS: u64 = 1_000;
    let unless_set = match order {
        Order::EventTime => IN_TIME_ORDER_MS,
        Order::Arrival => section.millis("max_out_of_orderness")?.max(LEAST_MS),
    };
    Some(section.millis("max_drift").unwrap_or(unless_set))
}

/// Where the event time comes from.
fn time(section: &Section, fields: &Fields, findings: &mut Findings) -> Option<TimeSpec> {
    if section.text("time").is_some() {
        return Some(TimeSpec::Record);
    }
    let section = section.table("time")?;
    let unit = section.text("unit").and_then(|unit| match unit.value {
        "s" => Some(TimeUnit::Seconds),
        "ms" => Some(TimeUnit::Milliseconds),
        "us" => Some(TimeUnit::Microseconds),
        "ns" => Some(TimeUnit::Nanoseconds),
        "rfc3339" => Some(TimeUnit::Rfc3339),
        _ => None,
    });
    let name = section.text("field")?;
    let field = fields.index(&name, findings)?;
    let shown = quoted(name.value);
    let wanted = unit.map(|unit| match unit {
        TimeUnit::Rfc3339 => (FieldKind::String, "a string with unit = \"rfc3339\""),
        _ => (FieldKind::Int, "an int"),
    });
    match (wanted, fields.kind(field)) {
        (Some((wanted, what)), Some(kind)) if kind != wanted => {
            findings.add(name.at, format!("time field {shown} must be {what}"));
        }
        _ if fields.required(field) == Some(false) => {
            let message = format!("time field {shown} must be required");
            findings.add(name.at, message);
        }
        _ => {}
    }
    Some(TimeSpec::Field { field, unit: unit? })
}

fn key_field(fields: &Fields, name: &Located<String>, findings: &mut Findings) {
    let Some(&index) = fields.by_name.get(&name.value) else {
        return;
    };
    let shown = quoted(&name.value);
    match fields.kind(index) {
        Some(kind) if !matches!(kind, FieldKind::String | FieldKind::Int) => {
            let kind = type_name(kind);
            findings.add(
                name.at,
                format!("key field {shown} must be a string or an int, it is a {kind}"),
            );
        }
        _ if fields.is_nullable(index) => {
            let message = format!("key field {shown} must be required, or have a default");
            findings.add(name.at, message);
        }
        _ => {}
    }
}

/// `[history]` and which fields it keeps.
pub(super) struct Kept {
    /// The table, when it could be read.
    pub(super) spec: Option<HistorySpec>,
    /// The fields it keeps; `None` when some could not be read.
    pub(super) fields: Option<Vec<usize>>,
}

/// Reads `[history]`.
pub(super) fn history(section: &Section, fields: &Fields, findings: &mut Findings) -> Kept {
    let names = section.texts("fields");
    if let Some(beyond) = names.and_then(|names| names.get(MAX_KEPT_FIELDS)) {
        findings.add(
            beyond.at,
            format!("history keeps at most {MAX_KEPT_FIELDS} fields"),
        );
    }
    for name in names.unwrap_or_default() {
        let kind = fields.by_name.get(&name.value);
        let kind = kind.and_then(|&index| fields.kind(index));
        if let Some(kind) = kind.filter(|kind| kind.is_list()) {
            let (name_shown, kind) = (quoted(&name.value), type_name(kind));
            let message =
                format!("field {name_shown} is a {kind}, and a history keeps single values only");
            findings.add(name.at, message);
        }
    }
    let kept = names.and_then(|names| fields.indices(names, findings));
    let spec = || {
        Some(HistorySpec {
            events: section.integer("events")?,
            ttl_ms: section.millis("ttl")?,
            fields: kept.clone()?,
        })
    };
    Kept {
        spec: spec(),
        fields: kept,
    }
}
