//! Redis that speaks TLS: a job that looks things up there, and what a person is told of whatever does not fit.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use slackwater_services::free_port;
use slackwater_services::redis::Redis;
use slackwater_services::redis::certificates::{Authority, Issued};
use tempfile::TempDir;

use crate::job::Job;
use crate::mirror;
use crate::scene::{constant, looking_up, outcomes, redis, run, variation};

/// Longer than it takes to find out that both sides do not agree, on a busy machine too.
const PROMPT: Duration = Duration::from_secs(10);

/// A server that speaks TLS at another port than the plain one.
struct Secured {
    redis: Redis,
    port: u16,
    authority: Authority,
    folder: TempDir,
}

impl Secured {
    /// One whose certificate is for these names, and that wants certificates of clients or not.
    fn start(names: &str, wants_certificates: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::make(&folder.path().join("authority")).unwrap();
        let Issued { certificate, key } = authority.issue(names).unwrap();
        let port = free_port().unwrap();
        let trusted = authority.certificate();
        let options = [
            "--tls-port",
            &port.to_string(),
            "--tls-cert-file",
            path(&certificate),
            "--tls-key-file",
            path(&key),
            "--tls-ca-cert-file",
            path(&trusted),
            "--tls-auth-clients",
            if wants_certificates { "yes" } else { "no" },
        ];
        Secured {
            redis: redis(&options),
            port,
            authority,
            folder,
        }
    }

    fn url(&self) -> String {
        format!("rediss://127.0.0.1:{}/0", self.port)
    }

    /// A job that asks it, with more keys of the lookup.
    fn job(&self, more: &str) -> Job {
        patient(looking_up(variation(20_000, 0), &self.url(), more))
    }

    fn trusting(&self) -> String {
        trusting(&self.authority)
    }
}

/// To agree takes its time where others want the processor too.
fn patient(mut job: Job) -> Job {
    let name = "[[lookup]]\n";
    job.rewrite(|text| {
        assert!(text.contains(name));
        text.replacen(name, &format!("{name}connect_timeout = \"3s\"\n"), 1)
    });
    job
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn trusting(authority: &Authority) -> String {
    format!("ca = {{ file = {:?} }}", path(&authority.certificate()))
}

fn showing(issued: &Issued) -> String {
    format!(
        "certificate = {{ file = {:?} }}\ncertificate_key = {{ file = {:?} }}",
        path(&issued.certificate),
        path(&issued.key)
    )
}

/// What `check` says of a job, and how it ends; soon.
fn check(job: &Job) -> (String, Option<i32>) {
    let begun = Instant::now();
    let checked = job.command(&["check"]).output().unwrap();
    assert!(begun.elapsed() < PROMPT, "{:?}", begun.elapsed());
    let said = [checked.stdout, checked.stderr].concat();
    (
        String::from_utf8_lossy(&said).into_owned(),
        checked.status.code(),
    )
}

fn refused(job: &Job, expected: &str) {
    let (said, code) = check(job);
    assert_eq!(code, Some(3), "{expected}\n{said}");
    assert!(said.contains(expected), "{expected}\n{said}");
}

/// Each event has the score that it has where the weight of all is 5.
fn is_enriched(job: &Job) {
    let expected = constant(variation(20_000, 0), 5.0);
    run(&expected);
    let expected = outcomes(&expected.outputs);
    let (said, code) = check(job);
    assert_eq!(code, Some(0), "{said}");
    run(job);
    let found = outcomes(&job.outputs);
    assert_eq!(found.len(), expected.len());
    let mut fresh = 0;
    for (place, (stream, record)) in &found {
        let (wanted_stream, wanted): &(&str, Value) = &expected[place];
        assert_eq!(stream, wanted_stream, "{record}");
        assert_eq!(record["prediction"], wanted["prediction"], "{record}");
        fresh += usize::from(record["lookups"]["profile"]["from"] == "fresh");
    }
    assert!(fresh > 10_000, "{fresh}");
}

fn give_weights(redis: &Redis) {
    for user in 0..2_000 {
        let key = format!("profile:user_{user}");
        let answer = redis.ask(&[b"HSET", key.as_bytes(), b"weight", b"5"]);
        assert_eq!(answer.unwrap(), ":1");
    }
}

#[test]
fn does_a_job_look_up_what_is_encrypted_on_its_way() {
    let secured = Secured::start("IP:127.0.0.1", false);
    give_weights(&secured.redis);
    let more = format!("{}\ntimeout = \"1s\"", secured.trusting());
    is_enriched(&secured.job(&more));
}

#[test]
fn are_histories_kept_where_what_comes_is_encrypted() {
    let secured = Secured::start("IP:127.0.0.1", true);
    let issued = secured.authority.issue("DNS:client").unwrap();
    let more = [trusting(&secured.authority), showing(&issued)].join("\n");
    let more = format!("{more}\nconnect_timeout = \"3s\"");
    let job = mirror::mirrored_with(variation(20_000, 0), &secured.url(), &more, Vec::new());
    run(&job);
    mirror::check(&job, &secured.redis);
}

#[test]
fn does_a_job_show_who_it_is() {
    let secured = Secured::start("IP:127.0.0.1", true);
    give_weights(&secured.redis);
    let wanted = "it wants a certificate of who asks: give `certificate` and `certificate_key`";
    refused(&secured.job(&secured.trusting()), wanted);
    let other = Authority::make(&secured.folder.path().join("other")).unwrap();
    let with = |issued: &Issued| format!("{}\n{}", secured.trusting(), showing(issued));
    let not_ours = other.issue("DNS:client").unwrap();
    refused(
        &secured.job(&with(&not_ours)),
        "it does not accept our `certificate`",
    );
    let ours = secured.authority.issue("DNS:client").unwrap();
    let mixed = Issued {
        key: not_ours.key,
        ..ours.clone()
    };
    refused(
        &secured.job(&with(&mixed)),
        "`certificate` and `certificate_key` cannot be used",
    );
    let more = format!("{}\ntimeout = \"1s\"", with(&ours));
    is_enriched(&secured.job(&more));
}

#[test]
fn is_whatever_does_not_fit_refused_with_what_to_do() {
    let secured = Secured::start("DNS:elsewhere.example", false);
    let other = Authority::make(&secured.folder.path().join("other")).unwrap();
    refused(
        &secured.job(&trusting(&other)),
        "its certificate is of nobody whom we trust: name who signs it with `ca`",
    );
    refused(
        &secured.job(""),
        "its certificate is of nobody whom we trust: name who signs it with `ca`",
    );
    refused(
        &secured.job(&secured.trusting()),
        "its certificate is not for `127.0.0.1`: write a name in `url` that it is for",
    );
    let no_file = "ca = { file = \"/no/such/file\" }";
    refused(
        &secured.job(no_file),
        "no value for the ca of lookup `profile`: `/no/such/file` cannot be read",
    );
    let no_certificates = format!(
        "ca = {{ file = {:?} }}",
        path(&secured.folder.path().join("x"))
    );
    std::fs::write(secured.folder.path().join("x"), "no certificate").unwrap();
    refused(
        &secured.job(&no_certificates),
        "`ca` holds no certificates in PEM",
    );
    // Each at the other's port.
    let plain = format!("redis://127.0.0.1:{}", secured.port);
    refused(
        &patient(looking_up(variation(1, 0), &plain, "")),
        "if it speaks TLS, write `rediss://` in `url`",
    );
    let encrypted = secured.redis.url().replace("redis:", "rediss:");
    refused(
        &patient(looking_up(variation(1, 0), &encrypted, &secured.trusting())),
        "gave no connection within 3000 ms; if it speaks no TLS, write `redis://` in `url`",
    );
}

/// A server that takes the connection and then says nothing: the handshake has the time of connecting, and no more.
#[test]
fn does_a_handshake_that_hangs_hold_nobody_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let job = looking_up(
        variation(1, 0),
        &format!("rediss://127.0.0.1:{port}"),
        "connect_timeout = \"300ms\"",
    );
    let (said, code) = check(&job);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("gave no connection within 300 ms"), "{said}");
}
