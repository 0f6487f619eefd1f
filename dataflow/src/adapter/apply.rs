//! Runs an [`Operator`] inside timely.

use std::sync::Arc;

use timely::dataflow::channels::pact::{DistributorPact, ParallelizationContract, Pipeline};
use timely::dataflow::channels::pushers::Output;
use timely::dataflow::operators::InputCapability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::scheduling::Activator;

use crate::adapter::held::Keeping;
use crate::adapter::messages::{ByWorker, Messages};
use crate::adapter::{Events, Graph, Rejects};
use crate::moment::{self, EventTime, Moment};
use crate::operator::{Emitter, Operator, Routed};
use crate::run::{RunError, RunShared};
use crate::source::Wake;

/// Parts of what is due that an operator gives before the others have their turn: several polls' worth, so
/// that an operator which keeps up is never found behind.
const PARTS_PER_ACTIVATION: usize = 4;

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
        operator: Op,
    ) -> (Events<'s, Op::Output>, Rejects<'s, Op::Reject>) {
        let mut builder = OperatorBuilder::new(name.to_owned(), self.scope);
        let mut input = builder.new_input(input, pact);
        let (outputs, output_stream) = builder.new_output::<Messages<Op::Output>>();
        let (rejects, reject_stream) = builder.new_output::<Messages<Op::Reject>>();
        let (again, wake) = self.activators(&builder.operator_info().address);
        let mut applied = Applied {
            name: name.to_owned(),
            job: Arc::clone(&self.job),
            operator,
            watermark: EventTime::MIN,
            keeping: Keeping::default(),
            emitter: Emitter::default(),
            ports: Ports { outputs, rejects },
            again,
            wake: Some(wake),
            is_backlogged: false,
        };
        builder.build(move |_| {
            move |frontiers| {
                input.for_each(|capability, messages| applied.take(&capability, messages));
                let frontier = frontiers.first().map(|frontier| frontier.frontier());
                if let Some(risen) = frontier.and_then(|frontier| moment::watermark(&frontier)) {
                    applied.rise(risen);
                }
                applied.release();
                applied.operator.on_turn_over();
            }
        });
        (output_stream, self.rejects_of(name, reject_stream))
    }
}

struct Ports<O, R> {
    outputs: Output<Moment, Messages<O>>,
    rejects: Output<Moment, Messages<R>>,
}

/// An operator between its input and its outputs.
struct Applied<Op: Operator> {
    name: String,
    job: Arc<RunShared>,
    operator: Op,
    watermark: EventTime,
    keeping: Keeping,
    emitter: Emitter<Op::Output, Op::Reject>,
    ports: Ports<Op::Output, Op::Reject>,
    again: Activator,
    /// To be woken by when there is room for what is due; registered when that is needed first.
    wake: Option<Wake>,
    /// Whether something was due when it had given what it could.
    is_backlogged: bool,
}

impl<Op: Operator> Applied<Op> {
    fn take(&mut self, capability: &InputCapability<Moment>, messages: &mut Messages<Op::Input>) {
        debug_assert_eq!(capability.stamp().len(), 1, "one moment a message");
        for batch in messages.0.drain(..) {
            self.operator.on_batch(batch, &mut self.emitter);
        }
        self.keeping.took(capability, self.operator.keeps_from());
        let (mut outputs, mut rejects) = self.emitted();
        let mut session = self.ports.outputs.activate();
        session.give(capability, &mut outputs);
        let mut session = self.ports.rejects.activate();
        session.give(capability, &mut rejects);
    }

    fn rise(&mut self, watermark: EventTime) {
        if watermark > self.watermark {
            self.watermark = watermark;
            self.operator.on_watermark(watermark);
        }
    }

    /// Some parts of what is due, if there is room; then the other stages have their turn. As long as
    /// something is due after that, what has been read goes before what is to be read.
    fn release(&mut self) {
        if !self.operator.is_due() {
            return;
        }
        if let Some(wake) = self.wake.take() {
            self.job.flow.on_room(wake);
        }
        let mut parts = 0;
        while self.operator.is_due() {
            if self.job.has_failed() || !self.job.flow.has_room() {
                break;
            }
            if parts == PARTS_PER_ACTIVATION {
                self.again.activate();
                break;
            }
            parts += 1;
            self.release_part();
        }
        let is_due = self.operator.is_due();
        if is_due != self.is_backlogged {
            self.is_backlogged = is_due;
            if is_due {
                self.job.flow.begin_backlog();
            } else {
                self.job.flow.end_backlog();
            }
        }
    }

    fn release_part(&mut self) {
        self.operator.release(&mut self.emitter);
        let (mut outputs, mut rejects) = self.emitted();
        #[expect(
            clippy::expect_used,
            reason = "what is due was kept, and what is kept is held for"
        )]
        let held = self.keeping.held().expect("a capability for what is due");
        let mut session = self.ports.outputs.activate();
        session.give(&held.outputs, &mut outputs);
        let mut session = self.ports.rejects.activate();
        session.give(&held.rejects, &mut rejects);
        // After a failure something may be missing that was kept: what is held stays.
        if !self.job.has_failed() {
            self.keeping.released(self.operator.keeps_from());
        }
    }

    fn emitted(&mut self) -> (Messages<Op::Output>, Messages<Op::Reject>) {
        if let Some(source) = self.emitter.failure.take() {
            let stage = self.name.clone();
            self.job.fail(RunError::Operator { stage, source });
        }
        (
            Messages(self.emitter.take_outputs()),
            Messages(self.emitter.take_rejects()),
        )
    }
}
