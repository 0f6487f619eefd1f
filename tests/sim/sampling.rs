//! Which of very many cases are tried, and what has come of them.
//!
//! The gate tries some of each kind, always the same ones; with `SLACKWATER_SIM=all` in the environment all are, and
//! with a seed that one again and again.
//! Each case is a run of its own that mostly waits, so several are tried at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Cases that are tried at once: each has some threads of its own that mostly sleep.
const AT_ONCE: usize = 6;

/// How often a seed is tried that was named: threads do not meet in the same way twice.
const REPEATS: usize = 2_000;

/// Whether nothing is left out.
pub fn is_exhaustive() -> bool {
    std::env::var("SLACKWATER_SIM").is_ok_and(|which| which == "all")
}

/// Seeds of random cases: so many, or `all`, or as often as it takes the one that `SLACKWATER_SIM` names, which a
/// violation has.
pub fn seeds(some: u64, all: u64) -> Vec<u64> {
    let named = std::env::var("SLACKWATER_SIM").ok();
    match named.and_then(|which| which.parse().ok()) {
        Some(seed) => vec![seed; REPEATS],
        None => (0..if is_exhaustive() { all } else { some }).collect(),
    }
}

/// Numbers that look random and are the same ones for the same seed.
pub struct Draws(u64);

impl Draws {
    pub fn new(seed: u64) -> Self {
        Draws(seed)
    }

    /// Any number (splitmix64, Steele et al. 2014).
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// About `most` of the cases, or all of them.
pub fn some_of<T>(cases: Vec<T>, most: usize, seed: u64) -> Vec<T> {
    if is_exhaustive() {
        return cases;
    }
    sample_of(cases, most, seed)
}

/// At most `most` of the cases, always the same ones.
pub fn sample_of<T>(mut cases: Vec<T>, most: usize, seed: u64) -> Vec<T> {
    let mut draws = Draws::new(seed);
    while cases.len() > most {
        let chosen = draws.below(cases.len());
        cases.swap_remove(chosen);
    }
    cases
}

/// Tries all cases; says how many faults have struck, of how many cases of which kind.
///
/// # Panics
/// With the first violation.
pub fn sweep<T: Sync + std::fmt::Debug>(
    kind: &str,
    cases: &[T],
    case: impl Fn(&T) -> Result<u64, String> + Sync,
) {
    let (next, struck) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let violation = Mutex::new(None);
    let first = || violation.lock().unwrap_or_else(PoisonError::into_inner);
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(this) = cases.get(next.fetch_add(1, Ordering::SeqCst)) {
                    if first().is_some() {
                        return;
                    }
                    match case(this) {
                        Ok(faults) => struck.fetch_add(faults as usize, Ordering::SeqCst),
                        Err(wrong) => {
                            first().get_or_insert(format!("{kind}: {this:?}: {wrong}"));
                            return;
                        }
                    };
                }
            });
        }
    });
    let found = first().take();
    assert!(found.is_none(), "violation: {}", found.unwrap_or_default());
    let struck = struck.into_inner();
    assert!(struck > 0, "violation: {kind}: no fault has struck");
    println!(
        "{kind}: {} cases, {struck} faults struck, 0 violations",
        cases.len()
    );
}
