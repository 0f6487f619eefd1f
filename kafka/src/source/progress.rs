//! Tells a consumer group how far the job is, for whoever watches its lag there. Nobody joins the group, and nothing goes by
//! what it says: that is in the checkpoints.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};

use crate::client::{Fault, Noticed};
use crate::source::Place;

/// From one telling to the next, at least.
const PAUSE: Duration = Duration::from_secs(1);

/// How long the end of a run waits for the last telling. A broker that is away takes longer.
const LAST_MAX: Duration = Duration::from_secs(1);

/// The record that is to be read next, by partition.
pub(super) type Positions = BTreeMap<Place, i64>;

/// Tells, on a thread of its own.
pub(super) struct Progress {
    /// None once the run is over.
    tell: Option<Sender<Positions>>,
    told: Receiver<()>,
}

impl Progress {
    /// Starts the thread; it ends when this is dropped.
    pub(super) fn start(group: String, asking: Arc<BaseConsumer<Noticed>>) -> Result<Self, Fault> {
        let (tell, to_tell) = crossbeam_channel::unbounded();
        let (end, told) = crossbeam_channel::bounded(1);
        let run = move || {
            tell_all(&group, &asking, &to_tell);
            drop(end);
        };
        let started = thread::Builder::new()
            .name("progress".to_owned())
            .spawn(run);
        started.map_err(|source| Fault {
            action: "start",
            subject: "the thread that tells how far the job is".to_owned(),
            source,
        })?;
        let tell = Some(tell);
        Ok(Progress { tell, told })
    }

    /// A checkpoint is durable in which partitions stand here.
    pub(super) fn tell(&self, positions: Positions) {
        if let Some(tell) = &self.tell {
            // The thread is there as long as this is.
            drop(tell.send(positions));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.tell = None;
        let told = self.told.recv_timeout(LAST_MAX);
        if told == Err(RecvTimeoutError::Timeout) {
            tracing::debug!("the group was not told how far the job has come in the end");
        }
    }
}

fn tell_all(group: &str, asking: &BaseConsumer<Noticed>, to_tell: &Receiver<Positions>) {
    let mut is_warned = false;
    while let Ok(mut positions) = to_tell.recv() {
        // What comes in the next moment is told together with it; at the end of the run nothing does.
        let until = Instant::now() + PAUSE;
        while let Ok(later) = to_tell.recv_deadline(until) {
            positions.extend(later);
        }

        let committed = commit(asking, &positions);
        let told = committed.map_err(Fault::told("tell how far the job is", group));
        match told {
            // Brokers that are away hear of it when they are back.
            Ok(()) => {}
            Err(fault) if fault.passes() || is_warned => tracing::debug!("{fault}"),
            Err(fault) => {
                tracing::warn!(
                    "{fault}; who watches the lag of that consumer group does not see it"
                );
                is_warned = true;
            }
        }
    }
}

fn commit(asking: &BaseConsumer<Noticed>, positions: &Positions) -> KafkaResult<()> {
    let mut offsets = TopicPartitionList::new();
    for (place, position) in positions {
        offsets.add_partition_offset(
            &place.topic,
            place.partition,
            KafkaOffset::Offset(*position),
        )?;
    }
    asking.commit(&offsets, CommitMode::Sync)
}
