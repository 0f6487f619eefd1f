//! Fields, and what refers to them: key, event time, history.

use std::collections::{BTreeMap, BTreeSet};

use crate::pipeline::mistakes::Findings;
use crate::pipeline::read::Section;
use crate::pipeline::spec::{EventSpec, FieldKind, FieldSpec, HistorySpec, Late};
use crate::pipeline::value::{Located, quoted, unknown};

/// Most fields of an event: each is a column of every batch and of every history.
const MAX_FIELDS: usize = 256;

/// Most fields of one event of a history: an entry has a fixed place for each.
const MAX_KEPT_FIELDS: usize = 32;

/// A declared field, as far as it could be read.
struct Field {
    name: String,
    kind: Option<FieldKind>,
    required: Option<bool>,
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

    fn required(&self, index: usize) -> Option<bool> {
        self.list.get(index)?.required
    }
}

/// How the file writes a type.
pub(super) fn type_name(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::String => "string",
        FieldKind::Int => "int",
        FieldKind::Float => "float",
        FieldKind::Bool => "bool",
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
        let kind = section.text("type").and_then(|text| match text.value {
            "string" => Some(FieldKind::String),
            "int" => Some(FieldKind::Int),
            "float" => Some(FieldKind::Float),
            "bool" => Some(FieldKind::Bool),
            _ => None,
        });
        let required = section.boolean("required");
        let Some(name) = section.text("name") else {
            fields.complete = false;
            continue;
        };
        if fields.by_name.contains_key(name.value) {
            findings.add(
                name.at,
                format!("field {} is declared twice", quoted(name.value)),
            );
            continue;
        }
        fields
            .by_name
            .insert(name.value.to_owned(), fields.list.len());
        fields.list.push(Field {
            name: name.value.to_owned(),
            kind,
            required,
        });
    }
    fields
}

/// Reads `[event]`.
pub(super) fn event(
    section: &Section,
    fields: &Fields,
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
    let time = section.table("time").and_then(|time| time.text("field"));
    let time_field = time.and_then(|name| {
        let index = fields.index(&name, findings)?;
        if fields
            .kind(index)
            .is_some_and(|kind| kind != FieldKind::Int)
        {
            findings.add(
                name.at,
                format!("time field {} must be an int", quoted(name.value)),
            );
        } else if fields.required(index) == Some(false) {
            findings.add(
                name.at,
                format!("time field {} must be required", quoted(name.value)),
            );
        }
        Some(index)
    });
    let list = fields.list.iter().map(|field| {
        Some(FieldSpec {
            name: field.name.clone(),
            kind: field.kind?,
            required: field.required?,
        })
    });
    Some(EventSpec {
        fields: list.collect::<Option<Vec<_>>>()?,
        key: key?,
        time_field: time_field?,
        max_out_of_orderness_ms: section.millis("max_out_of_orderness")?,
        late: match section.text("late")?.value {
            "process" => Late::Process,
            "drop" => Late::Drop,
            _ => Late::DeadLetter,
        },
        max_drift_ms: section.millis("max_drift")?,
        idle_timeout_ms: section.millis("idle_timeout"),
        max_ahead_ms: section.millis("max_ahead"),
        max_bytes: usize::try_from(section.bytes("max_bytes")?).ok()?,
        max_depth: section.integer("max_depth")?,
    })
}

fn key_field(fields: &Fields, name: &Located<String>, findings: &mut Findings) {
    let Some(&index) = fields.by_name.get(&name.value) else {
        return;
    };
    let shown = quoted(&name.value);
    match fields.kind(index) {
        Some(kind @ (FieldKind::Float | FieldKind::Bool)) => {
            let kind = type_name(kind);
            findings.add(
                name.at,
                format!("key field {shown} must be a string or an int, it is a {kind}"),
            );
        }
        _ if fields.required(index) == Some(false) => {
            findings.add(name.at, format!("key field {shown} must be required"));
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
