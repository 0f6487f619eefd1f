//! One of Kafka's tools while it runs: what it writes as it comes, what it complains of, how it ended.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStderr, Command};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result, bail};

/// What is said when there is no Java any more, or no room for a process.
pub const STARTING: &str = "cannot start one of Kafka's tools";
/// So many lines may wait between a consumer and whoever takes them.
const LINES: usize = 1024;

/// Lets a tool end and returns what it said.
pub fn finish(mut tool: Command) -> Result<String> {
    let answer = tool.output().context(STARTING)?;
    let said = String::from_utf8_lossy(&answer.stdout);
    if !answer.status.success() {
        bail!("{}{}", said, String::from_utf8_lossy(&answer.stderr));
    }
    Ok(said.into_owned())
}

/// Waits for a producer. It calls it a success when records were not taken, and would try each of the others for as
/// long: its first complaint is its last.
pub fn finish_producer(mut child: Child) -> Result<()> {
    let mut errors = BufReader::new(child.stderr.take().context(STARTING)?);
    let mut said = Vec::new();
    while errors.read_until(b'\n', &mut said).context(STARTING)? > 0 {
        if complains(&said) {
            // An error, when it has ended.
            drop(child.kill());
            break;
        }
    }
    let status = child.wait().context(STARTING)?;
    if !status.success() || complains(&said) {
        bail!("{}", String::from_utf8_lossy(&said).trim());
    }
    Ok(())
}

/// Whether what a producer says tells the cause of a failure. Java itself may say this and that before.
fn complains(said: &[u8]) -> bool {
    let said = String::from_utf8_lossy(said);
    said.contains("Exception")
}

/// What a tool writes, line by line as it comes, without waiting for it.
pub fn lines(child: &mut Child) -> Result<Receiver<Vec<u8>>> {
    let output = BufReader::new(child.stdout.take().context(STARTING)?);
    let (send, lines) = mpsc::sync_channel(LINES);
    thread::spawn(move || {
        for line in output.split(b'\n').map_while(Result::ok) {
            if send.send(line).is_err() {
                break;
            }
        }
    });
    Ok(lines)
}

/// What a tool complains of, all of it, when it has ended.
pub fn errors(child: &mut Child) -> Result<JoinHandle<String>> {
    let errors: ChildStderr = child.stderr.take().context(STARTING)?;
    Ok(thread::spawn(move || {
        let lines = BufReader::new(errors).split(b'\n').map_while(Result::ok);
        let lines: Vec<String> = lines
            .map(|line| String::from_utf8_lossy(&line).into_owned())
            .collect();
        lines.join("\n")
    }))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::process::{Command, Stdio};

    use super::{complains, finish_producer};

    #[test]
    fn is_a_producer_ended_by_its_first_complaint() {
        let run = |script: &str| {
            let mut shell = Command::new("sh");
            shell.args(["-c", script]).stderr(Stdio::piped());
            finish_producer(shell.spawn().unwrap()).map_err(|error| error.to_string())
        };
        assert_eq!(run("echo Picked up options >&2"), Ok(()));
        assert_eq!(
            run("echo no such option >&2; exit 1"),
            Err("no such option".to_owned())
        );
        let endless = "echo 'ERROR Error when sending' >&2; echo 'a.b.TimeoutException: late' >&2; exec sleep 1000";
        let said = run(endless).unwrap_err();
        assert!(said.ends_with("TimeoutException: late"), "{said}");
        assert!(!complains(b"[main] ERROR something"));
    }
}
