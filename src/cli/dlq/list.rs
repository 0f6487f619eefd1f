//! `slackwater dlq list`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::ControlFlow;

use comfy_table::{Table, presets};
use serde_json::{Value, json};
use slackwater_operators::reject::grouped;

use crate::cli::checkpoints::time;
use crate::cli::dlq::Selected;
use crate::cli::{Failure, PipelineArgument, print, say};
use crate::letters::letter::{Letter, Place};
use crate::letters::streams;
use crate::pipeline::outline::plain;

/// Most characters of a message in a table.
const MESSAGE_MAX: usize = 80;

/// Counts dead letters, and shows the newest.
#[derive(Debug, clap::Args)]
pub struct List {
    #[command(flatten)]
    pipeline: PipelineArgument,
    #[command(flatten)]
    selected: Selected,
    /// Show so many of them, the newest
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Those of one stream, stage and code.
#[derive(Default)]
struct Group {
    records: u64,
    first_ms: Option<i64>,
    last_ms: Option<i64>,
}

/// All that were found.
#[derive(Default)]
struct Found {
    groups: BTreeMap<(String, String, String), Group>,
    /// The newest, the oldest of them on top.
    newest: BinaryHeap<Reverse<(Option<i64>, Place)>>,
    letters: BTreeMap<Place, Letter>,
    /// Records that are none.
    others: u64,
}

impl Found {
    fn add(&mut self, place: Place, letter: Letter, limit: usize) {
        let decided = letter.decided_ms;
        let of = (
            place.stream.clone(),
            letter.stage.clone(),
            letter.code.clone(),
        );
        let group = self.groups.entry(of).or_default();
        group.records += 1;
        group.first_ms = match group.first_ms {
            Some(first) => Some(decided.map_or(first, |it| it.min(first))),
            None => decided,
        };
        group.last_ms = group.last_ms.max(decided);
        self.newest.push(Reverse((decided, place.clone())));
        self.letters.insert(place, letter);
        if self.newest.len() > limit
            && let Some(Reverse((_, oldest))) = self.newest.pop()
        {
            self.letters.remove(&oldest);
        }
    }

    /// The newest, oldest first.
    fn shown(&self) -> Vec<(&Place, &Letter)> {
        let mut shown: Vec<_> = self.letters.iter().collect();
        shown.sort_by_key(|(place, letter)| (letter.decided_ms, *place));
        shown
    }
}

impl List {
    pub(super) fn run(self) -> Result<(), Failure> {
        let pipeline = self.pipeline.load(self.json)?;
        let selection = self.selected.selection();
        let mut found = Found::default();
        streams::read(&pipeline, &selection, &mut |place, record| {
            match Letter::of(&record) {
                Some(letter) if selection.takes(&place, &letter) => {
                    found.add(place, letter, self.limit);
                }
                Some(_) => {}
                None => found.others += 1,
            }
            ControlFlow::Continue(())
        })?;
        if found.others > 0 {
            let others = grouped(found.others);
            say(&format!(
                "{others} records on these streams are no dead letters of this program, and are left out"
            ));
        }
        if self.json {
            return print(&object(&found).to_string());
        }
        if found.groups.is_empty() {
            return print("no dead letters");
        }
        print(&groups(&found).to_string())?;
        if self.limit == 0 {
            return Ok(());
        }
        print(&letters(&found).to_string())
    }
}

fn shown_time(ms: Option<i64>) -> String {
    ms.map(time).unwrap_or_default()
}

fn groups(found: &Found) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["stream", "stage", "code", "records", "first", "last"]);
    for ((stream, stage, code), group) in &found.groups {
        table.add_row([
            stream.clone(),
            plain(stage),
            plain(code),
            grouped(group.records),
            shown_time(group.first_ms),
            shown_time(group.last_ms),
        ]);
    }
    table
}

fn letters(found: &Found) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["place", "decided", "code", "read at", "message"]);
    for (place, letter) in found.shown() {
        let source = letter.source.as_ref();
        let source = source.map(|it| format!("{}/{}/{}", it.topic, it.partition, it.offset));
        let mut message: String = letter.message.chars().take(MESSAGE_MAX).collect();
        if message.len() < letter.message.len() {
            message.push('…');
        }
        table.add_row([
            place.to_string(),
            shown_time(letter.decided_ms),
            plain(&letter.code),
            plain(&source.unwrap_or_default()),
            plain(&message),
        ]);
    }
    table
}

fn object(found: &Found) -> Value {
    let groups = found.groups.iter().map(|((stream, stage, code), group)| {
        json!({
            "stream": stream,
            "stage": stage,
            "code": code,
            "records": group.records,
            "first_ms": group.first_ms,
            "last_ms": group.last_ms,
        })
    });
    let letters = found.shown().into_iter();
    let letters = letters.map(|(place, letter)| letter_object(place, letter));
    json!({
        "groups": groups.collect::<Vec<_>>(),
        "letters": letters.collect::<Vec<_>>(),
        "others": found.others,
    })
}

pub(super) fn letter_object(place: &Place, letter: &Letter) -> Value {
    let source = letter
        .source
        .as_ref()
        .map(|it| json!({ "topic": it.topic, "partition": it.partition, "offset": it.offset }));
    json!({
        "place": place.to_string(),
        "stage": letter.stage,
        "code": letter.code,
        "message": letter.message,
        "decided_ms": letter.decided_ms,
        "source": source,
        "replayed": letter.replayed,
    })
}
