//! What happens to Redis while jobs ask it: how it goes, for how long, how often.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use slackwater_services::redis::Redis;

use crate::job::Job;

/// Between two looks at what jobs have committed.
const LOOK: Duration = Duration::from_millis(20);
/// Longest wait for a first checkpoint; only a failure takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// By how much longer Redis is away each time, and the most that this comes to.
const MORE: Duration = Duration::from_millis(370);
const MORE_MOST: Duration = Duration::from_secs(1);

/// How Redis goes, and how it comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It is asked to end, and started again.
    Stopped,
    /// It is killed, and started again.
    Killed,
    /// It stands still, with its connections, and goes on.
    Frozen,
    /// It is not there when the jobs start.
    AbsentAtStart,
    /// It is asked to end, and does not come back before the jobs have ended.
    Gone,
}

/// What happens to Redis.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub how: How,
    /// How long it is away.
    pub away: Duration,
    /// How long it is there after that.
    pub back: Duration,
    /// How often that happens.
    pub times: u32,
}

/// A time without Redis, in milliseconds since 1970, by the clock that predictions and dead letters are dated with.
#[derive(Clone, Copy, Debug)]
pub struct Outage {
    pub from_ms: f64,
    /// When it was there again; none if not before the jobs had ended.
    pub until_ms: Option<f64>,
}

/// What a job has committed while Redis was away.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meanwhile {
    pub checkpoints: u64,
    /// The longest time without a new one.
    pub longest: Duration,
}

fn now_ms() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs_f64() * 1e3
}

fn epoch(job: &Job) -> u64 {
    let [one, other] = job.marked();
    one.max(other)
}

impl Fault {
    pub fn once(how: How, seconds: u64) -> Self {
        Fault {
            how,
            away: Duration::from_secs(seconds),
            back: Duration::from_secs(5),
            times: 1,
        }
    }

    /// For how long jobs have to run, but for starting.
    pub fn lasts(&self) -> Duration {
        let more = match self.flaps() {
            true => Duration::ZERO,
            false => MORE_MOST,
        };
        (self.away + self.back + more) * self.times
    }

    fn flaps(&self) -> bool {
        self.away == Duration::from_secs(1)
    }

    /// How long it is away for the nth time: not always a whole number of seconds, which is how often it is probed.
    fn away(&self, nth: u32) -> Duration {
        match self.flaps() {
            true => self.away,
            false => {
                let more = MORE * nth;
                self.away + Duration::from_nanos(u64::from(more.subsec_nanos()))
            }
        }
    }

    /// In words.
    pub fn name(&self) -> String {
        let seconds = self.away.as_secs();
        let name = match self.how {
            How::Stopped if self.flaps() => "flapping each second".to_owned(),
            How::Stopped => format!("stopped for {seconds} s"),
            How::Killed => format!("killed, back after {seconds} s"),
            How::Frozen => format!("frozen (SIGSTOP) for {seconds} s"),
            How::AbsentAtStart => format!("absent at start, there after {seconds} s"),
            How::Gone => "stopped, never back".to_owned(),
        };
        match self.times {
            1 => name,
            times => format!("{name}, {times} times"),
        }
    }

    /// Before the jobs start.
    pub fn before(&self, redis: &mut Redis) {
        if self.how == How::AbsentAtStart {
            redis.stop().unwrap();
        }
    }

    fn goes(&self, redis: &mut Redis) {
        match self.how {
            How::Stopped | How::Gone => redis.stop().unwrap(),
            How::Killed => redis.kill().unwrap(),
            How::Frozen => redis.pause().unwrap(),
            How::AbsentAtStart => {}
        }
    }

    fn comes_back(&self, redis: &mut Redis) {
        match self.how {
            How::Frozen => redis.resume().unwrap(),
            How::Stopped | How::Killed | How::AbsentAtStart => redis.restart().unwrap(),
            How::Gone => {}
        }
    }

    /// Lets it happen to jobs that have just been started. When it was away, and what each of the jobs did meanwhile.
    pub fn happen(&self, redis: &mut Redis, jobs: &[&Job]) -> (Vec<Outage>, Vec<Meanwhile>) {
        let begun = Instant::now();
        while self.how != How::AbsentAtStart && jobs.iter().any(|job| epoch(job) == 0) {
            let said = || jobs.iter().map(|job| job.said()).collect::<String>();
            assert!(begun.elapsed() < PATIENCE, "{}", said());
            thread::sleep(LOOK);
        }
        let mut meanwhile = vec![Meanwhile::default(); jobs.len()];
        let mut outages = Vec::new();
        for nth in 1..=self.times {
            let from_ms = now_ms();
            self.goes(redis);
            watch(jobs, self.away(nth), &mut meanwhile);
            self.comes_back(redis);
            outages.push(Outage {
                from_ms,
                until_ms: (self.how != How::Gone).then(now_ms),
            });
            thread::sleep(self.back);
        }
        (outages, meanwhile)
    }
}

/// Counts the checkpoints of jobs for so long.
fn watch(jobs: &[&Job], time: Duration, meanwhile: &mut [Meanwhile]) {
    let begun = Instant::now();
    let mut last: Vec<(u64, Instant)> = jobs.iter().map(|job| (epoch(job), begun)).collect();
    while begun.elapsed() < time {
        thread::sleep(LOOK);
        for ((job, (before, at)), seen) in jobs.iter().zip(&mut last).zip(meanwhile.iter_mut()) {
            let (now, epoch) = (Instant::now(), epoch(job));
            // A job that has just been started has had no time for one.
            if *before > 0 {
                seen.longest = seen.longest.max(now.duration_since(*at));
            }
            if epoch > *before {
                seen.checkpoints += epoch - *before;
                (*before, *at) = (epoch, now);
            }
        }
    }
}
