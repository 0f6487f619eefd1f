//! Waiting for what a running binary does, and telling it to end.

use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use crate::scene::Scene;

/// Longest wait for a condition. Only a failure takes so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Short enough to be quick, long enough not to take the processor from the run that is waited for.
const BETWEEN_LOOKS: Duration = Duration::from_millis(2);

/// Waits until something holds, for as long as it makes sense; gives whether it does.
pub fn wait_until(mut holds: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !holds() {
        if start.elapsed() > PATIENCE {
            return false;
        }
        thread::sleep(BETWEEN_LOOKS);
    }
    true
}

/// Waits until a run has written so many records below `out`, whole lines of all streams together.
pub fn wait_for_records(scene: &Scene, child: &mut Child, records: usize) {
    let mut has_ended = false;
    wait_until(|| {
        has_ended = child.try_wait().unwrap().is_some();
        has_ended || scene.written() >= records
    });
    let written = scene.written();
    if has_ended || written < records {
        child.kill().unwrap();
        panic!("{written} of {records} records (the run has ended: {has_ended})");
    }
}

/// Sends a signal, as a terminal or a service manager would.
pub fn send(signal: &str, child: &Child) {
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-s", signal, &id]).status();
    assert!(sent.unwrap().success(), "cannot send {signal} to {id}");
}
