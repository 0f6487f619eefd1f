//! A rejected event as a record of its dead-letter stream: the raw form. Key, headers and bytes are those of the record that
//! was read, and what is to be said of it stands in further headers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use slackwater_dataflow::headers::{self, Headers};

use crate::encode::form::EVENT_TIME_HEADER;
use crate::encode::json;
use crate::origin::KeptOrigin;
use crate::reject::{Original, Reject, Stage};

/// What raw dead letters say of the program and its model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawPlan {
    /// The version of the program.
    pub version: String,
    /// `sha256:` and the digest of the model, if there is one.
    pub model: Option<String>,
}

/// What a raw dead letter is made of.
pub(super) struct RawLetter<'a> {
    pub plan: &'a RawPlan,
    pub reject: &'a Reject,
    /// What is repeated of the record.
    pub original: &'a Original,
    /// What the record was written with, as far as that is repeated.
    pub origin: KeptOrigin<'a>,
    /// Whether it was written with more than that.
    pub leaves_out: bool,
    /// Topic, and its number of the partition.
    pub source: (&'a str, u32),
    pub error_type: &'static str,
    pub now_ms: i64,
}

impl RawLetter<'_> {
    /// All headers: those of the record, then those that say what became of it. Of two with one name the last one
    /// counts, for who takes Kafka's `lastHeader`.
    pub(super) fn headers(&self) -> Vec<u8> {
        let mut all = self.origin.headers.bytes().to_vec();
        let mut add = |name: &str, value: &str| {
            headers::write(&mut all, (name, Some(value.as_bytes())));
        };
        let (reject, reason) = (self.reject, &self.reject.reason);
        // The names that Kafka Streams gives to its dead letters.
        add("__streams.errors.exception", self.error_type);
        add("__streams.errors.message", &reason.message);
        if !reason.causes.is_empty() {
            let causes = reason.causes.join("\ncaused by: ");
            add("__streams.errors.stacktrace", &causes);
        }
        add("__streams.errors.topic", self.source.0);
        add("__streams.errors.partition", &self.source.1.to_string());
        add("__streams.errors.offset", &reject.offset.to_string());
        add("slackwater.version", &self.plan.version);
        add("slackwater.stage", reason.stage.name());
        add("slackwater.code", reason.code.name());
        add("slackwater.processing_time_ms", &self.now_ms.to_string());
        if let Some(time) = reject.event_time {
            add(EVENT_TIME_HEADER, &time.0.to_string());
        }
        if let Some(late) = reject.lateness {
            add("slackwater.watermark_ms", &late.watermark.0.to_string());
            add("slackwater.lateness_ms", &late.lateness_ms.to_string());
        }
        if let (Some(model), Stage::Infer | Stage::Encode) = (&self.plan.model, reason.stage) {
            add("slackwater.model", model);
        }
        if self.leaves_out {
            add("slackwater.left_out", "key and headers");
        }
        if let Original::Oversize { length, sha256, .. } = self.original {
            add("slackwater.original_length", &length.to_string());
            add("slackwater.original_sha256", &json::hexadecimal(sha256));
        }
        all
    }

    /// What is repeated of the record, as it was read.
    pub(super) fn value(&self) -> &[u8] {
        match self.original {
            Original::Record(record) => record,
            Original::Oversize { head, .. } => head,
        }
    }

    /// The whole as JSON, where a record is a line.
    pub(super) fn line(&self, out: &mut Vec<u8>, all: Headers<'_>) {
        out.extend_from_slice(b"{\"key\":");
        optional(out, self.origin.key);
        out.extend_from_slice(b",\"headers\":[");
        for (at, (name, value)) in all.iter().enumerate() {
            out.extend_from_slice(if at > 0 { b",[" } else { b"[" });
            json::text(out, name);
            out.push(b',');
            optional(out, value);
            out.push(b']');
        }
        out.extend_from_slice(b"],\"value\":");
        bytes(out, self.value());
        out.push(b'}');
    }
}

/// Bytes, or that there are none.
fn optional(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        Some(value) => bytes(out, value),
        None => out.extend_from_slice(b"null"),
    }
}

/// A text as it is; bytes that are no text as an object that says so.
fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    match str::from_utf8(value) {
        Ok(text) => json::text(out, text),
        Err(_) => {
            out.extend_from_slice(b"{\"base64\":");
            json::text(out, &STANDARD.encode(value));
            out.push(b'}');
        }
    }
}
