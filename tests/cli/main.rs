//! Does the binary do what a new user types?
//!
//! Every test runs the real binary in a folder of its own and looks at what anybody can see: files,
//! stdout, stderr, exit code.
//!
//! - `scene`: such a folder, a pipeline in it, the binary run there; `waiting`: for what it does meanwhile;
//! - `golden`: each way in which one event can go, byte for byte; `limits`: records that are too large;
//! - `late`: what becomes of late events; `shapes`: of events with nested fields, lists and defaults;
//! - `scores`: models that give no usable score;
//! - `garbage`: many events, many of them wrong, none lost and none doubled;
//! - `mistakes`: pipelines and arguments that are wrong; `preflight`: what a pipeline names is wrong;
//! - `compressed`: input in gzip and Zstandard; `tables`: in CSV and Parquet; `stdin`: from the standard input; `follow`: from files that grow;
//! - `layers`: what is said above a pipeline file; `secrets`: what is never shown;
//! - `supervised`: the process above a job with checkpoints; `poison`: an event that kills its worker each time;
//!   `full_disk`: no room for a checkpoint; `fallback`: a checkpoint that is damaged; `faults`: none but those there are;
//! - `terminal`: what a person sees while a job runs;
//! - `disk`: outputs that cannot be written; `stdout`: records on the standard output; `stall`: a reader of
//!   them that reads nothing;
//! - `no_model`: features in place of predictions;
//! - `explain`: what a pipeline will run as; `model`: its model by itself;
//! - `letters`: dead letters, looked at; `training`: features, written for training;
//! - `commands`: what each command prints; `ending`: the end of a run, by itself or by Ctrl-C;
//! - `examples`: the programs in `examples/`, which are run in the same way.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends at the first surprise"
)]

#[path = "../canonical.rs"]
mod canonical;
mod commands;
mod compressed;
mod disk;
mod ending;
mod examples;
mod explain;
mod fallback;
mod faults;
mod follow;
mod full_disk;
mod garbage;
mod golden;
mod late;
mod layers;
mod letters;
mod limits;
mod mistakes;
mod model;
mod no_model;
mod poison;
mod preflight;
mod scene;
mod scores;
mod secrets;
mod shapes;
mod stdin;
mod stall;
mod stdout;
mod supervised;
mod tables;
mod terminal;
mod training;
mod waiting;
mod wanted;
