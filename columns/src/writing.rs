//! Feature vectors as Parquet, with what identifies an event and what is to be predicted of it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::builder::{
    Float32Builder, StringBuilder, TimestampMillisecondBuilder, UInt32Builder, UInt64Builder,
};
use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

/// Rows of a row group, at most: some MiB.
pub const GROUP_ROWS: usize = 65_536;

/// Rows that are held until they are encoded.
const HELD_ROWS: usize = 8_192;

/// Ends the name of a file that is not whole yet.
const UNFINISHED: &str = ".tmp";

/// The columns before those of the features.
const BEFORE: [&str; 4] = ["partition", "offset", "key", "event_time"];

/// What a label is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelKind {
    /// 64-bit integers.
    Int,
    /// 64-bit floats.
    Float,
    /// Texts.
    Text,
    /// Truth values.
    Bool,
}

/// The label of a row.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Label {
    /// There is none.
    #[default]
    None,
    /// See [`LabelKind::Int`].
    Int(i64),
    /// See [`LabelKind::Float`].
    Float(f64),
    /// See [`LabelKind::Text`].
    Text(String),
    /// See [`LabelKind::Bool`].
    Bool(bool),
}

/// One row.
#[derive(Clone, Debug)]
pub struct VectorRow<'a> {
    /// Where the event comes from.
    pub partition: u32,
    /// Its place there.
    pub offset: u64,
    /// Its key.
    pub key: &'a str,
    /// Its event time, milliseconds since 1970.
    pub event_time: i64,
    /// Its features.
    pub vector: &'a [f32],
    /// Its labels.
    pub labels: Vec<Label>,
}

/// Looks whether features and labels can be columns of one table.
///
/// # Errors
/// Two would have one name.
pub fn check_names(features: &[String], labels: &[String]) -> io::Result<()> {
    let names = BEFORE.into_iter();
    let names = names.chain(features.iter().chain(labels).map(String::as_str));
    let mut known = BTreeSet::new();
    for name in names {
        if !known.insert(name) {
            let message = format!(
                "two would be named `{name}`, as features, labels and `{}` are columns of one table: name them otherwise, \
                 or write `--format jsonl`",
                BEFORE.join("`, `")
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
    }
    Ok(())
}

/// A file of vectors that is being written. Its name ends in `.tmp` until it is whole.
pub struct VectorFile {
    path: PathBuf,
    file: Option<File>,
    /// None before the first rows are encoded: until then the kinds of labels may not be known.
    writer: Option<ArrowWriter<File>>,
    names: Names,
    held: Held,
}

/// Names of columns.
struct Names {
    features: Vec<String>,
    labels: Vec<String>,
}

/// Rows that are not encoded yet, by columns.
struct Held {
    partition: UInt32Builder,
    offset: UInt64Builder,
    key: StringBuilder,
    event_time: TimestampMillisecondBuilder,
    features: Vec<Float32Builder>,
    labels: Vec<Vec<Label>>,
    rows: usize,
}

impl VectorFile {
    /// Begins the file that will be at `path`.
    ///
    /// # Errors
    /// Two columns have one name, or it can't be made.
    pub fn create(path: &Path, features: &[String], labels: &[String]) -> io::Result<Self> {
        check_names(features, labels)?;
        Ok(VectorFile {
            path: path.to_owned(),
            file: Some(File::create(unfinished(path))?),
            writer: None,
            names: Names {
                features: features.to_vec(),
                labels: labels.to_vec(),
            },
            held: Held::new(features.len(), labels.len()),
        })
    }

    /// Takes a row.
    pub fn push(&mut self, row: VectorRow<'_>) {
        self.held.push(row);
    }

    /// Whether so many rows are held that they are to be written.
    pub fn is_full(&self) -> bool {
        self.held.rows >= HELD_ROWS
    }

    /// Encodes what is held; the labels are of these kinds, now and ever after.
    ///
    /// # Errors
    /// It can't be written.
    pub fn write(&mut self, kinds: &[LabelKind]) -> io::Result<()> {
        let schema = self.names.schema(kinds);
        let writer = match (&mut self.writer, self.file.take()) {
            (Some(writer), _) => writer,
            (None, Some(file)) => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .set_max_row_group_row_count(Some(GROUP_ROWS))
                    .build();
                let writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties))?;
                self.writer.insert(writer)
            }
            // A file that could not be begun.
            (None, None) => return Err(io::ErrorKind::NotConnected.into()),
        };
        let columns = self.held.columns(kinds);
        let batch = RecordBatch::try_new(schema, columns).map_err(io::Error::other)?;
        Ok(writer.write(&batch)?)
    }

    /// Makes the file whole, durable, and gives it its name.
    ///
    /// # Errors
    /// It can't be written.
    pub fn close(mut self, kinds: &[LabelKind]) -> io::Result<()> {
        self.write(kinds)?;
        if let Some(writer) = self.writer.take() {
            writer.into_inner()?.sync_all()?;
        }
        fs::rename(unfinished(&self.path), &self.path)
    }
}

fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(UNFINISHED);
    name.into()
}

impl Names {
    fn schema(&self, kinds: &[LabelKind]) -> Arc<Schema> {
        let time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
        let before = [DataType::UInt32, DataType::UInt64, DataType::Utf8, time];
        let before = BEFORE.iter().zip(before);
        let before = before.map(|(name, kind)| Field::new(*name, kind, false));
        let features = self.features.iter();
        let features = features.map(|name| Field::new(name, DataType::Float32, false));
        let labels = self.labels.iter().zip(kinds).map(|(name, kind)| {
            let kind = match kind {
                LabelKind::Int => DataType::Int64,
                LabelKind::Float => DataType::Float64,
                LabelKind::Text => DataType::Utf8,
                LabelKind::Bool => DataType::Boolean,
            };
            Field::new(name, kind, true)
        });
        let fields: Vec<Field> = before.chain(features).chain(labels).collect();
        Arc::new(Schema::new(fields))
    }
}

impl Held {
    fn new(features: usize, labels: usize) -> Self {
        Held {
            partition: UInt32Builder::new(),
            offset: UInt64Builder::new(),
            key: StringBuilder::new(),
            event_time: TimestampMillisecondBuilder::new().with_timezone("UTC"),
            features: (0..features).map(|_| Float32Builder::new()).collect(),
            labels: vec![Vec::new(); labels],
            rows: 0,
        }
    }

    fn push(&mut self, row: VectorRow<'_>) {
        self.partition.append_value(row.partition);
        self.offset.append_value(row.offset);
        self.key.append_value(row.key);
        self.event_time.append_value(row.event_time);
        for (column, value) in self.features.iter_mut().zip(row.vector) {
            column.append_value(*value);
        }
        for (column, label) in self.labels.iter_mut().zip(row.labels) {
            column.push(label);
        }
        self.rows += 1;
    }

    /// What was held, in the order of the schema.
    fn columns(&mut self, kinds: &[LabelKind]) -> Vec<ArrayRef> {
        self.rows = 0;
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(self.partition.finish()),
            Arc::new(self.offset.finish()),
            Arc::new(self.key.finish()),
            Arc::new(self.event_time.finish()),
        ];
        for feature in &mut self.features {
            columns.push(Arc::new(feature.finish()));
        }
        for (labels, kind) in self.labels.iter_mut().zip(kinds) {
            columns.push(label_column(labels, *kind));
            labels.clear();
        }
        columns
    }
}

/// Labels of one kind; what is of another one is none, and whoever pushed it should have seen to that.
fn label_column(labels: &[Label], kind: LabelKind) -> ArrayRef {
    let labels = labels.iter();
    match kind {
        LabelKind::Int => Arc::new(Int64Array::from_iter(labels.map(|it| match it {
            Label::Int(value) => Some(*value),
            _ => None,
        }))),
        LabelKind::Float => Arc::new(Float64Array::from_iter(labels.map(|it| match it {
            Label::Float(value) => Some(*value),
            _ => None,
        }))),
        LabelKind::Text => Arc::new(StringArray::from_iter(labels.map(|it| match it {
            Label::Text(value) => Some(value.as_str()),
            _ => None,
        }))),
        LabelKind::Bool => Arc::new(BooleanArray::from_iter(labels.map(|it| match it {
            Label::Bool(value) => Some(*value),
            _ => None,
        }))),
    }
}

#[cfg(test)]
mod tests;
