//! Runs an [`Operator`] inside timely.
//!
//! In a job with checkpoints workers end an epoch at different instants, so a stage with state is sent events of the
//! next epoch while the last one is still open for it. It *stashes* them, with their capability, and takes them when
//! it has closed the epoch. And the stash counts: the watermark that the stage acts on is never above that of a
//! stashed message. Otherwise it would release or drop by a time that events of the next epoch have brought,
//! and what it keeps would not be what the end of the epoch has left.
//!
//! Order of effects when the frontier moves: for each closed epoch in turn, it is closed under the watermark as it
//! was, and the stash of the next is taken; only then does the watermark rise. An empty frontier closes
//! epochs and is no watermark: only the end of the input is the end of event time.

use std::collections::VecDeque;
use std::sync::Arc;

use timely::dataflow::channels::pact::{DistributorPact, ParallelizationContract, Pipeline};
use timely::dataflow::channels::pushers::Output;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::scheduling::Activator;

use crate::adapter::epochs::StageEpochs;
use crate::adapter::held::{Held, Keeping};
use crate::adapter::messages::{ByWorker, Messages};
use crate::adapter::{Events, Graph, Rejects};
use crate::control::Part;
use crate::faults::{self, Defect};
use crate::moment::{self, Epoch, EventTime, Moment};
use crate::operator::{Emitter, Operator, Routed};
use crate::run::{RunError, RunShared};
use crate::snapshot::{Progress, RestoreError, StateDelta};
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
        let mut operator = operator;
        let saved = self.saved(name, &mut operator);
        let mut applied = Applied {
            name: name.to_owned(),
            place: self.next_place(),
            job: Arc::clone(&self.job),
            operator,
            saved,
            watermark: EventTime::MIN,
            keeping: Keeping::default(),
            emitter: Emitter::default(),
            ports: Ports { outputs, rejects },
            again,
            wake: Some(wake),
            is_backlogged: false,
        };
        builder.build_reschedule(move |initial| {
            applied.begin(initial);
            move |frontiers| {
                input.for_each(|capability, messages| {
                    if let Some(held) = Held::of_message(&capability) {
                        applied.take(held, std::mem::take(&mut messages.0));
                    }
                });
                if let Some(frontier) = frontiers.first() {
                    applied.advance(&frontier.frontier());
                }
                applied.release();
                applied.save_part();
                applied.operator.on_turn_over();
                applied.is_saving()
            }
        });
        (output_stream, self.rejects_of(name, reject_stream))
    }
}

impl Graph<'_> {
    /// The place of the next operator. Graphs are built from the source on.
    fn next_place(&self) -> usize {
        let place = self.places.get();
        self.places.set(place + 1);
        place
    }

    /// What a stage with state needs in a job with checkpoints, and its state put into it.
    fn saved<Op: Operator>(&self, name: &str, operator: &mut Op) -> Option<Saved<Op::Input>> {
        let epochs = self.job.epochs().filter(|_| Op::KEEPS_STATE)?;
        self.stages.set(self.stages.get() + 1);
        operator.will_be_saved();
        let worker = self.share.worker;
        if let Some(state) = &epochs.beginning.state {
            let restored = state.entries(name, worker, &mut |entry| operator.restore(entry));
            let settled = restored.and_then(|()| {
                let stage = name.to_owned();
                let failed = |reason| RestoreError { stage, reason };
                operator.on_restored().map_err(failed)
            });
            if let Err(error) = settled {
                self.job.fail(RunError::Restore(error));
            }
        }
        Some(Saved {
            stage: Arc::from(name),
            epochs: StageEpochs::new(epochs, worker),
            stash: VecDeque::new(),
            snapshot: None,
        })
    }
}

/// What a stage with state needs in a job with checkpoints.
struct Saved<I> {
    stage: Arc<str>,
    epochs: StageEpochs,
    /// Messages of epochs that are not the stage's yet, in the order in which they came.
    stash: VecDeque<(Held, Vec<I>)>,
    /// The snapshot under way, and the epoch that it belongs to.
    snapshot: Option<(Epoch, StateDelta)>,
}

impl<I> Saved<I> {
    /// The least watermark of what is stashed.
    fn stashed_from(&self) -> Option<EventTime> {
        self.stash.iter().map(|(held, _)| held.watermark()).min()
    }

    /// Takes out of the stash what belongs to the epoch that is open now.
    fn take_stashed(&mut self) -> Vec<(Held, Vec<I>)> {
        let open = self.epochs.open();
        let is_due = |(held, _): &(Held, Vec<I>)| held.epoch() <= open;
        let (due, left) = std::mem::take(&mut self.stash)
            .into_iter()
            .partition(is_due);
        self.stash = left;
        Vec::from(due)
    }
}

/// The outputs of a stage.
pub(super) struct Ports<O, R> {
    pub(super) outputs: Output<Moment, Messages<O>>,
    pub(super) rejects: Output<Moment, Messages<R>>,
}

impl<O: 'static, R: 'static> Ports<O, R> {
    /// Sends what an operator has given, under what is held for it. If it cannot go on, the job fails.
    pub(super) fn send(
        &mut self,
        held: &Held,
        emitter: &mut Emitter<O, R>,
        stage: &str,
        job: &RunShared,
    ) {
        if let Some(source) = emitter.failure.take() {
            let stage = stage.to_owned();
            job.fail(RunError::Operator { stage, source });
        }
        let mut outputs = Messages(emitter.take_outputs());
        let mut session = self.outputs.activate();
        session.give(&held.outputs, &mut outputs);
        let mut rejects = Messages(emitter.take_rejects());
        let mut session = self.rejects.activate();
        session.give(&held.rejects, &mut rejects);
    }
}

/// An operator between its input and its outputs.
struct Applied<Op: Operator> {
    name: String,
    /// How many operators stand before it: the same on all workers.
    place: usize,
    job: Arc<RunShared>,
    operator: Op,
    /// None for a stage that no checkpoint keeps anything of.
    saved: Option<Saved<Op::Input>>,
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
    /// What came from a checkpoint is held for from the first epoch on.
    fn begin(&mut self, initial: Vec<Capability<Moment>>) {
        let (Some(saved), Some(from)) = (&self.saved, self.operator.keeps_from()) else {
            return;
        };
        if let Some(mut held) = Held::initial(initial) {
            held.enter(saved.epochs.open());
            held.lift(from);
            self.keeping = Keeping::of(held);
        }
    }

    fn take(&mut self, held: Held, batches: Vec<Op::Input>) {
        match &mut self.saved {
            Some(saved)
                if held.epoch() > saved.epochs.open() && !faults::is_on(Defect::NoStash) =>
            {
                saved.stash.push_back((held, batches));
            }
            _ => self.handle(&held, batches),
        }
    }

    fn handle(&mut self, held: &Held, batches: Vec<Op::Input>) {
        self.emitter.epoch = held.epoch();
        for batch in batches {
            self.operator.on_batch(batch, &mut self.emitter);
        }
        self.keeping.took(held, self.operator.keeps_from());
        let (emitter, name) = (&mut self.emitter, &self.name);
        self.ports.send(held, emitter, name, &self.job);
    }

    /// What the frontier says, in the order that the head of this file gives the reason for.
    fn advance(&mut self, frontier: &[Moment]) {
        if faults::is_on(Defect::WatermarkFirst) {
            self.follow(frontier);
        }
        while let Some(saved) = &mut self.saved
            && let Some(closed) = saved.epochs.close_next(frontier)
        {
            self.close(closed);
        }
        self.follow(frontier);
    }

    /// Takes the watermark to where the frontier and the stash let it go.
    fn follow(&mut self, frontier: &[Moment]) {
        let mut stashed_from = self.saved.as_ref().and_then(Saved::stashed_from);
        if faults::is_on(Defect::UnboundedWatermark) {
            stashed_from = None;
        }
        if let Some(risen) = moment::watermark(frontier) {
            self.rise(stashed_from.map_or(risen, |from| from.min(risen)));
        }
    }

    fn close(&mut self, closed: Epoch) {
        // A snapshot that the next one overtakes is ended at once: each is of one epoch.
        while self.save_some() == Progress::More {}
        self.operator.on_epoch_closed();
        let Some(saved) = &mut self.saved else { return };
        saved.snapshot = Some((closed, StateDelta::default()));
        self.keeping.enter(saved.epochs.open());
        for (held, batches) in saved.take_stashed() {
            self.handle(&held, batches);
        }
    }

    /// Goes on with a snapshot under way; the other stages have their turn in between.
    fn save_part(&mut self) {
        if self.save_some() == Progress::More {
            self.again.activate();
        }
    }

    /// Whether a snapshot is under way. That of the last epoch begins when no more input can come, and a stage that has
    /// nothing more to do is given up: what it had not written yet would be lost.
    fn is_saving(&self) -> bool {
        let saved = self.saved.as_ref();
        saved.is_some_and(|saved| saved.snapshot.is_some())
    }

    fn save_some(&mut self) -> Progress {
        let Some(saved) = &mut self.saved else {
            return Progress::Done;
        };
        let Some((epoch, mut delta)) = saved.snapshot.take() else {
            return Progress::Done;
        };
        let progress = self.operator.snapshot(&mut delta);
        match progress {
            Progress::More => saved.snapshot = Some((epoch, delta)),
            Progress::Done => {
                let keeps_some = self.operator.keeps_from().is_some();
                if keeps_some && faults::is_on(Defect::WaitingNotSaved) {
                    delta = StateDelta::default();
                }
                let part = Part::State(epoch, Arc::clone(&saved.stage), delta);
                saved.epochs.hand_over(part);
            }
        }
        progress
    }

    fn rise(&mut self, watermark: EventTime) {
        if watermark > self.watermark {
            self.watermark = watermark;
            if let Some(saved) = &self.saved {
                saved.epochs.act_on(watermark);
            }
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
            if self.job.has_failed() || !self.job.flow.has_room_at(self.place) {
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
                self.job.flow.begin_backlog(self.place);
            } else {
                self.job.flow.end_backlog(self.place);
            }
        }
    }

    fn release_part(&mut self) {
        self.operator.release(&mut self.emitter);
        #[expect(
            clippy::expect_used,
            reason = "what is due was kept, and what is kept is held for"
        )]
        let held = self.keeping.held().expect("a capability for what is due");
        let (emitter, name) = (&mut self.emitter, &self.name);
        self.ports.send(held, emitter, name, &self.job);
        // After a failure something may be missing that was kept: what is held stays.
        if !self.job.has_failed() {
            self.keeping.released(self.operator.keeps_from());
        }
    }
}
