//! Wherever an attempt stopped: does the next one leave the bytes that an undisturbed one leaves?

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, any, prop_assert_eq};
use proptest::strategy::Strategy;

use super::*;

/// Publishes two epochs, the second one by another process, which finds what `half_done` has left.
fn second_after(half_done: &dyn Fn(&Path)) -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = two_epochs();
    let (mut sink, _) = taken(folder.path(), 1);
    first.publish(&mut sink).unwrap();
    drop(sink);
    half_done(folder.path());
    let (mut sink, markers) = taken(folder.path(), 2);
    assert_eq!(markers, [first.marker(), None]);
    // What was shown before is shown again, and no more.
    let shown = &tree(folder.path())["predictions/shard-0.jsonl.committed"];
    assert_eq!(shown, "6\n");
    second.by(2).publish(&mut sink).unwrap();
    tree(folder.path())
}

#[test]
fn does_a_half_done_epoch_leave_nothing_behind() {
    let undisturbed = second_after(&|_| {});
    let append = |root: &Path, name: &str, text: &str| {
        let mut file = File::options().append(true).open(root.join(name)).unwrap();
        io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    };
    let check = |half_done: &dyn Fn(&Path)| assert_eq!(second_after(half_done), undisturbed);
    // After the first bytes, in the middle of a line.
    check(&|root| append(root, PREDICTIONS, "p3\np"));
    // A part that the epoch does not write to: of an attempt of another one.
    check(&|root| append(root, "processing_errors/shard-0.jsonl", "other\n"));
    // All parts written, but no marker.
    check(&|root| {
        append(root, PREDICTIONS, "p3\np4\np5\n");
        append(root, "validation_errors/shard-0.jsonl", "v1\n");
    });
    // More than the epoch has, and nothing of it right.
    check(&|root| append(root, PREDICTIONS, &"x".repeat(1_000)));
    // The marker written, but not put in its place.
    check(&|root| {
        append(root, PREDICTIONS, "p3\np4\np5\n");
        append(root, "validation_errors/shard-0.jsonl", "v1\n");
        fs::write(root.join("committed/shard-0.json.new"), "{\"job\":\"jo").unwrap();
    });
    // The marker of the first epoch in place, and what follows it not, or half, or of another time.
    for text in [None, Some(""), Some("3\n"), Some("6"), Some("900\n")] {
        check(&|root| {
            let path = root.join("predictions/shard-0.jsonl.committed");
            match text {
                None => fs::remove_file(&path).unwrap(),
                Some(text) => fs::write(&path, text).unwrap(),
            }
            fs::write(path.with_extension("committed.new"), "1").unwrap();
        });
    }
    // The first part of a stream was never made.
    check(&|root| fs::remove_file(root.join("validation_errors/shard-0.jsonl")).unwrap());
    check(&|root| fs::remove_dir_all(root.join("processing_errors")).unwrap());
}

#[test]
fn is_a_published_epoch_not_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = two_epochs();
    let (mut sink, _) = taken(folder.path(), 1);
    first.publish(&mut sink).unwrap();
    // The marker gets into its place, and what follows it fails.
    let obstacle = folder
        .path()
        .join("predictions/shard-0.jsonl.committed.new");
    fs::create_dir(&obstacle).unwrap();
    let expected = ["cannot write ", "predictions/shard-0.jsonl.committed: "];
    check_error(second.publish(&mut sink), &expected);
    fs::remove_dir(&obstacle).unwrap();
    let part = folder.path().join(PREDICTIONS);
    let past = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
    let file = File::options().write(true).open(&part).unwrap();
    file.set_modified(past).unwrap();
    // No chunk is even asked for.
    second.publish_until(&mut sink, 0).unwrap();
    assert_eq!(fs::metadata(&part).unwrap().modified().unwrap(), past);
    let found = tree(folder.path());
    assert_eq!(found["predictions/shard-0.jsonl.committed"], "15\n");
    assert_eq!(found[PREDICTIONS], "p1\np2\np3\np4\np5\n");
    // The same by the next process.
    drop(sink);
    let (mut sink, markers) = taken(folder.path(), 2);
    assert_eq!(markers, [second.marker(), None]);
    second.by(2).publish_until(&mut sink, 0).unwrap();
    assert_eq!(tree(folder.path()), found);
}

#[test]
fn is_a_marker_that_may_be_in_its_place_looked_at() {
    let check = |is_in_place: bool| {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = two_epochs();
        let (mut sink, _) = taken(folder.path(), 1);
        first.publish(&mut sink).unwrap();
        let obstacle = folder.path().join("committed/shard-0.json.new");
        fs::create_dir(&obstacle).unwrap();
        check_error(second.publish(&mut sink), &["committed/shard-0.json: "]);
        fs::remove_dir(&obstacle).unwrap();
        if is_in_place {
            // As if only the sync behind the rename had failed.
            let text = "{\"job\":\"job\",\"generation\":1,\"epoch\":3,\
                        \"checkpoint\":\"000000000000abc3\",\"chunks\":2,\"lengths\":[15,3,0,5]}";
            fs::write(folder.path().join("committed/shard-0.json"), text).unwrap();
        }
        let published = second.publish_until(&mut sink, 0);
        assert_eq!(published.is_ok(), is_in_place);
        second.publish(&mut sink).unwrap();
        assert_eq!(tree(folder.path())[PREDICTIONS], "p1\np2\np3\np4\np5\n");
    };
    check(false);
    check(true);
}

/// What happens to one epoch of a shard before it is published.
#[derive(Clone, Debug)]
struct Attempt {
    shard: u16,
    /// Stream and text of each chunk.
    chunks: Vec<(usize, String)>,
    /// Attempts that get so many chunks written.
    fails_after: Vec<usize>,
    /// Whether another process goes on after each of them.
    restarts: bool,
    /// What a stream's part has at its end then.
    rest: (usize, String),
    /// Published once more after it was.
    repeats: bool,
}

fn attempt() -> impl Strategy<Value = Attempt> {
    let text = || "[a-c\n]{0,9}";
    let chunks = vec((0_usize..4, text()), 1..5);
    let rest = (0_usize..4, text());
    let fails = vec(0_usize..4, 0..3);
    (0_u16..2, chunks, fails, any::<bool>(), rest, any::<bool>()).prop_map(
        |(shard, chunks, fails_after, restarts, rest, repeats)| Attempt {
            shard,
            chunks,
            fails_after,
            restarts,
            rest,
            repeats,
        },
    )
}

proptest::proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn is_every_epoch_there_once_and_in_order(attempts in vec(attempt(), 1..8)) {
        let folder = tempfile::tempdir().unwrap();
        let mut generation = 1;
        let (mut sink, _) = taken(folder.path(), generation);
        // The obvious sink: texts in memory.
        let mut expected = vec![[const { String::new() }; 4]; 2];
        let mut markers = [None, None];
        for (epoch, attempt) in (1..).zip(&attempts) {
            let of_shard = &mut expected[usize::from(attempt.shard)];
            let before = of_shard.each_ref().map(|text| text.len() as u64);
            let chunk = |(stream, text): &(usize, String)| {
                vec![(OutputStream::ALL[*stream], text.clone())]
            };
            let chunks = attempt.chunks.iter().map(chunk).collect();
            let mut outputs = Outputs::of(epoch, before, chunks).to(attempt.shard).by(generation);
            for &most in &attempt.fails_after {
                if most >= attempt.chunks.len() {
                    continue;
                }
                outputs.publish_until(&mut sink, most).unwrap_err();
                if attempt.restarts {
                    drop(sink);
                    let (stream, rest) = &attempt.rest;
                    let stream = OutputStream::ALL[*stream].name();
                    let part = folder.path().join(format!("{stream}/shard-{}.jsonl", attempt.shard));
                    let old = fs::read_to_string(&part).unwrap();
                    fs::write(&part, old + rest).unwrap();
                    generation += 1;
                    let (next, found) = taken(folder.path(), generation);
                    prop_assert_eq!(found, &markers);
                    sink = next;
                    outputs = outputs.by(generation);
                }
            }
            outputs.publish(&mut sink).unwrap();
            if attempt.repeats {
                outputs.publish(&mut sink).unwrap();
            }
            for (stream, text) in &attempt.chunks {
                of_shard[*stream].push_str(text);
            }
            markers[usize::from(attempt.shard)] = outputs.marker();
            for stream in OutputStream::ALL {
                for (shard, texts) in expected.iter().enumerate() {
                    let name = format!("{}/shard-{shard}.jsonl", stream.name());
                    let text = &texts[stream.index()];
                    let shown = format!("{}\n", text.len());
                    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
                    if shard == usize::from(attempt.shard) {
                        prop_assert_eq!(&read(&name), text);
                    } else {
                        prop_assert_eq!(&read(&name)[..text.len()], text);
                    }
                    prop_assert_eq!(read(&format!("{name}.committed")), shown);
                }
            }
        }
    }
}
