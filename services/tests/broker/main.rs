//! Does the real Kafka do what the tests of the engine will ask of it, and leave nothing behind?
//!
//! Needs Java, and Maven with the network the first time; where they are missing these tests fail and say so.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use slackwater_services::kafka::{
    Broker, Kafka, Listener, Read, Reading, Record, Settings, Tools, install, resident,
};
use slackwater_services::{free_port, kafka};

/// Kafka, or what is missing on this machine.
fn installed() -> Kafka {
    install(|_| ()).unwrap_or_else(|error| unavailable(&error))
}

#[expect(clippy::panic, reason = "a test that cannot run has failed")]
fn unavailable(error: &anyhow::Error) -> ! {
    panic!("{error:#}")
}

fn broker() -> Broker {
    Broker::start(&installed(), &Settings::default()).unwrap()
}

/// What was read, without where it stood.
fn contents(read: &[Read]) -> Vec<Record> {
    let mut records: Vec<Record> = read.iter().map(|read| read.record.clone()).collect();
    records.sort();
    records
}

/// Whether a process is there, and is no corpse that nobody has looked after.
fn lives(id: u32) -> bool {
    let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    !line.is_empty()
}

#[track_caller]
fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn does_a_killed_broker_come_back_with_its_records() {
    // From a thread that ends: the broker must not end with it.
    let mut broker = std::thread::spawn(broker).join().unwrap();
    let tools = broker.tools();
    tools
        .create_topic("events", 3, &[("max.message.bytes", "2000000")])
        .unwrap();
    assert_eq!(tools.topics().unwrap(), ["events"]);
    let plain = |number: u32| {
        let value = format!("{{\"number\": {number}, \"text\": \"a\\tb ä\"}}");
        Record::of(value).with_key(format!("key {}", number % 7))
    };
    let mut expected: Vec<Record> = (0..500).map(plain).collect();
    expected.push(
        Record::of("with headers")
            .with_header("epoch", "7")
            .with_header("epoch", ""),
    );
    expected.push(Record {
        key: Some(b"deleted: \\x00".to_vec()),
        value: None,
        headers: vec![("nothing".to_owned(), None)],
    });
    tools.produce("events", &expected).unwrap();
    expected.sort();
    let read = tools.consume(&Reading::of("events")).unwrap();
    assert_eq!(contents(&read), expected);
    let partitions: BTreeSet<i32> = read.iter().map(|read| read.partition).collect();
    assert_eq!(partitions, BTreeSet::from([0, 1, 2]));
    assert!(
        read.iter()
            .all(|read| read.time_ms > Some(1_700_000_000_000))
    );

    let (id, place) = (broker.id().unwrap(), broker.bootstrap());
    broker.kill().unwrap();
    assert!(!lives(id));
    assert!(broker.kill().is_err(), "killed twice");
    broker.restart().unwrap();
    assert!(broker.restart().is_err(), "started while it runs");
    assert_eq!(broker.bootstrap(), place);
    assert_ne!(broker.id(), Some(id));
    let mut again = tools.consume(&Reading::of("events").committed()).unwrap();
    let mut before = read;
    before.sort();
    again.sort();
    assert_eq!(again, before);

    broker.stop().unwrap();
    broker.restart().unwrap();
    let some = tools.consume(&Reading::of("events").at_most(10)).unwrap();
    assert_eq!(some.len(), 10);
    let folder = broker.folder().to_path_buf();
    let id = broker.id().unwrap();
    drop(broker);
    assert!(!lives(id) && !folder.exists());
}

#[test]
fn does_a_paused_broker_answer_when_it_goes_on() {
    let broker = broker();
    let tools = broker.tools();
    tools.create_topic("events", 1, &[]).unwrap();
    broker.pause().unwrap();
    let state = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", broker.id().unwrap())).unwrap();
        stat.rsplit(") ")
            .next()
            .and_then(|rest| rest.chars().next())
    };
    wait_for("it is not frozen", || state() == Some('T'));
    let refused = tools.produce("events", &[Record::of("a")]).unwrap_err();
    assert!(
        format!("{refused:#}").contains("cannot ask the broker"),
        "{refused:#}"
    );
    broker.resume().unwrap();
    tools.produce("events", &[Record::of("a")]).unwrap();
    let read = tools.consume(&Reading::of("events").at_most(1)).unwrap();
    assert_eq!(contents(&read), [Record::of("a")]);
}

#[test]
fn do_the_tools_say_what_is_wrong() {
    let settings = Settings {
        properties: vec![("message.max.bytes".to_owned(), "1000".to_owned())],
        listeners: vec![Listener {
            name: "PROXIED".to_owned(),
            protocol: "PLAINTEXT".to_owned(),
            advertised: Some(free_port().unwrap()),
        }],
        ..Settings::default()
    };
    let broker = Broker::start(&installed(), &settings).unwrap();
    assert!(
        broker
            .address("PROXIED")
            .is_some_and(|address| address != broker.bootstrap())
    );
    assert_eq!(broker.address("PLAINTEXT"), Some(broker.bootstrap()));
    assert_eq!(broker.address("OTHER"), None);
    let tools = broker.tools();
    let check = |outcome: anyhow::Result<()>, hint: &str| {
        let said = format!("{:#}", outcome.unwrap_err());
        assert!(said.contains(hint), "{said}");
    };
    tools.create_topic("events", 2, &[]).unwrap();
    check(tools.create_topic("events", 2, &[]), "already exists");
    check(
        tools.create_topic("other", 1, &[("no.such", "1")]),
        "no.such",
    );
    check(tools.set_partitions("events", 1), "partition");
    tools.set_partitions("events", 4).unwrap();
    check(tools.delete_topic("other"), "does not exist");
    check(
        tools.produce("other", &[]),
        "no topic `other`; there are: events",
    );
    check(
        tools.consume(&Reading::of("other")).map(drop),
        "no topic `other`",
    );
    let long = Record::of("a".repeat(5000));
    check(tools.produce("events", &[long]), "RecordTooLargeException");
    tools.delete_topic("events").unwrap();
    wait_for("the topic stays", || tools.topics().unwrap().is_empty());
}

#[test]
fn does_a_broker_that_cannot_start_say_why() {
    let settings = Settings {
        properties: vec![("process.roles".to_owned(), "moon".to_owned())],
        ..Settings::default()
    };
    let refused = Broker::start(&installed(), &settings).err().unwrap();
    assert!(format!("{refused:#}").contains("moon"), "{refused:#}");
    let taken = broker();
    let settings = Settings {
        port: taken.bootstrap().rsplit(':').next().unwrap().parse().ok(),
        ..Settings::default()
    };
    let refused = Broker::start(&installed(), &settings).err().unwrap();
    assert!(format!("{refused:#}").contains("in use"), "{refused:#}");
}

/// Set for the copy of this program that owns a broker and is killed.
const OWNER: &str = "SLACKWATER_OWNS_A_BROKER";

#[test]
fn does_a_broker_end_with_the_process_that_owns_it() {
    if std::env::var_os(OWNER).is_some() {
        own_a_broker();
    }
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "does_a_broker_end_with_the_process_that_owns_it",
            "--nocapture",
        ])
        .env(OWNER, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(owner.stdout.take().unwrap()).lines();
    let id = said.find_map(|line| line.unwrap().split("broker ").nth(1)?.trim().parse().ok());
    let id: u32 = id.unwrap();
    assert!(lives(id));
    owner.kill().unwrap();
    owner.wait().unwrap();
    wait_for("the broker lives on", || !lives(id));
}

/// Starts a broker, says which, and waits to be killed.
#[expect(clippy::print_stdout, reason = "to its parent")]
fn own_a_broker() -> ! {
    let broker = broker();
    println!("broker {}", broker.id().unwrap());
    loop {
        std::thread::park();
    }
}

#[test]
fn does_a_resident_broker_stay_until_it_is_stopped() {
    let kafka = installed();
    let folder = tempfile::tempdir().unwrap();
    let resident = kafka::Resident::of(Some(folder.path())).unwrap();
    let stopped = Stopped(&resident);
    assert_eq!(resident.stop().unwrap(), None);
    assert!(
        resident
            .running()
            .unwrap_err()
            .to_string()
            .contains("does not run")
    );
    let port = free_port().unwrap();
    let resident::Started::Now(process, took) = resident.start(&kafka, port).unwrap() else {
        unreachable!("it ran before it was started");
    };
    assert!(took > Duration::ZERO && process.port == port);
    let again = resident.start(&kafka, port).unwrap();
    assert!(
        matches!(again, resident::Started::Before(other) if other == process),
        "{again:?}"
    );
    let tools = Tools::new(&kafka, resident.running().unwrap().port);
    tools.create_topic("a", 1, &[]).unwrap();
    assert_eq!(resident.topics(&process).unwrap(), ["a"]);
    let lines = folder.path().join("lines");
    fs::write(&lines, "k:v\nl:w:x\n").unwrap();
    let input = || Stdio::from(fs::File::open(&lines).unwrap());
    tools.produce_lines("a", input(), Some(":")).unwrap();
    let expected = [
        Record::of("v").with_key("k"),
        Record::of("w:x").with_key("l"),
    ];
    assert_eq!(
        contents(&tools.consume(&Reading::of("a").at_most(2)).unwrap()),
        expected
    );
    let refused = tools.produce_lines("a", input(), Some("=")).unwrap_err();
    assert!(
        format!("{refused:#}").contains("key separator"),
        "{refused:#}"
    );

    let other = tempfile::tempdir().unwrap();
    check_taken(&kafka, other.path(), port);
    assert_eq!(resident.stop().unwrap(), Some(process));
    assert!(!lives(process.id.unsigned_abs()));
    assert_eq!(resident.process().unwrap(), None);
    drop(stopped);
}

fn check_taken(kafka: &Kafka, folder: &Path, port: u16) {
    let other = kafka::Resident::of(Some(folder)).unwrap();
    let refused = other.start(kafka, port).unwrap_err().to_string();
    assert!(
        refused.contains(&format!("port {port} is taken")) && refused.contains("--port"),
        "{refused}"
    );
}

/// Stops a broker that stays by itself, also when the test fails.
struct Stopped<'a>(&'a kafka::Resident);

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        drop(self.0.stop());
    }
}
