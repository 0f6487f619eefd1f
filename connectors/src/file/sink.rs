//! Outputs as files: `root/<folder of the stream>/shard-<n>.jsonl`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use slackwater_dataflow::sink::{OutputChunk, OutputStream, Sink, SinkError};

/// Most shards of a file sink: four files a shard stay open, and 512 are half of what systems usually
/// let a process have.
const SHARDS_MAX: u16 = 128;

/// What to do when the folders already hold outputs of an earlier run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Touch nothing and say so.
    Refuse,
    /// Delete all `shard-<n>.jsonl` of the four streams and write anew.
    Replace,
}

/// Name of each stream's folder under the root: one path component, different for each stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamFolders {
    /// Scored events.
    pub predictions: String,
    /// Events that are not what the schema says.
    pub validation_errors: String,
    /// Valid events that could not be scored.
    pub processing_errors: String,
    /// Events older than their partition's watermark.
    pub late_events: String,
}

impl StreamFolders {
    /// The folder of `stream`.
    pub fn of(&self, stream: OutputStream) -> &str {
        match stream {
            OutputStream::Predictions => &self.predictions,
            OutputStream::ValidationErrors => &self.validation_errors,
            OutputStream::ProcessingErrors => &self.processing_errors,
            OutputStream::LateEvents => &self.late_events,
        }
    }
}

/// Where outputs go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSinkConfig {
    /// Folder that holds the streams' folders; made when it does not exist.
    pub root: PathBuf,
    /// The streams' folders.
    pub folders: StreamFolders,
    /// Number of files per stream, 1 to 128.
    pub shards: u16,
    /// What to do about outputs that are already there.
    pub existing: Existing,
}

/// The outputs' files could not be opened. Nothing was written, and in a refusal nothing was deleted.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There are outputs already and they were not to be replaced.
    #[error("{} already exists: outputs of an earlier run are not overwritten", path.display())]
    Exists {
        /// The first output found.
        path: PathBuf,
    },
    /// A folder or file can't be made or written.
    #[error(transparent)]
    Failed(#[from] SinkError),
}

/// Writes each stream and shard to a file of its own, in the order of the chunks.
#[derive(Debug)]
pub struct FileSink {
    /// Per stream, in the order of [`OutputStream::ALL`].
    streams: Vec<StreamFiles>,
}

#[derive(Debug)]
struct StreamFiles {
    folder: PathBuf,
    /// By shard.
    shards: Vec<(PathBuf, File)>,
}

impl FileSink {
    /// Makes all folders and empty files, after checking what is there.
    ///
    /// # Errors
    /// Outputs exist and are to be kept, the names or the number of shards are unusable, or a folder or
    /// file can't be made, deleted or written.
    pub fn open(config: &FileSinkConfig) -> Result<Self, OpenError> {
        check_names(config)?;
        if config.root.exists() && !config.root.is_dir() {
            let error = io::Error::new(io::ErrorKind::NotADirectory, "it is not a folder");
            return Err(failed("write below", &config.root, error).into());
        }
        let folders = OutputStream::ALL.map(|stream| config.root.join(config.folders.of(stream)));
        let mut stale = Vec::new();
        for folder in &folders {
            stale.extend(outputs_in(folder)?);
        }
        if let (Existing::Refuse, Some(path)) = (config.existing, stale.first()) {
            return Err(OpenError::Exists { path: path.clone() });
        }
        // All folders before the first deletion: a root that can't be written costs no old output.
        for folder in &folders {
            fs::create_dir_all(folder).map_err(|error| failed("create", folder, error))?;
        }
        for path in &stale {
            fs::remove_file(path).map_err(|error| failed("delete", path, error))?;
        }
        let mut streams = Vec::with_capacity(folders.len());
        for folder in folders {
            let mut shards = Vec::with_capacity(usize::from(config.shards));
            for shard in 0..config.shards {
                let path = folder.join(format!("shard-{shard}.jsonl"));
                let file = File::create(&path).map_err(|error| failed("create", &path, error))?;
                shards.push((path, file));
            }
            streams.push(StreamFiles { folder, shards });
        }
        Ok(FileSink { streams })
    }

    /// The folder of `stream`'s files, as made from the root.
    pub fn folder(&self, stream: OutputStream) -> &Path {
        // One entry per stream was made by `open`.
        &self.streams[stream.index()].folder
    }

    /// Paths of `stream`'s files, by shard.
    pub fn paths(&self, stream: OutputStream) -> impl Iterator<Item = &Path> {
        self.streams[stream.index()]
            .shards
            .iter()
            .map(|(path, _)| path.as_path())
    }
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> SinkError {
    SinkError {
        action,
        subject: path.display().to_string(),
        source,
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

fn check_names(config: &FileSinkConfig) -> Result<(), SinkError> {
    let refuse = |message| Err(failed("use", &config.root, invalid(message)));
    if !(1..=SHARDS_MAX).contains(&config.shards) {
        return refuse(format!(
            "{} shards, expected 1 to {SHARDS_MAX}",
            config.shards
        ));
    }
    let names = OutputStream::ALL.map(|stream| config.folders.of(stream));
    for (index, name) in names.iter().enumerate() {
        if name.is_empty() || *name == "." || *name == ".." || name.contains(['/', '\\', '\0']) {
            return refuse(format!("`{name}` is not the name of a folder"));
        }
        if names[..index].contains(name) {
            return refuse(format!("two streams have the folder `{name}`"));
        }
    }
    Ok(())
}

/// The files of an earlier run in `folder`, in the order of their names; none if there is no folder.
fn outputs_in(folder: &Path) -> Result<Vec<PathBuf>, SinkError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        result => result.map_err(|error| failed("list", folder, error))?,
    };
    let mut outputs = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| failed("list", folder, error))?;
        if entry.file_name().to_str().is_some_and(is_shard_name) {
            outputs.push(entry.path());
        }
    }
    outputs.sort();
    Ok(outputs)
}

/// Whether a file's name is `shard-<n>.jsonl`.
fn is_shard_name(name: &str) -> bool {
    name.strip_prefix("shard-")
        .and_then(|rest| rest.strip_suffix(".jsonl"))
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

impl Sink for FileSink {
    fn append(&mut self, chunk: &OutputChunk) -> Result<(), SinkError> {
        let files = &mut self.streams[chunk.stream.index()];
        let Some((path, file)) = files.shards.get_mut(usize::from(chunk.shard.0)) else {
            let message = format!("no shard {}, it was opened with fewer", chunk.shard);
            return Err(failed("write", &files.folder, invalid(message)));
        };
        file.write_all(&chunk.bytes)
            .map_err(|error| failed("write", path, error))
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        for (path, file) in self.streams.iter_mut().flat_map(|files| &mut files.shards) {
            file.flush().map_err(|error| failed("write", path, error))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
