//! A pipeline's mirror: the list in Redis that each key's history is.

use std::sync::Arc;
use std::time::Duration;

use slackwater_dataflow::checkpoint::mirroring::Behind;
use slackwater_dataflow::mirror::{Change, Mirror, MirrorError};
use slackwater_operators::event::TimeUnit;
use slackwater_operators::history::{PlainEntry, read_plain};
use slackwater_operators::key::{KeyPart, parts};
use slackwater_operators::lookup::plan::KeyPiece;
use slackwater_redis::mirror::{Layout, List, MirrorConfig, RedisMirror, greet};

use crate::pipeline::Pipeline;
use crate::pipeline::plan::stage;
use crate::pipeline::preflight::PreflightError;
use crate::pipeline::saved::field_value;
use crate::pipeline::servers::address;
use crate::pipeline::spec::{EventSpec, FieldKind, HistorySpec, MirrorSpec, TimeSpec};

/// What messages call it.
pub(crate) const CALLED: &str = "[mirror.redis]";

/// The mirror of a job, if it has one. Nothing is asked of the server yet.
pub(crate) fn mirror(pipeline: &Pipeline) -> Result<Option<Box<dyn Mirror>>, PreflightError> {
    let mirror = config(pipeline)?.map(RedisMirror::new);
    Ok(mirror.map(|mirror| Box::new(mirror) as Box<dyn Mirror>))
}

/// Asks the server of the mirror, if there is one, whether it can hold it.
pub(crate) fn check(pipeline: &Pipeline) -> Result<(), PreflightError> {
    asked(pipeline)?.map_err(refused)
}

/// The same for a job that begins, which does not wait for a server that is away.
pub(crate) fn check_if_there(pipeline: &Pipeline) -> Result<(), PreflightError> {
    match asked(pipeline)? {
        Err(error @ MirrorError::Unfit(_)) => Err(refused(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn asked(pipeline: &Pipeline) -> Result<Result<(), MirrorError>, PreflightError> {
    Ok(config(pipeline)?.map_or(Ok(()), |config| greet(&config)))
}

/// A job that has ended cannot be left: its mirror is not where it should be.
pub(crate) fn behind(error: Behind) -> PreflightError {
    failed(error.to_string())
}

fn failed(reason: String) -> PreflightError {
    PreflightError::Server {
        of: CALLED.to_owned(),
        reason,
    }
}

fn refused(error: MirrorError) -> PreflightError {
    failed(error.to_string())
}

fn config(pipeline: &Pipeline) -> Result<Option<MirrorConfig>, PreflightError> {
    let Some((spec, history)) = pipeline.mirror.as_ref().zip(pipeline.history.as_ref()) else {
        return Ok(None);
    };
    Ok(Some(MirrorConfig {
        job: pipeline.job.name.clone(),
        address: address(CALLED, &spec.server)?,
        timeout: Duration::from_millis(spec.timeout_ms),
        connect_timeout: Duration::from_millis(spec.connect_timeout_ms),
        ttl: (spec.ttl_ms > 0).then(|| Duration::from_millis(spec.ttl_ms)),
        layout: Arc::new(Histories::new(&pipeline.event, history, spec)),
    }))
}

/// Histories as lists of JSON objects.
struct Histories {
    layout: Vec<Piece>,
    ttl_ms: u64,
    /// What is kept of an event, by name.
    fields: Vec<(String, FieldKind)>,
    /// The field that says when it was, where it is not kept.
    time: Option<String>,
}

/// A piece of the key of a list.
enum Piece {
    Text(String),
    /// The part of the event's key with this number.
    Part(usize),
}

impl Histories {
    fn new(event: &EventSpec, history: &HistorySpec, spec: &MirrorSpec) -> Self {
        let pieces = spec.layout.0.iter().map(|piece| match piece {
            KeyPiece::Text(text) => Piece::Text(text.clone()),
            // That it is one of them has been checked.
            KeyPiece::Field(field) => {
                let part = event.key.iter().position(|key| *key == field.0);
                Piece::Part(part.unwrap_or_default())
            }
        });
        let kept = history.fields.iter();
        let kept = kept.filter_map(|&field| event.fields.get(field));
        let fields: Vec<_> = kept.map(|field| (field.name.clone(), field.kind)).collect();
        Histories {
            layout: pieces.collect(),
            ttl_ms: history.ttl_ms,
            time: time_name(event, history).filter(|time| fields.iter().all(|(it, _)| it != time)),
            fields,
        }
    }

    fn key(&self, key: &[u8]) -> Vec<u8> {
        let parts = parts(key);
        let mut name = String::new();
        for piece in &self.layout {
            match piece {
                Piece::Text(text) => name += text,
                Piece::Part(part) => match parts.get(*part) {
                    Some(KeyPart::Text(text)) => name += text,
                    Some(KeyPart::Int(value)) => name += &value.to_string(),
                    Some(KeyPart::Bool(value)) => name += &value.to_string(),
                    None => {}
                },
            }
        }
        name.into_bytes()
    }

    /// An event, as others read it: what is kept of it in the order of the file, and when it was.
    fn element(&self, entry: &PlainEntry<'_>) -> Vec<u8> {
        let mut element = String::from("{");
        let values = self.fields.iter().zip(&entry.values);
        let values = values.map(|((name, kind), bytes)| (name, field_value(*kind, *bytes)));
        let time = self.time.iter().map(|name| (name, entry.time.0.into()));
        for (name, value) in values.chain(time) {
            if element.len() > 1 {
                element.push(',');
            }
            element += &serde_json::Value::from(name.as_str()).to_string();
            element.push(':');
            element += &value.to_string();
        }
        element.push('}');
        element.into_bytes()
    }
}

/// What the time of an event is called beside its fields, where it is in milliseconds; none if the field that says it is
/// one of them.
fn time_name(event: &EventSpec, history: &HistorySpec) -> Option<String> {
    /// As predictions call it.
    const EVENT_TIME: &str = "event_time";
    match event.time {
        TimeSpec::Field { field, .. } if history.fields.contains(&field) => None,
        TimeSpec::Field {
            field,
            unit: TimeUnit::Milliseconds,
        } => event.fields.get(field).map(|field| field.name.clone()),
        TimeSpec::Field { .. } | TimeSpec::Record => Some(EVENT_TIME.to_owned()),
    }
}

impl Layout for Histories {
    fn stage(&self) -> &str {
        stage::FEATURES
    }

    fn list(&self, change: &Change) -> Option<List> {
        let key = self.key(&change.key);
        let Some(value) = &change.value else {
            let elements = Vec::new();
            return Some(List { key, elements });
        };
        let entries = read_plain(value, self.fields.len())?;
        // What the last event has not seen, the next one will not either: that it is still there is an accident.
        let last = entries.last().map(|entry| entry.time.0);
        let expired = last.and_then(|last| last.checked_sub_unsigned(self.ttl_ms));
        let seen = entries.iter().rev();
        let seen = seen.filter(|entry| Some(entry.time.0) > expired);
        Some(List {
            key,
            elements: seen.map(|entry| self.element(entry)).collect(),
        })
    }

    fn name(&self) -> String {
        let pieces = self.layout.iter().map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Part(part) => format!("{{{part}}}"),
        });
        pieces.collect()
    }

    fn pattern(&self) -> Vec<u8> {
        let mut pattern = Vec::new();
        for piece in &self.layout {
            match piece {
                Piece::Part(_) => pattern.push(b'*'),
                Piece::Text(text) => {
                    for byte in text.bytes() {
                        if matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\') {
                            pattern.push(b'\\');
                        }
                        pattern.push(byte);
                    }
                }
            }
        }
        pattern
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
