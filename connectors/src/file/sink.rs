//! Outputs as files: `root/<folder of the stream>/shard-<n>.jsonl`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use slackwater_dataflow::sink::{OutputChunk, OutputStream, Sink, SinkError};

/// Most shards of a file sink: four files a shard stay open for the length of a run, and 512 are half of
/// what systems usually let a process have.
pub const SHARDS_MAX: u16 = 128;

/// Ends the name of a file that is not yet in its place; no output and no input pattern ends like this.
const NEW_SUFFIX: &str = ".new";

/// What to do when the folders already hold outputs of an earlier run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Touch nothing and say so.
    Refuse,
    /// Delete all `shard-<n>.jsonl` and `shard-<n>.parquet` of the four streams and write anew.
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

/// The outputs' files could not be opened. Outputs of an earlier run are as they were, and nothing new is
/// left behind.
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
    /// file can't be made or written.
    pub fn open(config: &FileSinkConfig) -> Result<Self, OpenError> {
        let stale = outputs(config)?;
        if let (Existing::Refuse, Some(path)) = (config.existing, stale.first()) {
            return Err(OpenError::Exists { path: path.clone() });
        }
        let mut made = Made::default();
        let sink = open_beside(config, &mut made).inspect_err(|_| made.undo())?;
        // From here on old outputs go. All that could fail for a reason that lasts has been done.
        for (path, _) in sink.streams.iter().flat_map(|files| &files.shards) {
            fs::rename(new_path(path), path).map_err(|error| {
                made.undo();
                failed("replace", path, error)
            })?;
        }
        for path in &stale {
            let mut current = sink.streams.iter().flat_map(|files| &files.shards);
            if !current.any(|(current, _)| current == path) {
                fs::remove_file(path).map_err(|error| failed("delete", path, error))?;
            }
        }
        Ok(sink)
    }

    /// The same without the files of one stream, which something else writes; they are deleted again.
    ///
    /// # Errors
    /// One can't be deleted.
    pub fn without(mut self, stream: OutputStream) -> Result<Self, SinkError> {
        for (path, file) in self.streams[stream.index()].shards.drain(..) {
            drop(file);
            fs::remove_file(&path).map_err(|error| failed("delete", &path, error))?;
        }
        Ok(self)
    }

    /// Checks as much as can be told without writing; the first output of an earlier run, if there is
    /// one.
    ///
    /// # Errors
    /// The names or the number of shards are unusable, or a file is where a folder should be.
    pub fn examine(config: &FileSinkConfig) -> Result<Option<PathBuf>, SinkError> {
        Ok(outputs(config)?.into_iter().next())
    }

    /// The folder of `stream`'s files, as made from the root.
    pub fn folder(&self, stream: OutputStream) -> &Path {
        // One entry per stream was made by `open`.
        &self.streams[stream.index()].folder
    }

    /// Paths of `stream`'s files, by shard.
    #[cfg(test)]
    fn paths(&self, stream: OutputStream) -> impl Iterator<Item = &Path> {
        self.streams[stream.index()]
            .shards
            .iter()
            .map(|(path, _)| path.as_path())
    }
}

/// Opens every file under a name that is not an output's, so that a failure costs no old output. Nor does
/// a link that stands in an output's place: it is replaced, never written through.
fn open_beside(config: &FileSinkConfig, made: &mut Made) -> Result<FileSink, SinkError> {
    let folders = folders(&config.root, &config.folders);
    for folder in &folders {
        made.folder(folder)
            .map_err(|error| failed("create", folder, error))?;
    }
    let mut streams = Vec::with_capacity(folders.len());
    for folder in folders {
        let mut shards = Vec::with_capacity(usize::from(config.shards));
        for shard in 0..config.shards {
            let path = folder.join(format!("shard-{shard}.jsonl"));
            if path.is_dir() {
                let error = io::Error::new(io::ErrorKind::IsADirectory, "it is a folder");
                return Err(failed("create", &path, error));
            }
            let file = made
                .file(new_path(&path))
                .map_err(|error| failed("create", &path, error))?;
            shards.push((path, file));
        }
        streams.push(StreamFiles { folder, shards });
    }
    Ok(FileSink { streams })
}

/// Where the file that becomes `path` is opened.
pub(super) fn new_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(NEW_SUFFIX);
    name.into()
}

/// What a call of [`FileSink::open`] has made so far.
#[derive(Debug, Default)]
struct Made {
    /// Parents before what is in them.
    folders: Vec<PathBuf>,
    files: Vec<PathBuf>,
}

impl Made {
    fn folder(&mut self, folder: &Path) -> io::Result<()> {
        let missing = folder
            .ancestors()
            .take_while(|path| !path.as_os_str().is_empty() && !path.exists());
        let mut missing: Vec<_> = missing.map(Path::to_owned).collect();
        missing.reverse();
        // Noted before they are made: making them may fail half-way.
        self.folders.extend(missing);
        fs::create_dir_all(folder)
    }

    fn file(&mut self, path: PathBuf) -> io::Result<File> {
        let file = File::create(&path)?;
        self.files.push(path);
        Ok(file)
    }

    /// Removes it all, as far as that is possible: the failure that led here is what has to be told.
    /// Folders that something else was put into stay.
    fn undo(&self) {
        for path in &self.files {
            drop(fs::remove_file(path));
        }
        for folder in self.folders.iter().rev() {
            drop(fs::remove_dir(folder));
        }
    }
}

pub(super) fn failed(action: &'static str, path: &Path, source: io::Error) -> SinkError {
    SinkError {
        action,
        subject: path.display().to_string(),
        source,
    }
}

pub(super) fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// Whether files of so many shards can be made in these folders below `root`.
pub(super) fn check_names(
    root: &Path,
    folders: &StreamFolders,
    shards: u16,
) -> Result<(), SinkError> {
    let refuse = |message| Err(failed("use", root, invalid(message)));
    if !(1..=SHARDS_MAX).contains(&shards) {
        return refuse(format!("{shards} shards, expected 1 to {SHARDS_MAX}"));
    }
    let names = OutputStream::ALL.map(|stream| folders.of(stream));
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

/// The streams' folders, in the order of [`OutputStream::ALL`].
pub(super) fn folders(root: &Path, folders: &StreamFolders) -> [PathBuf; OutputStream::ALL.len()] {
    OutputStream::ALL.map(|stream| root.join(folders.of(stream)))
}

/// The files of an earlier run, once it is known that there could be some.
fn outputs(config: &FileSinkConfig) -> Result<Vec<PathBuf>, SinkError> {
    check_names(&config.root, &config.folders, config.shards)?;
    if config.root.exists() && !config.root.is_dir() {
        let error = io::Error::new(io::ErrorKind::NotADirectory, "it is not a folder");
        return Err(failed("write below", &config.root, error));
    }
    let mut outputs = Vec::new();
    for folder in folders(&config.root, &config.folders) {
        outputs.extend(outputs_in(&folder)?);
    }
    Ok(outputs)
}

/// The files of an earlier run in `folder`, in the order of their names; none if there is no folder.
pub(super) fn outputs_in(folder: &Path) -> Result<Vec<PathBuf>, SinkError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        result => result.map_err(|error| failed("list", folder, error))?,
    };
    let mut outputs = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| failed("list", folder, error))?;
        if entry
            .file_name()
            .to_str()
            .is_some_and(|name| is_of_shard(name, ".jsonl") || is_of_shard(name, ".parquet"))
        {
            outputs.push(entry.path());
        }
    }
    outputs.sort();
    Ok(outputs)
}

/// Whether a file's name is `shard-<n>` and this ending.
pub(super) fn is_of_shard(name: &str, ending: &str) -> bool {
    name.strip_prefix("shard-")
        .and_then(|rest| rest.strip_suffix(ending))
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

impl Sink for FileSink {
    fn append(&mut self, chunk: &OutputChunk) -> Result<(), SinkError> {
        let files = &mut self.streams[chunk.stream.index()];
        let Some((path, file)) = files.shards.get_mut(usize::from(chunk.shard.0)) else {
            let message = format!("no shard {}, it was opened with fewer", chunk.shard);
            return Err(failed("write", &files.folder, invalid(message)));
        };
        file.write_all(chunk.lines()?)
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
