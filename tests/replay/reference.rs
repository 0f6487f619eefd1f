//! The reference job, ready to be run again and again on sources in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use slackwater::pipeline::Pipeline;
use slackwater::pipeline::graph::{Blueprint, Ending, load_model};
use slackwater::pipeline::spec::{FeatureKind, Over, WindowSpec};
use slackwater_connectors::generator::{Generator, GeneratorConfig};
use slackwater_connectors::memory::{MemorySink, MemorySource};
use slackwater_dataflow::clock::SystemClock;
use slackwater_dataflow::meters::Totals;
use slackwater_dataflow::place::PartitionId;
use slackwater_dataflow::sink::{OutputStream, Sink};
use slackwater_dataflow::source::Source;
use slackwater_dataflow::worker::WorkerGroup;
use slackwater_models::Model;
use slackwater_operators::event::FieldIndex;

/// The pipeline's `max_bytes`, which its sources obey.
const MAX_BYTES: usize = 1024 * 1024;

/// The reference pipeline with its model loaded.
pub struct Reference {
    pub pipeline: Pipeline,
    model: Model,
}

impl Reference {
    /// With provenance, and these changes, each of a text that is there once.
    pub fn new(changes: &[(&str, &str)]) -> Self {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/pipelines/user-events.toml");
        let mut text = std::fs::read_to_string(file).unwrap();
        let provenance = ("provenance = false", "provenance = true");
        for (old, new) in changes.iter().chain([&provenance]) {
            assert_eq!(text.matches(old).count(), 1, "{old:?}");
            text = text.replace(old, new);
        }
        let pipeline = Pipeline::parse(file, &text).unwrap();
        let model = load_model(&pipeline).unwrap();
        Reference { pipeline, model }
    }

    /// The same, but the inputs at these places count how often these other keys have come.
    pub fn counting_by(mut self, counting_by: Vec<(Vec<FieldIndex>, usize)>) -> Self {
        for (key, place) in counting_by {
            let feature = self.pipeline.features.get_mut(place).unwrap();
            feature.kind = FeatureKind::Count;
            feature.window = WindowSpec {
                over: Over::Last(u32::MAX),
                key: Some(key.into_iter().map(|field| field.0).collect()),
                includes_self: true,
            };
            (feature.conditions, feature.transforms) = (Vec::new(), Vec::new());
        }
        self
    }

    /// The job on a source, as the binary would build it.
    pub fn blueprint(&self, source: impl Source + 'static, workers: usize) -> Blueprint {
        self.ending(Ending::Score(self.model.clone()), source, workers)
    }

    /// The same with something else behind the features.
    pub fn ending(
        &self,
        ending: Ending,
        source: impl Source + 'static,
        workers: usize,
    ) -> Blueprint {
        let clock = Arc::new(SystemClock::default());
        Blueprint::new(&self.pipeline, workers, Arc::new(source), ending, clock)
    }

    /// Runs it to the end of its input. Everything read must have been written.
    pub fn run(&self, source: impl Source + 'static, workers: usize) -> (MemorySink, Totals) {
        let sink = MemorySink::new();
        let blueprint = self.blueprint(source, workers);
        let totals = run_to(blueprint, workers, Box::new(sink.clone()));
        assert!(sink.finished());
        (sink, totals)
    }
}

/// Runs a job to the end of its input, with any sink.
pub fn run_to(blueprint: Blueprint, workers: usize, sink: Box<dyn Sink>) -> Totals {
    let group = WorkerGroup::new(workers, Arc::new(SystemClock::default()));
    let group = group.watching(blueprint.source());
    let finished = group.run(sink, move |graph| blueprint.build(graph));
    let totals = finished.unwrap().totals;
    assert_eq!(totals.in_flight(), 0, "read = written");
    totals
}

/// Asserts that the predictions of each user are in the order of event time, partition and offset. How many users have
/// any.
pub fn assert_in_order(sink: &MemorySink, seed: u64) -> usize {
    let mut last = BTreeMap::new();
    for line in sink.records(OutputStream::Predictions) {
        let record: Value = serde_json::from_slice(&line).unwrap();
        let number = |key: &str| record[key].as_u64().unwrap();
        let place = (number("event_time"), number("partition"), number("offset"));
        let before = last.insert(record["user_id"].to_string(), place);
        assert!(before < Some(place), "seed {seed}: {record}");
    }
    last.len()
}

/// Generated events in memory.
pub fn generated(config: GeneratorConfig) -> MemorySource {
    let partitions = config.partitions;
    let generator = Generator::new(config).unwrap();
    let contents = (0..partitions).map(|number| {
        let (partition, mut lines) = (PartitionId(number), Vec::new());
        generator.write_partition(partition, &mut lines).unwrap();
        (partition, lines.into())
    });
    MemorySource::from_lines(contents.collect::<Vec<_>>())
        .unwrap()
        .with_max_bytes(MAX_BYTES)
}
