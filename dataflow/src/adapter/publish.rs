//! The end of a graph: finished records go to the publisher's thread.

use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Probe;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use crate::adapter::{Events, Graph, Messages};
use crate::run::Publication;

impl<'s> Graph<'s> {
    /// Hands everything in `outputs` to the job's sink.
    pub fn publish(&self, outputs: Events<'s, Publication>) {
        let mut builder = OperatorBuilder::new("publish".to_owned(), self.scope);
        let mut input = builder.new_input(outputs, Pipeline);
        // Nothing is ever sent here: the output exists so that the probe stands behind the last stage.
        let (_, behind) = builder.new_output::<Messages<()>>();
        let job = std::sync::Arc::clone(&self.job);
        builder.build(move |_| {
            move |_| {
                input.for_each(|_, messages| {
                    for publication in messages.0.drain(..) {
                        job.hand_to_publisher(publication);
                    }
                });
            }
        });
        behind.probe_with(&self.probe);
    }
}
