//! What a job must leave behind: that of a run that nothing happens to, and once more with checkpoints, for the state.

use crate::content::{Content, content, last_epoch, lost_and_doubled};
use crate::job::{Job, Variation};

/// What runs leave behind that nothing happens to.
pub struct Reference {
    outputs: Content,
    state_digest: String,
}

/// What was found of a job that something happened to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Compared {
    pub lost: usize,
    pub doubled: usize,
}

/// Most objects that a job leaves in its store, whatever happened to it.
const OBJECTS_MOST: usize = 400;

impl Reference {
    /// Runs the job without checkpoints, for its outputs, and with them, for its state: both on one worker, as nothing
    /// may depend on how many there are.
    pub fn of(variation: Variation) -> Self {
        let variation = Variation {
            rate: 0,
            workers: 1,
            ..variation
        };
        let plain = Job::new(Variation {
            interval_ms: None,
            ..variation
        });
        let checked = Job::new(variation);
        // Both at once.
        let running = [(&plain, plain.start()), (&checked, checked.start())];
        for (job, running) in running {
            assert!(running.wait().success(), "{}", job.said());
        }
        let outputs = content(&plain.outputs);
        assert!(outputs == content(&checked.outputs), "{variation:?}");
        Reference {
            outputs,
            state_digest: checked.state_digest(),
        }
    }

    /// Compares what a job has left that has ended.
    pub fn compare(&self, job: &Job) -> Compared {
        let found = content(&job.outputs);
        let (lost, doubled) = lost_and_doubled(&self.outputs, &found);
        assert_eq!((lost, doubled), (0, 0), "lost, doubled\n{}", job.said());
        assert!(self.outputs == found, "the order of a key\n{}", job.said());
        let last = last_epoch(&job.outputs);
        assert!(last > Some(1), "all of epoch {last:?}");
        assert_eq!(self.state_digest, job.state_digest(), "{}", job.said());
        let objects = job.objects();
        assert!(objects < OBJECTS_MOST, "{objects} objects are left");
        Compared { lost, doubled }
    }
}
