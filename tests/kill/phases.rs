//! A kill in each phase of a checkpoint, of a recovery, and of the process above the workers, at a time drawn from a
//! seed: `slackwater_dataflow::faults::phases` lists them. One job goes through many kills, one after the other, and is
//! started again, at times with another number of workers, until it is done.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::json;
use slackwater_dataflow::faults::phases::{Phase, Point, VARIABLE};
use slackwater_dataflow::faults::{self, Defect};

use crate::findings::store;
use crate::job::{Job, Variation, has_outboxes};
use crate::reference::{Compared, Reference};
use crate::shown::Shown;

/// Jobs in which each phase must be hit once. One is enough unless it ends before its last kills.
const JOBS_MOST: usize = 6;

/// Events of a job and how many it reads a second: enough epochs for all of its kills.
const EVENTS: u64 = 100_000;
const RATE: u64 = 25_000;

/// Longest time that a job may take; only a failure takes so long.
const PATIENCE: Duration = Duration::from_secs(120);

/// Between two looks at a job.
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// Phases of a checkpoint, and up to the how-manieth time a kill waits: so long that kills fall into many epochs, and
/// so short that a job sees all of them.
const OF_CHECKPOINTS: [(Phase, u32); 17] = [
    (Phase::EpochStarted, 3),
    (Phase::CutHandedOver, 4),
    (Phase::OutputsBegun, 12),
    (Phase::StateBegun, 4),
    (Phase::ObjectsSynced, 4),
    (Phase::OutputsSynced, 4),
    (Phase::BeforeManifest, 3),
    (Phase::AfterManifest, 3),
    (Phase::PublishStarted, 3),
    (Phase::BetweenChunks, 4),
    (Phase::PartsSynced, 4),
    (Phase::MarkerWritten, 4),
    (Phase::ShardPublished, 4),
    (Phase::Confirmed, 3),
    (Phase::FoldWritten, 1),
    (Phase::RecordDeleted, 2),
    (Phase::ObjectDeleted, 4),
];

/// Phases of a recovery and of the process above, which come after a worker was killed.
const AFTER_A_KILL: [Phase; 11] = [
    Phase::BeforeClaim,
    Phase::AfterClaim,
    Phase::ManifestsRead,
    Phase::ObjectsVerified,
    Phase::SinkTakenOver,
    Phase::EpochSettled,
    Phase::OrphanDeleted,
    Phase::StateLoaded,
    Phase::FirstEpochOpened,
    Phase::WorkerSpawned,
    Phase::WorkerEnded,
];

struct Campaign {
    rng: ChaCha8Rng,
    order: &'static str,
    /// Kills by phase.
    hit: BTreeMap<Phase, usize>,
    jobs: usize,
    shown: usize,
    lost: usize,
    doubled: usize,
}

/// Whether jobs in this order come to this phase.
fn is_reached(order: &str, phase: Phase) -> bool {
    match phase {
        Phase::BetweenChunks => has_outboxes(order),
        Phase::OutputsSynced => !has_outboxes(order),
        // These jobs have no mirror.
        Phase::Mirroring | Phase::Mirrored => false,
        _ => true,
    }
}

fn is_above_workers(phase: Phase) -> bool {
    matches!(phase, Phase::WorkerSpawned | Phase::WorkerEnded)
}

impl Campaign {
    fn below(&mut self, bound: usize) -> usize {
        (self.rng.next_u64() % bound as u64) as usize
    }

    fn draw<T: Copy>(&mut self, from: &mut Vec<T>) -> Option<T> {
        (!from.is_empty()).then(|| {
            let at = self.below(from.len());
            from.swap_remove(at)
        })
    }

    /// Kills that hit all of these phases once, if the job lasts so long: one in a checkpoint, then one in what comes
    /// after it.
    fn chain(&mut self, due: &BTreeSet<Phase>) -> Vec<Point> {
        let is_due = |phase: &Phase| due.contains(phase);
        let mut checkpoints: Vec<_> = OF_CHECKPOINTS
            .into_iter()
            .filter(|(it, _)| is_due(it))
            .collect();
        let mut others: Vec<Phase> = AFTER_A_KILL.into_iter().filter(is_due).collect();
        let mut chain = Vec::new();
        if due.contains(&Phase::BeginningRecorded) {
            let phase = Phase::BeginningRecorded;
            chain.push(Point { phase, time: 1 });
        }
        while !checkpoints.is_empty() || !others.is_empty() {
            let after = self.draw(&mut others);
            let (phase, most) = match after {
                // Only what was on its way into a manifest is an orphan for sure.
                Some(Phase::OrphanDeleted) => (Phase::ObjectsSynced, 4),
                _ => {
                    let drawn = self.draw(&mut checkpoints);
                    let mut any = OF_CHECKPOINTS.to_vec();
                    any.retain(|(phase, _)| is_reached(self.order, *phase));
                    let any = any[self.below(any.len())];
                    drawn.unwrap_or(any)
                }
            };
            // The first time may be before there is any checkpoint that outputs were published of.
            let time = 2 + self.below(most as usize) as u32;
            chain.push(Point { phase, time });
            chain.extend(after.map(|phase| Point { phase, time: 1 }));
        }
        chain
    }

    /// A job that is killed at each of these points, or ends before; which were hit.
    fn job(
        &mut self,
        variation: Variation,
        reference: &Reference,
        crashes: Vec<Point>,
    ) -> Vec<Phase> {
        let mut job = Job::with_crashes(variation, crashes.clone());
        let (started, mut supervisors_killed, mut shown) = (Instant::now(), 0, Shown::default());
        let mut running = job.start();
        let status = loop {
            shown.look(&job.outputs);
            match running.ended() {
                Some(status) if status.signal() == Some(9) => {
                    supervisors_killed += 1;
                    job.rescale(2 + self.below(2));
                    running = job.start();
                }
                Some(status) => break status,
                None => thread::sleep(BETWEEN_LOOKS),
            }
            if started.elapsed() > PATIENCE {
                running.kill_all();
                panic!("it does not end: {crashes:?}\n{}", job.said());
            }
        };
        assert!(status.success(), "{status}: {crashes:?}\n{}", job.said());
        let points = job.crashed();
        let wanted: Vec<String> = crashes.iter().map(Point::to_string).collect();
        assert_eq!(points, wanted[..points.len()], "{}", job.said());
        let hit = crashes.iter().take(points.len());
        let hit: Vec<Phase> = hit.map(|point| point.phase).collect();
        prove(&job, &hit, supervisors_killed);
        shown.look(&job.outputs);
        self.shown += shown.check();
        let Compared { lost, doubled } = reference.compare(&job);
        self.lost += lost;
        self.doubled += doubled;
        self.jobs += 1;
        for &phase in &hit {
            *self.hit.entry(phase).or_default() += 1;
        }
        hit
    }

    /// Hits each of these phases.
    fn round(&mut self, seed: u64, mut due: BTreeSet<Phase>) {
        let variation = Variation {
            seed,
            order: self.order,
            events: EVENTS,
            rate: RATE,
            interval_ms: Some([20, 40][self.below(2)]),
            workers: 2 + self.below(2),
        };
        let reference = Reference::of(variation);
        for _ in 0..JOBS_MOST {
            let crashes = self.chain(&due);
            for phase in self.job(variation, &reference, crashes) {
                due.remove(&phase);
            }
            if due.is_empty() {
                return;
            }
        }
        panic!("never reached, {variation:?}: {due:?}");
    }

    fn kills(&self) -> usize {
        self.hit.values().sum()
    }
}

/// That the processes died by their own hand where they say so: of each worker its supervisor says that a SIGKILL ended
/// it, unless it was killed itself before it could; of each supervisor its exit status has said it.
fn prove(job: &Job, hit: &[Phase], supervisors_killed: usize) {
    let said = job.said();
    let announced = said.matches(&format!("{VARIABLE}: ")).count();
    assert_eq!(announced, hit.len(), "{said}");
    let above = hit.iter().filter(|&&phase| is_above_workers(phase)).count();
    assert_eq!(supervisors_killed, above, "{hit:?}\n{said}");
    let unsaid = hit
        .iter()
        .filter(|&&phase| phase == Phase::WorkerEnded)
        .count();
    let by_signal = said.matches("its process was ended by SIGKILL").count();
    assert_eq!(by_signal, hit.len() - above - unsaid, "{hit:?}\n{said}");
}

impl Campaign {
    fn new(order: &'static str, seed: u64) -> Self {
        Campaign {
            rng: ChaCha8Rng::seed_from_u64(seed),
            order,
            hit: BTreeMap::new(),
            jobs: 0,
            shown: 0,
            lost: 0,
            doubled: 0,
        }
    }
}

/// All phases that jobs in this order come to.
fn all(order: &str) -> BTreeSet<Phase> {
    let phases = Phase::ALL.into_iter();
    phases.filter(|phase| is_reached(order, *phase)).collect()
}

/// What those are called that jobs come to in one order or the other.
fn reached() -> BTreeSet<&'static str> {
    let reached = ORDERS.iter().flat_map(|order| all(order));
    reached.map(Phase::name).collect()
}

/// Every other one of them: which, the order says, so that a run in both hits all.
fn half(order: &str) -> BTreeSet<Phase> {
    let mut half = all(order);
    half.retain(|phase| {
        let is_of_both = ORDERS.iter().all(|order| is_reached(order, *phase));
        let is_even = (*phase as usize).is_multiple_of(2);
        !is_of_both || is_even == (order == "arrival")
    });
    half
}

const ORDERS: [&str; 2] = ["arrival", "event_time"];

/// Hits half of the phases, or all of them again and again if so many kills are asked for.
fn campaign(order: &'static str, first_seed: u64) {
    let asked = std::env::var("SLACKWATER_KILLS").map(|kills| kills.parse().unwrap());
    let (kills, due): (usize, _) = match asked {
        Ok(kills) => (kills, all(order)),
        Err(_) => (1, half(order)),
    };
    let mut campaign = Campaign::new(order, first_seed);
    let mut seed = first_seed;
    while campaign.kills() < kills {
        campaign.round(seed, due.clone());
        seed += 1;
    }
    let (all, jobs, shown) = (campaign.kills(), campaign.jobs, campaign.shown);
    let (lost, doubled) = (campaign.lost, campaign.doubled);
    let bound = 3.0 / all as f64;
    let last = seed - 1;
    let report = format!(
        "{order}: {all} kills over {jobs} jobs: {lost} records lost, {doubled} doubled, the state of each job at its end that \
         of a run without kills, nothing taken back of what was visible at {shown} looks; 95 % upper bound {bound:.4} \
         violations a kill. Seeds {first_seed} to {last}."
    );
    let by_phase: BTreeMap<_, _> = campaign
        .hit
        .iter()
        .map(|(it, kills)| (it.name(), kills))
        .collect();
    println!("{report}\n{by_phase:?}");
    store(&json!({ "phases": report, "order": order, "hit": by_phase, "all": reached() }));
}

#[test]
fn is_everything_there_once_after_a_kill_in_each_phase_in_arrival_order() {
    campaign("arrival", 1);
}

#[test]
fn is_everything_there_once_after_a_kill_in_each_phase_in_event_time_order() {
    campaign("event_time", 1_001);
}

/// What the defects below are looked for with: few kills, and few events.
#[test]
fn is_everything_there_once_after_kills_around_a_manifest() {
    let variation = Variation {
        seed: 7,
        order: "arrival",
        events: 40_000,
        rate: 10_000,
        interval_ms: Some(40),
        workers: 2,
    };
    let phases = [
        Phase::BeforeManifest,
        Phase::AfterManifest,
        Phase::MarkerWritten,
    ];
    let mut crashes: Vec<Point> = phases.map(|phase| Point { phase, time: 2 }).into();
    let mut campaign = Campaign::new(variation.order, variation.seed);
    let reference = Reference::of(variation);
    for _ in 0..JOBS_MOST {
        // A machine under load may have too few epochs in a job for all of them.
        let hit = campaign.job(variation, &reference, crashes.clone());
        crashes.drain(..hit.len());
        if crashes.is_empty() {
            return;
        }
    }
    panic!("never reached: {crashes:?}");
}

/// A harness that has never failed proves nothing.
#[test]
fn is_each_of_these_defects_found_by_kills_around_a_manifest() {
    let test = "phases::is_everything_there_once_after_kills_around_a_manifest";
    // The outputs of the first are wrong, and the state of the second.
    for defect in [Defect::PositionBehind, Defect::LostDelta] {
        let run = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture"])
            .env(faults::VARIABLE, defect.name())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stdout);
        assert!(said.contains("running 1 test"), "{said}");
        assert_eq!(run.status.code(), Some(101), "{defect:?} is not found");
    }
}
