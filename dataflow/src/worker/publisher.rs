//! The thread that owns the sink. It writes chunks in the order in which workers finish them, so the
//! records of one key, which live on one worker, keep their order.

use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::Receiver;

use crate::flow::Publication;
use crate::meters::Meters;
use crate::run::{RunError, Stopper, spawn};
use crate::sink::Sink;

/// Ends the group when the publisher ends, however it does: also when the sink panics. After a run that ended
/// well there is no group any more.
struct AbortAtEnd(Stopper);

impl Drop for AbortAtEnd {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts the thread. It ends when every worker has hung up, or when the sink fails: then it ends the
/// group, which would otherwise read on for nobody.
pub(super) fn start(
    mut sink: Box<dyn Sink>,
    publications: Receiver<Publication>,
    meters: Arc<Meters>,
    stopper: Stopper,
) -> Result<JoinHandle<Result<(), RunError>>, RunError> {
    let publish = move || {
        let group = AbortAtEnd(stopper);
        write_all(sink.as_mut(), &publications, &meters)?;
        // A run that failed has hung up as well, and what it left is not a whole.
        if !group.0.has_failed() {
            sink.finish()?;
        }
        Ok(())
    };
    spawn("publisher", publish)
}

fn write_all(
    sink: &mut dyn Sink,
    publications: &Receiver<Publication>,
    meters: &Meters,
) -> Result<(), RunError> {
    for Publication { chunk, ticket } in publications {
        sink.append(&chunk)?;
        meters.count_written(chunk.stream, u64::from(chunk.records));
        // Only now are the chunk's events retired.
        drop(ticket);
    }
    Ok(())
}
