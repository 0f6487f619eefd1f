//! The thread that owns the sink of a job with checkpoints: it makes the outputs of durable epochs visible, in the
//! order of epochs, the shards of each side by side.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender};

use crate::checkpoint::manifest::{UnconfirmedEpoch, UnconfirmedShard};
use crate::checkpoint::publishing::{self, publish};
use crate::checkpoint::settle::{Confirmed, Step, Unpublished, decide};
use crate::checkpointing::leading::{Alarm, Event};
use crate::faults::phases::{Phase, reach};
use crate::identity::Generation;
use crate::moment::Epoch;
use crate::place::ShardId;
use crate::run::{RETRY_PAUSE, RunError, Stopper, spawn};
use crate::sink::{EpochSink, SinkError};
use crate::store::Store;

/// Outputs of a durable epoch that are to be published; none if it has none.
pub(crate) struct ToPublish {
    pub(crate) epoch: Epoch,
    pub(crate) outputs: Option<UnconfirmedEpoch>,
}

/// What the publisher works with.
pub(crate) struct PublisherSetup {
    pub(crate) generation: Generation,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) sink: Box<dyn EpochSink>,
    pub(crate) epochs: Receiver<ToPublish>,
    pub(crate) events: Sender<Event>,
    pub(crate) stopper: Stopper,
    /// What was published last of each shard.
    pub(crate) confirmed: BTreeMap<ShardId, Confirmed>,
}

/// Starts the publisher. It ends when no more epochs will come, or the run has failed.
pub(crate) fn start(setup: PublisherSetup) -> Result<JoinHandle<()>, RunError> {
    spawn("publisher", move || run(setup))
}

fn run(mut setup: PublisherSetup) {
    let _alarm = Alarm(setup.events.clone());
    while let Ok(ToPublish { epoch, outputs }) = setup.epochs.recv() {
        reach(Phase::PublishStarted);
        if let Some(outputs) = &outputs {
            let published = setup.publish(outputs, &outputs.shards, 0);
            let mut shards = outputs.shards.iter().zip(published);
            let ended = shards.try_for_each(|(shard, first)| setup.insist(outputs, shard, first));
            if let Err(error) = ended {
                drop(setup.events.send(Event::Failed(RunError::Sink(error))));
                return;
            }
        }
        drop(setup.events.send(Event::Published(epoch)));
    }
}

impl PublisherSetup {
    /// After a first attempt to publish a shard of an epoch, tries again as long as that can help.
    fn insist(
        &mut self,
        epoch: &UnconfirmedEpoch,
        shard: &UnconfirmedShard,
        first: Result<(), SinkError>,
    ) -> Result<(), SinkError> {
        let mut published = first;
        while let Err(error) = published {
            if !error.passes() || self.stopper.has_failed() {
                return Err(error);
            }
            drop(self.events.send(Event::NotPublished(error)));
            thread::sleep(RETRY_PAUSE);
            published = self.publish_rest(epoch, shard);
        }
        let confirmed = Confirmed {
            epoch: epoch.epoch,
            checkpoint: epoch.checkpoint,
        };
        self.confirmed.insert(shard.shard, confirmed);
        reach(Phase::ShardPublished);
        Ok(())
    }

    /// A sink that failed may have taken all the same what it was given, or a part of it: its marker says how much.
    fn publish_rest(
        &mut self,
        epoch: &UnconfirmedEpoch,
        shard: &UnconfirmedShard,
    ) -> Result<(), SinkError> {
        let markers = self.sink.take_over(self.generation)?;
        let marker = markers.get(usize::from(shard.shard.0)).copied().flatten();
        let listed = Unpublished {
            epoch: epoch.epoch,
            checkpoint: epoch.checkpoint,
            chunks: shard.chunk_count(),
        };
        let confirmed = self.confirmed.get(&shard.shard).copied();
        let confirmed = confirmed.filter(|_| self.sink.keeps_markers());
        let decided = decide(marker.as_ref(), confirmed, &[listed]).map_err(|halt| SinkError {
            action: "go on publishing",
            subject: format!("shard {}", shard.shard),
            source: std::io::Error::other(halt),
        })?;
        match decided.first() {
            Some(&Step::Publish { from_chunk, .. }) => {
                let published = self.publish(epoch, std::slice::from_ref(shard), from_chunk);
                published.into_iter().collect()
            }
            Some(Step::Skip { .. }) | None => Ok(()),
        }
    }

    fn publish(
        &mut self,
        epoch: &UnconfirmedEpoch,
        shards: &[UnconfirmedShard],
        from_chunk: u32,
    ) -> Vec<Result<(), SinkError>> {
        let shards = shards.iter();
        let shards: Vec<_> = shards
            .map(|shard| publishing::ToPublish { shard, from_chunk })
            .collect();
        let (store, sink) = (self.store.as_ref(), self.sink.as_mut());
        publish(store, sink, self.generation, epoch, &shards)
    }
}
