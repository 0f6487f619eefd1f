//! WHERE EVENTS COME FROM AND WHERE OUTPUTS GO: everything behind the seams
//! [`slackwater_dataflow::source`] and [`slackwater_dataflow::sink`].
//!
//! A map, in reading order:
//!
//! | module | what it is |
//! | --- | --- |
//! | `oversize` | what is kept of a record longer than `max_bytes`; all sources use it |
//! | [`mod@file`] | source: JSONL files, one partition each; sinks: `root/<stream>/shard-<n>.jsonl`, as outputs come or by whole epochs |
//! | [`generator`] | source of made-up events, the same on every run; also behind the `generate` command |
//! | [`memory`] | scripted source and sinks, and a wrapper of any source, for tests and benches |
//! | [`discard`] | sink that only counts |
//! | [`stdout`] | sink that writes all streams to one output |
//! | [`unmarked`] | whole epochs through a sink that keeps no markers: at least once |
//!
//! Nothing here decodes a record: sources hand out bytes and the place they stand at. Only
//! `generator/templates.rs` knows names of fields.

mod oversize;

pub mod discard;
pub mod file;
pub mod generator;
pub mod memory;
pub mod stdout;
pub mod unmarked;

#[cfg(test)]
mod middle;
