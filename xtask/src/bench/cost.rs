//! What programs cost: processor time of a process and of all that it has started, user and system, by what the system tells
//! whoever waits for its end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::process;

/// Parts of a second in which Linux tells processor time to programs, on every machine that we know.
const TICKS_A_SECOND: f64 = 100.0;
/// Where they stand in `stat`, behind the name of the program: a process's own, and that of its children that have ended.
const OWN: [usize; 2] = [11, 12];
const CHILDREN: [usize; 2] = [13, 14];
/// The engine ends when this program does, however that ends. What starts it becomes it: it is no process of its own.
const STARTER: [&str; 3] = ["--pdeathsig", "KILL", "--"];
/// What is said where that cannot be started.
pub const STARTING: &str = "cannot start `setpriv` (it is part of util-linux) for the engine";

/// Between two looks at how much memory a program has taken, and at whether it has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// What a program has cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Processor time, of all that it has started too.
    pub cpu_seconds: f64,
    /// The most memory that it has had at once, itself alone; what it took in its last moment may be missing.
    pub peak_bytes: u64,
}

/// Builds the engine in release; where it is.
///
/// # Errors
/// It can't be built.
pub fn build_engine() -> Result<PathBuf> {
    let mut build = process::cargo();
    build.args(["build", "--locked", "--release", "--package", "slackwater"]);
    process::run(&mut build)?;
    Ok(process::root()
        .join(process::target())
        .join("release/slackwater"))
}

/// A command that runs a program which ends when this one does.
pub fn owned(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(STARTER).arg(program);
    command
}

/// Seconds of processor time, from the text of `stat`.
fn seconds(stat: &str, fields: [usize; 2]) -> Option<f64> {
    // The name may hold blanks and brackets; nothing behind it does.
    let (_, after) = stat.rsplit_once(')')?;
    let words: Vec<&str> = after.split_whitespace().collect();
    let ticks = fields.map(|field| words.get(field)?.parse::<u64>().ok());
    let [user, system] = ticks;
    Some((user? + system?) as f64 / TICKS_A_SECOND)
}

fn read_seconds(process: &str, fields: [usize; 2]) -> Result<f64> {
    let path = format!("/proc/{process}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    seconds(&stat, fields).with_context(|| format!("{path} does not tell processor time"))
}

/// Seconds of processor time of a process that runs.
pub fn seconds_of(process: u32) -> Result<f64> {
    read_seconds(&process.to_string(), OWN)
}

/// Waits for the end of a child, and says what it has cost with all of its own that it has waited for.
pub fn wait_with_cost(child: &mut Child, name: &str) -> Result<f64> {
    let before = read_seconds("self", CHILDREN)?;
    let status = child
        .wait()
        .with_context(|| format!("cannot wait for {name}"))?;
    let after = read_seconds("self", CHILDREN)?;
    if !status.success() {
        bail!("{name} ended with {status}");
    }
    Ok(after - before)
}

/// The most memory that a process has had at once, from the text of `status`. One that has ended has none.
fn peak(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1_024)
}

/// As [`wait_with_cost`], and looks meanwhile how much memory the child has.
pub fn wait_with_peak(child: &mut Child, name: &str) -> Result<Cost> {
    let before = read_seconds("self", CHILDREN)?;
    let path = format!("/proc/{}/status", child.id());
    let mut peak_bytes = 0;
    let status = loop {
        if let Ok(Some(found)) = fs::read_to_string(&path).map(|status| peak(&status)) {
            peak_bytes = found;
        }
        let ended = child.try_wait();
        if let Some(status) = ended.with_context(|| format!("cannot wait for {name}"))? {
            break status;
        }
        thread::sleep(LOOK_AGAIN);
    };
    let after = read_seconds("self", CHILDREN)?;
    if !status.success() {
        bail!("{name} ended with {status}");
    }
    Ok(Cost {
        cpu_seconds: after - before,
        peak_bytes,
    })
}

/// Runs a command whose words matter only when it fails.
pub fn quietly(command: &mut Command) -> Result<()> {
    let line = process::shell_line(command);
    let ran = command.output();
    let ran = ran.with_context(|| format!("cannot start {line}"))?;
    if !ran.status.success() {
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        bail!("{line} ended with {}: {said}", ran.status);
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::process::{Command, Stdio};

    use super::{CHILDREN, OWN, peak, seconds, wait_with_cost, wait_with_peak};

    #[test]
    fn where_is_processor_time_told() {
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 150 50 300 25 20 0";
        assert_eq!(seconds(stat, OWN), Some(2.0));
        assert_eq!(seconds(stat, CHILDREN), Some(3.25));
        assert_eq!(seconds("7 (a) S 1 2", OWN), None);
        assert_eq!(seconds("", OWN), None);
    }

    #[test]
    fn does_what_a_child_has_started_count() {
        // The outer shell only waits, which costs nothing that would be told.
        let work = "sh -c 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done'; :";
        let mut child = Command::new("sh")
            .args(["-c", work])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let cost = wait_with_cost(&mut child, "the work").unwrap();
        assert!(cost >= 0.05, "{cost}");
    }

    #[test]
    fn where_is_memory_told() {
        let status = "Name:\tVmHWM:\nVmPeak:\t   9 kB\nVmHWM:\t    1234 kB\nVmRSS:\t 5 kB\n";
        assert_eq!(peak(status), Some(1_234 * 1_024));
        assert_eq!(peak("Name:\tended\nState:\tZ (zombie)\n"), None);
    }

    #[test]
    fn is_what_a_child_took_and_gave_back_its_peak() {
        let work = "x = b'x' * 50_000_000; del x; sum(range(5_000_000))";
        let mut command = Command::new("python3");
        let mut child = command.args(["-c", work]).spawn().unwrap();
        let cost = wait_with_peak(&mut child, "the work").unwrap();
        assert!(cost.peak_bytes > 50_000_000, "{cost:?}");
        let mut child = Command::new("false").spawn().unwrap();
        assert!(wait_with_peak(&mut child, "no work").is_err());
    }
}
