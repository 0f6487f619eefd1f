//! Is the standard input read whole, without ever making a worker wait?
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use slackwater_dataflow::source::Payload;

use super::*;

/// Longest wait for a condition. Only a failure takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

const ALONE: Share = Share {
    worker: 0,
    workers: 1,
};

/// An input that is silent until it is told what to give: a piece, an error, or its end when all tellers
/// are gone.
struct Told(Receiver<io::Result<&'static str>>);

impl Read for Told {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.recv() {
            Ok(piece) => piece?.as_bytes().read(buffer),
            Err(_) => Ok(0),
        }
    }
}

struct Scene {
    teller: Option<Sender<io::Result<&'static str>>>,
    woken: Receiver<()>,
    reader: Box<dyn SourceReader>,
}

impl Scene {
    fn new() -> Self {
        let (teller, told) = crossbeam_channel::unbounded();
        let (wake, woken) = crossbeam_channel::unbounded();
        let wake = Wake::new(move || {
            wake.send(()).ok();
        });
        let reader = StdinSource::of(Told(told), 100)
            .open(ALONE, &Starts::beginning(), wake)
            .unwrap();
        Scene {
            teller: Some(teller),
            woken,
            reader,
        }
    }

    fn tell(&self, piece: io::Result<&'static str>) {
        self.teller.as_ref().unwrap().send(piece).unwrap();
    }

    /// Polls once; the records as `offset=record`, a dot for the end.
    fn poll(&mut self, limit: usize) -> (String, Result<Readiness, SourceError>) {
        let mut seen = Vec::new();
        let readiness = self.reader.poll(Demand::of_all(limit), &mut |polled| {
            seen.push(match polled {
                Polled::Record {
                    offset,
                    payload: Payload::Whole(record),
                    ..
                } => format!("{offset}={}", String::from_utf8_lossy(record)),
                Polled::Finished(PARTITION) => ".".to_owned(),
                other => panic!("{other:?}"),
            });
            ControlFlow::Continue(())
        });
        (seen.join(" "), readiness)
    }

    fn check(&mut self, expected: &str, readiness: Readiness) {
        let (seen, told) = self.poll(9);
        assert_eq!((seen.as_str(), told.unwrap()), (expected, readiness));
    }

    fn wait(&self) {
        self.woken.recv_timeout(PATIENCE).unwrap();
    }
}

#[test]
fn is_a_silent_input_waited_for_and_never_by_the_worker() {
    let mut scene = Scene::new();
    scene.check("", Readiness::Waiting);
    scene.tell(Ok("a\nb"));
    scene.wait();
    scene.check("0=a", Readiness::Waiting);
    scene.tell(Err(io::ErrorKind::Interrupted.into()));
    scene.tell(Ok("c\r\n"));
    scene.wait();
    scene.check("2=bc", Readiness::Waiting);
    scene.tell(Ok("d"));
    scene.wait();
    scene.check("", Readiness::Waiting);
    scene.teller = None;
    scene.wait();
    scene.check("6=d .", Readiness::Finished);
    scene.check("", Readiness::Finished);
}

#[test]
fn is_an_error_told_after_what_came_before_it() {
    let check = |error: io::ErrorKind, expected: &str| {
        let mut scene = Scene::new();
        scene.tell(Ok("a\nb"));
        scene.tell(Err(error.into()));
        scene.wait();
        scene.wait();
        let (seen, told) = scene.poll(1);
        assert_eq!((seen.as_str(), told.unwrap()), ("0=a", Readiness::More));
        let error = scene.poll(1).1.unwrap_err().to_string();
        assert!(error.starts_with("cannot read stdin: "), "{error}");
        assert!(error.contains(expected), "{error}");
    };
    check(io::ErrorKind::BrokenPipe, "broken pipe");
    // It must not be taken for silence.
    check(io::ErrorKind::WouldBlock, "set it not to wait");
}

#[test]
fn is_the_input_read_by_one_worker_and_once() {
    let source = StdinSource::of(&b"a\n"[..], 100);
    let other = Share {
        worker: 1,
        workers: 2,
    };
    let mut reader = source
        .open(other, &Starts::beginning(), Wake::nobody())
        .unwrap();
    let emit = &mut |polled: Polled<'_>| panic!("{polled:?}");
    let readiness = reader.poll(Demand::of_all(9), emit).unwrap();
    assert_eq!(readiness, Readiness::Finished);
    source
        .open(ALONE, &Starts::beginning(), Wake::nobody())
        .map(drop)
        .unwrap();
    let error = source
        .open(ALONE, &Starts::beginning(), Wake::nobody())
        .map(drop)
        .unwrap_err();
    let expected = "cannot open stdin: it can be read only once";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn is_the_input_never_taken_for_what_was_read_before() {
    let check = |start: Start, expected: Result<Readiness, &str>| {
        let source = StdinSource::of(&b"a\n"[..], 100);
        let starts = [(PARTITION, start)].into_iter().collect();
        match source.open(ALONE, &starts, Wake::nobody()) {
            Ok(mut reader) => {
                let readiness = reader.poll(Demand::new(0, &|_| false), &mut |polled| {
                    panic!("{polled:?}")
                });
                assert_eq!(readiness.map_err(|_| ""), expected);
            }
            Err(error) => assert!(error.to_string().contains(expected.unwrap_err())),
        }
    };
    check(Start::At(Offset(0)), Ok(Readiness::Waiting));
    check(
        Start::At(Offset(2)),
        Err("cannot open stdin: it was read to byte 2 by an earlier run"),
    );
    check(Start::Ended, Ok(Readiness::Finished));
}

#[test]
fn is_the_position_behind_what_was_handed_out() {
    let mut scene = Scene::new();
    let check = |scene: &Scene, expected: u64| {
        assert_eq!(scene.reader.position(PARTITION), Some(Offset(expected)));
    };
    check(&scene, 0);
    scene.tell(Ok("a\r\nb"));
    scene.wait();
    scene.check("0=a", Readiness::Waiting);
    check(&scene, 3);
    scene.teller = None;
    scene.wait();
    scene.check("3=b .", Readiness::Finished);
    check(&scene, 4);
    assert_eq!(scene.reader.position(PartitionId(1)), None);
}

#[test]
fn is_nothing_handed_out_while_it_must_not_be() {
    let source = StdinSource::of(&b"a\n"[..], 100);
    let mut reader = source
        .open(ALONE, &Starts::beginning(), Wake::nobody())
        .unwrap();
    let emit = &mut |polled: Polled<'_>| panic!("{polled:?}");
    let readiness = reader.poll(Demand::new(9, &|_| false), emit).unwrap();
    assert_eq!(readiness, Readiness::Waiting);
}

/// Gives bytes without an end and counts them; tells when it is dropped.
struct Endless {
    given: Arc<Mutex<usize>>,
    _dropped: Sender<()>,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        buffer.fill(b'\n');
        *self.given.lock().unwrap() += buffer.len();
        Ok(buffer.len())
    }
}

#[test]
fn is_no_more_read_ahead_than_the_queue_holds() {
    let given = Arc::new(Mutex::new(0));
    let (dropped, gone) = crossbeam_channel::unbounded::<()>();
    let source = StdinSource::of(
        Endless {
            given: Arc::clone(&given),
            _dropped: dropped,
        },
        100,
    );
    let (wake, woken) = crossbeam_channel::unbounded();
    let wake = Wake::new(move || {
        wake.send(()).ok();
    });
    let mut reader = source.open(ALONE, &Starts::beginning(), wake).unwrap();
    for _ in 0..BLOCKS_AHEAD {
        woken.recv_timeout(PATIENCE).unwrap();
    }
    // The queue is full; one more block may be in the thread's hands.
    let taken = READ_BYTES;
    let mut records = 0;
    while records < taken {
        let demand = Demand::of_all(taken - records);
        let counted = reader.poll(demand, &mut |_| {
            records += 1;
            ControlFlow::Continue(())
        });
        counted.unwrap();
    }
    drop(reader);
    let ended = gone.recv_timeout(PATIENCE);
    assert_eq!(
        ended,
        Err(crossbeam_channel::RecvTimeoutError::Disconnected)
    );
    // Read ahead, in the thread's hands, in the reader's, and one that was taken.
    let most = (BLOCKS_AHEAD + 1) * READ_BYTES + BLOCK_BYTES + taken;
    let given = *given.lock().unwrap();
    assert!(given <= most, "{given} bytes were read of at most {most}");
}
