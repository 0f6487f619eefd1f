//! Are wrong models refused with the words that help, and is a row's score its own?

use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};
use proptest::sample::Index;
use prost::Message as _;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as DimValue;
use tract_onnx::pb::type_proto::Value as TypeValue;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, StringStringEntryProto, ValueInfoProto,
    attribute_proto, tensor_proto,
};
use tract_onnx::prelude::Framework as _;

use crate::builtin;
use crate::info::OutputInfo;
use crate::model::Model;
use crate::spec::{BATCH_MAX, MODEL_NODES_MAX, ModelSpec, OutputSpec};

const BATCH: usize = 64;
const FEATURES: usize = builtin::USER_EVENTS_FEATURES;

fn reference() -> ModelSpec {
    builtin::spec(builtin::USER_EVENTS, BATCH).unwrap()
}

/// The reference model without its golden vector, after a change.
fn changed(change: impl FnOnce(&mut GraphProto)) -> ModelSpec {
    let mut bytes = builtin::USER_EVENTS_ONNX;
    let mut proto: ModelProto = tract_onnx::onnx().proto_model_for_read(&mut bytes).unwrap();
    change(proto.graph.as_mut().unwrap());
    ModelSpec {
        source: proto.encode_to_vec(),
        golden: None,
        ..reference()
    }
}

/// Sets the type or one dimension of an input.
fn set_dim(info: &mut ValueInfoProto, dim: usize, size: i64) {
    let Some(TypeValue::TensorType(tensor)) = info.r#type.as_mut().unwrap().value.as_mut() else {
        unreachable!("the reference model has tensors only");
    };
    tensor.shape.as_mut().unwrap().dim[dim].value = Some(DimValue::DimValue(size));
}

fn pseudo_random_rows(rows: usize) -> Vec<f32> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u64 << 24) as f32
    };
    (0..rows * FEATURES).map(|_| next() * 20.0 - 2.0).collect()
}

fn scores_of(model: &Model, rows: &[f32]) -> Vec<f32> {
    let mut scores = Vec::new();
    model.scorer().unwrap().score(rows, &mut scores).unwrap();
    scores
}

#[test]
fn does_the_reference_model_load_and_say_who_it_is() {
    let model = Model::load(&reference()).unwrap();
    let info = model.info();
    assert_eq!(info.input, "input");
    let output = OutputInfo {
        name: "prediction".to_owned(),
        tensor: "output".to_owned(),
        index: 0,
    };
    assert_eq!(info.outputs, [output]);
    assert!(info.digest.as_str().starts_with("sha256:"));
    assert!(builtin::spec("other", BATCH).is_none());
}

#[test]
fn can_threads_share_a_model() {
    fn shared<T: Send + Sync>() {}
    shared::<Model>();
    let model = Model::load(&reference()).unwrap();
    let rows = pseudo_random_rows(300);
    let expected = scores_of(&model, &rows);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(scores_of(&model, &rows), expected));
        }
    });
}

#[test]
fn does_a_row_depend_on_its_place_or_its_neighbours() {
    const ROWS: usize = 4096;
    let model = Model::load(&reference()).unwrap();
    let rows = pseudo_random_rows(ROWS);
    let expected = scores_of(&model, &rows);
    let mut scorer = model.scorer().unwrap();
    let mut scores = Vec::new();
    // Steps coprime to the number of rows visit every row in another order; sizes of the calls
    // vary, so that rows stand at all places, beside other rows, padding and stale rows.
    for (step, start, call) in [
        (1, 1, 7),
        (5, 3, 1),
        (1235, 77, 63),
        (2047, 9, 129),
        (4095, 0, 4096),
    ] {
        let order: Vec<usize> = (0..ROWS).map(|i| (start + i * step) % ROWS).collect();
        for places in order.chunks(call) {
            let shuffled: Vec<f32> = places
                .iter()
                .flat_map(|&row| &rows[row * FEATURES..(row + 1) * FEATURES])
                .copied()
                .collect();
            scorer.score(&shuffled, &mut scores).unwrap();
            for (&row, score) in places.iter().zip(&scores) {
                assert_eq!(
                    score.to_bits(),
                    expected[row].to_bits(),
                    "row {row} of step {step}"
                );
            }
        }
    }
}

#[test]
fn which_numbers_of_rows_are_scored() {
    let model = Model::load(&reference()).unwrap();
    let mut scorer = model.scorer().unwrap();
    let mut scores = vec![1.0; 3];
    for rows in [0, 1, 63, 64, 65, 128, 1000] {
        scorer
            .score(&pseudo_random_rows(rows), &mut scores)
            .unwrap();
        assert_eq!(scores.len(), rows);
        assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)));
    }
    let error = scorer.score(&[0.0; 17], &mut scores).unwrap_err();
    assert_eq!(
        error.to_string(),
        "17 numbers are no whole rows of 16 features for model `user-events`"
    );
}

#[test]
fn does_a_number_that_is_none_stay_in_its_row() {
    let model = Model::load(&reference()).unwrap();
    let mut rows = pseudo_random_rows(BATCH);
    let expected = scores_of(&model, &rows);
    rows[5 * FEATURES] = f32::NAN;
    rows[9 * FEATURES + 3] = f32::INFINITY;
    let scores = scores_of(&model, &rows);
    for (row, (score, expected)) in scores.iter().zip(&expected).enumerate() {
        assert!(
            row == 5 || row == 9 || score.to_bits() == expected.to_bits(),
            "row {row}"
        );
    }
}

/// The model must be refused with a message that says this.
fn refused(spec: ModelSpec, expected: &str) {
    let message = Model::load(&spec).unwrap_err().to_string();
    assert!(
        message.contains(expected),
        "`{message}` does not say `{expected}`"
    );
}

#[test]
fn is_a_wrong_model_refused_with_words_that_help() {
    let check = refused;
    let with = |change: fn(&mut ModelSpec)| {
        let mut spec = reference();
        change(&mut spec);
        spec
    };
    let zeros = format!("sha256:{}", "0".repeat(64));
    let spec = ModelSpec {
        digest: Some(zeros.clone()),
        ..reference()
    };
    check(spec.clone(), &format!("the pipeline accepts only {zeros}"));
    check(spec, "model `user-events` has digest sha256:1b6c90c867c2");
    check(
        with(|s| s.digest = Some("md5:1".into())),
        "digest `md5:1` is not `sha256:`",
    );
    check(
        with(|s| s.source = b"not a model".to_vec()),
        "is not a readable ONNX file",
    );
    check(with(|s| s.source.clear()), "it has no graph");
    check(
        with(|s| s.source.truncate(9000)),
        "is not a readable ONNX file",
    );
    check(with(|s| s.batch = 0), "batch is 0, allowed is 1 to 8192");
    check(with(|s| s.batch = BATCH_MAX + 1), "batch is 8193");
    check(with(|s| s.features = 0), "number of features is 0");
    check(
        with(|s| s.features = 12),
        "model `user-events` has 16 inputs, the pipeline declares 12 features",
    );
    check(
        with(|s| s.input = Some("x".into())),
        "has no input `x`, it has: input",
    );
    check(
        with(|s| s.outputs[0].tensor = Some("y".into())),
        "has no output `y` for `prediction`, it has: output",
    );
    check(
        with(|s| s.outputs.clear()),
        "number of outputs is 0, allowed is 1 to 1024",
    );
    check(
        with(|s| s.outputs[0].index = 1),
        "output `output` has 1 values a row, index 1 of `prediction` is out of range",
    );
}

#[test]
fn is_a_wrong_graph_refused_with_words_that_help() {
    let check = refused;
    check(
        changed(|graph| {
            graph.input.push(ValueInfoProto {
                name: "more".into(),
                ..graph.input[0].clone()
            })
        }),
        "has 2 inputs (input, more), the pipeline can feed exactly 1",
    );
    check(changed(|graph| graph.input.clear()), "has 0 inputs ()");
    check(
        changed(|graph| {
            graph.output.push(ValueInfoProto {
                name: "sum_3".into(),
                ..graph.output[0].clone()
            })
        }),
        "has 2 outputs (output, sum_3), name the one of `prediction` as `tensor`",
    );
    check(
        changed(|graph| graph.output[0].name = "nobody".into()),
        "no node makes its output `nobody`",
    );
    check(
        changed(|graph| set_dim(&mut graph.input[0], 1, 12)),
        "has 12 inputs, the pipeline declares 16",
    );
    check(
        changed(|graph| set_dim(&mut graph.input[0], 0, 1)),
        "takes exactly 1 rows",
    );
    check(
        changed(|graph| graph.input[0].r#type = None),
        "input `input` is of unknown type of any shape, expected float32",
    );
    check(
        changed(|graph| {
            graph.initializer[0].data_location = Some(tensor_proto::DataLocation::External as i32)
        }),
        "keeps tensor `weight_1` in another file",
    );
    check(
        changed(|graph| {
            graph.initializer[1]
                .external_data
                .push(StringStringEntryProto::default())
        }),
        "keeps tensor `bias_1` in another file",
    );
    check(
        changed(|graph| graph.node.resize(MODEL_NODES_MAX + 1, NodeProto::default())),
        "has 10001 nodes, at most 10000",
    );
    check(
        changed(|graph| graph.node[0].op_type = "Nonsense".into()),
        "cannot be run",
    );
    check(
        changed(|graph| graph.initializer[0].dims = vec![64, 17]),
        "cannot be run",
    );
}

#[test]
fn is_a_model_that_mixes_rows_refused() {
    // The mean over the batch is taken off every row.
    let mixing = |outputs: &[&str]| {
        let spec = changed(|graph| {
            let axes = AttributeProto {
                name: "axes".into(),
                r#type: attribute_proto::AttributeType::Ints as i32,
                ints: vec![0],
                ..AttributeProto::default()
            };
            let last = graph.node.len() - 1;
            graph.node[last].output = vec!["apart".into()];
            graph.node.push(NodeProto {
                op_type: "ReduceMean".into(),
                input: vec!["apart".into()],
                output: vec!["mean".into()],
                attribute: vec![axes],
                ..NodeProto::default()
            });
            graph.node.push(NodeProto {
                op_type: "Sub".into(),
                input: vec!["apart".into(), "mean".into()],
                output: vec!["output".into()],
                ..NodeProto::default()
            });
            let apart = ValueInfoProto {
                name: "apart".into(),
                ..graph.output[0].clone()
            };
            graph.output.push(apart);
        });
        let outputs = outputs.iter().map(|tensor| OutputSpec {
            tensor: Some((*tensor).to_owned()),
            ..OutputSpec::default()
        });
        ModelSpec {
            outputs: outputs.collect(),
            ..spec
        }
    };
    for outputs in [&["output"][..], &["output", "apart"], &["apart", "output"]] {
        refused(mixing(outputs), "it must score each row by itself");
    }
    assert!(Model::load(&mixing(&["apart"])).is_ok());
}

/// tract has no code for a string tensor in raw form and panics: the catch around it is needed.
#[test]
fn is_a_panic_of_the_runtime_a_refusal() {
    let strings = tensor_proto::DataType::String as i32;
    let spec = changed(|graph| graph.initializer[0].data_type = strings);
    refused(
        spec,
        "cannot be run: the ONNX runtime panicked on this graph",
    );
}

/// A model that looks rows up in a table of 32 values fails on the row that asks for the 1,000th.
#[test]
fn can_a_scorer_go_on_after_a_run_that_failed() {
    let spec = changed(|graph| {
        let to_int64 = AttributeProto {
            name: "to".into(),
            r#type: attribute_proto::AttributeType::Int as i32,
            i: tensor_proto::DataType::Int64 as i64,
            ..AttributeProto::default()
        };
        let node = |kind: &str, inputs: [&str; 2], output: &str| NodeProto {
            op_type: kind.into(),
            input: inputs
                .iter()
                .filter(|i| !i.is_empty())
                .map(|i| (*i).into())
                .collect(),
            output: vec![output.into()],
            ..NodeProto::default()
        };
        let cast = NodeProto {
            attribute: vec![to_int64],
            ..node("Cast", ["input", ""], "places")
        };
        graph.node = vec![cast, node("Gather", ["bias_2", "places"], "output")];
    });
    let mut scorer = Model::load(&spec).unwrap().scorer().unwrap();
    let (mut scores, good) = (Vec::new(), [0.0; 2 * FEATURES]);
    scorer.score(&good, &mut scores).unwrap();
    let expected = scores.clone();
    let error = scorer.score(&[1000.0; FEATURES], &mut scores).unwrap_err();
    assert_eq!(error.to_string(), "model `user-events` failed");
    assert!(scores.is_empty());
    scorer.score(&good, &mut scores).unwrap();
    assert_eq!(scores, expected);
}

/// The reference model, which gives what stands before its last step as well, and these of its numbers.
fn with_logits(outputs: &[(&str, &str, usize)]) -> ModelSpec {
    let spec = changed(|graph| {
        let more = ValueInfoProto {
            name: "sum_3".into(),
            ..graph.output[0].clone()
        };
        graph.output.insert(0, more);
    });
    let outputs = outputs.iter().map(|(name, tensor, index)| OutputSpec {
        name: (*name).to_owned(),
        tensor: Some((*tensor).to_owned()),
        index: *index,
    });
    ModelSpec {
        outputs: outputs.collect(),
        ..spec
    }
}

#[test]
fn which_outputs_are_read() {
    const ROWS: usize = BATCH + 10;
    let rows = pseudo_random_rows(ROWS);
    let scores = scores_of(&Model::load(&reference()).unwrap(), &rows);
    let check = |outputs: &[(&str, &str, usize)]| {
        let found = scores_of(&Model::load(&with_logits(outputs)).unwrap(), &rows);
        assert_eq!(found.len(), ROWS * outputs.len(), "{outputs:?}");
        for (of_row, score) in found.chunks(outputs.len()).zip(&scores) {
            for (found, (_, tensor, _)) in of_row.iter().zip(outputs) {
                if *tensor == "output" {
                    assert_eq!(found.to_bits(), score.to_bits(), "{outputs:?}");
                } else {
                    let squashed = 1.0 / (1.0 + (-found).exp());
                    assert!((squashed - score).abs() < 1e-5, "{outputs:?}");
                }
            }
        }
    };
    check(&[("logit", "sum_3", 0)]);
    check(&[("score", "output", 0)]);
    check(&[("logit", "sum_3", 0), ("score", "output", 0)]);
    check(&[("score", "output", 0), ("logit", "sum_3", 0)]);
    let thrice = [("a", "output", 0), ("b", "sum_3", 0), ("c", "output", 0)];
    check(&thrice);
    refused(
        with_logits(&[("score", "output", 0), ("logit", "sum_3", 1)]),
        "output `sum_3` has 1 values a row, index 1 of `logit` is out of range",
    );
    refused(
        with_logits(&[("score", "output", 0), ("logit", "sum", 0)]),
        "has no output `sum` for `logit`, it has: sum_3, output",
    );
}

#[test]
fn which_numbers_of_a_tensor_are_read() {
    // Two numbers a row, of the first layer of the network.
    let spec = |indices: &[usize]| {
        let outputs = indices.iter().map(|index| OutputSpec {
            index: *index,
            ..OutputSpec::default()
        });
        ModelSpec {
            source: small_model(),
            golden: None,
            outputs: outputs.collect(),
            ..reference()
        }
    };
    let rows = pseudo_random_rows(BATCH + 3);
    let of = |indices: &[usize]| scores_of(&Model::load(&spec(indices)).unwrap(), &rows);
    let columns = [of(&[0]), of(&[1])];
    assert_ne!(columns[0], columns[1]);
    for indices in [&[0, 1][..], &[1, 0], &[1, 1, 0]] {
        let expected = (0..BATCH + 3).flat_map(|row| indices.iter().map(move |at| (*at, row)));
        let expected: Vec<f32> = expected.map(|(at, row)| columns[at][row]).collect();
        assert_eq!(of(indices), expected, "{indices:?}");
    }
}

#[test]
fn are_tensors_of_different_widths_read() {
    // The 64 numbers of the first layer beside the one of the last.
    let spec = |outputs: &[(&str, usize)]| {
        let mut first = String::new();
        let spec = changed(|graph| {
            first.clone_from(&graph.node[0].output[0]);
            let mut info = ValueInfoProto {
                name: first.clone(),
                ..graph.output[0].clone()
            };
            set_dim(&mut info, 1, 64);
            graph.output.insert(0, info);
        });
        let outputs = outputs.iter().map(|(tensor, index)| OutputSpec {
            name: "a".to_owned(),
            tensor: Some(if *tensor == "first" {
                first.clone()
            } else {
                (*tensor).to_owned()
            }),
            index: *index,
        });
        ModelSpec {
            outputs: outputs.collect(),
            ..spec
        }
    };
    let rows = pseudo_random_rows(BATCH + 5);
    let of = |outputs: &[(&str, usize)]| scores_of(&Model::load(&spec(outputs)).unwrap(), &rows);
    let all = [("first", 63), ("output", 0), ("first", 0), ("first", 17)];
    let alone = all.map(|output| of(&[output]));
    for (row, scores) in of(&all).chunks(all.len()).enumerate() {
        for (score, alone) in scores.iter().zip(&alone) {
            assert_eq!(score.to_bits(), alone[row].to_bits(), "row {row}");
        }
    }
    assert_ne!(alone[0], alone[2]);
    refused(
        spec(&[("output", 0), ("first", 64)]),
        "has 64 values a row, index 64 of `a` is out of range",
    );
}

#[test]
fn is_each_output_held_against_its_golden_scores() {
    let row = format!("[{}]", ["0.5"; FEATURES].join(", "));
    let model = |scores: &str| ModelSpec {
        golden: Some(format!(r#"{{"inputs": [{row}], "scores": {scores}}}"#)),
        ..with_logits(&[("score", "output", 0), ("logit", "sum_3", 0)])
    };
    let bare = ModelSpec {
        golden: None,
        ..model("")
    };
    let scores = scores_of(&Model::load(&bare).unwrap(), &[0.5; FEATURES]);
    let (score, logit) = (scores[0], scores[1]);
    let agreed = Model::load(&model(&format!("[[{score}, {logit}]]"))).unwrap();
    assert_eq!(agreed.golden().unwrap().rows, 1);
    refused(
        model(&format!("[[{score}, {}]]", logit + 1.0)),
        &format!("gives {logit} as `logit` of golden row 0"),
    );
    refused(
        model("[[0.5]]"),
        "row 0 has 1 score, the pipeline declares 2 outputs",
    );
    refused(
        model("[0.5]"),
        "row 0 has 1 score, the pipeline declares 2 outputs",
    );
    refused(
        model("[[1e39, 1.0]]"),
        "a score of row 0 is beyond 32-bit floats",
    );
    let twice = ModelSpec {
        outputs: vec![OutputSpec::default(), OutputSpec::default()],
        ..reference()
    };
    assert_eq!(Model::load(&twice).unwrap().golden().unwrap().rows, 32);
    refused(model("[\"0.5\"]"), "expected a number or a list of numbers");
}

#[test]
fn how_well_does_a_model_agree_with_its_golden_vector() {
    let check = |score: &str, least: f32, most: f32| {
        let golden = builtin::USER_EVENTS_GOLDEN.replace("0.4120292067527771", score);
        let spec = ModelSpec {
            golden: Some(golden),
            ..reference()
        };
        let agreed = Model::load(&spec).unwrap().golden().unwrap();
        assert_eq!(agreed.rows, 32);
        let difference = agreed.greatest_difference;
        assert!((least..=most).contains(&difference), "{difference}");
    };
    check("0.4120292067527771", 0.0, 1e-6);
    check("0.4120342", 4e-6, 6e-6);
    check("0.4120242", 4e-6, 6e-6);
    let model = Model::load(&changed(|_| {})).unwrap();
    assert_eq!(model.golden(), None);
}

#[test]
fn does_a_golden_vector_catch_a_wrong_model() {
    let check = |golden: String, expected: &str| {
        let spec = ModelSpec {
            golden: Some(golden),
            ..reference()
        };
        let message = Model::load(&spec).unwrap_err().to_string();
        assert!(
            message.contains(expected),
            "`{message}` does not say `{expected}`"
        );
    };
    let golden = builtin::USER_EVENTS_GOLDEN;
    check(
        golden.replace("0.4120292067527771", "0.4120692"),
        "as `prediction` of golden row 0, expected 0.41206",
    );
    check(
        golden.replace("sha256:1b", "sha256:00"),
        "it is of model sha256:00",
    );
    check("{}".to_owned(), "missing field `inputs`");
    check(
        "[".repeat(100_000),
        "golden vector of model `user-events` is unusable",
    );
    check(
        r#"{"inputs": [], "scores": []}"#.to_owned(),
        "it has 0 inputs and 0 scores",
    );
    check(
        r#"{"inputs": [[1.0]], "scores": []}"#.to_owned(),
        "it has 1 inputs and 0 scores",
    );
    check(
        r#"{"inputs": [[1.0]], "scores": [1]}"#.to_owned(),
        "row 0 has 1 number,",
    );

    let mut wrong = changed(|graph| graph.initializer[5].raw_data[3] ^= 0x80);
    wrong.golden = Some(golden.replace("\"digest\"", "\"was\""));
    let message = Model::load(&wrong).unwrap_err().to_string();
    assert!(message.contains("of golden row"), "{message}");
}

/// Damage to a file: cut, a byte set, bytes taken out.
#[derive(Clone, Debug)]
enum Damage {
    Cut(Index),
    Set(Index, u8),
    Remove(Index, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    // Half of the places lie in the graph's structure at both ends, not in the weights.
    let place = prop_oneof![any::<Index>(), any::<Index>()];
    prop_oneof![
        place.clone().prop_map(Damage::Cut),
        (place.clone(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        (place, prop_oneof![Just(1), 1..64_usize]).prop_map(|(at, len)| Damage::Remove(at, len)),
    ]
}

/// The same model with its weights made tiny in number, so that damage hits structure.
fn small_model() -> Vec<u8> {
    changed(|graph| {
        graph.node.remove(4);
        graph.node.truncate(2);
        graph.node[1].output[0] = "output".into();
        graph.initializer.truncate(2);
        graph.initializer[0].dims = vec![2, 16];
        graph.initializer[0].raw_data.truncate(2 * 16 * 4);
        graph.initializer[1].dims = vec![2];
        graph.initializer[1].raw_data.truncate(2 * 4);
        set_dim(&mut graph.output[0], 1, 2);
    })
    .source
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn does_a_damaged_file_ever_panic(
        small in any::<bool>(),
        damages in prop::collection::vec(damage(), 1..4),
    ) {
        let mut source = if small { small_model() } else { builtin::USER_EVENTS_ONNX.to_vec() };
        for damage in damages {
            match damage {
                _ if source.is_empty() => {}
                Damage::Cut(at) => source.truncate(at.index(source.len())),
                Damage::Set(at, byte) => {
                    let at = at.index(source.len());
                    source[at] = byte;
                }
                Damage::Remove(at, len) => {
                    let at = at.index(source.len());
                    let end = (at + len).min(source.len());
                    source.drain(at..end);
                }
            }
        }
        let spec = ModelSpec { source, golden: None, ..reference() };
        // Either answer is right; only a panic or an abort would be wrong.
        if let Ok(model) = Model::load(&spec) {
            scores_of(&model, &[0.5; FEATURES]);
        }
    }
}

#[test]
fn is_the_small_model_of_the_damage_test_a_model() {
    let spec = ModelSpec {
        source: small_model(),
        golden: None,
        ..reference()
    };
    Model::load(&spec).unwrap();
}
