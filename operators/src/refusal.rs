//! Checks of the feature stage, at whichever stage comes first behind the order.

use slackwater_dataflow::place::Spread;

use crate::batch::{Row, RowBatch};
use crate::check::RowCheck;
use crate::reject::RejectBatch;

/// Takes the events out of a batch that a check refuses, each with the reason of the first one that does.
pub(crate) fn refuse(
    checks: &[RowCheck],
    batch: &mut RowBatch,
    spread: &Spread,
) -> Option<RejectBatch> {
    if checks.is_empty() {
        return None;
    }
    let rows = &batch.rows;
    let refuse = |(at, row): (usize, &Row)| {
        let reason = checks.iter().find_map(|check| check.refuses(rows, row))?;
        Some((at, reason))
    };
    let refused = rows.rows().iter().enumerate().filter_map(refuse).collect();
    RejectBatch::take_from(batch, refused, spread)
}
