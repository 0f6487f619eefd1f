//! The pipeline file that says all that a job follows: with what is said above the file, and with the defaults.
//!
//! It is written from the tree that the pipeline was read from, key by key as they are declared, and is a pipeline file
//! again. Only secrets are left out of it, wherever they come from.

use std::fmt::Write as _;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::pipeline::keys::{Key, Kind, header, of_table};
use crate::pipeline::layers::{Layer, Layers, Places};
use crate::pipeline::spec::{Delivery, Order, SourceSpec};
use crate::pipeline::units::show_ms;
use crate::pipeline::value::{HIDDEN, without_password};
use crate::pipeline::{Mistakes, Parsed, Pipeline, parse_tree, text_of};

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;

/// Settings of the Kafka client that are shown. Of any other nobody here knows what it may hold.
const HARMLESS: [&str; 24] = [
    "acks",
    "allow.auto.create.topics",
    "broker.address.family",
    "check.crcs",
    "client.dns.lookup",
    "client.id",
    "client.rack",
    "compression.codec",
    "compression.type",
    "enable.ssl.certificate.verification",
    "fetch.max.bytes",
    "fetch.wait.max.ms",
    "isolation.level",
    "linger.ms",
    "message.max.bytes",
    "sasl.mechanism",
    "sasl.mechanisms",
    "security.protocol",
    "socket.keepalive.enable",
    "socket.timeout.ms",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.endpoint.identification.algorithm",
    "ssl.key.location",
];

/// Tables that have their defaults even where the file does not have them, and the table that they need for that.
const IMPLIED: [(&str, Option<&str>); 2] = [("dead_letter", None), ("restart", Some("checkpoint"))];

/// What a default is marked with; what the file itself says is not marked.
const DEFAULT: &str = "default";

/// What a pipeline file says with all that is said above it.
#[derive(Clone, Debug, PartialEq)]
pub struct Effective {
    /// As a pipeline file, secrets left out.
    pub text: String,
    /// As it is meant.
    pub pipeline: Pipeline,
}

/// Writes what a pipeline file says together with `layers`, secrets left out.
///
/// # Errors
/// All mistakes of the file and the layers, as [`Pipeline::parse_layered`] has them.
pub fn effective(file_name: &str, bytes: &[u8], layers: &Layers) -> Result<Effective, Mistakes> {
    let text = text_of(file_name, bytes)?;
    let parsed = parse_tree(file_name, text, layers)?;
    let Parsed {
        pipeline,
        tree,
        places,
    } = &parsed;
    let mut writer = Writer {
        text: String::new(),
        pipeline,
        places,
    };
    writer.tables("", tree);
    let text = writer.text.trim_start().to_owned();
    let Parsed { pipeline, .. } = parsed;
    Ok(Effective { text, pipeline })
}

/// Whether a setting of the Kafka client may be shown.
fn is_harmless(name: &str) -> bool {
    HARMLESS.contains(&name)
}

struct Writer<'r> {
    text: String,
    pipeline: &'r Pipeline,
    places: &'r Places,
}

impl Writer<'_> {
    /// The tables below one, or all of the file.
    fn tables(&mut self, path: &'static str, table: &DeTable<'_>) {
        let nothing = DeTable::new();
        for key in of_table(path).filter(|key| key.supported) {
            match (key.kind, table.get(key.name()).map(Spanned::get_ref)) {
                (Kind::Table, Some(DeValue::Table(below))) => self.table(key, below),
                (Kind::Table, None)
                    if (key.default.is_some() || is_implied(key, table))
                        && !key.gives_way(|other| table.contains_key(other)) =>
                {
                    self.table(key, &nothing);
                }
                (Kind::Tables, Some(DeValue::Array(list))) => {
                    let elements = list.iter().filter_map(|it| it.get_ref().as_table());
                    elements.for_each(|below| self.table(key, below));
                }
                (Kind::Properties, Some(DeValue::Table(properties))) => {
                    self.properties(key, properties);
                }
                _ => {}
            }
        }
    }

    fn table(&mut self, key: &'static Key, table: &DeTable<'_>) {
        let _ = writeln!(self.text, "\n{}", header(key.path));
        let of_table = || of_table(key.path).filter(|key| key.supported);
        let selected = of_table().find(|key| key.selects).and_then(|key| {
            let written = table.get(key.name()).and_then(|it| it.get_ref().as_str());
            written.or_else(|| key.default.map(|word| word.trim_matches('"')))
        });
        for key in of_table() {
            let found = table.get(key.name());
            // A word may stand for a table.
            let is_word = found.is_some_and(|found| found.get_ref().is_str());
            let has_header = matches!(key.kind, Kind::Table | Kind::Tables | Kind::Properties);
            let gives_way = key.gives_way(|other| table.contains_key(other));
            if has_header && !is_word || found.is_none() && gives_way {
                continue;
            }
            if let Some(found) = found {
                let mark = self.mark(found.span().start);
                let shown = match found.get_ref() {
                    DeValue::String(said) if key.address => text(&without_password(said)),
                    value => inline(value),
                };
                self.line(key.name(), &shown, mark);
            } else if let Some(default) = self.default(key, table, selected) {
                self.line(key.name(), &default, Some(DEFAULT));
            }
        }
        self.tables(key.path, table);
    }

    /// Each on a line of its own, since each may be of another layer.
    fn properties(&mut self, key: &'static Key, properties: &DeTable<'_>) {
        let _ = writeln!(self.text, "\n{}", header(key.path));
        for (name, value) in properties {
            let mark = self.mark(value.span().start);
            let shown = match value.get_ref() {
                // Where a secret is is none.
                place @ DeValue::Table(_) => inline(place),
                DeValue::String(said) if is_harmless(name.get_ref()) => {
                    text(&without_password(said))
                }
                value if is_harmless(name.get_ref()) => inline(value),
                _ => text(HIDDEN),
            };
            self.line(name.get_ref(), &shown, mark);
        }
    }

    fn line(&mut self, name: &str, value: &str, mark: Option<&str>) {
        let mark = mark.map_or_else(String::new, |mark| format!(" # {mark}"));
        let _ = writeln!(self.text, "{} = {value}{mark}", key_text(name));
    }

    /// Who says what stands there, if it is not the file.
    fn mark(&self, at: usize) -> Option<&'static str> {
        self.places.layer(at).map(|layer| match layer {
            Layer::Environment => "environment",
            Layer::Argument => "--set",
        })
    }

    /// What a key of a table is that is not written, if it is anything.
    fn default(&self, key: &Key, table: &DeTable<'_>, selected: Option<&str>) -> Option<String> {
        let goes = |word: &str| key.only.is_empty() || key.only.contains(&word);
        if !selected.is_none_or(goes) {
            return None;
        }
        // A lookup's value has the default of the lookup.
        if (key.path, selected) == ("feature[].fill", Some("lookup")) {
            return None;
        }
        if key.path == "event.field[].required" && table.contains_key("default") {
            return Some(false.to_string());
        }
        let declared = || key.default.map(str::to_owned);
        declared().or_else(|| self.resolved(key.path))
    }

    /// What a key without a default of its own has become, where that follows from the rest of the file.
    fn resolved(&self, path: &str) -> Option<String> {
        let Pipeline {
            job,
            source,
            event,
            sink,
            checkpoint,
            ..
        } = self.pipeline;
        match path {
            "event.max_ahead" if matches!(source, SourceSpec::Kafka(_)) => {
                Some(text(&show_ms(event.max_ahead_ms?)))
            }
            "event.max_drift"
                if job.order == Order::EventTime || self.pipeline.has_windows_of_time() =>
            {
                Some(text(&show_ms(event.max_drift_ms)))
            }
            "sink.delivery" => Some(text(match sink.delivery {
                Delivery::ExactlyOnce => "exactly_once",
                Delivery::AtLeastOnce => "at_least_once",
            })),
            "sink.fields" => {
                let fields = sink.fields.iter().filter_map(|&at| event.fields.get(at));
                let names: Vec<_> = fields.map(|field| text(&field.name)).collect();
                Some(format!("[{}]", names.join(", ")))
            }
            "checkpoint.store" => {
                let store = checkpoint.as_ref()?.store.to_string();
                Some(text(&format!("file:{store}")))
            }
            _ => None,
        }
    }
}

fn is_implied(key: &Key, root: &DeTable<'_>) -> bool {
    let mut implied = IMPLIED.iter();
    implied.any(|(path, needs)| {
        key.path == *path && needs.is_none_or(|needs| root.contains_key(needs))
    })
}

/// A value on one line.
fn inline(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(said) => text(said),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(list) => {
            let elements: Vec<_> = list.iter().map(|it| inline(it.get_ref())).collect();
            format!("[{}]", elements.join(", "))
        }
        DeValue::Table(table) => {
            let entry = |(name, value): (&Spanned<_>, &Spanned<_>)| {
                let name: &std::borrow::Cow<'_, str> = name.get_ref();
                format!("{} = {}", key_text(name), inline(value.get_ref()))
            };
            let entries: Vec<_> = table.iter().map(entry).collect();
            format!("{{ {} }}", entries.join(", "))
        }
    }
}

/// A name as a key: in quotes if it has more than letters, digits, `_` and `-`.
fn key_text(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !name.is_empty() && name.chars().all(is_bare) {
        name.to_owned()
    } else {
        text(name)
    }
}

/// A string in quotes on one line.
fn text(said: &str) -> String {
    let mut quoted = String::from("\"");
    for c in said.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
