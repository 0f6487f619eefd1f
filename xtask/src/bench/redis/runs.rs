//! What is run: the job with and without a lookup, near to Redis and further away, and Redis's own benchmark; all on one server.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use slackwater_services::delay::Delay;
use slackwater_services::redis::{Redis, install};

use super::jobs::{Job, Remembers, Users};
use crate::bench::cost::{STARTING, build_engine, owned, wait_with_cost};
use crate::bench::turns::Sample;
use crate::process;

/// The job as it is without a lookup.
pub const ALONE: &str = "no lookup";
/// The job with one.
pub const DIRECT: &str = "lookup, Redis on the same machine";
/// The same through a proxy that delays nothing.
pub const PROXIED: &str = "the same through a proxy, no delay";
/// The same through one that delays each answer by 5 ms, and by twice that.
pub const DELAYED: &str = "the same, 5 ms of delay";
pub const DELAYED_TWICE: &str = "the same, 10 ms of delay";
/// So many users who all send alike that hardly any is in flight twice.
pub const EVEN: &str = "no lookup, many users";
/// Lookups for them, nothing and all remembered.
pub const NOTHING: &str = "lookup, many users, nothing remembered";
pub const EVERYTHING: &str = "lookup, many users, all remembered";
/// Redis's own benchmark.
pub const GET: &str = "redis-benchmark, GET";
pub const HMGET: &str = "redis-benchmark, HMGET";
/// All of it, in the order of a turn.
pub const ALL: [&str; 10] = [
    ALONE,
    DIRECT,
    PROXIED,
    DELAYED,
    DELAYED_TWICE,
    EVEN,
    NOTHING,
    EVERYTHING,
    GET,
    HMGET,
];

/// By how much each direction delays.
const HALF_OF_5_MS: Duration = Duration::from_micros(2_500);
const HALF_OF_10_MS: Duration = Duration::from_millis(5);
/// Users where they are many, of each eight events: half of all events then are the first of their users, which have to be asked
/// for, whatever is remembered.
const USERS_OF_8_EVENTS: u64 = 5;
/// Keys that the benchmark asks for, as many as the reference job has users.
const BENCHMARK_KEYS: u64 = 100_000;
/// Keys that are filled at once: the server does nothing else meanwhile.
const FILLED_AT_ONCE: u64 = 100_000;
/// More than all answers take.
const BYTES_FOR_ALL: u64 = 1 << 30;
/// Questions in one pipeline of the benchmark and its connections, as many as the engine has.
const PIPELINE: &str = "256";
const CONNECTIONS: &str = "4";
/// The programs.
const BENCHMARK: &str = "redis-benchmark";

/// A server, with something in it for each user, and the engine.
pub struct Bench {
    engine: PathBuf,
    redis: Redis,
    proxies: [(&'static str, Delay); 3],
    events: u64,
}

impl Bench {
    /// Builds the engine and starts a server for runs of so many events.
    pub fn prepare(events: u64) -> Result<Self> {
        let engine = build_engine()?;
        install(|said| println!("{said}"))?;
        let redis = Redis::start(&[])?;
        let proxy = |each_way| Delay::start(redis.port(), each_way);
        let bench = Bench {
            engine,
            proxies: [
                (PROXIED, proxy(Duration::ZERO)?),
                (DELAYED, proxy(HALF_OF_5_MS)?),
                (DELAYED_TWICE, proxy(HALF_OF_10_MS)?),
            ],
            redis,
            events,
        };
        bench.fill()?;
        Ok(bench)
    }

    /// Users where they are many.
    pub fn users(&self) -> u64 {
        (self.events / 8 * USERS_OF_8_EVENTS).max(1)
    }

    /// Something for each user, and for each key that the benchmark asks for.
    fn fill(&self) -> Result<()> {
        let users =
            "redis.call('HSET', 'profile:user_' .. string.format('%d', nth), 'weight', weight)";
        let benchmark = "redis.call('HSET', 'profile:' .. string.format('%012d', nth), 'weight', weight) \
                         redis.call('SET', 'key:' .. string.format('%012d', nth), weight)";
        for (what, count) in [
            (users, self.users().max(BENCHMARK_KEYS)),
            (benchmark, BENCHMARK_KEYS),
        ] {
            for from in (0..count).step_by(FILLED_AT_ONCE as usize) {
                let to = count.min(from + FILLED_AT_ONCE);
                let script = format!(
                    "for nth = {from}, {to} - 1 do local weight = 1 + nth % 9 / 2 {what} end return 1"
                );
                let filled = self.redis.ask(&[b"EVAL", script.as_bytes(), b"0"])?;
                if filled != ":1" {
                    bail!("Redis could not be filled: {filled}");
                }
            }
        }
        Ok(())
    }

    /// Which Redis it is.
    pub fn version(&self) -> Result<String> {
        let info = self.redis.info("server")?;
        let version = info.into_iter().find(|(name, _)| name == "redis_version");
        Ok(version.map_or_else(|| "?".to_owned(), |(_, version)| version))
    }

    /// Does one thing once.
    pub fn run(&self, what: &'static str, turn: usize) -> Result<Sample> {
        println!("turn {turn}: {what}");
        let job = |users, lookup| Job {
            events: self.events,
            users,
            lookup,
        };
        let direct = self.redis.port();
        let alike = Users::Alike(self.users());
        let even = |remembers| self.job(&job(alike, Some((direct, remembers))));
        let near = |port| self.job(&job(Users::AsWritten, Some((port, Remembers::AsWritten))));
        let raw = match what {
            ALONE => self.job(&job(Users::AsWritten, None)),
            EVEN => self.job(&job(alike, None)),
            NOTHING => even(Remembers::Nothing),
            EVERYTHING => even(Remembers::Bytes(BYTES_FOR_ALL)),
            GET => self.benchmark("get", &["-t", "get"]),
            HMGET => self.benchmark("hmget", &["HMGET", "profile:__rand_int__", "weight"]),
            DIRECT => near(direct),
            other => {
                let proxy = self.proxies.iter().find(|(name, _)| *name == other);
                let (_, proxy) =
                    proxy.with_context(|| format!("nobody knows how `{other}` is run"))?;
                near(proxy.port())
            }
        };
        let raw = raw.with_context(|| format!("cannot measure `{what}`"))?;
        Ok(Sample { what, turn, raw })
    }

    /// Runs a job to its end. Every event must have come out once.
    fn job(&self, job: &Job) -> Result<Value> {
        let folder = process::root().join(process::target()).join("bench-redis");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("job.toml"), job.pipeline()?)?;
        let (said, trouble) = (folder.join("said"), folder.join("trouble"));
        let mut command = owned(&self.engine);
        command.args(["run", "--json", "job.toml"]);
        command.current_dir(&folder).stdin(Stdio::null());
        command.stdout(File::create(&said)?);
        command.stderr(File::create(&trouble)?);
        let before = self.server()?;
        let begun = Instant::now();
        let mut child = command.spawn().context(STARTING)?;
        let cpu_seconds = wait_with_cost(&mut child, "the engine")
            .with_context(|| fs::read_to_string(&trouble).unwrap_or_default())?;
        let seconds = begun.elapsed().as_secs_f64();
        let server = self.server()?.since(&before);
        let said = fs::read_to_string(&said)?;
        let summary: Value = serde_json::from_str(said.lines().last().unwrap_or_default())
            .with_context(|| format!("the engine printed no JSON: {said}"))?;
        let dead_letters = failed_lookups(&folder.join("out/processing_errors"))?;
        fs::remove_dir_all(&folder)?;
        figures(
            self.events,
            &summary,
            dead_letters,
            seconds,
            cpu_seconds,
            &server,
        )
    }

    /// Runs Redis's own benchmark with this command as often as a run has events.
    fn benchmark(&self, name: &str, request: &[&str]) -> Result<Value> {
        let port = self.redis.port().to_string();
        let (count, keys) = (self.events.to_string(), BENCHMARK_KEYS.to_string());
        let mut command = process::command(BENCHMARK);
        command.args([
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-q",
            "-n",
            &count,
            "-r",
            &keys,
        ]);
        command
            .args(["-P", PIPELINE, "-c", CONNECTIONS])
            .args(request);
        command.stdout(Stdio::null());
        let before = self.server()?;
        let begun = Instant::now();
        let line = process::shell_line(&command);
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {line} (it is in `redis-tools`)"))?;
        let cpu_seconds = wait_with_cost(&mut child, &line)?;
        let seconds = begun.elapsed().as_secs_f64();
        let server = self.server()?.since(&before);
        let calls = server.calls(name);
        if calls < self.events {
            bail!("{line} has asked {calls} times");
        }
        let us = |seconds: f64| seconds * 1e6 / calls as f64;
        Ok(json!({
            "requests": calls,
            "seconds": seconds,
            "requests_per_second": calls as f64 / seconds,
            "us_per_request": us(cpu_seconds),
            "server_us_per_request": us(server.cpu_seconds),
        }))
    }

    /// What the server has done since it was started.
    fn server(&self) -> Result<Server> {
        let cpu = self.redis.info("cpu")?;
        let seconds = ["used_cpu_sys", "used_cpu_user"].map(|name| {
            let value = cpu.iter().find(|(other, _)| other == name);
            value.and_then(|(_, value)| value.parse::<f64>().ok())
        });
        let [Some(system), Some(user)] = seconds else {
            bail!("Redis does not tell its processor time");
        };
        let calls = self.redis.info("commandstats")?.into_iter();
        let calls = calls.filter_map(|(name, value)| {
            let name = name.strip_prefix("cmdstat_")?.to_owned();
            let calls = value.strip_prefix("calls=")?.split(',').next()?;
            Some((name, calls.parse().ok()?))
        });
        Ok(Server {
            cpu_seconds: system + user,
            calls: calls.collect(),
        })
    }
}

/// What a server has done.
#[derive(Clone, Debug, Default)]
struct Server {
    cpu_seconds: f64,
    /// How often each command was given.
    calls: Vec<(String, u64)>,
}

impl Server {
    fn calls(&self, name: &str) -> u64 {
        let found = self.calls.iter().find(|(other, _)| other == name);
        found.map_or(0, |(_, calls)| *calls)
    }

    fn since(&self, before: &Server) -> Server {
        let calls = self.calls.iter();
        let calls = calls.map(|(name, calls)| (name.clone(), calls - before.calls(name)));
        Server {
            cpu_seconds: self.cpu_seconds - before.cpu_seconds,
            calls: calls.collect(),
        }
    }
}

/// Dead letters in a folder that say that a lookup has failed.
fn failed_lookups(folder: &std::path::Path) -> Result<u64> {
    let mut failed = 0;
    for entry in fs::read_dir(folder)? {
        let text = fs::read(entry?.path())?;
        let text = String::from_utf8_lossy(&text);
        failed += text.matches("\"stage\":\"lookup\"").count() as u64;
    }
    Ok(failed)
}

/// The figures of a run, from what the engine says of it.
fn figures(
    events: u64,
    summary: &Value,
    dead_letters: u64,
    seconds: f64,
    cpu_seconds: f64,
    server: &Server,
) -> Result<Value> {
    let number = |name: &str| {
        let number = summary.get(name).and_then(Value::as_u64);
        number.with_context(|| format!("the engine does not say `{name}`: {summary}"))
    };
    let predictions = number("predictions")?;
    let errors = ["validation_errors", "processing_errors", "late_events"];
    let mut settled = predictions;
    for name in errors {
        settled += number(name)?;
    }
    if number("read")? != events || settled != events {
        bail!("of {events} events not each has come out once: {summary}");
    }
    let questions = server.calls("hmget");
    let wanted = predictions + dead_letters;
    let us = |seconds: f64| seconds * 1e6 / events as f64;
    Ok(json!({
        "events": events,
        "seconds": seconds,
        "events_per_second": events as f64 / seconds,
        "cpu_seconds": cpu_seconds,
        "us_per_event": us(cpu_seconds),
        "server_us_per_event": us(server.cpu_seconds),
        "lookups": wanted,
        "questions": questions,
        "not_asked": 1.0 - questions as f64 / wanted as f64,
        "questions_per_event": questions as f64 / events as f64,
        "dead_letters": dead_letters,
        "summary": summary,
    }))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::json;

    use super::{Server, figures};

    #[test]
    fn what_has_a_server_done_since() {
        let at = |cpu_seconds, calls: &[(&str, u64)]| Server {
            cpu_seconds,
            calls: calls
                .iter()
                .map(|(name, calls)| ((*name).to_owned(), *calls))
                .collect(),
        };
        let since = at(3.0, &[("get", 9), ("hmget", 4)]).since(&at(1.0, &[("get", 2)]));
        assert_eq!(
            (since.calls("get"), since.calls("hmget"), since.calls("set")),
            (7, 4, 0)
        );
        assert_eq!(since.cpu_seconds, 2.0);
    }

    #[test]
    fn is_it_noticed_when_an_event_is_missing() {
        let server = Server {
            cpu_seconds: 0.5,
            calls: vec![("hmget".to_owned(), 24)],
        };
        let of = |read: u64, predictions: u64| {
            let summary = json!({
                "read": read, "predictions": predictions, "validation_errors": 1, "processing_errors": 2, "late_events": 1,
            });
            figures(100, &summary, 0, 2.0, 1.0, &server)
        };
        let found = of(100, 96).unwrap();
        assert_eq!(found["events_per_second"], 50.0);
        assert_eq!(found["us_per_event"], 10_000.0);
        assert_eq!(found["not_asked"], 0.75);
        assert!(of(100, 95).is_err());
        assert!(of(99, 96).is_err());
    }
}
