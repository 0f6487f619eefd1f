//! Runs an [`Operator`] inside timely.

use std::sync::Arc;

use timely::dataflow::channels::pact::{DistributorPact, ParallelizationContract, Pipeline};
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::adapter::messages::{ByWorker, Messages};
use crate::adapter::{Events, Graph, Rejects};
use crate::moment::{self, EventTime, Moment};
use crate::operator::{Emitter, Operator, Routed};

impl<'s> Graph<'s> {
    /// Applies `operator` on the worker where its input is.
    pub fn apply<Op: Operator>(
        &self,
        name: &str,
        input: Events<'s, Op::Input>,
        operator: Op,
    ) -> (Events<'s, Op::Output>, Rejects<'s, Op::Reject>) {
        self.apply_under(name, input, Pipeline, operator)
    }

    /// Applies `operator` on the worker that each batch names: the owner of its keys.
    pub fn apply_at_key<Op: Operator<Input: Routed + Send>>(
        &self,
        name: &str,
        input: Events<'s, Op::Input>,
        operator: Op,
    ) -> (Events<'s, Op::Output>, Rejects<'s, Op::Reject>) {
        self.apply_under(name, input, DistributorPact(|_| ByWorker), operator)
    }

    fn apply_under<Op: Operator>(
        &self,
        name: &str,
        input: Events<'s, Op::Input>,
        pact: impl ParallelizationContract<Moment, Messages<Op::Input>>,
        mut operator: Op,
    ) -> (Events<'s, Op::Output>, Rejects<'s, Op::Reject>) {
        let mut builder = OperatorBuilder::new(name.to_owned(), self.scope);
        let mut input = builder.new_input(input, pact);
        let (mut outputs, output_stream) = builder.new_output::<Messages<Op::Output>>();
        let (mut rejects, reject_stream) = builder.new_output::<Messages<Op::Reject>>();
        let job = Arc::clone(&self.job);
        builder.build(move |_| {
            let mut watermark = EventTime::MIN;
            let mut emitter = Emitter::default();
            move |frontiers| {
                {
                    let mut outputs = outputs.activate();
                    let mut rejects = rejects.activate();
                    input.for_each(|capability, messages| {
                        debug_assert_eq!(capability.stamp().len(), 1, "one moment a message");
                        for batch in messages.0.drain(..) {
                            operator.on_batch(batch, &mut emitter);
                        }
                        outputs.give(&capability, &mut Messages(emitter.take_outputs()));
                        rejects.give(&capability, &mut Messages(emitter.take_rejects()));
                    });
                }
                let frontier = frontiers.first().map(|frontier| frontier.frontier());
                let risen = frontier.and_then(|frontier| moment::watermark(&frontier));
                // When a job stops, its workers let go of their partitions one after the other, and for a
                // moment only those that had ended may be left: that is no end of the input.
                let is_told = |&risen: &EventTime| {
                    risen > watermark && (risen < EventTime::MAX || !job.is_stopping())
                };
                if let Some(risen) = risen.filter(is_told) {
                    watermark = risen;
                    operator.on_watermark(risen);
                }
            }
        });
        (output_stream, self.rejects_of(name, reject_stream))
    }
}
