//! What a row costs at different batch sizes, and how long loading takes.
//!
//! Run: `cargo run --release -p slackwater-models --example row_cost [BATCH ...]`
#![expect(clippy::print_stdout, reason = "it prints a table")]

use std::error::Error;
use std::time::Instant;

use slackwater_models::{Model, builtin};

/// Rows scored for each measurement; about 50 ms of work.
const ROWS: usize = 262_144;

/// Measurements of each size; the least one counts, the others tell how quiet the machine is.
const REPEATS: usize = 7;

fn main() -> Result<(), Box<dyn Error>> {
    let mut batches = Vec::new();
    for argument in std::env::args().skip(1) {
        batches.push(argument.parse::<usize>()?);
    }
    if batches.is_empty() {
        batches.extend([1, 8, 32, 64, 128, 256, 512, 1024]);
    }
    for batch in batches {
        let spec = builtin::spec(builtin::USER_EVENTS, batch).ok_or("no such model")?;
        let started = Instant::now();
        let model = Model::load(&spec)?;
        let load_ms = started.elapsed().as_secs_f64() * 1e3;
        let mut scorer = model.scorer()?;
        let rows: Vec<f32> = (0..ROWS * spec.features)
            .map(|i| (i % 97) as f32 / 3.0)
            .collect();
        let mut scores = Vec::new();
        let mut times_ns = Vec::new();
        for _ in 0..REPEATS {
            let started = Instant::now();
            // Calls of one batch each, as the engine makes them.
            for part in rows.chunks(batch * spec.features) {
                scorer.score(part, &mut scores)?;
            }
            times_ns.push(started.elapsed().as_secs_f64() * 1e9 / ROWS as f64);
        }
        times_ns.sort_by(f64::total_cmp);
        let least = times_ns.first().ok_or("nothing was measured")?;
        let middle = times_ns.get(REPEATS / 2).ok_or("nothing was measured")?;
        println!(
            "batch {batch:>4}: {least:>7.1} ns/row least, {middle:>7.1} median; load {load_ms:.1} ms"
        );
    }
    Ok(())
}
