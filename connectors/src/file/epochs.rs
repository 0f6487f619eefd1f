//! Outputs as files that hold each epoch exactly once: `docs/checkpoint-format.md`, section 6.
//!
//! Outputs are written behind the end of the parts as they come ([`placing`]), and synced when their epoch is to be
//! durable. To publish it is to move the end: the marker of the shard is put in place, in one step. What is behind the
//! end when a run begins is cut off. So everything rests on lengths that the checkpoint knows.
//!
//! An epoch that comes from an outbox is written when it is published, from where it begins; then its marker is put in
//! place. A crash before that leaves parts that are too long, which is cut off when it is published again.

mod durable;
mod earlier;
mod lock;
mod marker;
mod part;
mod placing;

pub use self::part::committed_length;

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use slackwater_dataflow::faults::phases::{Phase, reach};
use slackwater_dataflow::identity::Generation;
use slackwater_dataflow::place::ShardId;
use slackwater_dataflow::sink::{
    Chunks, EpochSink, InPlace, Lengths, Marker, OutputChunk, OutputStream, ShardEpoch,
    ShardOutputs, SinkError,
};

use crate::file::epochs::durable::{make_folder, sync_folder};
use crate::file::epochs::lock::{COMMITTED, committed, lock};
use crate::file::epochs::marker::{Decision, StoredMarker, decide};
use crate::file::epochs::part::{Part, Tail};
use crate::file::epochs::placing::PartsInPlace;
use crate::file::sink::{StreamFolders, check_names, failed, folders, invalid};

/// Where outputs go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochFilesConfig {
    /// Folder that holds the streams' folders and `committed/`; made when it does not exist.
    pub root: PathBuf,
    /// The streams' folders.
    pub folders: StreamFolders,
    /// Number of parts per stream, 1 to 128; never another one for the outputs of one job.
    pub shards: u16,
    /// The job's name: markers of another job's outputs are refused.
    pub job: String,
}

/// Writes each epoch of each stream and shard exactly once. No other process writes below its folder while it
/// is there.
#[derive(Debug)]
pub struct EpochFiles {
    config: EpochFilesConfig,
    /// Held until this is dropped.
    lock: Arc<File>,
    /// Who took over last.
    generation: Generation,
    /// By number, once taken over.
    shards: Vec<Shard>,
}

impl EpochFiles {
    /// Takes the folder, which is made if it is not there. Outputs are not looked at yet.
    ///
    /// # Errors
    /// Another process has it, the names or the number of shards are unusable, or a folder can't be made.
    pub fn open(config: &EpochFilesConfig) -> Result<Self, SinkError> {
        check(config)?;
        Ok(EpochFiles {
            lock: Arc::new(lock(&config.root)?),
            config: config.clone(),
            generation: Generation::default(),
            shards: Vec::new(),
        })
    }

    /// The first part or marker that is there already: what a job that starts from nothing must not write
    /// to. A part without a byte does not count. Writes nothing.
    ///
    /// # Errors
    /// The names or the number of shards are unusable, or a folder can't be listed.
    pub fn existing(config: &EpochFilesConfig) -> Result<Option<PathBuf>, SinkError> {
        check(config)?;
        earlier::first_output(&config.root, &stream_folders(config))
    }

    /// Moves the streams' folders, with all that is in them, and the markers to `before-N` below the root, of
    /// the first number that is free; the path of that folder, or none if no output exists. To be called
    /// before [`EpochFiles::open`].
    ///
    /// # Errors
    /// Another process has the folder, or something can't be moved; what was moved stays where it is then.
    pub fn set_aside(config: &EpochFilesConfig) -> Result<Option<PathBuf>, SinkError> {
        check(config)?;
        earlier::move_away(&config.root, &stream_folders(config))
    }

    /// Markers of all shards, if this generation may go on from them.
    fn markers(&self, generation: Generation) -> Result<Vec<Option<StoredMarker>>, SinkError> {
        let mut markers = Vec::with_capacity(usize::from(self.config.shards));
        for shard in 0..self.config.shards {
            let path = self.marker_path(shard);
            let marker = StoredMarker::read(&path)?;
            if let Some(marker) = &marker {
                let refused = may_follow(marker, &self.config.job, generation);
                refused.map_err(|message| failed("take over", &path, io::Error::other(message)))?;
            }
            markers.push(marker);
        }
        Ok(markers)
    }

    fn marker_path(&self, shard: u16) -> PathBuf {
        committed(&self.config.root).join(format!("shard-{shard}.json"))
    }

    /// Makes and opens what the marker of a shard stands for.
    fn open_shard(&self, shard: u16, marker: Option<StoredMarker>) -> Result<Shard, SinkError> {
        let published = published(marker.as_ref());
        let mut parts = Vec::with_capacity(published.len());
        for (folder, length) in stream_folders(&self.config).into_iter().zip(published) {
            parts.push(Part::open(
                folder.join(format!("shard-{shard}.jsonl")),
                length,
            )?);
        }
        Ok(Shard {
            id: ShardId(shard),
            marker_path: self.marker_path(shard),
            marker,
            is_marker_known: true,
            parts,
        })
    }

    /// Makes durable what an earlier process may have left half done.
    fn sync_folders(&self, folders: &[PathBuf]) -> Result<(), SinkError> {
        for folder in folders.iter().chain([&self.config.root]) {
            sync_folder(folder).map_err(|error| failed("sync", folder, error))?;
        }
        Ok(())
    }
}

/// One shard of all streams.
#[derive(Debug)]
struct Shard {
    id: ShardId,
    marker_path: PathBuf,
    marker: Option<StoredMarker>,
    /// Whether the marker in the folder is that one: unless writing another one failed.
    is_marker_known: bool,
    /// In the order of [`OutputStream::ALL`].
    parts: Vec<Part>,
}

impl Shard {
    fn publish(&mut self, job: &str, outputs: ShardEpoch<'_>) -> Result<(), SinkError> {
        if !self.is_marker_known {
            self.learn_marker()?;
        }
        let decision = decide(self.marker.as_ref(), &outputs).map_err(|message| {
            let source = io::Error::other(message);
            failed("publish after", &self.marker_path, source)
        })?;
        if decision == Decision::Publish {
            let marker = StoredMarker::with(job, &outputs);
            let (before, after) = (outputs.before, outputs.after);
            match outputs.outputs {
                ShardOutputs::InPlace => self.check_in_place(after)?,
                ShardOutputs::Chunks(chunks) => self.write(before, after, chunks)?,
            }
            self.is_marker_known = false;
            reach(Phase::PartsSynced);
            marker.write(&self.marker_path)?;
            reach(Phase::MarkerWritten);
            self.is_marker_known = true;
            self.marker = Some(marker);
        }
        self.show()
    }

    /// Reads the marker and makes it durable: it may be in its place without being on the disk.
    fn learn_marker(&mut self) -> Result<(), SinkError> {
        if let Some(folder) = self.marker_path.parent() {
            sync_folder(folder).map_err(|error| failed("sync", folder, error))?;
        }
        self.marker = StoredMarker::read(&self.marker_path)?;
        self.is_marker_known = true;
        Ok(())
    }

    fn write(
        &mut self,
        before: Lengths,
        after: Lengths,
        chunks: Chunks<'_>,
    ) -> Result<(), SinkError> {
        for (part, before) in self.parts.iter_mut().zip(before) {
            part.begin(before)?;
        }
        for chunk in chunks {
            for output in chunk?.outputs {
                self.append(&output)?;
            }
        }
        for (part, after) in self.parts.iter().zip(after) {
            part.check(after)?;
        }
        self.parts.iter_mut().try_for_each(Part::sync)
    }

    /// Checks that everything is there that was written in its place.
    fn check_in_place(&mut self, after: Lengths) -> Result<(), SinkError> {
        let mut parts = self.parts.iter_mut().zip(after);
        parts.try_for_each(|(part, after)| part.reaches(after))
    }

    /// Gives the parts to who writes behind these lengths.
    fn tails(&mut self, lengths: Lengths) -> Result<Vec<Tail>, SinkError> {
        let published = published(self.marker.as_ref());
        if let Some((published, length)) = published
            .iter()
            .zip(lengths)
            .find(|(published, length)| *published > length)
        {
            let message = format!(
                "{published} bytes of a part are published, and the checkpoint knows of {length}: it is older than the \
                 outputs. Restore the store's newest checkpoint, or start over with `--fresh`"
            );
            return Err(failed(
                "go on after",
                &self.marker_path,
                io::Error::other(message),
            ));
        }
        let parts = self.parts.iter_mut().zip(lengths);
        parts.map(|(part, length)| part.tail(length)).collect()
    }

    fn append(&mut self, output: &OutputChunk) -> Result<(), SinkError> {
        match self.parts.get_mut(output.stream.index()) {
            Some(part) if output.shard == self.id => part.append(output.lines()?),
            _ => {
                let message = format!("the epoch has outputs of shard {}", output.shard);
                Err(failed("publish after", &self.marker_path, invalid(message)))
            }
        }
    }

    /// Tells readers of single parts what the marker says.
    fn show(&mut self) -> Result<(), SinkError> {
        let published = published(self.marker.as_ref());
        let mut parts = self.parts.iter_mut().zip(published);
        parts.try_for_each(|(part, length)| part.show(length))
    }
}

fn published(marker: Option<&StoredMarker>) -> Lengths {
    marker.map(|marker| marker.lengths).unwrap_or_default()
}

/// Why a generation of a job can't go on from a marker, if so.
fn may_follow(marker: &StoredMarker, job: &str, generation: Generation) -> Result<(), String> {
    if marker.job != job {
        return Err(format!(
            "these are outputs of job `{}`, and not of `{job}`; use another folder",
            marker.job
        ));
    }
    if marker.generation > generation {
        return Err(superseded(generation, marker.generation));
    }
    Ok(())
}

fn superseded(generation: Generation, by: Generation) -> String {
    format!("a newer run has taken over: it is generation {by}, and this one is {generation}")
}

fn stream_folders(config: &EpochFilesConfig) -> [PathBuf; OutputStream::ALL.len()] {
    folders(&config.root, &config.folders)
}

fn check(config: &EpochFilesConfig) -> Result<(), SinkError> {
    check_names(&config.root, &config.folders, config.shards)?;
    for stream in OutputStream::ALL {
        let name = config.folders.of(stream);
        if name == COMMITTED || name.starts_with(earlier::BEFORE) {
            let message = format!("a folder `{name}` is not for a stream: the sink has it itself");
            return Err(failed("use", &config.root, invalid(message)));
        }
    }
    Ok(())
}

impl EpochSink for EpochFiles {
    fn take_over(&mut self, generation: Generation) -> Result<Vec<Option<Marker>>, SinkError> {
        self.shards.clear();
        if generation < self.generation {
            let message = superseded(generation, self.generation);
            return Err(failed(
                "take over",
                &self.config.root,
                io::Error::other(message),
            ));
        }
        self.generation = generation;
        // Nothing is touched before it is known that all of it is ours.
        let markers = self.markers(generation)?;
        let given = |marker: &Option<StoredMarker>| marker.as_ref().map(StoredMarker::marker);
        let given = markers.iter().map(given).collect();
        let folders = stream_folders(&self.config);
        for folder in &folders {
            make_folder(folder).map_err(|error| failed("create", folder, error))?;
        }
        for (shard, marker) in (0..self.config.shards).zip(markers) {
            let shard = self.open_shard(shard, marker)?;
            self.shards.push(shard);
        }
        self.sync_folders(&folders)?;
        self.sync_folders(&[committed(&self.config.root)])?;
        for shard in &mut self.shards {
            shard.show()?;
        }
        Ok(given)
    }

    fn publish(&mut self, outputs: ShardEpoch<'_>) -> Result<(), SinkError> {
        let (generation, number) = (outputs.generation, outputs.shard);
        if self.generation != generation || self.shards.is_empty() {
            let message = format!("generation {generation} has not taken over");
            return Err(failed("publish to", &self.config.root, invalid(message)));
        }
        match self.shards.get_mut(usize::from(number.0)) {
            Some(shard) => shard.publish(&self.config.job, outputs),
            None => {
                let message = format!("there is no shard {number}");
                Err(failed("publish to", &self.config.root, invalid(message)))
            }
        }
    }

    fn in_place(&mut self, lengths: &[Lengths]) -> Result<Option<Box<dyn InPlace>>, SinkError> {
        let shards = self.shards.iter_mut().zip(lengths);
        let tails = shards.map(|(shard, lengths)| shard.tails(*lengths));
        let tails = tails.collect::<Result<_, _>>()?;
        Ok(Some(Box::new(PartsInPlace::new(tails, &self.lock))))
    }
}

#[cfg(test)]
mod tests;
