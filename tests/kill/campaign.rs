//! Kills at random moments, from a seed. A job is started again until it is done; then its outputs are compared.

use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::json;

use crate::findings::store;
use crate::job::{Job, Running, Variation};
use crate::reference::{Compared, Reference};

/// Kills of each test, unless another number is asked for.
const KILLS: usize = 20;

/// By how much fewer events a test has then, in the same time: programs for tests are slow, and each job is done twice more
/// without kills.
const FEWER: u64 = 3;

/// Longest wait for anything; only a failure takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a campaign has found.
#[derive(Default)]
struct Findings {
    kills: usize,
    of_workers: usize,
    during_recovery: usize,
    jobs: usize,
    lost: usize,
    doubled: usize,
    /// From a kill to the first output that is new.
    back_after: Vec<Duration>,
}

struct Campaign {
    rng: ChaCha8Rng,
    order: &'static str,
    kills: usize,
    fewer: u64,
    found: Findings,
}

impl Campaign {
    fn below(&mut self, bound: u64) -> u64 {
        self.rng.next_u64() % bound
    }

    /// A job, killed again and again until it is done or the kills are used up, and then left to end.
    fn job(&mut self, seed: u64) {
        let variation = Variation {
            seed,
            order: self.order,
            events: (100_000 + self.below(100_000)) / self.fewer,
            rate: 50_000 / self.fewer,
            interval_ms: Some([20, 50, 200][self.below(3) as usize]),
            workers: [1, 2, 3][self.below(3) as usize],
        };
        let reference = Reference::of(variation);
        let job = Job::new(variation);
        let mut running = job.start();
        while running.ended().is_none() && self.found.kills < self.kills {
            running = self.kill(&job, running);
        }
        let status = running.wait();
        assert!(status.success(), "seed {seed}: {status}\n{}", job.said());
        let Compared { lost, doubled } = reference.compare(&job);
        self.found.jobs += 1;
        self.found.lost += lost;
        self.found.doubled += doubled;
    }

    fn kill(&mut self, job: &Job, running: Running) -> Running {
        let is_early = self.below(4) == 0;
        let wait = if is_early { 60 } else { 400 };
        thread::sleep(Duration::from_millis(self.below(wait)));
        let marked = job.marked();
        let killed = Instant::now();
        let mut running = if self.below(2) == 0 {
            if !running.kill_worker() {
                return running;
            }
            self.found.of_workers += 1;
            running
        } else {
            running.kill_all();
            job.start()
        };
        self.found.kills += 1;
        if is_early {
            // The next kill may meet the recovery.
            self.found.during_recovery += 1;
            return running;
        }
        while job
            .marked()
            .iter()
            .zip(marked)
            .all(|(now, before)| *now <= before)
        {
            if running.ended().is_some() {
                return running;
            }
            assert!(
                killed.elapsed() < PATIENCE,
                "it is not back\n{}",
                job.said()
            );
            thread::sleep(Duration::from_millis(1));
        }
        self.found.back_after.push(killed.elapsed());
        running
    }
}

impl Findings {
    fn report(&mut self, order: &str) -> String {
        self.back_after.sort();
        let all = &self.back_after;
        let at = |share: f64| {
            let last = all.len().saturating_sub(1);
            let place = (all.len() as f64 * share) as usize;
            all.get(place.min(last))
                .copied()
                .unwrap_or_default()
                .as_secs_f64()
                * 1e3
        };
        let bound = 3.0 / self.kills.max(1) as f64;
        let mut text = String::new();
        let _ = write!(
            text,
            "{order}: {} kills ({} of the worker alone, {} followed at once by another) over {} jobs: {} records lost, {} \
             doubled, the state of each job at its end that of a run without kills; 95 % upper bound {bound:.4} violations a \
             kill. Back after {:.0} / {:.0} / {:.0} ms (p50 / p99 / max of {}).",
            self.kills,
            self.of_workers,
            self.during_recovery,
            self.jobs,
            self.lost,
            self.doubled,
            at(0.5),
            at(0.99),
            at(1.0),
            all.len()
        );
        text
    }
}

fn campaign(order: &'static str, first_seed: u64) {
    let asked = std::env::var("SLACKWATER_KILLS");
    let (kills, fewer) = match asked {
        Ok(kills) => (kills.parse().unwrap(), 1),
        Err(_) => (KILLS, FEWER),
    };
    let mut campaign = Campaign {
        rng: ChaCha8Rng::seed_from_u64(first_seed),
        order,
        kills,
        fewer,
        found: Findings::default(),
    };
    let mut seed = first_seed;
    while campaign.found.kills < kills {
        campaign.job(seed);
        seed += 1;
    }
    let report = campaign.found.report(order);
    println!("{report}");
    let last = seed - 1;
    store(&json!({ "random": format!("{report} Seeds {first_seed} to {last}.") }));
}

#[test]
fn is_everything_there_once_after_kills_in_arrival_order() {
    campaign("arrival", 1);
}

#[test]
fn is_everything_there_once_after_kills_in_event_time_order() {
    campaign("event_time", 1_001);
}
