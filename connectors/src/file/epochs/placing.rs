//! Outputs written behind the end of the parts, as they come.

use std::fs::File;
use std::sync::Arc;

use slackwater_dataflow::sink::{InPlace, OutputChunk, SinkError, Synced, Syncing};

use crate::file::epochs::part::{Tail, Unsynced};
use crate::file::sink::invalid;

/// Writes behind the ends of all parts.
#[derive(Debug)]
pub(super) struct PartsInPlace {
    /// By shard, then by stream.
    shards: Vec<Vec<Tail>>,
    /// Of the outputs' folder: nobody else writes there before this is gone.
    _lock: Arc<File>,
}

impl PartsInPlace {
    pub(super) fn new(shards: Vec<Vec<Tail>>, lock: &Arc<File>) -> Self {
        PartsInPlace {
            shards,
            _lock: Arc::clone(lock),
        }
    }
}

impl InPlace for PartsInPlace {
    fn append(&mut self, chunk: &OutputChunk) -> Result<(), SinkError> {
        let shard = self.shards.get_mut(usize::from(chunk.shard.0));
        match shard.and_then(|parts| parts.get_mut(chunk.stream.index())) {
            Some(tail) => tail.append(chunk.lines()?),
            None => Err(SinkError {
                action: "write",
                subject: format!("outputs of shard {}", chunk.shard),
                source: invalid("there is no such shard".to_owned()),
            }),
        }
    }

    fn sync(&mut self) -> Syncing {
        let tails = self.shards.iter_mut().flatten();
        let unsynced: Vec<Unsynced> = tails.filter_map(Tail::take_unsynced).collect();
        Box::new(move || {
            unsynced.iter().try_for_each(Unsynced::sync)?;
            Ok(Synced::Durable)
        })
    }
}
