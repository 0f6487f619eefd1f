//! What sources and sinks warn of: said at once, none twice in a row, and kept as the trouble of the run if there is one.

use std::fmt::{Debug, Write as _};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slackwater_dataflow::meters::Meters;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::status::live::Voice;

/// Whose warnings are for people: what libraries say is their own matter, and comes back as an error where it counts.
const OURS: &str = "slackwater";

/// Hears warnings. Clones are one.
#[derive(Clone, Default)]
pub struct Warnings(Arc<Mutex<Heard>>);

#[derive(Default)]
struct Heard {
    /// The run whose trouble they are, and who speaks while it is shown.
    run: Option<(Arc<Meters>, Voice)>,
    /// What was said last: what is tried again and again is said once.
    last: String,
}

impl Warnings {
    /// Hears all of this process from now on.
    pub fn listen() -> Self {
        let warnings = Warnings::default();
        // An error when somebody else listens already, who is told then.
        drop(tracing::subscriber::set_global_default(warnings.clone()));
        warnings
    }

    /// From now on they are the trouble of a run, and said by this voice.
    pub fn of_run(&self, meters: Arc<Meters>, voice: Voice) {
        self.lock().run = Some((meters, voice));
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, message: String, output: &mut impl io::Write) {
        let mut heard = self.lock();
        if let Some((meters, _)) = &heard.run {
            meters.note_trouble(message.clone());
        }
        if heard.last == message {
            return;
        }
        let warning = format!("WARNING: {message}");
        heard.last = message;
        let voice = heard.run.as_ref().map(|(_, voice)| voice.clone());
        drop(heard);
        match voice {
            Some(voice) => voice.say(warning),
            // What cannot be written is no reason to fail.
            None => drop(writeln!(output, "{warning}")),
        }
    }
}

/// The text of an event.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            // Writing to a String cannot fail.
            let _ = write!(self.0, "{value:?}");
        }
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN && metadata.target().starts_with(OURS)
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        // Locked only to write: whoever shows a run may be inside a write that never returns.
        self.hear(text.0, &mut io::stderr());
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, channel};

    use slackwater_dataflow::meters::Meters;

    use super::Warnings;
    use crate::status::live::{Told, Voice};

    fn run(warnings: &Warnings) -> (Arc<Meters>, Receiver<Told>) {
        let meters = Arc::new(Meters::default());
        let (tell, told) = channel();
        warnings.of_run(Arc::clone(&meters), Voice::new(tell));
        (meters, told)
    }

    #[test]
    fn are_warnings_said_once_and_then_the_trouble_of_a_run() {
        let warnings = Warnings::default();
        let mut said = Vec::new();
        for message in ["away", "away", "lost 3", "away"] {
            warnings.hear(message.to_owned(), &mut said);
        }
        let said = String::from_utf8(said).unwrap();
        assert_eq!(said, "WARNING: away\nWARNING: lost 3\nWARNING: away\n");
        let (meters, told) = run(&warnings);
        let mut more = Vec::new();
        for message in ["lost 4", "lost 4"] {
            warnings.hear(message.to_owned(), &mut more);
        }
        let trouble = meters.trouble().unwrap();
        assert_eq!((trouble.what.as_str(), trouble.times), ("lost 4", 2));
        assert!(more.is_empty());
        let said: Vec<Told> = told.try_iter().collect();
        assert!(matches!(&said[..], [Told::Say(text)] if text == "WARNING: lost 4"));
    }

    #[test]
    fn which_events_are_heard() {
        let warnings = Warnings::default();
        let (meters, _told) = run(&warnings);
        tracing::subscriber::with_default(warnings, || {
            tracing::info!("nothing to worry about");
            tracing::warn!(target: "rdkafka::client", "theirs");
            assert_eq!(meters.trouble().map(|it| it.what), None);
            tracing::warn!("partition {} is lost", 3);
        });
        assert_eq!(meters.trouble().unwrap().what, "partition 3 is lost");
    }
}
