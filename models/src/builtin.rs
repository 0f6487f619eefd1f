//! The reference model, embedded: the reference job runs without any file beside the binary.

use crate::spec::{ModelSpec, OutputSpec};

/// The name of the reference model.
pub const USER_EVENTS: &str = "user-events";

/// The ONNX file of the reference model.
pub const USER_EVENTS_ONNX: &[u8] = include_bytes!("../../pipelines/models/user-events.onnx");

/// The golden file of the reference model.
pub const USER_EVENTS_GOLDEN: &str = include_str!("../../pipelines/models/user-events.golden.json");

/// Features that the reference model takes.
pub const USER_EVENTS_FEATURES: usize = 16;

/// The embedded model of this name with its golden vector, ready for
/// [`Model::load`](crate::Model::load); `None` if there is none. `batch` is the rows of its fixed
/// shape.
#[must_use]
pub fn spec(name: &str, batch: usize) -> Option<ModelSpec> {
    (name == USER_EVENTS).then(|| ModelSpec {
        name: USER_EVENTS.to_owned(),
        source: USER_EVENTS_ONNX.to_vec(),
        batch,
        features: USER_EVENTS_FEATURES,
        outputs: vec![OutputSpec {
            name: "prediction".to_owned(),
            ..OutputSpec::default()
        }],
        golden: Some(USER_EVENTS_GOLDEN.to_owned()),
        ..ModelSpec::default()
    })
}
