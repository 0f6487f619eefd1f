//! Is a graph refused that would lose events, and is a message never stamped later than its events?

mod abreast;
mod effects;
mod gathering;
mod keeping;
mod waiting;

use std::sync::{Arc, Mutex};

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, proptest};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::adapter::{Events, Graph, Messages};
use crate::clock::ManualClock;
use crate::run::{GraphError, RunError};
use crate::scripted::{
    Act, Batch, Encode, Mood, ScriptedSink, ScriptedSource, Strict, TimesIngest, Watermarks, ends,
};
use crate::sink::OutputStream;
use crate::source::Share;
use crate::worker::WorkerGroup;

type Build = fn(&Graph<'_>) -> Result<(), RunError>;

fn source() -> ScriptedSource {
    ScriptedSource::new([vec![Act::Records(vec![1, 2, 3])], vec![]])
}

fn failure(build: Build, workers: usize) -> RunError {
    ends(move || {
        let group = WorkerGroup::new(workers, Arc::new(ManualClock::default()));
        let sink = ScriptedSink::new(Mood::Willing);
        group.run(Box::new(sink), build).unwrap_err()
    })
}

fn strict(graph: &Graph<'_>) -> Strict {
    Strict {
        worker: graph.share().worker,
        watermarks: Watermarks::default(),
    }
}

/// Rejects of the source are left lying about.
fn forgets_the_source(graph: &Graph<'_>) -> Result<(), RunError> {
    let (_batches, _rejects) = graph.source(&source(), TimesIngest::new(0, 1))?;
    Ok(())
}

/// Rejects of an operator are.
fn forgets_an_operator(graph: &Graph<'_>) -> Result<(), RunError> {
    let (batches, rejects) = graph.source(&source(), TimesIngest::new(0, 1))?;
    drop(rejects.into_stream());
    let (_kept, _rejects) = graph.apply("strict", batches, strict(graph));
    Ok(())
}

fn has_no_source(_: &Graph<'_>) -> Result<(), RunError> {
    Ok(())
}

#[test]
fn is_a_graph_refused_that_loses_events() {
    let check = |build: Build, expected: fn(&GraphError) -> bool| {
        for workers in [1, 3] {
            let found = failure(build, workers);
            let refused = matches!(&found, RunError::Graph(error) if expected(error));
            assert!(refused, "{found:?}");
        }
    };
    let of = |error: &GraphError| error.to_string();
    check(
        forgets_the_source,
        |error| matches!(error, GraphError::RejectsNotConsumed(operator) if operator == "source"),
    );
    check(
        forgets_an_operator,
        |error| matches!(error, GraphError::RejectsNotConsumed(operator) if operator == "strict"),
    );
    check(has_no_source, |error| matches!(error, GraphError::NoSource));
    assert_eq!(
        of(&GraphError::RejectsNotConsumed("x".into())),
        "rejects of operator `x` are not consumed: every event needs an outcome"
    );
}

/// Passes messages on and compares each one's moment with its events.
fn witness<'s>(
    graph: &Graph<'s>,
    stream: Events<'s, Batch>,
    seen: &Arc<Mutex<u64>>,
) -> Events<'s, Batch> {
    let mut builder = OperatorBuilder::new("witness".to_owned(), graph.scope);
    let mut input = builder.new_input(stream, Pipeline);
    let (mut output, passed) = builder.new_output::<Messages<Batch>>();
    let seen = Arc::clone(seen);
    builder.build(move |_| {
        move |_| {
            let mut output = output.activate();
            input.for_each(|capability, messages| {
                assert_eq!(capability.stamp().len(), 1);
                for moment in capability.stamp() {
                    for (_, time) in messages.0.iter().flat_map(|batch| &batch.events) {
                        assert!(moment.watermark.0 <= *time, "{time} under {moment:?}");
                        *seen.lock().unwrap() += 1;
                    }
                }
                output.give(&capability, messages);
            });
        }
    });
    passed
}

/// How many events are not late: times by partition and poll.
fn on_time(partitions: &[Vec<Vec<i64>>], lag_ms: u64) -> u64 {
    partitions
        .iter()
        .map(|polls| {
            let mut highest = None;
            let mut on_time = 0;
            for &time in polls.iter().flatten() {
                let late = highest.is_some_and(|highest: i64| time < highest - lag_ms as i64);
                on_time += u64::from(!late);
                highest = Some(highest.map_or(time, |highest| highest.max(time)));
            }
            on_time
        })
        .sum()
}

fn times_under_stamps(partitions: Vec<Vec<Vec<i64>>>, lag_ms: u64, workers: usize) {
    let on_time = on_time(&partitions, lag_ms);
    let source = ScriptedSource::new(
        partitions
            .into_iter()
            .map(|polls| polls.into_iter().map(Act::Records).collect()),
    );
    let seen = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&seen);
    let finished = ends(move || {
        let group = WorkerGroup::new(workers, Arc::new(ManualClock::default()));
        group.run(Box::new(ScriptedSink::default()), move |graph| {
            let Share { workers, .. } = graph.share();
            let ingest = TimesIngest::new(lag_ms, workers);
            let (batches, early) = graph.source(&source, ingest)?;
            let before = witness(graph, batches, &counter);
            let (kept, refused) = graph.apply_at_key("strict", before, strict(graph));
            let after = witness(graph, kept, &counter);
            let encode = || Encode(OutputStream::Predictions);
            let rejects = [early.into_stream(), refused.into_stream(), after];
            let (records, none) = graph.apply("encode", graph.concat(rejects), encode());
            none.none();
            graph.publish(records);
            Ok(())
        })
    });
    assert_eq!(finished.unwrap().totals.in_flight(), 0);
    assert_eq!(
        *seen.lock().unwrap(),
        2 * on_time,
        "both witnesses saw every event"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Times stay clear of those that mean something to the script.
    #[test]
    fn is_no_message_stamped_later_than_its_events(
        partitions in vec(vec(vec(100..140_i64, 0..6), 0..8), 1..5),
        lag_ms in 0..15_u64,
        workers in 1..4_usize,
    ) {
        times_under_stamps(partitions, lag_ms, workers);
    }
}
