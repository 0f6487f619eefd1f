//! What a key costs in memory: the resident size of the process before and after its state has grown,
//! per key. Either for the events of the reference job, where few users have a full history, or with a
//! full history for each user. Driven by hand, so that nothing but state is left at the end.

use std::io::{self, Write};
use std::sync::Arc;

use serde_json::json;
use slackwater::pipeline::plan::Plans;
use slackwater_dataflow::flow::Ticket;
use slackwater_dataflow::ingest::{Ingest as _, Sealed};
use slackwater_dataflow::operator::{Emitter, Operator as _};
use slackwater_dataflow::place::{Offset, PartitionId};
use slackwater_dataflow::source::{Origin, Payload};
use slackwater_operators::features::FeatureStage;
use slackwater_operators::ingest::EventIngest;

use crate::Failure;
use crate::engine;
use crate::fused::{Fused, hand_fused};
use crate::gauges::status_bytes;
use crate::input::{self, Options};

/// Events of a full history.
const FULL: u64 = 50;
/// Records between two seals, as a poll of the engine has.
const RECORDS: usize = 1_024;
/// Different products.
const PRODUCTS: u64 = 10_000;
/// A day that the generator uses too.
pub const START_MS: u64 = 1_767_225_600_000;

/// Measures one case; one line. A second case in the same process would grow into memory that the
/// first has left.
pub fn run(options: &Options) -> Result<String, Failure> {
    let (keys, bytes) = match options.case.as_str() {
        "full" => grown(options, |take| full_histories(options.users, take))?,
        "reference" => grown(options, |take| reference_events(options, take))?,
        other => return Err(format!("no case `{other}`").into()),
    };
    Ok(json!({
        "name": format!("memory/{}/{}", options.job, options.case),
        "keys": keys,
        "bytes_per_key": bytes as f64 / keys.max(1) as f64,
    })
    .to_string())
}

type Taking<'t> = dyn FnMut(PartitionId, &[u8]) -> Result<(), Failure> + 't;
type Take<'l, 't> = &'l mut Taking<'t>;

/// Keys, and bytes by which the process has grown.
fn grown(
    options: &Options,
    records: impl FnOnce(Take<'_, '_>) -> Result<(), Failure>,
) -> Result<(usize, u64), Failure> {
    match options.job.as_str() {
        "engine" => {
            let mut state = EngineState::new()?;
            let before = status_bytes("VmRSS:");
            records(&mut |partition, record| {
                state.take(partition, record);
                Ok(())
            })?;
            state.seal();
            let after = status_bytes("VmRSS:");
            Ok((state.stage.keys(), after.saturating_sub(before)))
        }
        "hand-fused" => {
            let mut state: Fused = hand_fused()?;
            let before = status_bytes("VmRSS:");
            records(&mut |_, record| state.take(record))?;
            let after = status_bytes("VmRSS:");
            Ok((state.keys(), after.saturating_sub(before)))
        }
        other => Err(format!("no job `{other}`").into()),
    }
}

/// The events of the reference job, never all in memory: what they leave would be grown into.
fn reference_events(options: &Options, take: Take<'_, '_>) -> Result<(), Failure> {
    let generator = input::generator(options)?;
    for number in 0..generator.config().partitions {
        let partition = PartitionId(number);
        generator.write_partition(partition, &mut Lines { partition, take })?;
    }
    Ok(())
}

/// Takes whole lines apart, as the generator writes them.
struct Lines<'l, 't> {
    partition: PartitionId,
    take: Take<'l, 't>,
}

impl Write for Lines<'_, '_> {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        for record in lines
            .split(|&byte| byte == b'\n')
            .filter(|record| !record.is_empty())
        {
            (self.take)(self.partition, record).map_err(io::Error::other)?;
        }
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// As many events for each user as a history holds.
fn full_histories(users: u32, take: Take<'_, '_>) -> Result<(), Failure> {
    let mut time_ms = START_MS;
    for round in 0..FULL {
        for user in 0..u64::from(users) {
            time_ms += 1;
            let product = (user * 31 + round * 7_919) % PRODUCTS;
            take(PartitionId(0), event(user, product, time_ms).as_bytes())?;
        }
    }
    Ok(())
}

fn event(user: u64, product: u64, time_ms: u64) -> String {
    format!(
        "{{\"user_id\":\"user_{user}\",\"product_id\":\"product_{product}\",\
         \"category\":\"books\",\"event_type\":\"view\",\"timestamp_ms\":{time_ms}}}"
    )
}

/// Decode and features of the engine, without anything around them.
pub struct EngineState {
    ingest: EventIngest,
    /// The stage that holds the histories.
    pub stage: FeatureStage,
    taken: usize,
    sealed:
        Sealed<slackwater_operators::batch::RowBatch, slackwater_operators::reject::RejectBatch>,
}

impl EngineState {
    /// Without any history yet.
    pub fn new() -> Result<Self, Failure> {
        let plans = Plans::new(&engine::pipeline()?, 1);
        Ok(EngineState {
            ingest: EventIngest::new(Arc::clone(&plans.ingest)),
            stage: FeatureStage::new(Arc::clone(&plans.features)),
            taken: 0,
            sealed: Sealed::default(),
        })
    }

    /// Takes an event of this user.
    pub fn take_event(&mut self, user: u64, time_ms: u64) {
        let product = (user + time_ms) % PRODUCTS;
        let record = event(user, product, time_ms);
        self.take(PartitionId(0), record.as_bytes());
    }

    fn take(&mut self, partition: PartitionId, record: &[u8]) {
        self.ingest.on_record(
            partition,
            Offset(0),
            Payload::Whole(record),
            Origin::default(),
        );
        self.taken += 1;
        if self.taken == RECORDS {
            self.seal();
        }
    }

    /// Has what was taken handled.
    pub fn seal(&mut self) {
        self.taken = 0;
        self.ingest.seal(&Ticket::detached(), &mut self.sealed);
        self.sealed.rejects.clear();
        let mut out = Emitter::default();
        for (_, batch) in self.sealed.batches.drain(..) {
            self.stage.on_batch(batch, &mut out);
        }
        drop(out.take_outputs());
    }
}
