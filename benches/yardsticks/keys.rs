//! Finding a key's value and changing it, and nothing else.

use std::collections::HashMap;
use std::hint::black_box;
use std::time::Instant;

use serde::Deserialize;
use slackwater_dataflow::place::KeyHash;
use slackwater_dataflow::state::KeyedState;

use crate::input::Input;
use crate::{Failure, per_event, records};

/// Keys that are looked up before the first is visited, as in a batch of the engine.
const BATCH: usize = 1_024;

#[derive(Deserialize)]
struct Keyed<'a> {
    user_id: &'a str,
}

/// The standard map, and the engine's keyed state.
pub fn run(input: &Input) -> Result<(), Failure> {
    let keyed = |record| serde_json::from_slice::<Keyed<'_>>(record).ok();
    let users: Vec<&str> = records(input)
        .filter_map(keyed)
        .map(|keyed| keyed.user_id)
        .collect();

    let mut map = HashMap::<&str, u64>::new();
    let start = Instant::now();
    for user in &users {
        *map.entry(user).or_default() += 1;
    }
    per_event(
        "hash map update, std (SipHash)",
        start.elapsed(),
        users.len(),
    );
    black_box(&map);

    let mut state = KeyedState::<u64>::default();
    let mut slots = Vec::with_capacity(BATCH);
    let start = Instant::now();
    for batch in users.chunks(BATCH) {
        slots.clear();
        let located = batch.iter().map(|user| {
            let key = user.as_bytes();
            state.locate(KeyHash::of(key), key)
        });
        slots.extend(located);
        for &slot in &slots {
            *state.value_mut(slot) += 1;
        }
    }
    per_event(
        "hash map update, keyed state (xxh3)",
        start.elapsed(),
        users.len(),
    );
    black_box(&state);
    Ok(())
}
