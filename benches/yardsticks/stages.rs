//! Each stage of the engine, driven by hand over the reference events: one after the other for each
//! batch, as a worker does it, so that each finds in the cache what it finds there in a real run. What
//! a run costs beyond their sum is source, timely, flow control and publisher.

use std::sync::Arc;
use std::time::{Duration, Instant};

use slackwater::pipeline::Pipeline;
use slackwater::pipeline::graph::load_model;
use slackwater::pipeline::plan::Plans;
use slackwater_dataflow::clock::{Clock, SystemClock};
use slackwater_dataflow::flow::Ticket;
use slackwater_dataflow::ingest::{Ingest as _, Sealed};
use slackwater_dataflow::operator::{Emitter, Operator};
use slackwater_dataflow::place::{Offset, PartitionId};
use slackwater_dataflow::source::{Origin, Payload};
use slackwater_operators::encode::{DeadLetterPlan, EncodeDeadLetters, EncodePredictions};
use slackwater_operators::features::FeatureStage;
use slackwater_operators::infer::Infer;
use slackwater_operators::ingest::EventIngest;
use slackwater_operators::reject::RejectBatch;

use crate::input::Input;
use crate::{Failure, per_event};

/// Records of a poll.
const RECORDS: usize = 1_024;
/// Stages in the order in which an event meets them.
const STAGES: [&str; 5] = ["decode", "features", "infer", "encode", "dead letters"];

/// The stages of one worker.
struct Stages {
    ingest: EventIngest,
    features: FeatureStage,
    infer: Infer,
    encode: EncodePredictions,
    dead_letters: EncodeDeadLetters,
    spent: [Duration; STAGES.len()],
}

/// All stages, and their sum.
pub fn run(input: &Input) -> Result<(), Failure> {
    let mut stages = Stages::new()?;
    let mut events = 0;
    for (number, lines) in input.partitions.iter().enumerate() {
        for poll in lines.records.chunks(RECORDS) {
            let records = poll.iter().filter_map(|&(start, end)| {
                Some((Offset(start as u64), lines.bytes.get(start..end)?))
            });
            stages.poll(PartitionId(number as u32), records);
            events += poll.len();
        }
    }
    for (stage, spent) in STAGES.into_iter().zip(stages.spent) {
        per_event(&format!("stage {stage}"), spent, events);
    }
    per_event("all stages", stages.spent.iter().sum(), events);
    Ok(())
}

impl Stages {
    fn new() -> Result<Self, Failure> {
        let text = include_str!("../../pipelines/user-events.toml");
        let pipeline = Pipeline::parse("user-events.toml", text)
            .map_err(|_| "the reference pipeline has mistakes")?;
        let plans = Plans::new(&pipeline, 1);
        let scoring = plans.scoring.as_ref();
        let scoring = scoring.ok_or("the reference pipeline has no model")?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let plan = DeadLetterPlan::new(&plans.ingest, Arc::default());
        Ok(Stages {
            ingest: EventIngest::new(Arc::clone(&plans.ingest)),
            features: FeatureStage::new(Arc::clone(&plans.features)),
            infer: Infer::new(scoring.infer.clone(), load_model(&pipeline)?.scorer()?),
            encode: EncodePredictions::new(&scoring.prediction, Arc::clone(&clock)),
            dead_letters: EncodeDeadLetters::new(plan, clock),
            spent: [Duration::ZERO; STAGES.len()],
        })
    }

    fn poll<'r>(
        &mut self,
        partition: PartitionId,
        records: impl Iterator<Item = (Offset, &'r [u8])>,
    ) {
        let mut sealed = Sealed::default();
        let [decode, features, infer, encode, dead_letters] = &mut self.spent;
        let start = Instant::now();
        for (offset, record) in records {
            self.ingest
                .on_record(partition, offset, Payload::Whole(record), Origin::default());
        }
        self.ingest.seal(&Ticket::detached(), &mut sealed);
        *decode += start.elapsed();

        let batches = sealed.batches.into_iter().map(|(_, batch)| batch).collect();
        let mut rejects: Vec<RejectBatch> = sealed
            .rejects
            .into_iter()
            .map(|(_, reject)| reject)
            .collect();
        let (vectors, refused) = timed(&mut self.features, batches, features);
        rejects.extend(refused);
        let (scored, refused) = timed(&mut self.infer, vectors, infer);
        rejects.extend(refused);
        drop(timed(&mut self.encode, scored, encode));
        drop(timed(&mut self.dead_letters, rejects, dead_letters));
    }
}

/// Gives an operator its inputs and adds the time to `spent`.
fn timed<Op: Operator>(
    operator: &mut Op,
    inputs: Vec<Op::Input>,
    spent: &mut Duration,
) -> (Vec<Op::Output>, Vec<Op::Reject>) {
    let mut out = Emitter::default();
    let start = Instant::now();
    for input in inputs {
        operator.on_batch(input, &mut out);
    }
    *spent += start.elapsed();
    (out.take_outputs(), out.take_rejects())
}
