//! The reference job with and without a lookup, exactly once to files, with what differs from run to run: the server, how users
//! are spread, and how much is remembered.

use std::fs;

use anyhow::{Context as _, Result};

use crate::bench::settings::with;
use crate::process;

/// How long a question may take where much is asked: one that has had no answer in time would spare others, while Redis is not asked.
const PATIENCE: &str = "\"2s\"";

/// Whose events there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Users {
    /// As the file says: few send most of the events.
    AsWritten,
    /// So many, who all send alike.
    Alike(u64),
}

/// What each worker remembers of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remembers {
    /// As the file says.
    AsWritten,
    /// Nothing.
    Nothing,
    /// So many bytes of them, for longer than a run.
    Bytes(u64),
}

/// A job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// Events that it makes up.
    pub events: u64,
    /// Of whom.
    pub users: Users,
    /// The port of the server and what is remembered, if it looks something up.
    pub lookup: Option<(u16, Remembers)>,
}

impl Job {
    /// Its pipeline file.
    ///
    /// # Errors
    /// When the reference pipeline is not what it was.
    pub fn pipeline(&self) -> Result<String> {
        let name = match self.lookup {
            Some(_) => "pipelines/user-events.redis.toml",
            None => "pipelines/user-events.toml",
        };
        let path = process::root().join(name);
        let mut text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut set = |table: &str, key: &str, value: String| -> Result<()> {
            text = with(&text, table, key, &value)
                .with_context(|| format!("{name} has no `{key}` in [{table}] any more"))?;
            Ok(())
        };
        set("source", "events", self.events.to_string())?;
        if let Users::Alike(users) = self.users {
            set("source", "users", users.to_string())?;
            set("source", "skew", "0.0".to_owned())?;
        }
        if let Some((port, remembers)) = self.lookup {
            if matches!(self.users, Users::Alike(_)) {
                set("[lookup]", "timeout", PATIENCE.to_owned())?;
            }
            let url = format!("\"redis://127.0.0.1:{port}/0\"");
            set("[lookup]", "url", url)?;
            match remembers {
                Remembers::AsWritten => {}
                // The line goes; a comment takes its place.
                Remembers::Nothing => {
                    set("[lookup]", "cache", "none".to_owned())?;
                    text = text.replace("\ncache = none", "\n# no cache");
                }
                Remembers::Bytes(bytes) => {
                    set("[lookup]", "cache", cache(bytes))?;
                }
            }
        }
        Ok(text + "\n[checkpoint]\nstore = \"file:state\"\n")
    }
}

fn cache(bytes: u64) -> String {
    format!(
        "{{ bytes = \"{}KiB\", ttl = \"1h\" }}",
        bytes.div_ceil(1_024)
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{Job, Remembers, Users};

    #[test]
    fn does_the_reference_pipeline_have_what_a_bench_changes() {
        let text = |users, remembers| {
            let job = Job {
                events: 5_000,
                users,
                lookup: Some((1_234, remembers)),
            };
            job.pipeline().unwrap()
        };
        let check =
            |text: &str, expected: &str| assert!(text.contains(expected), "{expected}\n{text}");
        let written = text(Users::AsWritten, Remembers::AsWritten);
        check(&written, "\nevents = 5000\n");
        check(&written, "\nskew = 1.0 ");
        check(&written, "\ntimeout = \"50ms\" ");
        check(&written, "\nurl = \"redis://127.0.0.1:1234/0\"\n");
        check(&written, "\ncache = { bytes = \"64MiB\", ttl = \"5s\" }\n");
        check(&written, "\n[checkpoint]\nstore = \"file:state\"\n");
        assert_eq!(written.matches("[checkpoint]").count(), 1);
        let nothing = text(Users::Alike(100), Remembers::Nothing);
        check(&nothing, "\nusers = 100\n");
        check(&nothing, "\nskew = 0.0\n");
        check(&nothing, "\ntimeout = \"2s\"\n");
        assert!(!nothing.contains("\ncache"), "{nothing}");
        let some = text(Users::Alike(100), Remembers::Bytes(2_000));
        check(&some, "\ncache = { bytes = \"2KiB\", ttl = \"1h\" }\n");
        let alone = Job {
            events: 5_000,
            users: Users::AsWritten,
            lookup: None,
        };
        assert!(!alone.pipeline().unwrap().contains("[[lookup]]"));
    }
}
