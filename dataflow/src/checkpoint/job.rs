//! What must be the same of a job that goes on from a checkpoint as of the one that left it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

/// What must not change over the life of a job. Digests are texts, compared and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobIdentity {
    /// Its name.
    pub name: String,
    /// The order in which events are handled.
    pub order: String,
    /// Fields of the key.
    pub key: Vec<String>,
    /// Number of key groups.
    pub key_groups: u16,
    /// Number of shards.
    pub shards: u16,
    /// How far behind the latest event one may come.
    pub max_out_of_orderness_ms: u64,
    /// Digest of the schema.
    pub schema: String,
    /// Digest of what says where events come from.
    pub source: String,
    /// Digest of each feature.
    pub features: BTreeMap<String, String>,
    /// Digest of what is kept of each key's events.
    pub history: String,
    /// Digest of the model.
    pub model: String,
}

/// A part of a job that is another than it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The part: a field of [`JobIdentity`], or `features.` and a name.
    pub part: String,
    /// What it was; `None` if there was no such feature.
    pub before: Option<String>,
    /// What it is; `None` if there is no such feature.
    pub now: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| match value {
            Some(value) => format!("`{value}`"),
            None => "nothing".to_owned(),
        };
        let (before, now) = (shown(&self.before), shown(&self.now));
        write!(f, "{} was {before} and is {now}", self.part)
    }
}

impl JobIdentity {
    /// What has changed from this job to `now`, in the order of the fields.
    pub fn differences(&self, now: &JobIdentity) -> Vec<Difference> {
        let (before, after) = (self.parts(), now.parts());
        let mut names: Vec<&String> = before.iter().map(|(part, _)| part).collect();
        names.extend(after.iter().map(|(part, _)| part));
        let mut seen = BTreeSet::new();
        names.retain(|name| seen.insert(*name));
        let find = |parts: &[(String, String)], name: &str| {
            let found = parts.iter().find(|(part, _)| part == name);
            found.map(|(_, value)| value.clone())
        };
        let differences = names.into_iter().map(|name| Difference {
            part: name.clone(),
            before: find(&before, name),
            now: find(&after, name),
        });
        differences
            .filter(|difference| difference.before != difference.now)
            .collect()
    }

    /// Each part and its value as a text. Taken apart field by field, so that none can be forgotten here.
    fn parts(&self) -> Vec<(String, String)> {
        let JobIdentity {
            name,
            order,
            key,
            key_groups,
            shards,
            max_out_of_orderness_ms,
            schema,
            source,
            features,
            history,
            model,
        } = self;
        let fixed = [
            ("name", name.clone()),
            ("order", order.clone()),
            // Unlike joined names, this tells a field `a, b` from the fields `a` and `b`.
            ("key", format!("{key:?}")),
            ("key_groups", key_groups.to_string()),
            ("shards", shards.to_string()),
            (
                "max_out_of_orderness_ms",
                max_out_of_orderness_ms.to_string(),
            ),
            ("schema", schema.clone()),
            ("source", source.clone()),
            ("history", history.clone()),
            ("model", model.clone()),
        ];
        let fixed = fixed.map(|(part, value)| (part.to_owned(), value));
        let features = features
            .iter()
            .map(|(feature, digest)| (format!("features.{feature}"), digest.clone()));
        fixed.into_iter().chain(features).collect()
    }
}

#[cfg(test)]
pub(super) fn sample() -> JobIdentity {
    JobIdentity {
        name: "tides".to_owned(),
        order: "event_time".to_owned(),
        key: vec!["harbour".to_owned(), "gauge".to_owned()],
        key_groups: 1024,
        shards: 2,
        max_out_of_orderness_ms: 5000,
        schema: "5c".to_owned(),
        source: "50".to_owned(),
        features: [("count".to_owned(), "c0".to_owned())].into(),
        history: "41".to_owned(),
        model: "3d".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use crate::checkpoint::job::{JobIdentity, sample};

    #[test]
    fn is_every_change_named_with_both_values() {
        assert_eq!(sample().differences(&sample()), []);
        let check = |change: fn(&mut JobIdentity), expected: &[&str]| {
            let mut now = sample();
            change(&mut now);
            let found = sample().differences(&now);
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found, expected);
        };
        check(
            |job| job.name.push('s'),
            &["name was `tides` and is `tidess`"],
        );
        check(
            |job| job.order = "arrival".to_owned(),
            &["order was `event_time` and is `arrival`"],
        );
        check(
            |job| drop(job.key.pop()),
            &[r#"key was `["harbour", "gauge"]` and is `["harbour"]`"#],
        );
        check(
            |job| job.key_groups = 1,
            &["key_groups was `1024` and is `1`"],
        );
        check(|job| job.shards = 3, &["shards was `2` and is `3`"]);
        check(
            |job| job.max_out_of_orderness_ms = 0,
            &["max_out_of_orderness_ms was `5000` and is `0`"],
        );
        check(|job| job.schema.clear(), &["schema was `5c` and is ``"]);
        check(|job| job.source.clear(), &["source was `50` and is ``"]);
        check(|job| job.history.clear(), &["history was `41` and is ``"]);
        check(|job| job.model.clear(), &["model was `3d` and is ``"]);
        check(
            |job| job.features = [("sum".to_owned(), "55".to_owned())].into(),
            &[
                "features.count was `c0` and is nothing",
                "features.sum was nothing and is `55`",
            ],
        );
    }
}
