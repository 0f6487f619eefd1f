//! A pipeline's lookups: the stores that they ask, and the stage that waits for the answers.

use std::sync::Arc;
use std::time::Duration;

use slackwater_dataflow::adapter::{Applied, Events, Graph};
use slackwater_dataflow::clock::Clock;
use slackwater_dataflow::lookup::asking::{self, AskSettings, AskWatch, Asking, Tell};
use slackwater_dataflow::lookup::breaker::BreakerSettings;
use slackwater_dataflow::lookup::{AskError, Connect as _, Questions};
use slackwater_dataflow::place::Spread;
use slackwater_dataflow::run::RunError;
use slackwater_operators::features::FeatureBatch;
use slackwater_operators::lookup::LookupStage;
use slackwater_operators::lookup::answer::Known;
use slackwater_operators::lookup::plan::LookupPlan;
use slackwater_operators::reject::RejectBatch;
use slackwater_redis::store::{Read, RedisStore};

use crate::pipeline::Pipeline;
use crate::pipeline::plan;
use crate::pipeline::plan::stage;
use crate::pipeline::preflight::PreflightError;
use crate::pipeline::servers::address;
use crate::pipeline::spec::{LookupRead, LookupSpec};

/// Connections of each worker to each store: while one waits for answers, the other asks.
const CONNECTIONS: usize = 2;

/// Bytes of the largest answer about one key: numbers are short, and an object of JSON may hold more than they.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Lookups that are ready to be asked.
pub(crate) struct Lookups {
    plan: Arc<LookupPlan>,
    stores: Vec<Arc<Asking>>,
    clock: Arc<dyn Clock>,
}

impl Lookups {
    /// Those that features of a pipeline take values from; none if none does. No store is asked yet.
    pub(crate) fn of(
        pipeline: &Pipeline,
        spread: Spread,
        clock: &Arc<dyn Clock>,
    ) -> Result<Option<Self>, PreflightError> {
        let Some((plan, places)) = plan::lookups(pipeline, spread) else {
            return Ok(None);
        };
        let used = places.iter().filter_map(|at| pipeline.lookups.get(*at));
        let stores = used.map(|spec| {
            let connect = Arc::new(store(spec)?);
            let clock = Arc::clone(clock);
            Ok(Arc::new(Asking::new(
                settings(spec),
                connect,
                clock,
                telling(spec),
            )))
        });
        Ok(Some(Lookups {
            plan: Arc::new(plan),
            stores: stores.collect::<Result<_, PreflightError>>()?,
            clock: Arc::clone(clock),
        }))
    }

    /// Looks at them from outside, in the order of the file.
    pub(crate) fn watches(&self) -> Vec<AskWatch> {
        let named = self.plan.lookups.iter().zip(&self.stores);
        named
            .map(|(lookup, store)| store.watch(&lookup.name))
            .collect()
    }

    /// The stage that fills what the features have left open.
    pub(crate) fn apply<'s>(
        &self,
        graph: &Graph<'s>,
        vectors: Events<'s, FeatureBatch>,
    ) -> Result<Applied<'s, FeatureBatch, RejectBatch>, RunError> {
        graph.apply_waiting(stage::LOOKUP, vectors, |wake| {
            let named = self.plan.lookups.iter().zip(&self.stores);
            let askers = named.map(|(lookup, store)| {
                let lookup = lookup.clone();
                let read: asking::Read<Known> = Arc::new(move |answer| Known::of(answer, &lookup));
                let asker: Box<dyn Questions<Known>> = Box::new(store.asker(&wake, &read)?);
                Ok(asker)
            });
            let askers = askers.collect::<Result<_, RunError>>()?;
            let (plan, clock) = (Arc::clone(&self.plan), Arc::clone(&self.clock));
            Ok(LookupStage::new(plan, askers, clock))
        })
    }
}

/// Says when a store is not asked any more, and when it is again.
fn telling(spec: &LookupSpec) -> Tell {
    let name = spec.name.clone();
    Box::new(move |reason| match reason {
        Some(reason) => tracing::warn!(
            "the store of lookup `{name}` {reason}: it is not asked before it answers a probe"
        ),
        None => tracing::info!("the store of lookup `{name}` is asked again"),
    })
}

fn settings(spec: &LookupSpec) -> AskSettings {
    AskSettings {
        timeout: Duration::from_millis(spec.timeout_ms),
        connect_timeout: Duration::from_millis(spec.connect_timeout_ms),
        retries: spec.retries,
        connections: CONNECTIONS,
        breaker: BreakerSettings {
            failures: spec.breaker_failures,
            open: Duration::from_millis(spec.breaker_open_ms),
        },
    }
}

/// What messages call a lookup.
pub(crate) fn called(spec: &LookupSpec) -> String {
    format!("lookup `{}`", spec.name)
}

fn store(spec: &LookupSpec) -> Result<RedisStore, PreflightError> {
    let address = address(&called(spec), &spec.server)?;
    let names = spec.fields.iter().map(|field| field.name.clone());
    Ok(RedisStore {
        address,
        read: match spec.read {
            LookupRead::Hash => Read::Fields(names.collect()),
            LookupRead::Json | LookupRead::Text => Read::Value,
        },
        answer_bytes_max: ANSWER_BYTES_MAX,
    })
}

/// Asks each store whether it is there, and says which ones are not, and why.
pub(crate) fn greet(pipeline: &Pipeline) -> Vec<PreflightError> {
    let greeted = pipeline.lookups.iter().map(greet_one);
    greeted.filter_map(Result::err).collect()
}

fn greet_one(spec: &LookupSpec) -> Result<(), PreflightError> {
    let store = store(spec)?;
    let settings = settings(spec);
    let failed = |what: String| PreflightError::Server {
        of: called(spec),
        reason: format!("the store at {} {what}", store.address),
    };
    let late = |error: AskError, what: String| match error {
        AskError::TimedOut => failed(what),
        error => failed(error.to_string()),
    };
    let ms = spec.connect_timeout_ms;
    let mut connection = store.connect(settings.connect_timeout).map_err(|error| {
        // Redis that is asked for TLS at its plain port waits for more, and says nothing.
        let hint = match store.address.encrypted {
            true => "; if it speaks no TLS, write `redis://` in `url`",
            false => "",
        };
        late(error, format!("gave no connection within {ms} ms{hint}"))
    })?;
    let ms = spec.timeout_ms;
    let answered = connection.ping(settings.timeout);
    answered.map_err(|error| late(error, format!("did not answer within {ms} ms")))
}
