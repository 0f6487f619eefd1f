//! The reference job as a specialist would write it by hand on timely for this one schema: no pipeline
//! file, no checkpoints, no bound on events in flight, no threads but the workers. What it costs is what
//! the engine's generality is judged against, so it is made as fast as its author could make it.
//!
//! In reading order: `event` parses, `reading` checks and sorts by worker, `batch` travels, `history`
//! computes features, `scoring` scores and encodes, `records` has the bytes.

mod batch;
mod event;
pub mod history;
mod reading;
mod records;
mod scoring;

use std::sync::{Arc, Mutex, PoisonError};

use slackwater_models::{Model, builtin};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Operator as _;
use timely::dataflow::operators::generic::operator::source;
use timely::worker::Worker;

use crate::Failure;
use crate::fused::batch::Batch;
use crate::fused::reading::Reading;
use crate::fused::scoring::Scoring;
use crate::gauges::Outcome;
use crate::input::{Input, PartitionLines};

/// Rows of the model's fixed shape.
const MODEL_BATCH: usize = 64;

/// A job that is about to start.
pub struct Prepared {
    workers: usize,
    job: Arc<Job>,
}

struct Job {
    partitions: Vec<PartitionLines>,
    model: Model,
    done: Mutex<Result<Outcome, Failure>>,
}

impl Job {
    /// Adds a worker's result; the first failure stays.
    fn settle(&self, result: Result<Outcome, Failure>) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        match (done.as_mut(), result) {
            (Ok(all), Ok(one)) => all.add(&one),
            (Ok(_), Err(failure)) => *done = Err(failure),
            (Err(_), _) => {}
        }
    }
}

/// Loads the model.
pub fn prepare(input: &Input) -> Result<Prepared, Failure> {
    let spec = builtin::spec(builtin::USER_EVENTS, MODEL_BATCH).ok_or("no reference model")?;
    Ok(Prepared {
        workers: input.options.workers,
        job: Arc::new(Job {
            partitions: input.partitions.clone(),
            model: Model::load(&spec)?,
            done: Mutex::new(Ok(Outcome::default())),
        }),
    })
}

impl Prepared {
    /// From the first record to the last prediction.
    pub fn run(self) -> Result<Outcome, Failure> {
        let job = Arc::clone(&self.job);
        let config = timely::Config::process(self.workers);
        let guards = timely::execute(config, move |worker| {
            if let Err(failure) = build(worker, &job) {
                job.settle(Err(failure));
            }
        })?;
        for joined in guards.join() {
            joined?;
        }
        let mut done = self.job.done.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *done, Err("already taken".into()))
    }
}

/// The state alone, for a measurement of its memory.
pub struct Fused {
    sorter: Reading,
    scoring: Scoring,
}

/// A state that knows no user.
pub fn hand_fused() -> Result<Fused, Failure> {
    let spec = builtin::spec(builtin::USER_EVENTS, MODEL_BATCH).ok_or("no reference model")?;
    Ok(Fused {
        sorter: Reading::new(&[], 0, 1),
        scoring: Scoring::new(Model::load(&spec)?.scorer()?),
    })
}

impl Fused {
    /// Remembers an event; one that goes no further is left out.
    pub fn take(&mut self, record: &[u8]) -> Result<(), Failure> {
        let scoring = &mut self.scoring;
        self.sorter.take(record, |batch| scoring.features(&batch));
        Ok(())
    }

    /// Users known.
    pub fn keys(&self) -> usize {
        self.scoring.users()
    }
}

/// One worker's graph: read, exchange, score.
fn build(worker: &mut Worker, job: &Arc<Job>) -> Result<(), Failure> {
    let mut reading = Reading::new(&job.partitions, worker.index(), worker.peers());
    let mut scoring = Scoring::new(job.model.scorer()?);
    worker.dataflow::<u64, _, _>(|scope| {
        let worker = scope.worker();
        let at_source = Arc::clone(job);
        type Builder = CapacityContainerBuilder<Vec<Batch>>;
        let batches = source::<_, Builder, _, _>(scope, "read", |capability, info| {
            let again = worker.activator_for(info.address);
            let mut capability = Some(capability);
            move |output| {
                let Some(held) = &capability else { return };
                let mut session = output.session(held);
                match reading.step(|batch| session.give(batch)) {
                    Ok(true) => again.activate(),
                    Ok(false) => {
                        drop(session);
                        at_source.settle(Ok(reading.outcome));
                        capability = None;
                    }
                    Err(failure) => {
                        drop(session);
                        at_source.settle(Err(failure));
                        capability = None;
                    }
                }
            }
        });
        let at_key = Arc::clone(job);
        let pact = Exchange::new(|batch: &Batch| batch.worker);
        batches.sink(pact, "score", move |(input, frontier)| {
            input.for_each(|_, batches| {
                for batch in batches.drain(..) {
                    if let Err(failure) = scoring.take(&batch) {
                        at_key.settle(Err(failure));
                    }
                }
            });
            if frontier.is_empty() {
                at_key.settle(Ok(std::mem::take(&mut scoring.outcome)));
            }
        });
    });
    Ok(())
}
