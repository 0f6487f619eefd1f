//! A feature vector as a record: what training reads, computed by the code that serves.

use slackwater_dataflow::fields::Fields;
use slackwater_dataflow::flow::Publication;
use slackwater_dataflow::headers::Headers;
use slackwater_dataflow::operator::{Emitter, Operator};
use slackwater_dataflow::place::Spread;
use slackwater_dataflow::sink::OutputStream;
use slackwater_dataflow::sink::addressed::AddressedRecord;

use crate::batch::{Row, Rows};
use crate::encode::dead_letter::as_it_came;
use crate::encode::form::{Chunks, Form, Sender, write_record_key};
use crate::encode::json;
use crate::features::FeatureBatch;
use crate::json::{PathScanner, Value};
use crate::key::parts;

/// Length of a label that is not there.
const NONE: u32 = u32::MAX;

/// What a row of features says.
#[derive(Clone, Debug)]
pub struct FeatureRowPlan {
    /// Names of the features, in order.
    pub names: Vec<String>,
    /// Names of values of the record that are passed through as they are: what training is to predict.
    pub labels: Vec<String>,
    /// Where each of them is in a record.
    pub label_paths: Vec<Vec<String>>,
    /// Deepest nesting that a record may have, as for ingest.
    pub max_depth: u32,
    /// Where keys go.
    pub spread: Spread,
    /// How rows are written: as lines of JSON, or as [`FeatureRow`] reads them.
    pub form: Form,
}

/// Encodes feature vectors.
pub struct EncodeFeatures {
    spread: Spread,
    form: Form,
    /// What stands before each value.
    before: Vec<Vec<u8>>,
    labels: Option<Labels>,
    key: Vec<u8>,
}

/// Finds labels in records, which hold more than the declared fields.
struct Labels {
    scanner: PathScanner,
    max_depth: u32,
    /// What stands before each.
    before: Vec<Vec<u8>>,
    values: Vec<Value>,
}

impl Labels {
    fn new(plan: &FeatureRowPlan) -> Self {
        Labels {
            scanner: PathScanner::new(&plan.label_paths),
            max_depth: plan.max_depth,
            before: separated(&plan.labels),
            values: vec![Value::Missing; plan.labels.len()],
        }
    }

    /// Reads those of a record. Ingest has read it before: it cannot fail.
    fn read(&mut self, record: &[u8]) {
        let read = self.scanner.scan(record, self.max_depth, &mut self.values);
        debug_assert!(read.is_ok());
    }

    fn json(&mut self, bytes: &mut Vec<u8>, record: &[u8]) {
        self.read(record);
        bytes.extend_from_slice(b",\"labels\":{");
        for (before, value) in self.before.iter().zip(&self.values) {
            bytes.extend_from_slice(before);
            as_it_came(bytes, value, record);
        }
        bytes.push(b'}');
    }

    fn row(&mut self, bytes: &mut Vec<u8>, record: &[u8]) {
        self.read(record);
        for value in &self.values {
            let start = bytes.len();
            bytes.extend_from_slice(&NONE.to_le_bytes());
            if matches!(value, Value::Missing | Value::Null) {
                continue;
            }
            as_it_came(bytes, value, record);
            let length = (bytes.len() - start - 4) as u32;
            if let Some(place) = bytes.get_mut(start..start + 4) {
                place.copy_from_slice(&length.to_le_bytes());
            }
        }
    }
}

/// `"name":` for each name, with what stands between them.
fn separated(names: &[String]) -> Vec<Vec<u8>> {
    let before = |(at, name): (usize, &String)| json::key(if at == 0 { "" } else { "," }, name);
    names.iter().enumerate().map(before).collect()
}

impl EncodeFeatures {
    /// An encoder as planned.
    pub fn new(plan: &FeatureRowPlan) -> Self {
        EncodeFeatures {
            spread: plan.spread,
            form: plan.form.clone(),
            before: separated(&plan.names),
            labels: (!plan.labels.is_empty()).then(|| Labels::new(plan)),
            key: Vec::new(),
        }
    }

    fn json(&mut self, bytes: &mut Vec<u8>, rows: &Rows, row: &Row, vector: &[f32]) {
        bytes.extend_from_slice(b"{\"partition\":");
        json::int(bytes, row.partition.0);
        bytes.extend_from_slice(b",\"offset\":");
        json::int(bytes, row.offset.0);
        bytes.extend_from_slice(b",\"key\":");
        match parts(rows.bytes(row.key)).as_slice() {
            [part] => json::key_part(bytes, part),
            parts => json::key_parts(bytes, parts),
        }
        bytes.extend_from_slice(b",\"event_time\":");
        json::int(bytes, row.time.0);
        bytes.extend_from_slice(b",\"features\":{");
        for (before, &value) in self.before.iter().zip(vector) {
            bytes.extend_from_slice(before);
            if value.is_finite() {
                json::float(bytes, value);
            } else {
                // JSON has no word for it.
                bytes.extend_from_slice(b"null");
            }
        }
        bytes.push(b'}');
        if let Some(labels) = &mut self.labels {
            labels.json(bytes, rows.bytes(row.record));
        }
        bytes.push(b'}');
    }

    /// What [`FeatureRow::read`] reads, beside key and event time.
    fn row(&mut self, bytes: &mut Vec<u8>, rows: &Rows, row: &Row, vector: &[f32]) {
        bytes.extend_from_slice(&row.partition.0.to_le_bytes());
        bytes.extend_from_slice(&row.offset.0.to_le_bytes());
        for value in vector {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        if let Some(labels) = &mut self.labels {
            labels.row(bytes, rows.bytes(row.record));
        }
    }
}

/// A row of features of a table, see [`Form::Rows`].
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureRow<'a> {
    /// Where the event comes from.
    pub partition: u32,
    /// Its place there.
    pub offset: u64,
    /// Its key: a text as it is, a number or truth value in words, several fields as a JSON array.
    pub key: &'a str,
    /// Its event time, milliseconds since 1970.
    pub event_time: i64,
    /// The features, in order, to the bit.
    pub vector: Vec<f32>,
    /// The labels, in order, as JSON; none where the record has none, or null.
    pub labels: Vec<Option<&'a [u8]>>,
}

impl<'a> FeatureRow<'a> {
    /// Reads a row of so many features and labels; none if it is no such row.
    pub fn read(record: &AddressedRecord<'a>, features: usize, labels: usize) -> Option<Self> {
        let mut rest = Fields(record.value?);
        let (partition, offset) = (rest.u32()?, rest.u64()?);
        let vector = (0..features).map(|_| Some(f32::from_le_bytes(rest.array()?)));
        let vector = vector.collect::<Option<_>>()?;
        let label = |_| match rest.u32()? {
            NONE => Some(None),
            length => rest.bytes(length).map(Some),
        };
        let labels = (0..labels).map(label).collect::<Option<_>>()?;
        rest.0.is_empty().then_some(FeatureRow {
            partition,
            offset,
            key: str::from_utf8(record.address.key.unwrap_or_default()).ok()?,
            event_time: record.address.time_ms,
            vector,
            labels,
        })
    }
}

impl Operator for EncodeFeatures {
    type Input = FeatureBatch;
    type Output = Publication;
    type Reject = std::convert::Infallible;

    fn on_batch(&mut self, input: FeatureBatch, out: &mut Emitter<Publication, Self::Reject>) {
        let FeatureBatch { batch, vectors, .. } = input;
        let rows = batch.rows.rows();
        let (shards, rows_expected) = (self.spread.shards, rows.len());
        let (form, width) = (self.form.clone(), self.before.len().max(1));
        let mut chunks = Chunks::new(OutputStream::Predictions, shards, rows_expected, &form, 0);
        let mut key = std::mem::take(&mut self.key);
        for (row, vector) in rows.iter().zip(vectors.chunks(width)) {
            key.clear();
            let is_row = matches!(form, Form::Rows);
            if is_row {
                write_record_key(&mut key, batch.rows.bytes(row.key));
            }
            let sender = Sender {
                shard: self.spread.shard(row.key_hash),
                key: is_row.then_some(key.as_slice()),
                event_time: Some(row.time),
                headers: Headers::default(),
                place: row.offset.0,
            };
            let written = chunks.record(sender, |out| match is_row {
                true => self.row(out, &batch.rows, row, vector),
                false => self.json(out, &batch.rows, row, vector),
            });
            debug_assert!(written.is_ok(), "neither lines nor rows have a limit");
        }
        self.key = key;
        chunks.finish(&batch.ticket, |publication| out.give(publication));
    }
}
