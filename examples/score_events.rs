//! cargo run --release --example score_events
//!
//! The stages that a pipeline file stands for, put together by hand from their plans: checks, event-time
//! order, history and features per user, the embedded model, predictions and dead letters. It is what
//! `slackwater run` makes of `pipelines/user-events.toml` with `order = "event_time"`; a test holds the two
//! to the same records.
//!
//! Read [`Job::build`] first, the graph of one worker; then the plans, in the order in which an event meets them.

#![expect(
    clippy::print_stdout,
    reason = "it shows what went in and what came out"
)]

use std::error::Error;
use std::sync::Arc;

use slackwater_connectors::memory::{MemorySink, MemorySource};
use slackwater_dataflow::adapter::Graph;
use slackwater_dataflow::clock::{Clock, ManualClock};
use slackwater_dataflow::pace::{Pace, PaceLimits, WAITING_BYTES_PER_WORKER};
use slackwater_dataflow::place::{PartitionId, Spread};
use slackwater_dataflow::run::RunError;
use slackwater_dataflow::sink::OutputStream;
use slackwater_dataflow::source::Source as _;
use slackwater_dataflow::spill::TemporaryFiles;
use slackwater_dataflow::worker::WorkerGroup;
use slackwater_models::{Model, builtin};
use slackwater_operators::check::{Check, Constant, Rule};
use slackwater_operators::encode::{
    DeadLetterPlan, EncodeDeadLetters, EncodePredictions, Form, PredictionPlan,
};
use slackwater_operators::event::{EventSchema, Field, FieldIndex, FieldType};
use slackwater_operators::features::{Feature, FeatureKind, FeaturePlan, FeatureStage, Transform};
use slackwater_operators::history::{Condition, HistoryPlan, Tally};
use slackwater_operators::infer::{Infer, InferPlan};
use slackwater_operators::ingest::{EventIngest, FieldRules, IngestPlan, LatePolicy, TimeRules};
use slackwater_operators::order::EventTimeOrder;

/// The events, by partition. Those of one user are in both, so that only event time can put them in order.
/// In the first, one comes too late and one has an empty category; in the second, one is no event at all.
const PARTITIONS: [&str; 2] = [
    r#"{"user_id":"anna","product_id":"lamp","category":"home","event_type":"view","timestamp_ms":1767225600000}
{"user_id":"ben","product_id":"tent","category":"sport","event_type":"view","timestamp_ms":1767225601000}
{"user_id":"anna","product_id":"lamp","category":"home","event_type":"add_to_cart","timestamp_ms":1767225605000}
{"user_id":"ben","product_id":"rope","category":"","event_type":"click","timestamp_ms":1767225606000}
{"user_id":"anna","product_id":"lamp","category":"home","event_type":"purchase","timestamp_ms":1767225609000}
{"user_id":"ben","product_id":"rope","category":"sport","event_type":"view","timestamp_ms":1767225604000}
{"user_id":"ben","product_id":"boot","category":"sport","event_type":"purchase","timestamp_ms":1767225610000}
"#,
    r#"{"user_id":"anna","product_id":"lamp","category":"home","event_type":"click","timestamp_ms":1767225603000}
{"user_id":"ben","product_id":"tent","category":"sport","event_type":"click","timestamp_ms":1767225602500}
{"user_id":"carla","product_id":"bowl","category":"home","event_type":"view","timestamp_ms":1767225603500}
{"user_id":"carla","product_id":"bowl","category":"home","event_type":"click","timestamp_ms":"noon"}
{"user_id":"anna","product_id":"desk","category":"home","event_type":"view","timestamp_ms":1767225607000}
{"user_id":"carla","product_id":"bowl","category":"home","event_type":"purchase","timestamp_ms":1767225608000}
"#,
];

/// When everything happens here, so that the output is the same each time. `SystemClock` is the machine's.
const NOW_MS: i64 = 1_767_225_700_000;

/// Threads; each runs the whole graph.
const WORKERS: usize = 2;

/// Keys are spread over workers in groups, and their records over shards of the sink: files, if it had some.
const SPREAD: Spread = Spread {
    key_groups: 1_024,
    workers: WORKERS,
    shards: 1,
};

// A plan names a field by its position in the schema.
const USER: FieldIndex = FieldIndex(0);
const PRODUCT: FieldIndex = FieldIndex(1);
const CATEGORY: FieldIndex = FieldIndex(2);
const TYPE: FieldIndex = FieldIndex(3);
const TIME: FieldIndex = FieldIndex(4);

fn schema() -> EventSchema {
    EventSchema {
        fields: vec![
            Field::required("user_id", FieldType::Text),
            Field::required("product_id", FieldType::Text),
            Field::required("category", FieldType::Text),
            Field::required("event_type", FieldType::Text),
            Field::required("timestamp_ms", FieldType::Int),
        ],
        key: vec![USER],
        time: TIME.into(),
    }
}

/// From bytes to rows: what is checked before the key is known, and when an event is late.
fn ingest(later: &[Check]) -> IngestPlan {
    let schema = schema();
    let checks = [Check::new(USER, Rule::NotEmpty, "user_id cannot be empty")];
    IngestPlan {
        computed: 0,
        keeps_origins: false,
        detour: None,
        // The ingest is told of later checks: `NotEmpty` speaks for missing fields as well, at its own stage.
        fields: FieldRules::new(schema.fields.len(), &checks, later),
        schema,
        conditions: Vec::new(),
        filters: Vec::new(),
        time: TimeRules {
            max_out_of_orderness_ms: 2_000,
            max_ahead_ms: Some(3_600_000),
        },
        late: LatePolicy::DeadLetter,
        max_bytes: MAX_BYTES as u64,
        max_depth: 64,
        spread: SPREAD,
    }
}

/// Largest record. The source cuts what is longer, the ingest rejects it.
const MAX_BYTES: usize = 1_048_576;

/// At the worker that owns the user: further checks, the user's history, and the vector made of it.
fn features(checks: Vec<Check>) -> FeaturePlan {
    // What histories count for the features: a tally is known by its position.
    let mut tallies = Vec::new();
    let features = inputs_of_the_model(&mut tallies);
    FeaturePlan {
        checks: checks.into_iter().map(Into::into).collect(),
        history: Some(HistoryPlan {
            events: 50,
            ttl_ms: 24 * 3_600_000,
            fields: vec![PRODUCT, CATEGORY, TYPE],
            tallies,
        }),
        features,
        spread: SPREAD,
    }
}

const TYPES: [&str; 4] = ["view", "click", "add_to_cart", "purchase"];

/// The sixteen numbers that the model was trained on, in its order.
fn inputs_of_the_model(tallies: &mut Vec<Tally>) -> Vec<Feature> {
    let [views, clicks, carts, purchases] = TYPES.map(|name| {
        let is_type = Condition {
            field: TYPE,
            values: vec![Constant::Text(name.to_owned())],
        };
        Tally::Where(vec![is_type]).place_in(tallies)
    });
    let products = Tally::Distinct(PRODUCT).place_in(tallies);
    let categories = Tally::Distinct(CATEGORY).place_in(tallies);
    let span = || [Transform::Clip(0.0, 1e7), Transform::Log1p];
    let types = TYPES.map(str::to_owned).to_vec();
    vec![
        Feature::new("events", FeatureKind::Count),
        Feature::new("views", FeatureKind::Tally(views)),
        Feature::new("clicks", FeatureKind::Tally(clicks)),
        Feature::new("carts", FeatureKind::Tally(carts)),
        Feature::new("purchases", FeatureKind::Tally(purchases)),
        Feature::new("distinct_products", FeatureKind::Tally(products)),
        Feature::new("distinct_categories", FeatureKind::Tally(categories)),
        Feature::new("since_previous", FeatureKind::SincePrevious).transformed(span()),
        Feature::new("mean_gap", FeatureKind::MeanGap).transformed(span()),
        Feature::new("hour_sin", FeatureKind::HourSin),
        Feature::new("hour_cos", FeatureKind::HourCos),
        Feature::new("category_bucket", FeatureKind::Hash(CATEGORY, 20))
            .transformed([Transform::Scale(0.0, 20.0)]),
        Feature::new("event_type_index", FeatureKind::Index(TYPE, types)),
        Feature::new("purchase_share", FeatureKind::Share(purchases)),
        Feature::new("cart_share", FeatureKind::Share(carts)),
        Feature::new("one", FeatureKind::Constant(1.0)),
    ]
}

/// Everything that each worker builds its graph from.
struct Job {
    source: MemorySource,
    ingest: Arc<IngestPlan>,
    /// What holds partitions back that are far ahead of the others: in event-time order their events would
    /// only wait.
    pace: Arc<Pace>,
    features: Arc<FeaturePlan>,
    model: Model,
    infer: InferPlan,
    predictions: PredictionPlan,
    dead_letters: DeadLetterPlan,
    clock: Arc<dyn Clock>,
}

impl Job {
    fn new(clock: Arc<dyn Clock>) -> Result<Self, Box<dyn Error>> {
        let partitions = PARTITIONS.map(|lines| lines.as_bytes().into());
        let partitions = (0..).map(PartitionId).zip(partitions);
        let source = MemorySource::from_lines(partitions)?.with_max_bytes(MAX_BYTES);
        let limits = PaceLimits {
            max_drift_ms: 60_000,
            waiting_bytes_per_worker: WAITING_BYTES_PER_WORKER,
        };
        let message = "Category name cannot be empty";
        let later = vec![Check::new(CATEGORY, Rule::NotEmpty, message)];
        let ingest = ingest(&later);
        let features = features(later);
        // Loading compares the model with scores that are known, and refuses it if they differ.
        let spec = builtin::spec(builtin::USER_EVENTS, 64).ok_or("the model is not embedded")?;
        Ok(Job {
            pace: Arc::new(Pace::new(limits, WORKERS, source.partitions())),
            model: Model::load(&spec)?,
            infer: InferPlan {
                model: spec.name,
                features: features.names(),
                spread: SPREAD,
            },
            predictions: PredictionPlan {
                fields: vec![
                    ("user_id".to_owned(), USER),
                    ("product_id".to_owned(), PRODUCT),
                ],
                outputs: vec!["prediction".to_owned()],
                provenance: None,
                lookups: Vec::new(),
                spread: SPREAD,
                form: Form::Lines,
            },
            dead_letters: DeadLetterPlan::new(&ingest, source.topics()),
            ingest: Arc::new(ingest),
            features: Arc::new(features),
            source,
            clock,
        })
    }

    /// The graph of one worker.
    fn build(&self, graph: &Graph<'_>) -> Result<(), RunError> {
        let ingest = EventIngest::new(Arc::clone(&self.ingest));
        let (rows, refused_early) = graph.source_in_step(&self.pace, &self.source, ingest)?;

        // To the worker that owns the user. There events wait until the watermark has passed them.
        let fields = self.ingest.schema.fields.len();
        let (worker, room) = (graph.share().worker, graph.waiting_room(&self.pace));
        let order = EventTimeOrder::new(
            worker,
            self.ingest.spread,
            fields,
            room,
            Box::new(TemporaryFiles),
        );
        let (rows, none) = graph.apply_at_key("order", rows, order);
        none.none();

        let features = FeatureStage::new(Arc::clone(&self.features));
        let (vectors, refused_at_key) = graph.apply("features", rows, features);

        let scorer = self.model.scorer().map_err(|error| RunError::Stage {
            stage: "infer",
            source: error.into(),
        })?;
        let infer = Infer::new(self.infer.clone(), scorer);
        let (scored, refused_by_model) = graph.apply("infer", vectors, infer);

        let encode = EncodePredictions::new(&self.predictions, Arc::clone(&self.clock));
        let (predictions, refused_as_too_large) = graph.apply("encode predictions", scored, encode);

        // Every stage has rejects, and a graph that forgets some does not start.
        let refused = graph.concat([
            refused_early.into_stream(),
            refused_at_key.into_stream(),
            refused_by_model.into_stream(),
            refused_as_too_large.into_stream(),
        ]);
        let encode = EncodeDeadLetters::new(self.dead_letters.clone(), Arc::clone(&self.clock));
        let (dead_letters, none) = graph.apply("encode dead letters", refused, encode);
        none.none();

        graph.publish(graph.concat([predictions, dead_letters]));
        Ok(())
    }
}

/// The records of a stream. Workers finish in any order, but a user's predictions come in event-time order: so
/// it is the same every time once records are put together by what they begin with, which is the user.
fn records(sink: &MemorySink, stream: OutputStream) -> Vec<String> {
    let lines = sink.records(stream).into_iter();
    let mut lines: Vec<String> = lines
        .map(|line| String::from_utf8_lossy(&line).into())
        .collect();
    lines.sort_by(|a, b| a.split(',').next().cmp(&b.split(',').next()));
    lines
}

fn main() -> Result<(), Box<dyn Error>> {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(NOW_MS));
    let job = Job::new(Arc::clone(&clock))?;
    for (partition, lines) in PARTITIONS.iter().enumerate() {
        println!("read from partition {partition}\n{lines}");
    }

    let sink = MemorySink::new();
    let group = WorkerGroup::new(WORKERS, clock);
    let finished = group.run(Box::new(sink.clone()), move |graph| job.build(graph))?;

    for stream in OutputStream::ALL {
        let lines = records(&sink, stream);
        println!("written to {}\n{}\n", stream.name(), lines.join("\n"));
    }
    let totals = finished.totals;
    println!("{} read, {} in flight", totals.read, totals.in_flight());
    Ok(())
}
