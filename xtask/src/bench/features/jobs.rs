//! The jobs: which features they have, over which events, and their pipeline files.

use std::fmt::Write as _;

use super::events::Times;
use super::kinds::{KINDS, VARIATIONS};

/// Features of the event alone, which all jobs have: what others cost is beyond it.
pub const EVENT_ONLY: &str = "features of the event only";
/// With a single window.
pub const ONE: &str = "and one count of an hour";
/// With many, and the same on two workers.
pub const FIFTY: &str = "50 features, 3 keys, 1 minute to 30 days";
pub const EVENT_ONLY_TWO: &str = "features of the event only, 2 workers";
pub const ONE_TWO: &str = "and one count of an hour, 2 workers";
pub const FIFTY_TWO: &str = "50 features, 3 keys, 1 minute to 30 days, 2 workers";
/// Eight features over a window, which holds the same events in both of these.
pub const HOUR_OF_DENSE: &str = "1h, events over 3 hours";
pub const MONTH_OF_SPARSE: &str = "30d, events over 90 days";
/// Of the same events far fewer, and all that there are.
pub const HOUR_OF_SPARSE: &str = "1h, events over 90 days";
pub const MONTH_OF_DENSE: &str = "30d, events over 3 hours";

/// The windows of many features, from a minute to a month.
const WINDOWS: [&str; 6] = ["1m", "10m", "1h", "1d", "7d", "30d"];
/// The keys: the job's own, and two others.
const KEYS: [&str; 3] = ["", "\nkey = [\"what\"]", "\nkey = [\"where\"]"];
/// What there is of each key, all but the window.
const OF_EACH_KEY: [&str; 13] = [
    "of = \"count\"",
    "of = \"count\"\nwhere = { kind = \"click\" }",
    "of = \"count\"\nwhere = \"amount > 50.0\"",
    "of = \"sum\"\nfield = \"amount\"",
    "of = \"mean\"\nfield = \"amount\"",
    "of = \"std\"\nfield = \"score\"",
    "of = \"min\"\nfield = \"amount\"",
    "of = \"max\"\nfield = \"score\"",
    "of = \"last\"\nfield = \"pages\"",
    "of = \"distinct\"\nfield = \"kind\"",
    "of = \"share\"\nwhere = { kind = [\"order\", \"return\"] }",
    "of = \"since_previous\"",
    "of = \"mean_gap\"",
];
/// What else there is of many features; two of the event all jobs have.
const OTHERS: [&str; 9] = [
    "of = \"hash\"\nfield = \"what\"\nbuckets = 100",
    "of = \"index\"\nfield = \"kind\"\nvalues = [\"view\", \"click\"]",
    "of = \"expr\"\nexpr = \"amount * score\"",
    "of = \"share\"\nwindow = \"history\"\nwhere = { kind = \"view\" }",
    "of = \"distinct\"\nwindow = \"history\"\nfield = \"what\"",
    "of = \"mean_gap\"\nwindow = \"history\"",
    "of = \"mean\"\nwindow = \"last 20\"\nfield = \"amount\"",
    "of = \"std\"\nwindow = \"last 20\"\nfield = \"score\"",
    "of = \"distinct\"\nwindow = \"last 20\"\nfield = \"what\"",
];
/// What is asked of a window whose length differs.
const OF_A_LENGTH: [&str; 8] = [
    "of = \"count\"",
    "of = \"sum\"\nfield = \"amount\"",
    "of = \"mean\"\nfield = \"score\"",
    "of = \"std\"\nfield = \"amount\"",
    "of = \"min\"\nfield = \"amount\"",
    "of = \"max\"\nfield = \"score\"",
    "of = \"distinct\"\nfield = \"what\"",
    "of = \"count\"\nwhere = { kind = \"order\" }",
];

/// A job.
#[derive(Clone, Debug)]
pub struct Job {
    /// What it is called.
    pub what: &'static str,
    /// Threads.
    pub workers: u32,
    /// Its events.
    pub times: Times,
    /// Keys of its features but their names, beyond those that all jobs have.
    features: Vec<String>,
}

fn job(what: &'static str, workers: u32, times: Times, features: Vec<String>) -> Job {
    Job {
        what,
        workers,
        times,
        features,
    }
}

/// All of them, in the order of a turn.
pub fn all() -> Vec<Job> {
    use Times::{Dense, Sparse};
    let one = || vec!["of = \"count\"\nwindow = \"1h\"".to_owned()];
    let mut all = vec![
        job(EVENT_ONLY, 1, Sparse, Vec::new()),
        job(ONE, 1, Sparse, one()),
        job(FIFTY, 1, Sparse, fifty()),
        job(EVENT_ONLY_TWO, 2, Sparse, Vec::new()),
        job(ONE_TWO, 2, Sparse, one()),
        job(FIFTY_TWO, 2, Sparse, fifty()),
        job(HOUR_OF_DENSE, 1, Dense, of_length("1h")),
        job(MONTH_OF_SPARSE, 1, Sparse, of_length("30d")),
        job(HOUR_OF_SPARSE, 1, Sparse, of_length("1h")),
        job(MONTH_OF_DENSE, 1, Dense, of_length("30d")),
    ];
    all.extend(KINDS.iter().map(|kind| {
        let features = VARIATIONS.iter().map(kind.feature);
        job(kind.name, 1, Dense, features.collect())
    }));
    all
}

/// As many as make fifty with the two that all jobs have.
fn fifty() -> Vec<String> {
    let windows = WINDOWS.iter().cycle();
    let of_keys = KEYS
        .iter()
        .flat_map(|key| OF_EACH_KEY.map(|of| (key, of)))
        .zip(windows)
        .map(|((key, of), window)| format!("{of}\nwindow = \"{window}\"{key}"));
    OTHERS
        .map(str::to_owned)
        .into_iter()
        .chain(of_keys)
        .collect()
}

fn of_length(window: &str) -> Vec<String> {
    OF_A_LENGTH
        .map(|of| format!("{of}\nwindow = \"{window}\""))
        .into()
}

impl Job {
    /// Its pipeline file, for events that lie in this folder.
    pub fn pipeline(&self) -> String {
        let (workers, path) = (self.workers, self.times.file());
        let mut text = format!(
            "[job]\nname = \"features\"\nworkers = {workers}\norder = \"arrival\"\n\n\
             [source]\nkind = \"file\"\npath = \"{path}\"\n\n\
             [event]\nformat = \"json\"\nkey = [\"who\"]\ntime = {{ field = \"at\", unit = \"ms\" }}\nfield = [\n"
        );
        // Writing to a String cannot fail.
        for (name, of_type) in FIELDS {
            let _ = writeln!(text, "  {{ name = \"{name}\", type = \"{of_type}\" }},");
        }
        text.push_str("]\n");
        if self.features.iter().any(|of| of.contains("\"history\"")) {
            text.push_str(
                "\n[history]\nevents = 50\nttl = \"24h\"\nfields = [\"kind\", \"what\"]\n",
            );
        }
        for name in ["amount", "score"] {
            let _ = write!(
                text,
                "\n[[feature]]\nname = \"{name}\"\nof = \"value\"\nfield = \"{name}\"\n"
            );
        }
        for (nth, of) in self.features.iter().enumerate() {
            let _ = write!(text, "\n[[feature]]\nname = \"f{nth}\"\n{of}\n");
        }
        text + "\n[sink]\nkind = \"discard\"\n"
    }
}

/// Fields of the events, with their types.
const FIELDS: [(&str, &str); 8] = [
    ("who", "string"),
    ("what", "string"),
    ("where", "string"),
    ("kind", "string"),
    ("amount", "float"),
    ("score", "float"),
    ("pages", "int"),
    ("at", "int"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{FIFTY, Job, MONTH_OF_SPARSE, all};

    fn features(job: &Job) -> usize {
        job.pipeline().matches("[[feature]]").count()
    }

    #[test]
    fn which_jobs_are_there() {
        let all = all();
        let names: BTreeSet<&str> = all.iter().map(|job| job.what).collect();
        assert_eq!(names.len(), all.len(), "one name stands twice");
        let check = |what: &str, expected: usize| {
            let of_it = all.iter().filter(|job| job.what == what);
            let found: Vec<usize> = of_it.map(features).collect();
            assert_eq!(found, [expected], "{what}");
        };
        check(FIFTY, 50);
        check(MONTH_OF_SPARSE, 10);
        check("hash", 10);
        check("count", 10);
        check("distinct, where, history", 10);
    }

    #[test]
    fn are_windows_from_a_minute_to_a_month_and_of_three_keys() {
        let all = all();
        let text = all
            .iter()
            .filter(|job| job.what == FIFTY)
            .map(Job::pipeline);
        let text: String = text.collect();
        for expected in [
            "\"1m\"",
            "\"1h\"",
            "\"30d\"",
            "\"last 20\"",
            "[history]",
            "key = [\"who\"]",
            "key = [\"what\"]",
            "key = [\"where\"]",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
    }
}
