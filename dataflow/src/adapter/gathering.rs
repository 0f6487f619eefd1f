//! Puts the batches of each partition in order again that have come over several workers.
//!
//! For each part that waits its capability is held, so that nothing behind the stage believes its moment to have passed, and no
//! epoch closes over it: so nothing waits here when an epoch has ended, and there is no state to save. Tickets are in the parts,
//! so what waits counts as in flight, and that bounds it. All parts of a turn were sealed together and travel under one moment,
//! and so does what is made of them.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use timely::dataflow::channels::pact::DistributorPact;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::order::PartialOrder;

use crate::adapter::apply::Ports;
use crate::adapter::held::Held;
use crate::adapter::messages::{ByWorker, Messages};
use crate::adapter::{Events, Graph};
use crate::moment::Moment;
use crate::operator::{Emitter, Gather};
use crate::run::RunError;
use crate::turn::{InTurn, Turn, TurnError, Turns};

impl<'s> Graph<'s> {
    /// Gathers parts on the worker that each names, and gives turns of a partition in their order.
    pub fn gather_at_key<G: Gather>(
        &self,
        name: &str,
        input: Events<'s, G::Part>,
        gather: G,
    ) -> Events<'s, G::Whole> {
        let mut builder = OperatorBuilder::new(name.to_owned(), self.scope);
        let mut input = builder.new_input(input, DistributorPact(|_| ByWorker));
        let (outputs, output_stream) = builder.new_output::<Messages<G::Whole>>();
        // Nothing is rejected here; a capability is held for both outputs of every stage.
        let (rejects, _) = builder.new_output::<Messages<Infallible>>();
        let (stage, job) = (name.to_owned(), Arc::clone(&self.job));
        let mut gathering = Gathering {
            gather,
            turns: Turns::default(),
            whole: VecDeque::new(),
            emitter: Emitter::default(),
        };
        let mut ports = Ports { outputs, rejects };
        builder.build(move |_| {
            move |frontiers| {
                let mut outcome = Ok(());
                input.for_each(|capability, messages| {
                    for part in std::mem::take(&mut messages.0) {
                        if let (Some(held), Ok(())) = (Held::of_message(&capability), &outcome) {
                            outcome = gathering.take(held, part);
                        }
                    }
                });
                // After a failure something is missing: what is held stays.
                while !job.has_failed()
                    && outcome.is_ok()
                    && let Some(whole) = gathering.whole.pop_front()
                {
                    outcome = gathering.gather(whole).map(|held| {
                        ports.send(&held, &mut gathering.emitter, &stage, &job);
                    });
                }
                if let Some(frontier) = frontiers.first() {
                    outcome = outcome.and_then(|()| gathering.look(&frontier.frontier()));
                }
                if let Err(error) = outcome {
                    job.fail(RunError::Operator {
                        stage: stage.clone(),
                        source: Box::new(error),
                    });
                }
            }
        });
        output_stream
    }
}

/// A part and what is held for it.
type HeldPart<G> = (Held, <G as Gather>::Part);

/// Parts and what is held for them.
struct Gathering<G: Gather> {
    gather: G,
    turns: Turns<HeldPart<G>>,
    /// Turns that are whole and the next of their partitions, in the order in which they became so.
    whole: VecDeque<(Turn, Vec<HeldPart<G>>)>,
    emitter: Emitter<G::Whole, Infallible>,
}

impl<G: Gather> Gathering<G> {
    fn take(&mut self, held: Held, part: G::Part) -> Result<(), TurnError> {
        let turn = part.turn().ok_or(TurnError::None)?;
        self.turns.take(turn, (held, part))?;
        while let Some(parts) = self.turns.next_of(turn.partition) {
            self.whole.push_back((turn, parts));
        }
        Ok(())
    }

    /// Makes one of the parts of a turn; what to send it under.
    fn gather(&mut self, (turn, parts): (Turn, Vec<HeldPart<G>>)) -> Result<Held, TurnError> {
        let partition = turn.partition;
        let mut parts = parts.into_iter();
        let (first, part) = parts.next().ok_or(TurnError::None)?;
        let (held, others): (Vec<Held>, Vec<_>) = parts.unzip();
        if held.iter().any(|it| it.moment() != first.moment()) {
            return Err(TurnError::Moments { partition });
        }
        self.emitter.epoch = first.epoch();
        self.emitter.give(self.gather.gather(part, others));
        Ok(first)
    }

    /// Whether what waits can still become whole. A run that has lost a part would otherwise wait for it for ever.
    fn look(&self, frontier: &[Moment]) -> Result<(), TurnError> {
        let Some((partition, number, parts)) = self.turns.first() else {
            return Ok(());
        };
        let may_come =
            |held: &Held| (frontier.iter()).any(|moment| moment.less_equal(&held.moment()));
        match parts.first() {
            Some((held, _)) if !may_come(held) => Err(TurnError::Lost { partition, number }),
            _ => Ok(()),
        }
    }
}
