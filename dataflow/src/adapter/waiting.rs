//! Runs a [`WaitingOperator`] inside timely.
//!
//! For each batch that waits its capability is held, so that nothing behind the stage believes its moment to have passed, and no
//! epoch closes over it. Its ticket is in the batch, so what waits counts as in flight, and that bounds it.

use std::collections::VecDeque;
use std::sync::Arc;

use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::adapter::apply::Ports;
use crate::adapter::held::Held;
use crate::adapter::messages::Messages;
use crate::adapter::{Applied, Events, Graph};
use crate::operator::{Emitter, WaitingOperator};
use crate::run::RunError;
use crate::source::Wake;

impl<'s> Graph<'s> {
    /// Applies an operator that waits for something outside, on the worker where its input is. It is made with what wakes
    /// it.
    ///
    /// # Errors
    /// It can't be made.
    pub fn apply_waiting<Op: WaitingOperator>(
        &self,
        name: &str,
        input: Events<'s, Op::Input>,
        make: impl FnOnce(Wake) -> Result<Op, RunError>,
    ) -> Result<Applied<'s, Op::Output, Op::Reject>, RunError> {
        let mut builder = OperatorBuilder::new(name.to_owned(), self.scope);
        let mut input = builder.new_input(input, Pipeline);
        let (outputs, output_stream) = builder.new_output::<Messages<Op::Output>>();
        let (rejects, reject_stream) = builder.new_output::<Messages<Op::Reject>>();
        let (_, wake) = self.activators(&builder.operator_info().address);
        let mut operator = make(wake)?;
        let (stage, job) = (name.to_owned(), Arc::clone(&self.job));
        let mut ports = Ports { outputs, rejects };
        let mut emitter = Emitter::default();
        let mut waiting: VecDeque<Held> = VecDeque::new();
        builder.build(move |_| {
            move |_| {
                input.for_each(|capability, messages| {
                    for batch in std::mem::take(&mut messages.0) {
                        waiting.extend(Held::of_message(&capability));
                        operator.on_batch(batch);
                    }
                });
                operator.on_wake();
                while let Some(held) = waiting.front() {
                    emitter.epoch = held.epoch();
                    if job.has_failed() || !operator.finish(&mut emitter) {
                        break;
                    }
                    ports.send(held, &mut emitter, &stage, &job);
                    // After a failure something is missing: what is held stays.
                    if job.has_failed() {
                        break;
                    }
                    waiting.pop_front();
                }
            }
        });
        Ok((output_stream, self.rejects_of(name, reject_stream)))
    }
}
