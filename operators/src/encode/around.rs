//! What stands around the value of each record of the predictions stream, be it scores or a feature vector: the fields
//! of the event before it; behind it times and, if wanted, where it comes from.

use std::sync::Arc;

use slackwater_dataflow::clock::Clock;
use slackwater_dataflow::flow::Publication;
use slackwater_dataflow::headers::Headers;
use slackwater_dataflow::moment::Epoch;
use slackwater_dataflow::operator::Emitter;
use slackwater_dataflow::place::Spread;
use slackwater_dataflow::sink::OutputStream;

use crate::batch::{Row, RowBatch, Rows};
use crate::encode::form::{Chunks, Form, Sender, TooLarge, write_record_key};
use crate::encode::json;
use crate::enrichment::{Enrichment, Provenance};
use crate::event::FieldIndex;
use crate::reject::{Code, Reason, RejectBatch, Stage, grouped};

/// What records are to say besides their values.
pub(super) struct AroundPlan<'p> {
    /// Event fields that they repeat, with their names.
    pub fields: &'p [(String, FieldIndex)],
    /// Name of the value; of several scores that of the first.
    pub value: &'p str,
    /// What a record is called in messages.
    pub called: &'static str,
    /// How provenance ends; `None` if there is none.
    pub provenance: Option<Vec<u8>>,
    /// Lookups whose enrichment it tells.
    pub lookups: &'p [String],
    /// Where keys go.
    pub spread: Spread,
    /// How records are written.
    pub form: &'p Form,
}

/// The values of the events of a batch.
pub(super) trait Values {
    /// Why the value of the event at this position goes no further.
    fn refusal(&self, at: usize) -> Option<Reason>;
    /// Writes it, and behind the first of several scores the others with their names.
    fn write(&self, out: &mut Vec<u8>, at: usize);
}

/// Writes records around values.
pub(super) struct Around {
    spread: Spread,
    clock: Arc<dyn Clock>,
    called: &'static str,
    /// What stands before each repeated field's value.
    fields: Vec<(Vec<u8>, FieldIndex)>,
    before_value: Vec<u8>,
    /// How provenance ends; `None` if there is none.
    provenance: Option<Vec<u8>>,
    /// What stands before the provenance of each lookup.
    lookups: Vec<Vec<u8>>,
    form: Form,
    /// Holds a record's key while it is written.
    key: Vec<u8>,
}

impl Around {
    pub(super) fn new(plan: AroundPlan<'_>, clock: Arc<dyn Clock>) -> Self {
        let before = |at: usize| if at == 0 { "{" } else { "," };
        let fields: Vec<_> = plan
            .fields
            .iter()
            .enumerate()
            .map(|(at, (name, field))| (json::key(before(at), name), *field))
            .collect();
        Around {
            before_value: json::key(before(fields.len()), plan.value),
            spread: plan.spread,
            clock,
            called: plan.called,
            fields,
            provenance: plan.provenance,
            lookups: before_lookups(plan.lookups),
            form: plan.form.clone(),
            key: Vec::new(),
        }
    }

    /// Writes the records of a batch, and rejects the events that cannot have one.
    pub(super) fn write(
        &mut self,
        batch: &mut RowBatch,
        enrichment: &Enrichment,
        values: &impl Values,
        out: &mut Emitter<Publication, RejectBatch>,
    ) {
        let rows = batch.rows.rows();
        let now_ms = self.clock.wall_ms();
        let of_all = self.of_all(now_ms, out.epoch());
        let (stream, shards) = (OutputStream::Predictions, self.spread.shards);
        let mut chunks = Chunks::new(stream, shards, rows.len(), &self.form, now_ms);
        let mut key = std::mem::take(&mut self.key);
        let mut refused = Vec::new();
        let tells_lookups = of_all.run.is_some() && !self.lookups.is_empty();
        for (at, row) in rows.iter().enumerate() {
            if let Some(reason) = values.refusal(at) {
                refused.push((at, reason));
                continue;
            }
            key.clear();
            if self.form.has_keys() {
                write_record_key(&mut key, batch.rows.bytes(row.key));
            }
            let sender = Sender {
                shard: self.spread.shard(row.key_hash),
                key: Some(&key),
                event_time: Some(row.time),
                place: row.offset.0,
                headers: Headers::default(),
            };
            let write = |out: &mut Vec<u8>| {
                self.write_fields(out, &batch.rows, row);
                values.write(out, at);
                of_all.write(out, row);
                if tells_lookups {
                    self.write_enrichment(out, enrichment, at);
                }
                out.push(b'}');
            };
            if let Err(size) = chunks.record(sender, write) {
                refused.push((at, too_large(self.called, size)));
            }
        }
        chunks.finish(&batch.ticket, |publication| out.give(publication));
        self.key = key;
        let refused = RejectBatch::take_from(batch, refused, &self.spread);
        refused.into_iter().for_each(|batch| out.reject(batch));
    }

    /// All that stands before the value.
    fn write_fields(&self, out: &mut Vec<u8>, rows: &Rows, row: &Row) {
        for (before, field) in &self.fields {
            out.extend_from_slice(before);
            json::cell(out, rows, rows.cell(row, *field));
        }
        out.extend_from_slice(&self.before_value);
    }

    // Apart, so that records that do not tell it cost no more.
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
        let run = self.provenance.as_ref().map(|end| {
            let mut run = json::key(",", "epoch");
            json::int(&mut run, epoch.0);
            run.extend_from_slice(end);
            run
        });
        OfAll { now, run }
    }
}

/// What all records of a batch say, as it stands in each.
struct OfAll {
    now: Vec<u8>,
    /// The epoch, and how provenance ends; none without provenance.
    run: Option<Vec<u8>>,
}

impl OfAll {
    /// What stands behind the value, but for how lookups have enriched the event.
    fn write(&self, out: &mut Vec<u8>, row: &Row) {
        out.extend_from_slice(b",\"event_time\":");
        json::int(out, row.time.0);
        out.extend_from_slice(&self.now);
        if let Some(run) = &self.run {
            out.extend_from_slice(b",\"partition\":");
            json::int(out, row.partition.0);
            out.extend_from_slice(b",\"offset\":");
            json::int(out, row.offset.0);
            out.extend_from_slice(run);
        }
    }
}

/// Why a record goes no further.
fn too_large(called: &str, TooLarge { bytes, most }: TooLarge) -> Reason {
    let (bytes, most) = (grouped(bytes as u64), grouped(most as u64));
    Reason {
        stage: Stage::Encode,
        code: Code::OutputTooLarge,
        message: format!("{called} has {bytes} bytes, its topic takes {most}"),
        causes: Vec::new(),
    }
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
