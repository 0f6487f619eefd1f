//! A scored event as a record of the predictions stream.

use std::sync::Arc;

use slackwater_dataflow::clock::Clock;
use slackwater_dataflow::flow::Publication;
use slackwater_dataflow::headers::Headers;
use slackwater_dataflow::moment::Epoch;
use slackwater_dataflow::operator::{Emitter, Operator};
use slackwater_dataflow::place::Spread;
use slackwater_dataflow::sink::OutputStream;

use crate::batch::Row;
use crate::encode::form::{Chunks, Form, Sender, TooLarge, write_record_key};
use crate::encode::json;
use crate::enrichment::{Enrichment, Provenance};
use crate::event::FieldIndex;
use crate::infer::ScoredBatch;
use crate::reject::{Code, Reason, RejectBatch, Stage, grouped};

/// Which model said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelIdentity {
    /// Its name.
    pub name: String,
    /// The version that the model file states.
    pub version: i64,
    /// `sha256:` and the file's digest in hexadecimal.
    pub digest: String,
}

/// What a prediction says.
#[derive(Clone, Debug)]
pub struct PredictionPlan {
    /// Event fields that it repeats, with their names.
    pub fields: Vec<(String, FieldIndex)>,
    /// Name of the score.
    pub output: String,
    /// Adds where the event came from and this model, if wanted.
    pub provenance: Option<ModelIdentity>,
    /// Adds how these lookups have enriched the event; in the order of its [`Enrichment`].
    pub lookups: Vec<String>,
    /// Where keys go.
    pub spread: Spread,
    /// How records are written.
    pub form: Form,
}

/// Encodes scored events.
pub struct EncodePredictions {
    spread: Spread,
    clock: Arc<dyn Clock>,
    /// What stands before each repeated field's value.
    fields: Vec<(Vec<u8>, FieldIndex)>,
    before_score: Vec<u8>,
    /// The model as it ends each record; `None` without provenance.
    model: Option<Vec<u8>>,
    /// What stands before the provenance of each lookup.
    lookups: Vec<Vec<u8>>,
    form: Form,
    /// Holds a record's key while it is written.
    key: Vec<u8>,
}

impl EncodePredictions {
    /// An encoder as planned.
    pub fn new(plan: &PredictionPlan, clock: Arc<dyn Clock>) -> Self {
        let before = |at: usize| if at == 0 { "{" } else { "," };
        let fields: Vec<_> = plan
            .fields
            .iter()
            .enumerate()
            .map(|(at, (name, field))| (json::key(before(at), name), *field))
            .collect();
        EncodePredictions {
            before_score: json::key(before(fields.len()), &plan.output),
            spread: plan.spread,
            clock,
            fields,
            model: plan.provenance.as_ref().map(model),
            lookups: before_lookups(&plan.lookups),
            form: plan.form.clone(),
            key: Vec::new(),
        }
    }

    /// A record but for its end, and for how lookups have enriched its event.
    fn write(
        &self,
        out: &mut Vec<u8>,
        scored: &ScoredBatch,
        row: &Row,
        score: f32,
        of_all: &OfAll,
    ) {
        let rows = &scored.batch.rows;
        for (before, field) in &self.fields {
            out.extend_from_slice(before);
            json::cell(out, rows, rows.cell(row, *field));
        }
        out.extend_from_slice(&self.before_score);
        json::float(out, score);
        out.extend_from_slice(b",\"event_time\":");
        json::int(out, row.time.0);
        out.extend_from_slice(&of_all.now);
        if let Some(run) = &of_all.run {
            out.extend_from_slice(b",\"partition\":");
            json::int(out, row.partition.0);
            out.extend_from_slice(b",\"offset\":");
            json::int(out, row.offset.0);
            out.extend_from_slice(run);
        }
    }

    // Apart, so that predictions that do not tell it cost no more.
    #[inline(never)]
    fn write_enrichment(&self, out: &mut Vec<u8>, enrichment: &Enrichment, at: usize) {
        let mut end: &[u8] = b"";
        for (before, provenance) in self.lookups.iter().zip(enrichment.of(at)) {
            out.extend_from_slice(before);
            write_provenance(out, provenance);
            end = b"}";
        }
        out.extend_from_slice(end);
    }

    fn of_all(&self, now_ms: i64, epoch: Epoch) -> OfAll {
        let mut now = json::key(",", "processing_time");
        json::int(&mut now, now_ms);
        let run = self.model.as_ref().map(|model| {
            let mut run = json::key(",", "epoch");
            json::int(&mut run, epoch.0);
            run.extend_from_slice(model);
            run
        });
        OfAll { now, run }
    }
}

/// What all predictions of a batch say, as it stands in each.
struct OfAll {
    now: Vec<u8>,
    /// Epoch and model; none without provenance.
    run: Option<Vec<u8>>,
}

/// Why a prediction goes no further.
fn too_large(TooLarge { bytes, most }: TooLarge) -> Reason {
    let (bytes, most) = (grouped(bytes as u64), grouped(most as u64));
    Reason {
        stage: Stage::Encode,
        code: Code::OutputTooLarge,
        message: format!("the prediction has {bytes} bytes, its topic takes {most}"),
        causes: Vec::new(),
    }
}

fn model(identity: &ModelIdentity) -> Vec<u8> {
    let mut bytes = json::key(",", "model");
    bytes.extend_from_slice(&json::key("{", "name"));
    json::text(&mut bytes, &identity.name);
    bytes.extend_from_slice(&json::key(",", "version"));
    json::int(&mut bytes, identity.version);
    bytes.extend_from_slice(&json::key(",", "digest"));
    json::text(&mut bytes, &identity.digest);
    bytes.push(b'}');
    bytes
}

/// What stands before the provenance of each lookup: the name of all of them before the first.
fn before_lookups(names: &[String]) -> Vec<Vec<u8>> {
    let mut before = json::key(",", "lookups");
    let names = names.iter().map(|name| {
        let begun = if before.is_empty() { "," } else { "{" };
        let mut bytes = std::mem::take(&mut before);
        bytes.extend_from_slice(&json::key(begun, name));
        bytes
    });
    names.collect()
}

fn write_provenance(out: &mut Vec<u8>, provenance: Provenance) {
    let (from, age) = match provenance {
        Provenance::Fresh => ("fresh", None),
        Provenance::Cached(age) => ("cached", Some(age)),
        Provenance::LastKnown(age) => ("last_known", Some(age)),
        Provenance::Default => ("default", None),
    };
    out.extend_from_slice(b"{\"from\":");
    json::text(out, from);
    if let Some(age) = age {
        out.extend_from_slice(b",\"age_ms\":");
        json::int(out, age.as_millis());
    }
    out.push(b'}');
}

impl Operator for EncodePredictions {
    type Input = ScoredBatch;
    type Output = Publication;
    type Reject = RejectBatch;

    fn on_batch(&mut self, mut scored: ScoredBatch, out: &mut Emitter<Publication, RejectBatch>) {
        let rows = scored.batch.rows.rows();
        let now_ms = self.clock.wall_ms();
        let of_all = self.of_all(now_ms, out.epoch());
        let (stream, shards) = (OutputStream::Predictions, self.spread.shards);
        let mut chunks = Chunks::new(stream, shards, rows.len(), &self.form, now_ms);
        let mut key = std::mem::take(&mut self.key);
        let mut refused = Vec::new();
        let tells_lookups = of_all.run.is_some() && !self.lookups.is_empty();
        for (at, (row, &score)) in rows.iter().zip(&scored.scores).enumerate() {
            key.clear();
            if self.form.has_keys() {
                write_record_key(&mut key, scored.batch.rows.bytes(row.key));
            }
            let sender = Sender {
                shard: self.spread.shard(row.key_hash),
                key: Some(&key),
                event_time: Some(row.time),
                place: row.offset.0,
                headers: Headers::default(),
            };
            let write = |out: &mut Vec<u8>| {
                self.write(out, &scored, row, score, &of_all);
                if tells_lookups {
                    self.write_enrichment(out, &scored.enrichment, at);
                }
                out.push(b'}');
            };
            if let Err(size) = chunks.record(sender, write) {
                refused.push((at, too_large(size)));
            }
        }
        chunks.finish(&scored.batch.ticket, |publication| out.give(publication));
        self.key = key;
        let refused = RejectBatch::take_from(&mut scored.batch, refused, &self.spread);
        refused.into_iter().for_each(|batch| out.reject(batch));
    }
}
