//! Runs a test of this program by itself with a defect on, and wants it to fail: a test that has never failed proves nothing.

use std::process::{Command, Output};

use slackwater_dataflow::faults::{Defect, VARIABLE};

/// How a test program ends that has found something.
pub const RED: i32 = 101;

/// Runs a test with a defect of this name.
pub fn run(defect: &str, test: &str) -> Output {
    let mut run = Command::new(std::env::current_exe().unwrap());
    run.args([test, "--exact", "--nocapture", "--test-threads=1"]);
    run.env(VARIABLE, defect).env("RUST_BACKTRACE", "0");
    run.output().unwrap()
}

#[track_caller]
pub fn check(defect: Defect, test: &str) {
    let run = run(defect.name(), test);
    let said = String::from_utf8_lossy(&run.stdout);
    let why = String::from_utf8_lossy(&run.stderr);
    assert!(
        said.contains("running 1 test"),
        "`{test}` is no test: {said}"
    );
    assert_eq!(
        run.status.code(),
        Some(RED),
        "{defect:?} is not found by {test}: {said}{why}"
    );
    let mut lines = why.lines().skip_while(|line| !line.contains("panicked"));
    let why = lines.nth(1).unwrap_or_default();
    println!(
        "{:<20} {test}\n    {}",
        defect.name(),
        why.get(..160).unwrap_or(why)
    );
}
