//! Features that others have written elsewhere: asked for by key, while the events wait.
//!
//! A batch waits until each of its keys has an answer or a reason why there is none; batches go on in the order in which they
//! came. A key that is asked for already is not asked for twice, whichever batches wait for it. What is decided of an
//! event follows from its answers alone, so it does not matter in which order these come.
//!
//! - [`plan`]: what is declared.
//! - [`answer`]: what an answer means, which is found out where it comes in. `cache`: what is remembered of answers.

pub mod plan;
pub mod answer;
mod cache;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use slackwater_dataflow::clock::Clock;
use slackwater_dataflow::lookup::{AskError, Questions};
use slackwater_dataflow::operator::{Emitter, WaitingOperator};
use slackwater_dataflow::text::shortened;

use self::answer::Known;
use self::cache::{Cache, Remembered};
use self::plan::{Lookup, LookupPlan, OnError, OnMiss};
use crate::batch::leave_out;
use crate::enrichment::Provenance;
use crate::features::FeatureBatch;
use crate::reject::{Code, Reason, RejectBatch, Stage};

/// Looks up features of each event.
pub struct LookupStage {
    plan: Arc<LookupPlan>,
    clock: Arc<dyn Clock>,
    /// One for each lookup.
    stores: Vec<Store>,
    waiting: VecDeque<Waiting>,
    /// Number of the first batch that waits, counted from the first that came.
    first: u64,
}

/// What is asked of a store for one lookup.
struct Store {
    questions: Box<dyn Questions<Known>>,
    cache: Option<Cache>,
    /// Who waits for each key that is asked for, or is going to be.
    open: HashMap<Box<[u8]>, Vec<Place>>,
    /// Questions that were asked and are not answered.
    under_way: usize,
    /// Keys that are asked for when there is room.
    queue: VecDeque<Box<[u8]>>,
}

/// Where an answer belongs.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Number of the batch.
    batch: u64,
    /// Which of its keys.
    key: usize,
}

/// A batch that waits for answers.
struct Waiting {
    input: FeatureBatch,
    /// For each lookup the batch's keys.
    keys: Vec<Keys>,
    /// How many answers are missing.
    missing: usize,
}

/// Keys of a batch for one lookup.
#[derive(Default)]
struct Keys {
    /// For each event the number of its key; none if it has not all that the key is made of.
    of_rows: Vec<Option<usize>>,
    /// What became of each key.
    found: Vec<Option<Found>>,
}

/// What became of a key.
#[derive(Clone, Debug)]
struct Found {
    key: Box<[u8]>,
    outcome: Result<Known, AskError>,
    /// How old that is, if it was remembered.
    age: Option<Duration>,
    /// What was known before, if there is no answer that can be used.
    last: Option<Remembered>,
}

impl LookupStage {
    /// A stage with what asks for each lookup, in their order.
    pub fn new(
        plan: Arc<LookupPlan>,
        questions: Vec<Box<dyn Questions<Known>>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let stores = plan.lookups.iter().zip(questions);
        let stores = stores.map(|(lookup, questions)| Store {
            questions,
            cache: lookup.cache.map(Cache::new),
            open: HashMap::new(),
            under_way: 0,
            queue: VecDeque::new(),
        });
        LookupStage {
            stores: stores.collect(),
            plan,
            clock,
            waiting: VecDeque::new(),
            first: 0,
        }
    }
}

impl Store {
    /// Notes a key of a batch; whether its answer is still missing.
    fn wants(&mut self, key: Box<[u8]>, place: Place) {
        let asked = self.open.entry(key);
        match asked {
            hashbrown::hash_map::Entry::Occupied(mut open) => open.get_mut().push(place),
            hashbrown::hash_map::Entry::Vacant(new) => {
                self.queue.push_back(new.key().clone());
                new.insert(vec![place]);
            }
        }
    }

    /// Asks for as many keys as may be under way.
    fn ask(&mut self, in_flight: usize) {
        while self.under_way < in_flight.max(1)
            && let Some(key) = self.queue.pop_front()
        {
            self.questions.ask(key);
            self.under_way += 1;
        }
    }
}

impl Keys {
    /// The keys of a batch's events, each once. What is remembered of a key is noted; what is not, the store wants for
    /// the batch of this number.
    fn of(
        lookup: &Lookup,
        store: &mut Store,
        input: &FeatureBatch,
        batch: u64,
        now: Duration,
    ) -> Self {
        let rows = &input.batch.rows;
        let mut keys = Keys::default();
        let mut numbers: HashMap<Box<[u8]>, usize> = HashMap::new();
        let mut spared = 0;
        for row in rows.rows() {
            let Some(key) = lookup.key.key(rows, row) else {
                keys.of_rows.push(None);
                continue;
            };
            let next = numbers.len();
            let number = numbers.get(&key).copied().unwrap_or_else(|| {
                numbers.insert(key.clone(), next);
                next
            });
            keys.of_rows.push(Some(number));
            if number < next {
                continue;
            }
            let remembered = store.cache.as_mut().and_then(|it| it.fresh(&key, now));
            let Some(remembered) = remembered else {
                store.wants(key, Place { batch, key: number });
                keys.found.push(None);
                continue;
            };
            spared += 1;
            keys.found.push(Some(Found {
                key,
                outcome: Ok(remembered.known),
                age: Some(remembered.age),
                last: None,
            }));
        }
        if spared > 0 {
            store.questions.count_remembered(spared, 0);
        }
        keys
    }

    fn missing(&self) -> usize {
        self.found.iter().filter(|found| found.is_none()).count()
    }
}

impl LookupStage {
    /// Notes an answer where it belongs.
    fn note(&mut self, at: usize, key: Box<[u8]>, answer: Result<Known, AskError>, now: Duration) {
        let Some((lookup, store)) = self.plan.lookups.get(at).zip(self.stores.get_mut(at)) else {
            return;
        };
        store.under_way = store.under_way.saturating_sub(1);
        let is_of_use = matches!(answer, Ok(Known::Values(_) | Known::Missing));
        let mut last = None;
        if let Some(cache) = &mut store.cache {
            if is_of_use || (answer.is_ok() && lookup.on_error != OnError::LastKnown) {
                let known = answer.clone().unwrap_or(Known::Missing);
                cache.put(key.clone(), known, now);
            } else if lookup.on_error == OnError::LastKnown {
                last = cache.stale(&key, now);
            }
        }
        let found = Found {
            outcome: answer,
            age: None,
            last,
            key,
        };
        let places = store.open.remove(&found.key).unwrap_or_default();
        if let Some(Remembered {
            known: Known::Values(_),
            ..
        }) = &found.last
        {
            store.questions.count_remembered(0, places.len() as u64);
        }
        for place in places {
            let waiting = place.batch.checked_sub(self.first);
            let waiting = waiting.and_then(|nth| self.waiting.get_mut(nth as usize));
            let Some(waiting) = waiting else { continue };
            let of_lookup = waiting.keys.get_mut(at);
            if let Some(slot) = of_lookup.and_then(|keys| keys.found.get_mut(place.key)) {
                *slot = Some(found.clone());
                waiting.missing -= 1;
            }
        }
    }
}

/// What a lookup decides about an event.
enum Decision<'k> {
    /// These are its fields, and they come from there.
    Values(&'k [f64], Provenance),
    /// Its fields are what they are where they are not there.
    Defaults,
    /// It is a dead letter.
    Reject(Reason),
    /// The job fails.
    Fail(Reason),
}

impl Lookup {
    /// What is decided about an event with this key; none if it has no key.
    fn decide<'k>(&self, found: Option<&'k Found>) -> Decision<'k> {
        let missing = |text: String| match self.on_miss {
            OnMiss::Default => Decision::Defaults,
            OnMiss::DeadLetter => Decision::Reject(self.reason(Code::LookupMissing, &text)),
        };
        let Some(found) = found else {
            return missing("has no key: a field that it is made of is null".to_owned());
        };
        let (code, text) = match &found.outcome {
            Ok(Known::Values(values)) => {
                let remembered = found.age.map(Provenance::Cached);
                return Decision::Values(values, remembered.unwrap_or(Provenance::Fresh));
            }
            Ok(Known::Missing) => {
                let key = shown(&found.key);
                return missing(format!("has nothing of `{key}`"));
            }
            Ok(Known::Bad(why)) => {
                let (key, why) = (shown(&found.key), shown(why.as_bytes()));
                (Code::LookupBadValue, format!("has `{key}`, but {why}"))
            }
            Err(AskError::TimedOut) => {
                let ms = self.timeout.as_millis();
                (Code::LookupTimeout, format!("timed out after {ms} ms"))
            }
            Err(AskError::NoConnection) => {
                let ms = self.connect_timeout.as_millis();
                let text = format!("got no connection within {ms} ms");
                (Code::LookupTimeout, text)
            }
            Err(error @ AskError::Unavailable(_)) => {
                let text = error.to_string();
                (Code::LookupUnavailable, shown(text.as_bytes()))
            }
        };
        match (self.on_error, &found.last) {
            (
                OnError::LastKnown,
                Some(Remembered {
                    known: Known::Values(values),
                    age,
                }),
            ) => Decision::Values(values, Provenance::LastKnown(*age)),
            (OnError::Default | OnError::LastKnown, _) => Decision::Defaults,
            (OnError::DeadLetter, _) => Decision::Reject(self.reason(code, &text)),
            (OnError::Fail, _) => Decision::Fail(self.reason(code, &text)),
        }
    }

    /// Puts what was decided of each event, its values or the defaults, into the vectors. Needs room for the values of a
    /// column.
    fn fill(
        &self,
        decided: &[Option<&[f64]>],
        width: usize,
        vectors: &mut [f32],
        values: &mut Vec<f64>,
    ) {
        for column in &self.columns {
            let default = self.fields.get(column.field).map_or(0.0, |it| it.default);
            let of =
                |found: &Option<&[f64]>| found.and_then(|values| values.get(column.field).copied());
            values.clear();
            values.extend(decided.iter().map(|found| of(found).unwrap_or(default)));
            let transforms = column.transforms.iter();
            transforms.for_each(|transform| transform.apply(values));
            for (vector, value) in vectors.chunks_exact_mut(width.max(1)).zip(values.iter()) {
                if let Some(place) = vector.get_mut(column.place) {
                    *place = *value as f32;
                }
            }
        }
    }

    fn reason(&self, code: Code, text: &str) -> Reason {
        let message = format!("lookup `{}` {text}", self.name);
        Reason {
            stage: Stage::Lookup,
            code,
            causes: vec![format!("lookup/{}: {message}", self.name)],
            message,
        }
    }
}

/// Longest text of others that a message repeats, in characters: dead letters have to fit where they go.
const REPEATED_CHARS: usize = 200;

/// Bytes of others as a message repeats them.
fn shown(text: &[u8]) -> String {
    // No character has more bytes than four.
    let text = text.get(..4 * (REPEATED_CHARS + 1)).unwrap_or(text);
    shortened(&String::from_utf8_lossy(text), REPEATED_CHARS)
}

/// A store gives no answer, and the pipeline says that the job is to fail then.
#[derive(Debug, thiserror::Error)]
#[error("{0}, and `on_error = \"fail\"`")]
struct LookupFailed(String);

impl Waiting {
    /// Puts what was found into the vectors, and takes out what can't go on.
    fn finish(self, plan: &LookupPlan, out: &mut Emitter<FeatureBatch, RejectBatch>) {
        let FeatureBatch {
            mut batch,
            mut vectors,
            mut enrichment,
        } = self.input;
        let mut refused: Vec<Option<Reason>> = vec![None; batch.rows.rows().len()];
        let mut values = Vec::new();
        for (lookup, keys) in plan.lookups.iter().zip(&self.keys) {
            let mut provenances = Vec::new();
            let decided = keys.of_rows.iter().zip(&mut refused).map(|(key, refused)| {
                let found = key.and_then(|key| keys.found.get(key)?.as_ref());
                let (values, provenance) = match lookup.decide(found) {
                    Decision::Values(values, provenance) => (Some(values), provenance),
                    Decision::Defaults => (None, Provenance::Default),
                    Decision::Reject(reason) => {
                        refused.get_or_insert(reason);
                        (None, Provenance::Default)
                    }
                    Decision::Fail(reason) => {
                        out.fail(LookupFailed(reason.message));
                        (None, Provenance::Default)
                    }
                };
                if plan.tells_provenance {
                    provenances.push(provenance);
                }
                values
            });
            let decided: Vec<Option<&[f64]>> = decided.collect();
            if plan.tells_provenance {
                enrichment.push(provenances);
            }
            lookup.fill(&decided, plan.width, &mut vectors, &mut values);
        }
        if out.has_failed() {
            // What is not known must not be scored.
            return;
        }
        let refused: Vec<(usize, Reason)> = (0..)
            .zip(refused)
            .filter_map(|(at, reason)| Some((at, reason?)))
            .collect();
        let (width, positions) = (plan.width, refused.iter().map(|(at, _)| *at));
        enrichment.leave_out(&positions.clone().collect::<Vec<_>>());
        let positions = positions.flat_map(|at| at * width..(at + 1) * width);
        leave_out(&mut vectors, &positions.collect::<Vec<_>>());
        if let Some(rejects) = RejectBatch::take_from(&mut batch, refused, &plan.spread) {
            out.reject(rejects);
        }
        if !batch.rows.rows().is_empty() {
            out.give(FeatureBatch {
                batch,
                vectors,
                enrichment,
            });
        }
    }
}

impl WaitingOperator for LookupStage {
    type Input = FeatureBatch;
    type Output = FeatureBatch;
    type Reject = RejectBatch;

    fn on_batch(&mut self, input: FeatureBatch) {
        let now = self.clock.monotonic();
        let batch = self.first + self.waiting.len() as u64;
        let lookups = self.plan.lookups.iter().zip(&mut self.stores);
        let keys = lookups.map(|(lookup, store)| {
            let keys = Keys::of(lookup, store, &input, batch, now);
            store.ask(lookup.in_flight);
            keys
        });
        let keys: Vec<Keys> = keys.collect();
        self.waiting.push_back(Waiting {
            missing: keys.iter().map(Keys::missing).sum(),
            input,
            keys,
        });
    }

    fn on_wake(&mut self) {
        let now = self.clock.monotonic();
        for at in 0..self.stores.len() {
            while let Some((key, answer)) = self
                .stores
                .get_mut(at)
                .and_then(|store| store.questions.next_answer())
            {
                self.note(at, key, answer, now);
            }
            if let Some((lookup, store)) = self.plan.lookups.get(at).zip(self.stores.get_mut(at)) {
                store.ask(lookup.in_flight);
            }
        }
    }

    fn finish(&mut self, out: &mut Emitter<FeatureBatch, RejectBatch>) -> bool {
        let Some(waiting) = self.waiting.pop_front_if(|waiting| waiting.missing == 0) else {
            return false;
        };
        self.first += 1;
        waiting.finish(&self.plan, out);
        true
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests;
