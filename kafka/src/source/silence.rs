//! Which partitions are silent: a thread that asks brokers how far partitions reach.
//!
//! To have come to the end of what is committed is no proof: an open transaction of somebody else looks the same. A
//! partition is silent when nothing has come of it for the timeout, and a broker that was asked after that says that
//! there is nothing behind its position, committed or not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use rdkafka::consumer::BaseConsumer;
use slackwater_dataflow::clock::Clock;
use slackwater_dataflow::place::PartitionId;
use slackwater_dataflow::source::Wake;

use crate::client::{Fault, Noticed};
use crate::source::Place;
use crate::source::places::watermarks;

/// A question about a partition that has said nothing for a while.
struct Question {
    id: PartitionId,
    place: Place,
    wake: Wake,
}

/// How far a partition reaches, and when that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reaches {
    pub(super) high: i64,
    pub(super) asked_at: Duration,
}

/// Asks, beside the workers.
pub(super) struct Silences {
    after: Duration,
    clock: Arc<dyn Clock>,
    questions: Sender<Question>,
    answers: Arc<Mutex<BTreeMap<PartitionId, Reaches>>>,
}

impl Silences {
    /// Starts the thread; it ends when this is dropped.
    pub(super) fn start(
        after: Duration,
        asking: Arc<BaseConsumer<Noticed>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Fault> {
        let (questions, asked) = crossbeam_channel::unbounded();
        let answers = Arc::default();
        let (told, time) = (Arc::clone(&answers), Arc::clone(&clock));
        let run = move || answer(&asking, &asked, &told, time.as_ref());
        let started = thread::Builder::new().name("silence".to_owned()).spawn(run);
        started.map_err(|source| Fault {
            action: "start",
            subject: "the thread that asks for silent partitions".to_owned(),
            source,
        })?;
        Ok(Silences {
            after,
            clock,
            questions,
            answers,
        })
    }

    pub(super) fn after(&self) -> Duration {
        self.after
    }

    pub(super) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Asks how far a partition reaches; `wake` tells when there is an answer.
    pub(super) fn ask(&self, id: PartitionId, place: &Place, wake: &Wake) {
        let question = Question {
            id,
            place: place.clone(),
            wake: wake.clone(),
        };
        // The thread is there as long as this is.
        drop(self.questions.send(question));
    }

    /// The answer, if there is one; once.
    pub(super) fn answer(&self, id: PartitionId) -> Option<Reaches> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.remove(&id)
    }
}

fn answer(
    asking: &BaseConsumer<Noticed>,
    questions: &Receiver<Question>,
    answers: &Mutex<BTreeMap<PartitionId, Reaches>>,
    clock: &dyn Clock,
) {
    while let Ok(Question { id, place, wake }) = questions.recv() {
        let asked_at = clock.monotonic();
        // Whose broker does not answer is not silent; it is asked again.
        let high = watermarks(asking, &place).map_or(i64::MAX, |(_, high)| high);
        let reaches = Reaches { high, asked_at };
        let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.insert(id, reaches);
        drop(answers);
        wake.wake();
    }
}
