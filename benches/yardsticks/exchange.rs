//! Timely's exchange alone: two threads that send batches of rows to each other and touch every row.

use std::hint::black_box;
use std::time::Instant;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Operator as _;
use timely::dataflow::operators::generic::operator::source;

use crate::input::Input;
use crate::{Failure, per_event};

/// Threads.
const WORKERS: usize = 2;
/// Rows of a batch, as the engine's polls give with two workers.
const ROWS: usize = 512;
/// Bytes of a row with its record.
const ROW_BYTES: usize = 250;
/// Batches that each thread sends.
const BATCHES: usize = 4_000;

/// Wall time for each row, both threads at work; its CPU time is twice that.
pub fn run(_: &Input) -> Result<(), Failure> {
    let start = Instant::now();
    let guards = timely::execute(timely::Config::process(WORKERS), |worker| {
        worker.dataflow::<u64, _, _>(|scope| {
            let worker = scope.worker();
            type Builder = CapacityContainerBuilder<Vec<(u64, Vec<u8>)>>;
            let batches = source::<_, Builder, _, _>(scope, "send", |capability, info| {
                let again = worker.activator_for(info.address);
                let mut capability = Some(capability);
                let mut sent = 0;
                move |output| {
                    let Some(held) = &capability else { return };
                    for target in 0..WORKERS as u64 {
                        output
                            .session(held)
                            .give((target, vec![sent as u8; ROWS * ROW_BYTES]));
                        sent += 1;
                    }
                    if sent < BATCHES {
                        again.activate();
                    } else {
                        capability = None;
                    }
                }
            });
            let pact = Exchange::new(|batch: &(u64, Vec<u8>)| batch.0);
            batches.sink(pact, "touch", |(input, _)| {
                input.for_each(|_, batches| {
                    for (_, bytes) in batches.drain(..) {
                        black_box(
                            bytes
                                .iter()
                                .step_by(ROW_BYTES)
                                .fold(0, |all, &byte| all ^ byte),
                        );
                    }
                });
            });
        });
    })?;
    for joined in guards.join() {
        joined?;
    }
    let name = "timely exchange alone, 2 threads, batches of 512 rows";
    per_event(name, start.elapsed(), WORKERS * BATCHES * ROWS);
    Ok(())
}
