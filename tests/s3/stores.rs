//! Is a bucket a store like every other, also when the service or the way to it misbehaves?

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use slackwater_buckets::{BucketStore, Patience};
use slackwater_dataflow::store::probe::{ConditionsError, check_conditions};
use slackwater_dataflow::store::{Put, Store, read_all};

use crate::contract::{CHECKS, read, write};
use crate::proxy::{Act, Proxy, Request};
use crate::server::{BUCKET, SECRET, Server, environment};

/// Longest time that a service is away here.
const PATIENCE: Patience = Patience::Of(Duration::from_secs(30));

fn store(port: u16, prefix: &str) -> BucketStore {
    BucketStore::open(BUCKET, prefix, PATIENCE, environment(port)).unwrap()
}

/// A store behind a proxy, and the proxy.
fn behind(
    server: &Server,
    decide: impl Fn(&Request) -> Act + Send + Sync + 'static,
) -> (BucketStore, Proxy) {
    let proxy = Proxy::start(server.port, decide);
    (store(proxy.port, "jobs/x"), proxy)
}

#[test]
fn does_a_bucket_keep_what_every_store_keeps() {
    // Of all that is listed, three names come at once.
    let server = Server::start_with(&[("MOTO_S3_DEFAULT_MAX_KEYS", "3")]);
    for (number, (question, check)) in CHECKS.into_iter().enumerate() {
        let started = Instant::now();
        check(&store(server.port, &format!("jobs/{number}")));
        println!("{question}: {:?}", started.elapsed());
    }
}

#[test]
fn are_objects_at_the_root_of_a_bucket() {
    let server = Server::start();
    let (root, below) = (store(server.port, ""), store(server.port, "log"));
    write(&root, "data/a", &[b"root"]).unwrap();
    below.put_if_absent("log/1", b"below").unwrap();
    assert_eq!(read(&root, "data/a"), b"root");
    // `log/log/1` is none of its own.
    assert_eq!(root.list("log/").unwrap(), [""; 0]);
    assert_eq!(below.list("log/").unwrap(), ["log/1"]);
}

#[test]
fn is_a_service_that_ignores_conditions_refused() {
    let server = Server::start();
    let (store, _proxy) = behind(&server, |_| Act::WithoutCondition);
    let refused = check_conditions(&store).unwrap_err();
    assert!(matches!(refused, ConditionsError::Ignored { .. }));
}

#[test]
fn is_a_put_whose_answer_was_lost_told_from_another_one_s() {
    let server = Server::start();
    let lose_first = |request: &Request| match (request.is_conditional, request.before) {
        (true, 0) => Act::LoseAnswer,
        _ => Act::Forward,
    };
    // A record: the caller reads whose it is.
    let (records, proxy) = behind(&server, lose_first);
    let put = records.put_if_absent("log/1", b"ours");
    assert!(matches!(put, Ok(Put::Exists) | Err(_)), "{put:?}");
    assert_eq!(
        records.put_if_absent("log/1", b"ours").unwrap(),
        Put::Exists
    );
    assert_eq!(read(&records, "log/1"), b"ours");
    let created = proxy
        .done()
        .into_iter()
        .filter(|(_, status)| *status == 200);
    let created = created
        .filter(|(request, _)| request.method == "PUT")
        .count();
    assert_eq!(created, 1, "{:?}", proxy.done());
    // An object: the store knows.
    let (objects, _proxy) = behind(&server, lose_first);
    write(&objects, "data/a", &[b"ours"]).unwrap();
    assert_eq!(read(&objects, "data/a"), b"ours");
}

#[test]
fn is_a_put_that_met_another_one_made_again() {
    let server = Server::start();
    // Neither done nor refused, three times.
    let (store, _proxy) = behind(&server, |request| {
        match (request.is_conditional, request.before) {
            (true, 0..3) => Act::Answer(409),
            _ => Act::Forward,
        }
    });
    assert_eq!(store.put_if_absent("log/1", b"ours").unwrap(), Put::Created);
    // For ever: that is no answer, and never that there is one.
    let (store, _proxy) = behind(&server, |request| match request.is_conditional {
        true => Act::Answer(409),
        false => Act::Forward,
    });
    let failed = store.put_if_absent("log/2", b"ours").unwrap_err();
    assert!(
        failed
            .to_string()
            .contains("409; another request is under way"),
        "{failed}"
    );
}

#[test]
fn are_parts_whose_answers_were_lost_sent_again() {
    let server = Server::start();
    // Of each kind of request the first: the beginning, a part, the end.
    let (store, proxy) = behind(&server, |request| {
        let is_of_parts = request.path.contains("upload");
        if is_of_parts && request.before < 2 {
            Act::LoseAnswer
        } else {
            Act::Forward
        }
    });
    let part = vec![1; 9 << 20];
    write(&store, "data/a", &[&part, &part]).unwrap();
    let there = read_all(&store, "data/a", u64::MAX).unwrap();
    assert!(there == [part.clone(), part].concat());
    assert!(proxy.done().len() > 6, "{:?}", proxy.done());
}

#[test]
fn is_a_service_that_is_away_waited_for() {
    const AWAY: Duration = Duration::from_secs(2);
    let server = Server::start();
    let is_away = Arc::new(AtomicBool::new(false));
    let away = Arc::clone(&is_away);
    let (store, _proxy) = behind(&server, move |_| match away.load(Ordering::SeqCst) {
        true => Act::HangUp,
        false => Act::Forward,
    });
    write(&store, "data/a", &[b"before"]).unwrap();
    let part = vec![1; 9 << 20];
    for is_stalled in [false, true] {
        is_away.store(!is_stalled, Ordering::SeqCst);
        if is_stalled {
            server.stall();
        }
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(AWAY);
                is_away.store(false, Ordering::SeqCst);
                server.go_on();
            });
            let started = Instant::now();
            assert_eq!(read(&store, "data/a"), b"before");
            assert!(started.elapsed() > AWAY / 2, "{:?}", started.elapsed());
        });
        let name = format!("data/{is_stalled}");
        is_away.store(true, Ordering::SeqCst);
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(AWAY);
                is_away.store(false, Ordering::SeqCst);
            });
            write(&store, &name, &[&part]).unwrap();
        });
        assert_eq!(store.open(&name).unwrap().length(), part.len() as u64);
    }
}

#[test]
fn does_an_error_say_what_to_do_and_nothing_secret() {
    let server = Server::start();
    let short = Patience::Of(Duration::from_millis(300));
    let check = |bucket: &str, port: u16, kind: ErrorKind, says: &[&str]| {
        let store = BucketStore::open(bucket, "p", short, environment(port)).unwrap();
        let results = [
            store.put_if_absent("log/1", b"x").map(drop),
            store.list("log/").map(drop),
            write(&store, "data/a", &[b"x"]),
        ];
        for error in results.map(Result::unwrap_err) {
            println!("{error}");
            assert_eq!(error.source.kind(), kind, "{error}");
            let (shown, inside) = (error.to_string(), format!("{error:?}"));
            assert!(says.iter().all(|word| shown.contains(word)), "{shown}");
            assert!(![shown, inside].iter().any(|it| it.contains(SECRET)));
        }
    };
    let place = "`s3://other/p/";
    check(
        "other",
        server.port,
        ErrorKind::Other,
        &[place, "there is no bucket `other`: make it"],
    );
    let refused = Proxy::start(server.port, |_| Act::Answer(403));
    let says = ["the service answered 403; look at AWS_ACCESS_KEY_ID"];
    check(BUCKET, refused.port, ErrorKind::PermissionDenied, &says);
    let broken = Proxy::start(server.port, |_| Act::Answer(503));
    check(
        BUCKET,
        broken.port,
        ErrorKind::Other,
        &["503; it is busy or broken"],
    );
    // A port that nobody has.
    let says = [
        "cannot connect to the service: ",
        "is AWS_ENDPOINT_URL right",
    ];
    check(BUCKET, 1, ErrorKind::NotConnected, &says);
}
