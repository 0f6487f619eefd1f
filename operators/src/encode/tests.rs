//! Are the bytes of each record exactly what the job promises?
//!
//! - `predictions`: scored events. `features`: feature vectors, `vectors`: these as results. `dead_letters`: the envelope. `raw`: the record itself.

mod dead_letters;
mod features;
mod predictions;
mod raw;
mod vectors;

use std::sync::Arc;

use slackwater_dataflow::clock::{Clock, ManualClock};
use slackwater_dataflow::flow::Publication;
use slackwater_dataflow::operator::{Emitter, Operator};

/// When every decision of these tests was made.
const NOW_MS: i64 = 1_718_054_321_052;

fn clock() -> Arc<dyn Clock> {
    Arc::new(ManualClock::at(NOW_MS))
}

/// All that an encoder makes of one input.
fn encode<Op: Operator<Output = Publication>>(
    encoder: &mut Op,
    input: Op::Input,
) -> Vec<Publication> {
    let mut out = Emitter::default();
    encoder.on_batch(input, &mut out);
    assert!(out.take_rejects().is_empty());
    out.take_outputs()
}

fn text(publication: &Publication) -> &str {
    let text = str::from_utf8(&publication.chunk.bytes).unwrap();
    assert_eq!(text.lines().count(), publication.chunk.records as usize);
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        let parsed = serde_json::from_str::<serde_json::Value>(line);
        assert!(parsed.is_ok_and(|record| record.is_object()), "{line}");
    }
    text
}
