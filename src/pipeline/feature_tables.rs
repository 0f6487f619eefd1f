//! Features as tables of Parquet, beside rejected events as lines.
//!
//! A table is written by the thread that publishes, in row groups, and has its name when it is whole. What a label is
//! follows from its field, or from its first value, for which so many rows wait; all tables of a run agree about it.

use std::fs;
use std::io;
use std::path::PathBuf;

use serde_json::Value;
use slackwater_columns::writing::{Label, LabelKind, VectorFile, VectorRow, check_names};
use slackwater_connectors::file::{FileSink, FileSinkConfig};
use slackwater_dataflow::sink::addressed::records;
use slackwater_dataflow::sink::{OutputChunk, OutputStream, Sink, SinkError};
use slackwater_operators::encode::FeatureRow;
use slackwater_operators::reject::grouped;

use crate::pipeline::Pipeline;
use crate::pipeline::graph::{OpenSink, open_file_sink, places};
use crate::pipeline::preflight::PreflightError;
use crate::pipeline::spec::FieldKind;

/// Rows of all tables that wait until it is known what each label is: some tens of MiB.
const WAITING_ROWS_MAX: usize = 131_072;

/// Opens a sink that writes predictions' place in `outputs` as tables of features, and all else as lines.
pub(crate) fn open(
    pipeline: &Pipeline,
    outputs: &FileSinkConfig,
    features: &[String],
    labels: &[String],
) -> Result<OpenSink, PreflightError> {
    // Before anything is replaced.
    check_names(features, labels).map_err(|source| failed("name", "columns".to_owned(), source))?;
    let folder = outputs
        .root
        .join(outputs.folders.of(OutputStream::Predictions));
    let files = open_file_sink(outputs)?;
    let places = places(&files);
    let files = files.without(OutputStream::Predictions)?;
    let mut shards = Vec::new();
    for shard in 0..outputs.shards {
        let path = folder.join(format!("shard-{shard}.parquet"));
        let file = VectorFile::create(&path, features, labels);
        let file = file.map_err(|source| failed("create", path.display().to_string(), source))?;
        shards.push((path, Some(file)));
    }
    let labels = labels.iter().map(|name| LabelColumn {
        name: name.clone(),
        kind: declared(pipeline, name),
    });
    Ok(OpenSink {
        sink: Box::new(FeatureTables {
            files,
            shards,
            features: features.len(),
            labels: labels.collect(),
            rows: 0,
        }),
        places,
    })
}

/// What the field of a name is, if there is one.
fn declared(pipeline: &Pipeline, name: &str) -> Option<LabelKind> {
    let mut fields = pipeline.event.fields.iter();
    let field = fields.find(|field| field.name == name)?;
    Some(match field.kind {
        FieldKind::Int => LabelKind::Int,
        FieldKind::Float => LabelKind::Float,
        FieldKind::Bool => LabelKind::Bool,
        // The first value of a list says that it can be none; without any, its column is empty, and anything will do.
        FieldKind::String | FieldKind::Floats | FieldKind::Strings => LabelKind::Text,
    })
}

fn failed(action: &'static str, subject: String, source: io::Error) -> SinkError {
    SinkError {
        action,
        subject,
        source,
    }
}

struct LabelColumn {
    name: String,
    /// None until a value has said so.
    kind: Option<LabelKind>,
}

impl LabelColumn {
    /// The label that a value of JSON is.
    fn label(&mut self, json: Option<&[u8]>) -> Result<Label, String> {
        let Some(json) = json else {
            return Ok(Label::None);
        };
        let value: Value = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        let found = match &value {
            Value::Null => return Ok(Label::None),
            Value::Number(_) => LabelKind::Float,
            Value::String(_) => LabelKind::Text,
            Value::Bool(_) => LabelKind::Bool,
            Value::Array(_) | Value::Object(_) => {
                let name = &self.name;
                return Err(format!(
                    "label `{name}` is {value}: a column of a table takes numbers, texts or truth values; \
                     leave it out, or write `--format jsonl`"
                ));
            }
        };
        let kind = *self.kind.get_or_insert(found);
        let label = match (kind, &value) {
            (LabelKind::Int, Value::Number(number)) => number.as_i64().map(Label::Int),
            (LabelKind::Float, Value::Number(number)) => number.as_f64().map(Label::Float),
            (LabelKind::Text, Value::String(text)) => Some(Label::Text(text.clone())),
            (LabelKind::Bool, Value::Bool(value)) => Some(Label::Bool(*value)),
            _ => None,
        };
        label.ok_or_else(|| {
            let (name, others) = (&self.name, called(kind));
            format!(
                "label `{name}` is {value}, where others are {others}: a column of a table has values of one kind; \
                 mend it, or write `--format jsonl`"
            )
        })
    }
}

/// Whether it is known what each label is, so that rows can be written, after so many rows.
fn are_known(labels: &[LabelColumn], rows: usize) -> Result<bool, String> {
    match labels.iter().find(|label| label.kind.is_none()) {
        None => Ok(true),
        Some(_) if rows < WAITING_ROWS_MAX => Ok(false),
        Some(LabelColumn { name, .. }) => Err(format!(
            "there is no value of label `{name}` in the first {} rows, so it is not known what its column is: declare it as an \
             [[event.field]] with its type and `required = false`, leave it out, or write `--format jsonl`",
            grouped(rows as u64)
        )),
    }
}

fn called(kind: LabelKind) -> &'static str {
    match kind {
        LabelKind::Int => "integers",
        LabelKind::Float => "numbers",
        LabelKind::Text => "texts",
        LabelKind::Bool => "truth values",
    }
}

/// See [`open`].
struct FeatureTables {
    /// Of all streams but the features'.
    files: FileSink,
    /// By shard; none when it is closed.
    shards: Vec<(PathBuf, Option<VectorFile>)>,
    features: usize,
    labels: Vec<LabelColumn>,
    /// Rows so far.
    rows: usize,
}

impl FeatureTables {
    /// What labels are; those of which none has come to the end are numbers.
    fn kinds(&mut self) -> Vec<LabelKind> {
        let labels = self.labels.iter_mut();
        labels
            .map(|label| *label.kind.get_or_insert(LabelKind::Float))
            .collect()
    }

    fn take(&mut self, chunk: &OutputChunk) -> io::Result<()> {
        let shard = usize::from(chunk.shard.0);
        let mut found = 0;
        for record in records(&chunk.bytes) {
            let row = FeatureRow::read(&record, self.features, self.labels.len());
            let row = row.ok_or_else(|| io::Error::other("a row of features is none"))?;
            let (partition, offset) = (row.partition, row.offset);
            let labels = self.labels.iter_mut().zip(&row.labels);
            let labels = labels.map(|(column, json)| column.label(*json));
            let labels = labels.collect::<Result<_, _>>().map_err(|message| {
                io::Error::other(format!(
                    "of the event at partition {partition}, offset {offset}, {message}"
                ))
            })?;
            let row = VectorRow {
                partition,
                offset,
                key: row.key,
                event_time: row.event_time,
                vector: &row.vector,
                labels,
            };
            found += 1;
            self.rows += 1;
            let is_full = self.push(shard, row)?;
            if are_known(&self.labels, self.rows).map_err(io::Error::other)? && is_full {
                self.write(shard)?;
            }
        }
        match found == chunk.records {
            true => Ok(()),
            false => Err(io::Error::other("a chunk of rows of features is damaged")),
        }
    }

    /// Takes a row; whether there are enough to be written.
    fn push(&mut self, shard: usize, row: VectorRow<'_>) -> io::Result<bool> {
        let Some((_, Some(file))) = self.shards.get_mut(shard) else {
            return Err(io::Error::other(format!("there is no shard {shard}")));
        };
        file.push(row);
        Ok(file.is_full())
    }

    fn write(&mut self, shard: usize) -> io::Result<()> {
        let kinds = self.kinds();
        match self.shards.get_mut(shard) {
            Some((_, Some(file))) => file.write(&kinds),
            _ => Ok(()),
        }
    }
}

impl Sink for FeatureTables {
    fn append(&mut self, chunk: &OutputChunk) -> Result<(), SinkError> {
        if chunk.stream != OutputStream::Predictions {
            return self.files.append(chunk);
        }
        self.take(chunk).map_err(|source| {
            let path = self.shards.get(usize::from(chunk.shard.0));
            let path = path.map_or_else(String::new, |(path, _)| path.display().to_string());
            failed("write", path, source)
        })
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        let kinds = self.kinds();
        for (path, file) in &mut self.shards {
            if let Some(file) = file.take() {
                file.close(&kinds)
                    .map_err(|source| failed("write", path.display().to_string(), source))?;
            }
            // Their names are durable with the folder.
            let folder = path.parent().map(fs::File::open).transpose();
            folder
                .and_then(|folder| folder.map_or(Ok(()), |it| it.sync_all()))
                .map_err(|source| failed("write", path.display().to_string(), source))?;
        }
        self.files.finish()
    }
}

#[cfg(test)]
#[expect(clippy::panic, reason = "tests")]
mod tests {
    use slackwater_columns::writing::{Label, LabelKind};

    use crate::pipeline::feature_tables::{LabelColumn, WAITING_ROWS_MAX, are_known};

    #[test]
    fn how_long_do_rows_wait_for_a_label() {
        let label = |name: &str, kind| LabelColumn {
            name: name.to_owned(),
            kind,
        };
        let known = || label("known", Some(LabelKind::Text));
        let labels = [known(), label("new", None)];
        assert_eq!(are_known(&labels, WAITING_ROWS_MAX - 1), Ok(false));
        let said = are_known(&labels, WAITING_ROWS_MAX).err();
        let said = said.unwrap_or_default();
        let expected = "there is no value of label `new` in the first 131,072 rows";
        assert!(said.starts_with(expected), "{said}");
        assert_eq!(are_known(&[known()], WAITING_ROWS_MAX), Ok(true));
        assert_eq!(are_known(&[], 1), Ok(true));
    }

    #[test]
    fn are_labels_of_one_kind_or_told() {
        let check = |kind, values: &[&str], expected: &[Result<Label, &str>]| {
            let mut column = LabelColumn {
                name: "l".to_owned(),
                kind,
            };
            for (value, expected) in values.iter().zip(expected) {
                let found = column.label(Some(value.as_bytes()));
                match (&found, expected) {
                    (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{value}"),
                    (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
                    _ => panic!("{value}: {found:?}"),
                }
            }
            assert_eq!(column.label(None), Ok(Label::None));
        };
        let text = |text: &str| Ok(Label::Text(text.to_owned()));
        check(
            None,
            &["null", "1", "2.5", "\"x\""],
            &[
                Ok(Label::None),
                Ok(Label::Float(1.0)),
                Ok(Label::Float(2.5)),
                Err("label `l` is \"x\", where others are numbers"),
            ],
        );
        check(
            None,
            &["\"x\"", "true"],
            &[text("x"), Err("others are texts")],
        );
        check(
            None,
            &["true", "1"],
            &[Ok(Label::Bool(true)), Err("others are truth values")],
        );
        check(None, &["[1]"], &[Err("label `l` is [1]: a column")]);
        check(
            Some(LabelKind::Int),
            &["7", "7.5"],
            &[Ok(Label::Int(7)), Err("others are integers")],
        );
    }
}
