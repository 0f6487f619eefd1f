//! What the events of one batch see of their keys' histories, column by column.

use slackwater_dataflow::moment::EventTime;

use crate::history::Window;

/// One entry per event in each column.
#[derive(Debug)]
pub(super) struct Windows {
    pub(super) events: Vec<u32>,
    /// Milliseconds since the event handled before, if there is one.
    pub(super) since_previous_ms: Vec<Option<u64>>,
    /// Milliseconds from the event handled first to this one.
    pub(super) length_ms: Vec<u64>,
    /// Row-major, `events * tallies_per_event`.
    tallies: Vec<u32>,
    tallies_per_event: usize,
}

impl Windows {
    pub(super) fn new(tallies_per_event: usize) -> Self {
        Windows {
            events: Vec::new(),
            since_previous_ms: Vec::new(),
            length_ms: Vec::new(),
            tallies: Vec::new(),
            tallies_per_event,
        }
    }

    pub(super) fn clear(&mut self) {
        self.events.clear();
        self.since_previous_ms.clear();
        self.length_ms.clear();
        self.tallies.clear();
    }

    pub(super) fn push(&mut self, window: &Window<'_>) {
        let gap = |earlier: EventTime| window.last.ms_after(earlier);
        self.events.push(window.events);
        self.since_previous_ms.push(window.previous.map(gap));
        self.length_ms.push(gap(window.first));
        self.tallies.extend_from_slice(window.tallies);
    }

    /// One tally of all events.
    pub(super) fn tally(&self, at: usize) -> impl Iterator<Item = u32> + '_ {
        let rest = self.tallies.get(at..).unwrap_or_default();
        rest.iter().step_by(self.tallies_per_event.max(1)).copied()
    }
}
