//! Brokers that speak TLS, and want to know who speaks to them: jobs in and out exactly once, and what a person is told of
//! whatever does not fit.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use slackwater_services::kafka::Settings;
use slackwater_services::kafka::certificates::Authority;
use slackwater_services::kafka::listeners::{Mechanism, User, secured};
use tempfile::TempDir;

use crate::cluster::{Cluster, INPUT, durable, expected_of, found, read, status, stop, wait_until};
use crate::content::lost_and_doubled;
use crate::job::Job;
use crate::reading::{VARIATION, input_count, produce_generated};

/// A listener whose certificate is for where it listens, and one whose certificate is for another place: with these names.
const SECURED: (&str, &str) = ("SECURED", "dns:localhost,ip:127.0.0.1");
const ELSEWHERE: (&str, &str) = ("ELSEWHERE", "dns:elsewhere.example");

const USER: &str = "canary";
/// It must not be found anywhere; a run of letters that nothing else has.
const PASSWORD: &str = "Kj7-tweet-Qz93";
const VARIABLE: &str = "PASSWORD_OF_A_TEST";

/// Longer than it takes to find out that brokers and client do not accept each other, on a busy machine too. `check` asks
/// the brokers of the source and of the sink, and waits ten seconds for each of them where nobody answers.
const PROMPT: Duration = Duration::from_secs(18);

/// A broker that speaks TLS, and who has issued its certificates.
struct Secured {
    cluster: Cluster,
    authority: Authority,
    /// Holds the authority's files, and whatever else is not the job's.
    folder: TempDir,
}

impl Secured {
    /// One with these listeners, and the names for which each has its certificate.
    fn start(listeners: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::make(&folder.path().join("authority")).unwrap();
        let users = vec![User {
            name: USER.to_owned(),
            password: PASSWORD.to_owned(),
        }];
        let mut settings = Settings::default();
        for &(name, names) in listeners {
            let keys = authority.issue(names).unwrap();
            let (listener, properties) = secured(name, &keys, &users);
            settings.listeners.push(listener);
            settings.properties.extend(properties);
        }
        settings.users = users;
        Secured {
            cluster: Cluster::with(&settings),
            authority,
            folder,
        }
    }

    /// A job that reads and writes topics at that listener.
    fn job(&self, (listener, _): (&str, &str), properties: &[(&str, String)]) -> Job {
        let mut job = self.cluster.reading(VARIATION, PLACE);
        let sink = format!("[sink]\n{PLACE}");
        let plain = self.cluster.broker.bootstrap();
        let address = self.cluster.broker.address(listener).unwrap();
        let of = |(name, value): &(&str, String)| format!("{name:?} = {value}");
        let properties: Vec<_> = properties.iter().map(of).collect();
        let properties = format!("properties = {{ {} }}", properties.join(", "));
        job.rewrite(|text| {
            let text = text.replace("[sink]\n", &format!("{sink}\n"));
            text.replace(&plain, &address).replace(PLACE, &properties)
        });
        job.tell(VARIABLE, PASSWORD);
        job
    }

    fn properties(&self, mechanism: Mechanism, password: &str) -> [(&'static str, String); 5] {
        let text = |text: &str| format!("{text:?}");
        [
            ("security.protocol", text("SASL_SSL")),
            (
                "ssl.ca.location",
                text(&path(&self.authority.certificate())),
            ),
            ("sasl.mechanism", text(mechanism.name())),
            ("sasl.username", text(USER)),
            ("sasl.password", password.to_owned()),
        ]
    }

    fn file(&self, name: &str, text: &str) -> String {
        let file = self.folder.path().join(name);
        fs::write(&file, text).unwrap();
        path(&file)
    }
}

/// A line of a pipeline in whose place properties are written.
const PLACE: &str = "# properties";

fn path(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn from_environment() -> String {
    format!("{{ env = {VARIABLE:?} }}")
}

/// Files below a folder that hold the password.
fn with_password(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(with_password(&entry.path()));
        } else if kind.is_file() {
            let bytes = fs::read(entry.path()).unwrap();
            let mut windows = bytes.windows(PASSWORD.len());
            found.extend(
                windows
                    .any(|window| window == PASSWORD.as_bytes())
                    .then(|| path(&entry.path())),
            );
        }
    }
    found
}

/// Runs a command of the job; what it has said, and how it has ended.
fn run(job: &Job, arguments: &[&str]) -> (String, Option<i32>) {
    let ran = job.command(arguments).output().unwrap();
    let said = [ran.stdout, ran.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(
        !said.contains(PASSWORD),
        "{arguments:?} tells the password: {said}"
    );
    (said, ran.status.code())
}

/// A job in and out exactly once, killed on its way, by a password that nobody else learns.
fn is_every_event_there_once_by(mechanism: Mechanism, password: impl FnOnce(&Secured) -> String) {
    let secured = Secured::start(&[SECURED]);
    let cluster = &secured.cluster;
    cluster.tools.create_topic(INPUT, 2, &[]).unwrap();
    produce_generated(cluster, 3, 20_000);
    let properties = secured.properties(mechanism, &password(&secured));
    let job = secured.job(SECURED, &properties);
    for arguments in [["check"].as_slice(), &["check", "--json"], &["explain"]] {
        let (said, code) = run(&job, arguments);
        assert_eq!(code, Some(0), "{said}");
    }
    let running = job.start();
    wait_until(&job, "a checkpoint", |it| durable(it) > 0);
    running.kill_all();
    produce_generated(cluster, 4, 5_000);
    let running = job.start();
    let there = input_count(cluster);
    wait_until(&job, "everything is read", |it| read(it) == there);
    let answer = status(&job).unwrap().to_string();
    assert!(!answer.contains(PASSWORD), "{answer}");
    stop(&job, running);
    let committed = cluster.content_but_source();
    let expected = expected_of(cluster, VARIATION);
    let difference = lost_and_doubled(&expected, &committed);
    assert_eq!(difference, (0, 0), "{}", job.said());
    assert!(committed == expected, "the order of a key\n{}", job.said());
    cluster.check_transactions();
    for arguments in [["checkpoints", "list"], ["checkpoints", "verify"]] {
        let (said, code) = run(&job, &arguments);
        assert_eq!(code, Some(0), "{said}");
    }
    assert!(!job.said().contains(PASSWORD), "{}", job.said());
    assert_eq!(with_password(job.folder()), Vec::<String>::new());
    // What looks for it would find it.
    let control = secured.file("control", &format!("a {PASSWORD} b"));
    assert!(with_password(secured.folder.path()).contains(&control));
    found(&format!(
        "A job over TLS, killed once, whose brokers know it by {}: {there} events, each once.",
        mechanism.name()
    ));
}

#[test]
fn is_every_event_there_once_by_proof_of_a_password() {
    is_every_event_there_once_by(Mechanism::ScramSha512, |_| from_environment());
}

#[test]
fn is_every_event_there_once_by_a_password() {
    is_every_event_there_once_by(Mechanism::Plain, |secured| {
        let file = secured.file("password", &format!("{PASSWORD}\n"));
        format!("{{ file = {file:?} }}")
    });
}

/// Whether a job is refused for that, soon, by `check` and by `run`.
fn refused(job: &Job, expected: &[&str]) {
    for arguments in [["check"], ["run"]] {
        let started = Instant::now();
        let (said, ended) = run(job, &arguments);
        let took = started.elapsed();
        assert_eq!(ended, Some(3), "{arguments:?}: {said}");
        for expected in expected {
            assert!(said.contains(expected), "{arguments:?}: {expected}\n{said}");
        }
        assert!(took < PROMPT, "{arguments:?}: {took:?}\n{said}");
    }
}

#[test]
fn is_whatever_does_not_fit_refused_with_what_to_do() {
    let secured = Secured::start(&[SECURED, ELSEWHERE]);
    let tools = &secured.cluster.tools;
    tools.create_topic(INPUT, 1, &[]).unwrap();
    let by = |mechanism| secured.properties(mechanism, &from_environment());
    let good = by(Mechanism::ScramSha512);
    let (said, code) = run(&secured.job(SECURED, &good), &["check"]);
    assert_eq!(code, Some(0), "{said}");

    let not_accepted = [
        "they do not accept this client. `sasl.mechanism`, `sasl.username` and `sasl.password` in `properties`",
        "uthentication failed",
    ];
    for mechanism in [Mechanism::Plain, Mechanism::ScramSha512] {
        let mut job = secured.job(SECURED, &by(mechanism));
        job.tell(VARIABLE, &format!("not-{}", &PASSWORD[1..]));
        refused(&job, &not_accepted);
    }

    let other = Authority::make(&secured.folder.path().join("other")).unwrap();
    let trusting = |file: &Path| {
        let mut properties = good.clone();
        properties[1].1 = format!("{:?}", path(file));
        secured.job(SECURED, &properties)
    };
    let not_trusted = "their certificate is not one that this client trusts. `ssl.ca.location`";
    refused(&trusting(&other.certificate()), &[not_trusted]);
    let missing =
        "the property `ssl.ca.location` names `/no/such/file`, which cannot be read: No such file";
    refused(&trusting(Path::new("/no/such/file")), &[missing]);

    let elsewhere =
        "their certificate is for other names than the one by which they were reached. `brokers`";
    refused(&secured.job(ELSEWHERE, &good), &[elsewhere]);

    let written = secured.properties(Mechanism::Plain, "\"not-the-password\"");
    let (said, code) = run(&secured.job(SECURED, &written), &["check"]);
    assert_eq!(code, Some(3), "{said}");
    let warned =
        "`sasl.password` in the properties of [sink] is a secret, and stands in the pipeline file";
    assert!(
        said.contains(warned) && !said.contains("not-the-password"),
        "{said}"
    );
    let half =
        "cannot use the property `security.protocol`: SASL_SSL needs `sasl.mechanism` beside it";
    refused(&secured.job(SECURED, &good[..2]), &[half]);
}
