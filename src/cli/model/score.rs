//! `slackwater model score`: what a pipeline's model says of rows that a person has at hand.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use slackwater_models::Scorer;
use slackwater_operators::reject::not_finite;

use crate::cli::{Failure, PipelineArgument, counted, print_some, say};
use crate::pipeline::graph::{load_model, scorer};
use crate::pipeline::plan::Plans;
use crate::pipeline::preflight::PreflightError;

/// Longest line, in bytes: more than the most features that a model may have need, with their names.
const LINE_BYTES_MAX: u64 = 1024 * 1024;

/// Writes a line for each line: `{"score":0.5}`, of a model with several outputs `{"scores":{NAME:0.5}}`, or
/// `{"error":"why not"}`. A line is a list of numbers in
/// the model's order, an object {name: number}, or a record of `slackwater features`.
#[derive(Debug, clap::Args)]
pub struct Score {
    #[command(flatten)]
    pipeline: PipelineArgument,
    /// File to read; stdin if none is named
    #[arg(long = "in", value_name = "FILE")]
    input: Option<PathBuf>,
}

/// One line of the answer.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Score(f32),
    Scores(Scores),
    Error(String),
}

/// Scores by name, in the model's order.
#[derive(Clone, Debug)]
struct Scores(Vec<(String, f32)>);

impl Serialize for Scores {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, score)| (name, score)))
    }
}

impl Score {
    pub(super) fn run(self) -> Result<(), Failure> {
        let pipeline = self.pipeline.load(false)?;
        let model = load_model(&pipeline)?;
        let (mut input, what): (Box<dyn BufRead>, _) = match &self.input {
            None => (Box::new(io::stdin().lock()), "stdin".to_owned()),
            Some(path) => (Box::new(open(path)?), format!("`{}`", path.display())),
        };
        let mut scoring = Scoring {
            scorer: scorer(&model)?,
            names: Plans::new(&pipeline, 1).feature_rows.names,
        };
        let (mut lines, mut failed) = (0, 0);
        loop {
            let rows = scoring.read(&mut input);
            let rows = rows.map_err(|source| Failure::Input {
                what: what.clone(),
                source,
            })?;
            if rows.is_empty() {
                break;
            }
            let mut texts = Vec::with_capacity(rows.len());
            for answer in scoring.score(rows) {
                lines += 1;
                failed += u64::from(matches!(answer, Answer::Error(_)));
                // Numbers and texts always serialise.
                texts.push(serde_json::to_string(&answer).unwrap_or_default());
            }
            if !print_some(&texts.join("\n"))? {
                break;
            }
        }
        if failed > 0 {
            let lines = counted(lines, "line");
            say(&format!("note: {failed} of {lines} could not be scored"));
        }
        Ok(())
    }
}

fn open(path: &Path) -> Result<impl BufRead + use<>, PreflightError> {
    let opened = File::open(path).and_then(|file| {
        if file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(BufReader::new(file))
    });
    opened.map_err(|source| PreflightError::Unreadable {
        what: "rows",
        path: path.display().to_string(),
        source,
    })
}

/// A row of features, or what is wrong with its line.
type Row = Result<Vec<f32>, String>;

/// The model, and what its inputs are called.
struct Scoring {
    scorer: Scorer,
    names: Vec<String>,
}

impl Scoring {
    /// The next lines, as many as the model scores together; none at the end of the input.
    fn read(&self, input: &mut dyn BufRead) -> io::Result<Vec<Row>> {
        let mut rows = Vec::new();
        let mut line = Vec::new();
        while rows.len() < self.scorer.info().batch {
            line.clear();
            if (&mut *input)
                .take(LINE_BYTES_MAX)
                .read_until(b'\n', &mut line)?
                == 0
            {
                break;
            }
            let whole = line.ends_with(b"\n") || (line.len() as u64) < LINE_BYTES_MAX;
            rows.push(if whole {
                self.row(&line)
            } else {
                input.skip_until(b'\n')?;
                Err(format!("the line has more than {LINE_BYTES_MAX} bytes"))
            });
        }
        Ok(rows)
    }

    fn row(&self, line: &[u8]) -> Row {
        let value: Value = serde_json::from_slice(line)
            .map_err(|error| format!("the line is not JSON: {error}"))?;
        match value {
            Value::Array(numbers) => self.listed(&numbers),
            Value::Object(mut object) => match object.remove("features") {
                Some(Value::Object(features)) => self.named(features),
                other => {
                    // A feature that happens to have that name.
                    object.extend(other.map(|value| ("features".to_owned(), value)));
                    self.named(object)
                }
            },
            _ => Err("expected a list of numbers or an object of names and numbers".to_owned()),
        }
    }

    fn listed(&self, numbers: &[Value]) -> Row {
        if numbers.len() != self.names.len() {
            let (given, wanted) = (numbers.len(), self.names.len());
            return Err(format!(
                "the line has {given} numbers, the model takes {wanted}"
            ));
        }
        let pairs = self.names.iter().zip(numbers);
        pairs.map(|(name, value)| number(name, value)).collect()
    }

    fn named(&self, mut given: Map<String, Value>) -> Row {
        let take = |name: &String| {
            let value = given.remove(name);
            let value = value.ok_or_else(|| format!("feature `{name}` is missing"))?;
            number(name, &value)
        };
        let row = self.names.iter().map(take).collect::<Row>()?;
        match given.iter().next() {
            None => Ok(row),
            Some((name, _)) => Err(format!("the model has no feature `{name}`")),
        }
    }

    /// Scores rows together, or one by one where the model fails on one of them.
    fn score(&mut self, rows: Vec<Row>) -> Vec<Answer> {
        let together: Vec<f32> = rows.iter().flatten().flatten().copied().collect();
        let mut scores = Vec::new();
        let scored = self.scorer.score(&together, &mut scores).is_ok();
        let mut scores = scores.chunks(self.scorer.info().outputs.len());
        let answer = |row: Row| {
            let row = row?;
            match scores.next().filter(|_| scored) {
                Some(scores) => self.answer(scores),
                None => self
                    .score_alone(&row)
                    .and_then(|scores| self.answer(&scores)),
            }
        };
        let answers = rows.into_iter().map(answer);
        answers
            .map(|answer| answer.unwrap_or_else(Answer::Error))
            .collect()
    }

    fn answer(&self, scores: &[f32]) -> Result<Answer, String> {
        let outputs = &self.scorer.info().outputs;
        let mut named = outputs.iter().zip(scores);
        if let Some((output, score)) = named.find(|(_, score)| !score.is_finite()) {
            return Err(format!("`{}` is {}", output.name, not_finite(*score)));
        }
        match scores {
            [score] => Ok(Answer::Score(*score)),
            _ => {
                let named = outputs.iter().zip(scores);
                let named = named.map(|(output, score)| (output.name.clone(), *score));
                Ok(Answer::Scores(Scores(named.collect())))
            }
        }
    }

    fn score_alone(&mut self, row: &[f32]) -> Result<Vec<f32>, String> {
        let mut scores = Vec::new();
        self.scorer.score(row, &mut scores).map_err(|error| {
            match std::error::Error::source(&error) {
                Some(cause) => format!("{error}: {cause}"),
                None => error.to_string(),
            }
        })?;
        Ok(scores)
    }
}

fn number(name: &str, value: &Value) -> Result<f32, String> {
    let number = value.as_f64().map(|number| number as f32);
    let number = number.ok_or_else(|| format!("feature `{name}` is {value}, expected a number"))?;
    if number.is_finite() {
        Ok(number)
    } else {
        Err(format!("feature `{name}` is {value}, beyond 32-bit floats"))
    }
}
