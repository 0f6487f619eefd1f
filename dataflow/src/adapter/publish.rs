//! The end of a graph: finished records leave the worker's thread.

use std::sync::Arc;

use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Probe;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::adapter::epochs::StageEpochs;
use crate::adapter::{Events, Graph, Messages};
use crate::control::Part;
use crate::flow::Publication;

impl<'s> Graph<'s> {
    /// Hands everything in `outputs` to the job's sink; in a job with checkpoints by way of its epoch's outbox.
    pub fn publish(&self, outputs: Events<'s, Publication>) {
        let mut builder = OperatorBuilder::new("publish".to_owned(), self.scope);
        let mut input = builder.new_input(outputs, Pipeline);
        // Nothing is ever sent here: the output exists so that the probe stands behind the last stage.
        let (_, behind) = builder.new_output::<Messages<()>>();
        let job = Arc::clone(&self.job);
        let worker = self.share.worker;
        let mut epochs = job.epochs().map(|epochs| StageEpochs::new(epochs, worker));
        builder.build(move |_| {
            move |frontiers| {
                input.for_each(|capability, messages| {
                    let Some(moment) = capability.stamp().iter().next() else {
                        return;
                    };
                    for publication in messages.0.drain(..) {
                        job.publish(worker, moment.epoch, publication);
                    }
                });
                let Some((epochs, frontier)) = epochs.as_mut().zip(frontiers.first()) else {
                    return;
                };
                while let Some(closed) = epochs.close_next(&frontier.frontier()) {
                    epochs.hand_over(Part::OutputsEnd(closed));
                }
            }
        });
        behind.probe_with(&self.probe);
    }
}
