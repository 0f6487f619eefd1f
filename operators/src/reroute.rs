//! From the worker of one key to that of the next: a row takes along what was computed of it, and goes where its next key sends
//! it.
//!
//! Rows keep their order on the way to each worker. Where batches say their turns, every worker gets its part of each, if only
//! an empty one, so that it knows when it has them all.

use slackwater_dataflow::operator::{Emitter, Operator};
use slackwater_dataflow::place::Spread;
use slackwater_dataflow::turn::Turn;

use crate::batch::{ROW_BYTES_EXPECTED, RowBatch, Rows};
use crate::key::Route;

/// From which worker a row comes, and where it goes.
#[derive(Clone, Debug)]
pub struct ReroutePlan {
    /// By which key rows go on.
    pub next: Route,
    /// Whether these workers have got their rows from others of other keys: then each of them gets every turn, and sends on
    /// a part of it. Straight from the source only those do that a turn has rows for.
    pub behind_another: bool,
    /// Where keys go.
    pub spread: Spread,
}

/// Sends rows on to the workers of the next key.
pub struct Reroute {
    plan: ReroutePlan,
    /// By worker.
    open: Vec<Option<Rows>>,
    /// Of the rows of a batch.
    targets: Vec<usize>,
}

impl Reroute {
    /// A stage that has nothing yet.
    pub fn new(plan: ReroutePlan) -> Self {
        Reroute {
            open: (0..plan.spread.workers.max(1)).map(|_| None).collect(),
            targets: Vec::new(),
            plan,
        }
    }

    /// What the next workers are told of a turn.
    fn turn(&self, turn: Turn) -> Turn {
        match self.plan.behind_another {
            true => Turn {
                parts: self.open.len(),
                ..turn
            },
            false => turn,
        }
    }

    /// Finds the worker of each row; the one of all of them, if there is one.
    fn aim(&mut self, rows: &Rows) -> Option<usize> {
        let (next, spread) = (&mut self.plan.next, self.plan.spread);
        self.targets.clear();
        let worker = |row| spread.worker(next.hash(rows, row));
        self.targets.extend(rows.rows().iter().map(worker));
        let (first, others) = self.targets.split_first()?;
        others.iter().all(|it| it == first).then_some(*first)
    }

    /// Copies each row for its worker.
    fn deal(&mut self, rows: &Rows) {
        let expected = rows.rows().len() / self.open.len() + 1;
        for (nth, &target) in self.targets.iter().enumerate() {
            if let Some(open) = self.open.get_mut(target) {
                let room = || rows.like(expected, expected * ROW_BYTES_EXPECTED);
                open.get_or_insert_with(room).push_from(rows, nth);
            }
        }
    }
}

impl Operator for Reroute {
    type Input = RowBatch;
    type Output = RowBatch;
    type Reject = std::convert::Infallible;

    fn on_batch(&mut self, batch: RowBatch, out: &mut Emitter<RowBatch, Self::Reject>) {
        let turn = batch.turn.map(|turn| self.turn(turn));
        let shape = batch.rows.like(0, 0);
        match self.aim(&batch.rows) {
            // As it is: the only worker of a job, or a batch of one key.
            Some(target) => {
                if let Some(open) = self.open.get_mut(target) {
                    *open = Some(batch.rows);
                }
            }
            None => self.deal(&batch.rows),
        }
        for (worker, open) in self.open.iter_mut().enumerate() {
            let rows = match (open.take(), turn) {
                (Some(rows), _) => rows,
                (None, Some(_)) => shape.clone(),
                (None, None) => continue,
            };
            out.give(RowBatch {
                worker,
                rows,
                ticket: batch.ticket.clone(),
                turn,
            });
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests;
