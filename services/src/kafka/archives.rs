//! Kafka's archives: fetched by Maven, which knows what belongs to them, and how Java is started with them.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::java::maven;
use crate::cache;

/// The version of Kafka, exactly.
pub const VERSION: &str = "4.3.1";

/// What makes a program of Kafka's be there soon. Java's better compiler pays in the long run only: with it a broker takes
/// half as much processor time again to start, and twice as much to move its first million records.
pub(super) const QUICK: [&str; 4] = [
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-Xshare:auto",
    // Java writes its own warnings to where records go.
    "-Xlog:disable",
];

/// Kafka in the cache, with all that it needs to start.
#[derive(Clone, Debug)]
pub struct Kafka {
    /// The folder of the archives.
    libs: PathBuf,
    /// Classes as Java has them in memory, of which it makes use if they are good.
    pub(super) classes: PathBuf,
}

impl Kafka {
    /// Where Kafka is kept below this folder, and what goes with a Java of this version.
    pub(super) fn below(home: &Path, java: &str) -> Kafka {
        Kafka {
            libs: home.join("libs"),
            classes: home.join(format!("classes-{java}.jsa")),
        }
    }

    /// Java with Kafka's archives, started by these words, if any; what is to be run, and with what, is still to be
    /// added. `log` is the least that the program says, at its standard error.
    pub(super) fn java(&self, starter: &[&str], log: &str) -> Command {
        let mut command = match starter {
            [] => Command::new("java"),
            [program, arguments @ ..] => {
                let mut command = Command::new(program);
                command.args(arguments).arg("java");
                command
            }
        };
        // Java refuses to be told of some that are still to be made.
        let classes = self.classes.is_file();
        let classes = classes.then(|| option("-XX:SharedArchiveFile=", &self.classes));
        command
            .stdin(Stdio::null())
            .args(QUICK)
            .args(classes)
            .arg(format!("-Dorg.slf4j.simpleLogger.defaultLogLevel={log}"))
            .arg("-cp")
            .arg(self.libs.join("*"));
        command
    }
}

/// An option of Java's with a path as its value.
pub(super) fn option(name: &str, path: &Path) -> OsString {
    let mut joined = OsString::from(name);
    joined.push(path);
    joined
}

/// Lets Maven copy Kafka's archives into a folder.
pub(super) fn fetch(home: &Path) -> Result<()> {
    let mut maven = maven()?;
    cache::remove_folder(home)?;
    fs::create_dir_all(home).with_context(|| format!("cannot make {}", home.display()))?;
    let project = home.join("pom.xml");
    fs::write(&project, project_text())
        .with_context(|| format!("cannot write {}", project.display()))?;
    maven.current_dir(home);
    maven.args(["dependency:copy-dependencies", "-DoutputDirectory=libs"]);
    let answer = maven.output().context("cannot start `mvn`")?;
    if !answer.status.success() {
        bail!(
            "cannot fetch Apache Kafka {VERSION}: Maven needs the network this once and ended with {}; repeat it in \
             {} with `mvn dependency:copy-dependencies -DoutputDirectory=libs`\n{}",
            answer.status,
            home.display(),
            String::from_utf8_lossy(&answer.stdout).trim()
        );
    }
    Ok(())
}

/// The project whose dependencies are all that is wanted: the broker, the console's tools, and something simple that
/// writes the log. What serves Kafka Connect comes with the tools and is of no use here.
fn project_text() -> String {
    let dependency = |group: &str, name: &str, version: &str, without: &str| {
        format!(
            "    <dependency>\n      <groupId>{group}</groupId><artifactId>{name}</artifactId>\
             <version>{version}</version>\n{without}    </dependency>\n"
        )
    };
    let kafka = "org.apache.kafka";
    let without = format!(
        "      <exclusions><exclusion><groupId>{kafka}</groupId><artifactId>connect-runtime</artifactId>\
         </exclusion></exclusions>\n"
    );
    let dependencies = [
        dependency(kafka, "kafka_2.13", VERSION, ""),
        dependency(kafka, "kafka-tools", VERSION, &without),
        dependency("org.slf4j", "slf4j-simple", "1.7.36", ""),
    ];
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n  <modelVersion>4.0.0</modelVersion>\n  \
         <groupId>slackwater</groupId><artifactId>kafka</artifactId><version>1</version>\n  <dependencies>\n{}  \
         </dependencies>\n</project>\n",
        dependencies.concat()
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Kafka, VERSION, project_text};

    #[test]
    fn is_the_pinned_version_the_one_fetched() {
        let text = project_text();
        let pinned = format!("<version>{VERSION}</version>");
        assert_eq!(text.matches(&pinned).count(), 2, "{text}");
        assert_eq!(text.matches("<dependency>").count(), 3, "{text}");
    }

    #[test]
    fn how_is_java_started() {
        let kafka = Kafka::below(Path::new("home"), "17.0.15");
        let words = |starter: &[&str]| {
            let command = kafka.java(starter, "error");
            let program = command.get_program().to_string_lossy().into_owned();
            let arguments = command
                .get_args()
                .map(|word| word.to_string_lossy().into_owned());
            [program]
                .into_iter()
                .chain(arguments)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert!(words(&[]).starts_with("java -XX:"), "{}", words(&[]));
        let started = words(&["setsid", "--wait"]);
        assert!(started.starts_with("setsid --wait java -XX:"), "{started}");
        let end = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error -cp home/libs/*";
        assert!(started.ends_with(end), "{started}");
    }
}
