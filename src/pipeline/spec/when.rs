//! A check of all fields together.

use slackwater_operators::expression::Expression;

use crate::pipeline::spec::CheckStage;

/// A check of all fields together.
#[derive(Clone, Debug, PartialEq)]
pub struct WhenSpec {
    /// What must hold. Its names are those of [`crate::pipeline::spec::EventSpec::fields`].
    pub condition: Expression,
    /// What the dead letter says.
    pub message: String,
    /// Which stage rejects.
    pub stage: CheckStage,
    /// How many of [`crate::pipeline::spec::Pipeline::checks`] stand before it in the file.
    pub after: usize,
}
