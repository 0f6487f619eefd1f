//! Java and Maven of this machine: whether they are there and new enough, and if not, what to install.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// The least Java that Kafka's broker runs on.
const LEAST: u32 = 17;
/// How to get it.
const JAVA_REMEDY: &str = "install Java 17 or newer, first on the PATH (Debian and Ubuntu: apt-get install \
                           openjdk-17-jre-headless)";
/// How to get what fetches Kafka's archives.
const MAVEN_REMEDY: &str = "install Maven (Debian and Ubuntu: apt-get install maven)";

/// The version of the machine's Java, such as `17.0.15`.
///
/// # Errors
/// When there is none, or it is too old.
pub fn java_version() -> Result<String> {
    // All versions know this spelling, and answer at their standard error.
    let answer = Command::new("java")
        .arg("-version")
        .stdin(Stdio::null())
        .output()
        .with_context(|| {
            format!("Kafka needs Java, and `java` cannot be started: {JAVA_REMEDY}")
        })?;
    version_of(&String::from_utf8_lossy(&answer.stderr))
}

/// The version in what `java -version` says.
fn version_of(said: &str) -> Result<String> {
    let version = said.split('"').nth(1).unwrap_or_default();
    if major(version) < Some(LEAST) {
        let line = said.lines().next().unwrap_or_default();
        bail!(
            "Kafka needs another Java than this one, whose `java -version` says `{line}`: {JAVA_REMEDY}"
        );
    }
    Ok(version.to_owned())
}

/// The first number of a version; until Java 8 it was the second one.
fn major(version: &str) -> Option<u32> {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit());
    match numbers.next()?.parse().ok()? {
        1 => numbers.next()?.parse().ok(),
        major => Some(major),
    }
}

/// A command of Maven's that asks nothing and writes without colours.
///
/// # Errors
/// When there is no Maven.
pub fn maven() -> Result<Command> {
    let mut maven = Command::new("mvn");
    maven.stdin(Stdio::null());
    maven.args(["--batch-mode", "--quiet", "-Dstyle.color=never"]);
    let there = Command::new("mvn")
        .arg("--version")
        .stdin(Stdio::null())
        .output();
    match there {
        Ok(answer) if answer.status.success() => Ok(maven),
        Ok(answer) => bail!(
            "Maven fetches Kafka's archives, and `mvn --version` ended with {}: {}",
            answer.status,
            String::from_utf8_lossy(&answer.stderr).trim()
        ),
        Err(error) => Err(error).with_context(|| {
            format!("Maven fetches Kafka's archives, and `mvn` cannot be started: {MAVEN_REMEDY}")
        }),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::version_of;

    #[test]
    fn which_java_is_new_enough() {
        let check = |said: &str, expected: Option<&str>| match (version_of(said), expected) {
            (Ok(version), Some(expected)) => assert_eq!(version, expected),
            (found, expected) => {
                assert_eq!(found.is_ok(), expected.is_some(), "{said}: {found:?}");
                let error = found.unwrap_err().to_string();
                assert!(error.contains("openjdk-17-jre-headless"), "{error}");
            }
        };
        check(
            "openjdk version \"17.0.15\" 2025-04-15\nOpenJDK",
            Some("17.0.15"),
        );
        check("openjdk version \"25\" 2025-09-16", Some("25"));
        check("java version \"21-ea\"", Some("21-ea"));
        check("java version \"1.8.0_392\"", None);
        check("openjdk version \"11.0.2\" 2019-01-15", None);
        check("", None);
        check("no version \"here\"", None);
    }
}
