//! Marker of a shard as a file: which epoch of it was published last, and how long its parts are with it.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use slackwater_dataflow::identity::{CheckpointId, Generation};
use slackwater_dataflow::moment::Epoch;
use slackwater_dataflow::sink::{Lengths, Marker, ShardEpoch, SinkError};

use crate::file::epochs::durable::replace_durably;
use crate::file::sink::failed;

/// What `committed/shard-N.json` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredMarker {
    /// The job's name.
    pub(super) job: String,
    /// Who published.
    pub(super) generation: Generation,
    /// The epoch.
    pub(super) epoch: Epoch,
    /// Its checkpoint.
    pub(super) checkpoint: CheckpointId,
    /// How many chunks the checkpoint has of it.
    pub(super) chunks: u32,
    /// Of the shard's parts with that epoch.
    pub(super) lengths: Lengths,
}

/// What is to be done about an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Publish,
    /// It is published: its marker is there.
    Published,
}

impl StoredMarker {
    /// What it will be once `outputs` are published.
    pub(super) fn with(job: &str, outputs: &ShardEpoch<'_>) -> Self {
        StoredMarker {
            job: job.to_owned(),
            generation: outputs.generation,
            epoch: outputs.epoch,
            checkpoint: outputs.checkpoint,
            chunks: outputs.chunk_count,
            lengths: outputs.after,
        }
    }

    /// Reads a marker; none if there is none. What can't be understood is never taken for none: the epochs
    /// that it stands for would be published again.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, SinkError> {
        let text = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result.map_err(|error| failed("read", path, error))?,
        };
        serde_json::from_slice(&text).map(Some).map_err(|error| {
            let message = format!(
                "it is not the marker of a shard ({error}), so it is not known what was published; restore \
                 it, or start over with `--fresh`"
            );
            failed("read", path, io::Error::other(message))
        })
    }

    /// Puts it in its place, durably.
    pub(super) fn write(&self, path: &Path) -> Result<(), SinkError> {
        let text = serde_json::to_vec(self)
            .map_err(io::Error::from)
            .and_then(|mut text| {
                text.push(b'\n');
                replace_durably(path, &text)
            });
        text.map_err(|error| failed("write", path, error))
    }

    /// The same for who reads markers of any sink. A file's epoch is published as a whole or not at all.
    pub(super) fn marker(&self) -> Marker {
        Marker {
            generation: self.generation,
            epoch: self.epoch,
            checkpoint: self.checkpoint,
            chunk: self.chunks,
            chunks: self.chunks,
        }
    }
}

/// What to do about an epoch of a shard with this marker; why nothing can be done, if that is so.
pub(super) fn decide(
    marker: Option<&StoredMarker>,
    outputs: &ShardEpoch<'_>,
) -> Result<Decision, String> {
    let (epoch, checkpoint) = (outputs.epoch, outputs.checkpoint);
    if outputs
        .before
        .iter()
        .zip(outputs.after)
        .any(|(&before, after)| before > after)
    {
        return Err(format!("epoch {epoch} would make its outputs shorter"));
    }
    let Some(marker) = marker else {
        return Ok(Decision::Publish);
    };
    let (published, lengths) = (marker.epoch, marker.lengths);
    if (published, marker.checkpoint) == (epoch, checkpoint) {
        if lengths == outputs.after {
            return Ok(Decision::Published);
        }
        return Err(format!(
            "epoch {epoch} is published with lengths {lengths:?}, and not {:?} as the checkpoint says",
            outputs.after
        ));
    }
    // What is published is never cut off, whoever asks for it: somebody may have read it.
    let is_cut = lengths
        .iter()
        .zip(outputs.before)
        .any(|(&published, before)| published > before);
    if is_cut || published >= epoch {
        return Err(format!(
            "epoch {published} of checkpoint {} is published, up to lengths {lengths:?}: epoch {epoch} of \
             checkpoint {checkpoint}, from {:?}, does not follow it",
            marker.checkpoint, outputs.before
        ));
    }
    Ok(Decision::Publish)
}
