//! From nothing to a Kafka that starts quickly, once for each version: its archives in the cache, and beside them the
//! classes that a broker loads, as the Java of this machine has them in memory. With these each program is there in half
//! of the time, and tests start many.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::archives::{Kafka, VERSION, fetch, option};
use super::broker::Broker;
use super::java::java_version;
use super::node::Settings;
use crate::cache;

/// Kafka of the pinned version, fetched first if it is not in the cache. What takes long is told to `say` before it
/// begins: half a minute, once.
///
/// # Errors
/// When Java or Maven is missing or Java too old, with what to install; when the archives cannot be fetched.
pub fn install(say: impl Fn(&str)) -> Result<Kafka> {
    let cache = cache::folder()?;
    let home = cache.join(format!("kafka-{VERSION}"));
    let kafka = Kafka::below(&home, &java_version()?);
    let complete = home.join(cache::COMPLETE);
    let ready = || complete.is_file() && kafka.classes.is_file();
    if ready() {
        return Ok(kafka);
    }
    let _lock = cache::lock(&cache)?;
    // Others may have done it while this one waited.
    if !complete.is_file() {
        say(&format!(
            "fetching Apache Kafka {VERSION} into {}",
            home.display()
        ));
        fetch(&home)?;
        fs::write(&complete, VERSION)
            .with_context(|| format!("cannot finish {}", home.display()))?;
    }
    if !ready() {
        say(&format!(
            "preparing Apache Kafka {VERSION} for this machine's Java"
        ));
        keep_classes(&kafka, &kafka.classes)?;
    }
    Ok(kafka)
}

/// What a Java says that has not even its own classes so.
const UNABLE: &str = "DynamicDumpSharedSpaces is unsupported";

/// Lets a broker start and stop, and keeps what classes it has loaded. A Java that cannot do this leaves nothing; then
/// the file is empty, and every Java passes over such a one.
fn keep_classes(kafka: &Kafka, classes: &Path) -> Result<()> {
    let unfinished = classes.with_extension("new");
    let archive = option("-XX:ArchiveClassesAtExit=", &unfinished);
    let settings = Settings {
        java: vec![archive.to_string_lossy().into_owned()],
        ..Settings::default()
    };
    match Broker::start(kafka, &settings) {
        Ok(mut broker) => broker.stop()?,
        Err(error) if format!("{error:#}").contains(UNABLE) => {}
        Err(error) => return Err(error),
    }
    let kept = if unfinished.is_file() {
        fs::rename(&unfinished, classes)
    } else {
        fs::write(classes, "")
    };
    kept.with_context(|| format!("cannot write {}", classes.display()))
}
