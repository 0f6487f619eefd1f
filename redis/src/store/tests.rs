//! What does each kind of reply mean, and does a server that misbehaves hold anybody up?

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use slackwater_dataflow::lookup::{Answer, AskError, Connect as _};

use super::{Read, RedisStore};
use crate::address::Address;

const TIMEOUT: Duration = Duration::from_millis(300);

/// A server that reads what comes first on each connection, answers with these bytes, one text for each connection, and closes
/// the last one when nobody listens any more. With a pause it sends a byte at a time.
fn server(texts: &[&str], pause: Duration) -> RedisStore {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
    thread::spawn(move || {
        for text in texts {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 4096];
            let _ = stream.read(&mut asked).unwrap();
            for piece in text
                .as_bytes()
                .chunks(if pause.is_zero() { usize::MAX } else { 1 })
            {
                // Errors when the other side has given up.
                if stream.write_all(piece).is_err() {
                    break;
                }
                thread::sleep(pause);
            }
        }
    });
    RedisStore {
        address: Address {
            host: "127.0.0.1".to_owned(),
            port,
            database: 0,
            user: None,
            password: None,
            encrypted: false,
            tls: None,
        },
        read: Read::Value,
        answer_bytes_max: 40,
    }
}

/// Asks for so many keys: the answers, and why there are no more.
fn ask(store: &RedisStore, keys: usize) -> (Vec<Answer>, Option<AskError>) {
    let keys: Vec<Box<[u8]>> = (0..keys)
        .map(|key| Box::from(key.to_string().as_bytes()))
        .collect();
    let mut answers = Vec::new();
    let mut connection = store.connect(TIMEOUT).unwrap();
    let mut give = |answer| answers.push(answer);
    let error = connection.ask(&keys, TIMEOUT, &mut give).err();
    (answers, error)
}

fn value(text: &str) -> Answer {
    Answer::Found(vec![Some(Box::from(text.as_bytes()))])
}

fn unavailable(reason: &str) -> Option<AskError> {
    Some(AskError::Unavailable(reason.to_owned()))
}

#[test]
fn what_does_each_reply_mean() {
    let check = |replies: &str, keys, expected: (&[Answer], Option<AskError>)| {
        let store = server(&[replies], Duration::ZERO);
        let (answers, error) = ask(&store, keys);
        assert_eq!((answers.as_slice(), error), expected, "{replies:?}");
    };
    check(
        "$1\r\n7\r\n$-1\r\n",
        2,
        (&[value("7"), Answer::Missing], None),
    );
    check(
        ":7\r\n",
        1,
        (&[Answer::Bad("it is no string".to_owned())], None),
    );
    let wrong = Answer::Bad("WRONGTYPE of another kind".to_owned());
    check(
        "-WRONGTYPE of another kind\r\n$1\r\n7\r\n",
        2,
        (&[wrong, value("7")], None),
    );
    // What would be said of other keys as well is not about this one.
    for reason in [
        "LOADING it is",
        "READONLY it is",
        "MOVED 1 h:1",
        "NOAUTH first",
        "ERR max number of clients reached",
    ] {
        let replies = format!("$1\r\n7\r\n-{reason}\r\n");
        check(&replies, 3, (&[value("7")], unavailable(reason)));
    }
    let told = |replies: &str, expected: &str| {
        let store = server(&[replies], Duration::ZERO);
        let (answers, error) = ask(&store, 2);
        assert_eq!(answers, [value("7")], "{replies:?}");
        let Some(AskError::Unavailable(reason)) = error else {
            panic!("{replies:?}: {error:?}");
        };
        assert!(reason.contains(expected), "{reason}");
    };
    told("$1\r\n7\r\n", "");
    told("$1\r\n7\r\n$9\r\nhalf", "");
    told(
        "$1\r\n7\r\nHTTP/1.1 400\r\n",
        "it does not speak as Redis does",
    );
}

/// It is told once for each of the keys that it leaves without an answer.
#[test]
fn is_little_repeated_of_a_long_refusal() {
    let mut store = server(
        &[&format!("-ERR {}\r\n", "x".repeat(50_000))],
        Duration::ZERO,
    );
    store.answer_bytes_max = 100_000;
    let (answers, error) = ask(&store, 1);
    assert_eq!(answers, []);
    let reason = error.unwrap().to_string();
    assert!(reason.len() < 1_000, "{}", reason.len());
    assert!(reason.ends_with("xxx..."), "{reason}");
}

#[test]
fn what_does_a_hash_hold() {
    let check = |reply: &str, expected: Answer| {
        let fields = ["a", "b"].map(str::to_owned).to_vec();
        let store = RedisStore {
            read: Read::Fields(fields),
            ..server(&[reply], Duration::ZERO)
        };
        assert_eq!(ask(&store, 1), (vec![expected], None), "{reply:?}");
    };
    let found = |a: Option<&str>, b: Option<&str>| {
        let field = |text: Option<&str>| text.map(|text| Box::from(text.as_bytes()));
        Answer::Found(vec![field(a), field(b)])
    };
    check("*2\r\n$1\r\n1\r\n$1\r\n2\r\n", found(Some("1"), Some("2")));
    check("*2\r\n$-1\r\n$0\r\n\r\n", found(None, Some("")));
    check("*2\r\n$-1\r\n$-1\r\n", Answer::Missing);
    check("*1\r\n$1\r\n1\r\n", Answer::Bad("it is no hash".to_owned()));
    check("$1\r\n1\r\n", Answer::Bad("it is no hash".to_owned()));
    check(
        "*2\r\n:1\r\n$1\r\n1\r\n",
        Answer::Bad("it is no string".to_owned()),
    );
}

/// The largest that may be, and one byte more; what stands behind that on the connection is asked for on another one.
#[test]
fn is_a_value_that_is_too_large_of_its_key_alone() {
    // 40 bytes with its head and end.
    let largest = format!("$33\r\n{}\r\n", "x".repeat(33));
    assert_eq!(largest.len(), 40);
    let larger = format!("$99\r\n{}", "x".repeat(60));
    let first = format!("{largest}{larger}");
    let store = server(&[&first, "$1\r\n3\r\n$1\r\n4\r\n"], Duration::ZERO);
    let (answers, error) = ask(&store, 4);
    let too_large = Answer::Bad("it is larger than 40 bytes".to_owned());
    let expected = [value(&"x".repeat(33)), too_large, value("3"), value("4")];
    assert_eq!((answers.as_slice(), error), (&expected[..], None));
}

#[test]
fn does_a_byte_now_and_then_hold_nobody_up() {
    let store = server(&["$20\r\n01234567890123456789\r\n"], TIMEOUT / 5);
    let begun = Instant::now();
    assert_eq!(ask(&store, 1), (vec![], Some(AskError::TimedOut)));
    assert!(begun.elapsed() < 3 * TIMEOUT, "{:?}", begun.elapsed());
}

#[test]
fn is_a_server_that_wants_tls_told_to_want_it() {
    // What OpenSSL says to who does not speak TLS.
    let store = server(&["\u{15}\u{3}\u{1}\0\u{2}\u{2}F"], Duration::ZERO);
    let (answers, error) = ask(&store, 1);
    assert_eq!(answers, []);
    assert_eq!(
        error,
        unavailable("it speaks TLS: write `rediss://` in `url`")
    );
    let store = server(&[""], Duration::ZERO);
    let Some(AskError::Unavailable(reason)) = ask(&store, 1).1 else {
        panic!("it has answered nothing");
    };
    assert!(
        reason.ends_with("if it speaks TLS, write `rediss://` in `url`"),
        "{reason}"
    );
}

#[test]
fn is_a_secret_that_a_server_repeats_not_told() {
    let reply = "-ERR unknown command 'AUTH', with args beginning with: 'canary'\r\n";
    let mut store = server(&[reply], Duration::ZERO);
    store.address.password = Some("canary".to_owned());
    let Err(error) = store.connect(TIMEOUT) else {
        panic!("it was let in");
    };
    assert_eq!(
        Some(error),
        unavailable("it answers ERR to who we say we are")
    );
}

#[test]
fn is_a_server_that_is_not_there_told_at_once() {
    let mut store = server(&[], Duration::ZERO);
    // Nobody listens at the port of a listener that is gone.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    store.address.port = gone.local_addr().unwrap().port();
    drop(gone);
    let begun = Instant::now();
    assert!(matches!(
        store.connect(TIMEOUT),
        Err(AskError::Unavailable(_))
    ));
    assert!(begun.elapsed() < TIMEOUT, "{:?}", begun.elapsed());
}
