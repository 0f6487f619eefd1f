//! Checks of the feature stage, at whichever stage comes first behind the order.

use slackwater_dataflow::place::Spread;

use crate::batch::{Row, RowBatch};
use crate::check::Check;
use crate::reject::{RejectBatch, Stage};

/// Takes the events out of a batch that a check refuses, each with the reason of the first one that does.
pub(crate) fn refuse(
    checks: &[Check],
    batch: &mut RowBatch,
    spread: &Spread,
) -> Option<RejectBatch> {
    if checks.is_empty() {
        return None;
    }
    let rows = &batch.rows;
    let refuse = |(at, row): (usize, &Row)| {
        let failed = checks.iter().find(|check| !check.holds_for(rows, row))?;
        Some((at, failed.reason(Stage::Feature)))
    };
    let refused = rows.rows().iter().enumerate().filter_map(refuse).collect();
    RejectBatch::take_from(batch, refused, spread)
}
