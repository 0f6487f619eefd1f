//! Is there any record at all about which the JSON scanner and `serde_json` disagree?
//!
//! The scanner is compiled into this target by its path, not through `slackwater-operators`: that
//! crate brings the model runtime along, minutes of instrumented code that this target never runs.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../operators/src/json/mod.rs"]
#[expect(dead_code, reason = "the race does not use the whole of the module")]
mod json;
#[path = "../../operators/src/json/race.rs"]
mod race;

fuzz_target!(|record: &[u8]| race::race(record));
