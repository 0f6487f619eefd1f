//! How events were enriched: for each lookup, where what it gave an event comes from.

use std::time::Duration;

use crate::batch::leave_out;

/// Where the fields of a lookup come from, for one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// The store's answer to a question that was asked for this event, or was under way when it came.
    Fresh,
    /// An answer that was remembered, so old.
    Cached(Duration),
    /// An answer that had expired and stands in, so old: the store gave none that can be used.
    LastKnown(Duration),
    /// The defaults: nothing was there, or the store gave no answer that can be used.
    Default,
}

/// The provenance of each lookup for all events of a batch, in the order of the lookups; empty where nobody wants to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Enrichment(Vec<Vec<Provenance>>);

impl Enrichment {
    /// Adds a lookup, with one provenance for each event.
    pub(crate) fn push(&mut self, of_events: Vec<Provenance>) {
        self.0.push(of_events);
    }

    /// That of the event at this position, lookup by lookup.
    pub fn of(&self, at: usize) -> impl Iterator<Item = Provenance> + '_ {
        let of_lookups = self.0.iter();
        of_lookups.filter_map(move |of_events| of_events.get(at).copied())
    }

    /// Leaves out the events at these positions, which ascend.
    pub(crate) fn leave_out(&mut self, positions: &[usize]) {
        for of_events in &mut self.0 {
            leave_out(of_events, positions);
        }
    }
}
