//! A feature vector as bytes, where no model scores it.

use slackwater_dataflow::moment::Epoch;
use slackwater_dataflow::operator::{Emitter, Operator};
use slackwater_dataflow::sink::OutputStream;

use crate::batch::Cell;
use crate::encode::tests::predictions::{SPREAD, batch};
use crate::encode::tests::{clock, encode, text};
use crate::encode::{EncodeVectors, Form, VectorPlan};
use crate::enrichment::{Enrichment, Provenance};
use crate::event::FieldIndex;
use crate::features::FeatureBatch;

fn plan(provenance: bool) -> VectorPlan {
    VectorPlan {
        fields: vec![("user".to_owned(), FieldIndex(0))],
        names: vec!["seen".to_owned(), "a \"b\"".to_owned()],
        provenance,
        lookups: Vec::new(),
        spread: SPREAD,
        form: Form::Lines,
    }
}

fn vectors(vectors: &[[f32; 2]]) -> FeatureBatch {
    let rows: Vec<_> = (1..)
        .zip(vectors)
        .map(|(at, _)| (5, at, vec![Cell::Int(at)], ""))
        .collect();
    FeatureBatch {
        batch: batch(&rows),
        vectors: vectors.concat(),
        enrichment: Enrichment::default(),
    }
}

#[test]
fn is_a_vector_exactly_what_it_should_be() {
    let found = encode(
        &mut EncodeVectors::new(&plan(false), clock()),
        vectors(&[[1.0, -0.5], [0.1, 1e30]]),
    );
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].chunk.stream, OutputStream::Predictions);
    let expected = "{\"user\":1,\"features\":{\"seen\":1.0,\"a \\\"b\\\"\":-0.5},\"event_time\":1,\
                    \"processing_time\":1718054321052}\n\
                    {\"user\":2,\"features\":{\"seen\":0.1,\"a \\\"b\\\"\":1e+30},\"event_time\":2,\
                    \"processing_time\":1718054321052}\n";
    assert_eq!(text(&found[0]), expected);
}

#[test]
fn does_provenance_say_all_but_a_model() {
    let mut plan = plan(true);
    plan.lookups = vec!["profile".to_owned()];
    let mut input = vectors(&[[1.0, 2.0]]);
    input.enrichment.push(vec![Provenance::Fresh]);
    let mut out = Emitter::of(Epoch(9));
    EncodeVectors::new(&plan, clock()).on_batch(input, &mut out);
    let expected = "{\"user\":1,\"features\":{\"seen\":1.0,\"a \\\"b\\\"\":2.0},\"event_time\":1,\
                    \"processing_time\":1718054321052,\"partition\":4,\"offset\":500,\"epoch\":9,\
                    \"lookups\":{\"profile\":{\"from\":\"fresh\"}}}\n";
    assert_eq!(text(&out.take_outputs()[0]), expected);
}

#[test]
fn is_what_is_no_finite_number_rejected_and_the_rest_not() {
    let mut out = Emitter::default();
    let input = vectors(&[
        [f32::NAN, f32::INFINITY],
        [1.0, 2.0],
        [3.0, f32::INFINITY],
        [f32::NEG_INFINITY, 4.0],
    ]);
    EncodeVectors::new(&plan(false), clock()).on_batch(input, &mut out);
    let found = out.take_outputs();
    assert_eq!(found.len(), 1);
    assert!(text(&found[0]).starts_with("{\"user\":2,"));
    assert_eq!(found[0].chunk.records, 1);
    let rejects = out.take_rejects();
    let rejects: Vec<_> = rejects.iter().flat_map(|batch| &batch.rejects).collect();
    let said: Vec<_> = rejects
        .iter()
        .map(|it| it.reason.message.as_str())
        .collect();
    let expected = [
        "feature `seen` is NaN",
        "feature `a \"b\"` is infinity",
        "feature `seen` is -infinity",
    ];
    assert_eq!(said, expected);
    for reject in rejects {
        let reason = &reject.reason;
        assert_eq!(
            (reason.stage.name(), reason.code.name()),
            ("feature", "not_finite")
        );
    }
}
