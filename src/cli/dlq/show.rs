//! `slackwater dlq show`.

use std::ops::ControlFlow;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use slackwater_kafka::letters::StoredRecord;

use crate::cli::dlq::list::letter_object;
use crate::cli::{Above, Failure, load, print};
use crate::letters::letter::{Letter, Place};
use crate::letters::selection::Selection;
use crate::letters::streams;
use crate::pipeline::outline::plain;

/// Shows one dead letter whole.
#[derive(Debug, clap::Args)]
pub struct Show {
    /// Pipeline file
    #[arg(value_name = "PIPELINE")]
    pipeline: PathBuf,
    #[command(flatten)]
    above: Above,
    /// Where it is: STREAM/PARTITION/OFFSET, as `dlq list` prints it
    place: Place,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(super) fn run(self) -> Result<(), Failure> {
        let pipeline = load(Some(&self.pipeline), &self.above, self.json)?;
        let only = Selection {
            streams: vec![self.place.stream.clone()],
            partition: Some(self.place.partition),
            from: Some(self.place.offset),
            to: self.place.offset.checked_add(1),
            ..Selection::default()
        };
        let mut found = None;
        streams::read(&pipeline, &only, &mut |place, record| {
            found = (place == self.place).then_some(record);
            ControlFlow::Break(())
        })?;
        let Some(record) = found else {
            return Err(Failure::NoLetter(self.place.to_string()));
        };
        let letter = Letter::of(&record);
        if self.json {
            return print(&object(&self.place, letter.as_ref(), &record).to_string());
        }
        print(&text(&self.place, letter.as_ref(), &record))
    }
}

/// Bytes for people: text as it is, others in base64.
fn shown(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) => plain(text),
        Err(_) => format!("(base64) {}", STANDARD.encode(bytes)),
    }
}

fn text(place: &Place, letter: Option<&Letter>, record: &StoredRecord) -> String {
    let mut lines = vec![place.to_string()];
    let mut line = |name: &str, value: &str| lines.push(format!("{name:10}{value}"));
    match letter {
        Some(letter) => {
            let (stage, code) = (plain(&letter.stage), plain(&letter.code));
            line(
                "why",
                &format!("{stage}/{code}: {}", plain(&letter.message)),
            );
            if let Some(source) = &letter.source {
                let topic = plain(&source.topic);
                let place = format!("{topic}/{}/{}", source.partition, source.offset);
                line("read at", &place);
            }
        }
        None => line("why", "it is no dead letter of this program"),
    }
    line(
        "key",
        &record.key.as_deref().map_or("none".to_owned(), shown),
    );
    for (name, value) in &record.headers {
        let value = value.as_deref().map_or("none".to_owned(), shown);
        line("header", &format!("{}: {value}", plain(name)));
    }
    line("value", &shown(&record.value));
    lines.join("\n")
}

fn value(bytes: &[u8]) -> Value {
    match str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}

fn object(place: &Place, letter: Option<&Letter>, record: &StoredRecord) -> Value {
    let headers = record.headers.iter();
    let headers = headers.map(|(name, bytes)| json!([name, bytes.as_deref().map(value)]));
    json!({
        "letter": letter.map(|letter| letter_object(place, letter)),
        "key": record.key.as_deref().map(value),
        "headers": headers.collect::<Vec<_>>(),
        "value": value(&record.value),
    })
}
