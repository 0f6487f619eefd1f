//! The reference model alone, at several sizes of its fixed shape.

use std::hint::black_box;
use std::time::Instant;

use slackwater_models::{Model, builtin};

use crate::input::Input;
use crate::{Failure, per_event};

/// Rows scored at each size.
const ROWS: usize = 262_144;

/// 1, 8, 64 and 256 rows.
pub fn run(_: &Input) -> Result<(), Failure> {
    for batch in [1, 8, 64, 256] {
        let spec = builtin::spec(builtin::USER_EVENTS, batch).ok_or("no reference model")?;
        let mut scorer = Model::load(&spec)?.scorer()?;
        let row = |at: usize| (at % 97) as f32 / 3.0;
        let rows: Vec<f32> = (0..batch * spec.features).map(row).collect();
        let mut scores = Vec::new();
        let start = Instant::now();
        for _ in 0..ROWS / batch {
            scorer.score(black_box(&rows), &mut scores)?;
            black_box(&scores);
        }
        let name = format!("model alone, batch {batch}");
        per_event(&name, start.elapsed(), ROWS);
    }
    Ok(())
}
