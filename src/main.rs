//! The binary: reads arguments, runs one command, turns its result into an exit code.

use std::process::ExitCode;

use clap::Parser;
use slackwater::cli::Arguments;

/// Batches are allocated on one thread and freed on another, many times a second: this allocator is
/// made for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    Arguments::parse().run()
}
