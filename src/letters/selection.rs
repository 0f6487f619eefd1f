//! Which dead letters a person means.

use slackwater_kafka::letters::Extent;
use xxhash_rust::xxh3::Xxh3;

use crate::letters::letter::{Letter, Place};

/// Which dead letters a person means: all that every one of these allows, and what allows nothing in particular allows
/// all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Names of streams.
    pub streams: Vec<String>,
    /// Stages.
    pub stages: Vec<String>,
    /// Codes.
    pub codes: Vec<String>,
    /// Decided at this time or later, in milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// Decided before this time.
    pub until_ms: Option<i64>,
    /// In this partition of their stream.
    pub partition: Option<u32>,
    /// From this offset on.
    pub from: Option<u64>,
    /// Before this offset.
    pub to: Option<u64>,
}

fn allows(wanted: &[String], found: &str) -> bool {
    wanted.is_empty() || wanted.iter().any(|it| it == found)
}

impl Selection {
    /// Whether it means any of a stream.
    pub fn means(&self, stream: &str) -> bool {
        allows(&self.streams, stream)
    }

    /// Whether a partition of a stream can hold any of them.
    pub fn reaches(&self, stream: &str, partition: u32) -> bool {
        self.means(stream) && self.partition.is_none_or(|it| it == partition)
    }

    /// What it reaches of a partition of a stream; it may be nothing.
    pub fn part_of(&self, stream: &str, whole: Extent) -> Option<Extent> {
        let part = Extent {
            from: whole.from.max(self.from.unwrap_or_default()),
            to: whole.to.min(self.to.unwrap_or(u64::MAX)),
            ..whole
        };
        self.reaches(stream, whole.partition).then_some(part)
    }

    /// Whether it means this one. One whose time is not known is at none.
    pub fn takes(&self, place: &Place, letter: &Letter) -> bool {
        let decided = |bound: Option<i64>, fits: fn(i64, i64) -> bool| {
            bound.is_none_or(|bound| letter.decided_ms.is_some_and(|ms| fits(ms, bound)))
        };
        self.reaches(&place.stream, place.partition)
            && allows(&self.stages, &letter.stage)
            && allows(&self.codes, &letter.code)
            && decided(self.since_ms, |ms, since| ms >= since)
            && decided(self.until_ms, |ms, until| ms < until)
            && self.from.is_none_or(|from| place.offset >= from)
            && self.to.is_none_or(|to| place.offset < to)
    }

    /// A short name that selections which mean something else do not have.
    pub fn name(&self) -> String {
        let mut hash = Xxh3::new();
        let mut add = |part: &[u8]| {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        for texts in [&self.streams, &self.stages, &self.codes] {
            let mut texts: Vec<_> = texts.iter().collect();
            texts.sort();
            texts.dedup();
            add(&(texts.len() as u64).to_le_bytes());
            texts.iter().for_each(|text| add(text.as_bytes()));
        }
        let partition = self.partition.map(u64::from);
        let times = [self.since_ms, self.until_ms];
        let numbers = times.map(|it| it.map(|ms| ms as u64));
        for number in numbers.into_iter().chain([partition, self.from, self.to]) {
            add(&number.map_or(Vec::new(), |number| number.to_le_bytes().to_vec()));
        }
        format!("{:016x}", hash.digest())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::BTreeSet;

    use slackwater_kafka::letters::Extent;

    use crate::letters::letter::{Letter, Place, Repeats};
    use crate::letters::selection::Selection;

    /// One changed setting each, and whether the letter below is still meant.
    fn selections() -> Vec<(Selection, bool)> {
        let all = Selection::default;
        let texts = |text: &str| vec![text.to_owned(), "another".to_owned()];
        #[rustfmt::skip]
        let cases = [
            (all(), true),
            (Selection { streams: texts("s"), ..all() }, true),
            (Selection { streams: texts("t"), ..all() }, false),
            (Selection { stages: texts("late"), ..all() }, true),
            (Selection { stages: texts("infer"), ..all() }, false),
            (Selection { codes: texts("late"), ..all() }, true),
            (Selection { codes: texts("empty"), ..all() }, false),
            (Selection { since_ms: Some(5), ..all() }, true),
            (Selection { since_ms: Some(6), ..all() }, false),
            (Selection { until_ms: Some(6), ..all() }, true),
            (Selection { until_ms: Some(5), ..all() }, false),
            (Selection { partition: Some(1), ..all() }, true),
            (Selection { partition: Some(2), ..all() }, false),
            (Selection { from: Some(7), ..all() }, true),
            (Selection { from: Some(8), ..all() }, false),
            (Selection { to: Some(8), ..all() }, true),
            (Selection { to: Some(7), ..all() }, false),
        ];
        cases.into()
    }

    #[test]
    fn which_letters_are_meant() {
        let place: Place = "s/1/7".parse().unwrap();
        let letter = Letter {
            stage: "late".to_owned(),
            code: "late".to_owned(),
            message: String::new(),
            decided_ms: Some(5),
            source: None,
            repeats: Repeats::Values,
            replayed: 0,
        };
        for (selection, expected) in selections() {
            assert_eq!(selection.takes(&place, &letter), expected, "{selection:?}");
        }
        let timeless = Letter {
            decided_ms: None,
            ..letter
        };
        let since = Selection {
            since_ms: Some(i64::MIN),
            ..Selection::default()
        };
        assert!(!since.takes(&place, &timeless));
    }

    #[test]
    fn which_part_of_a_partition_is_reached() {
        let whole = Extent {
            partition: 1,
            from: 5,
            to: 9,
        };
        for (selection, _) in selections() {
            let reaches = selection.reaches("s", 1);
            let part = selection.part_of("s", whole);
            assert_eq!(part.is_some(), reaches, "{selection:?}");
            for offset in 0..20 {
                let inside = part.is_some_and(|it| (it.from..it.to).contains(&offset));
                let wanted = reaches
                    && (whole.from..whole.to).contains(&offset)
                    && selection.from.is_none_or(|from| offset >= from)
                    && selection.to.is_none_or(|to| offset < to);
                assert_eq!(inside, wanted, "{offset} of {selection:?}");
            }
        }
    }

    #[test]
    fn have_different_selections_different_names() {
        let selections = selections();
        let names: BTreeSet<_> = selections.iter().map(|(it, _)| it.name()).collect();
        assert_eq!(names.len(), selections.len());
        let turned = Selection {
            codes: ["a", "b", "a"].map(str::to_owned).into(),
            ..Selection::default()
        };
        let other = Selection {
            codes: ["b", "a"].map(str::to_owned).into(),
            ..Selection::default()
        };
        assert_eq!(turned.name(), other.name());
    }
}
