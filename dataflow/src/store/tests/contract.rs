//! What every store keeps, whatever it keeps its objects in. Each kind of store is held against this where it is: those
//! of this crate in `store::tests`, others in tests of their own, which take this file as it is.

use std::io::ErrorKind;
use std::sync::Barrier;
use std::thread;

use super::{Put, Store, StoreError, check_conditions, read_all};

/// A question, and what answers it on an empty store.
pub type Check = (&'static str, fn(&dyn Store));

/// All of it.
pub const CHECKS: [Check; 8] = [
    (
        "is_what_was_written_read_back",
        is_what_was_written_read_back,
    ),
    (
        "does_a_name_have_one_object_only",
        does_a_name_have_one_object_only,
    ),
    (
        "are_names_listed_by_folder_in_order",
        are_names_listed_by_folder_in_order,
    ),
    ("is_what_was_deleted_gone", is_what_was_deleted_gone),
    ("are_other_names_refused", are_other_names_refused),
    (
        "does_one_of_many_create_a_name",
        does_one_of_many_create_a_name,
    ),
    ("is_a_large_object_whole", is_a_large_object_whole),
    ("does_it_look_at_conditions", does_it_look_at_conditions),
];

pub fn write(store: &dyn Store, name: &str, pieces: &[&[u8]]) -> Result<(), StoreError> {
    let mut writer = store.create(name)?;
    for piece in pieces {
        writer.append(piece)?;
    }
    writer.finish()
}

pub fn read(store: &dyn Store, name: &str) -> Vec<u8> {
    read_all(store, name, 1 << 20).unwrap()
}

pub fn kind<T>(result: Result<T, StoreError>) -> ErrorKind {
    result.err().unwrap().source.kind()
}

pub fn is_what_was_written_read_back(store: &dyn Store) {
    write(store, "data/a.state", &[b"abc", b"", b"defg"]).unwrap();
    let mut reader = store.open("data/a.state").unwrap();
    assert_eq!(reader.length(), 7);
    let mut piece = [0; 4];
    reader.read_at(2, &mut piece).unwrap();
    assert_eq!(&piece, b"cdef");
    reader.read_at(7, &mut []).unwrap();
    for beyond in [4, 7, 8, u64::MAX] {
        let error = reader.read_at(beyond, &mut piece);
        assert_eq!(kind(error), ErrorKind::UnexpectedEof, "from {beyond} on");
    }
    write(store, "data/empty", &[]).unwrap();
    assert_eq!(read(store, "data/empty"), b"");
    assert_eq!(
        kind(read_all(store, "data/a.state", 6)),
        ErrorKind::InvalidData
    );
}

pub fn does_a_name_have_one_object_only(store: &dyn Store) {
    write(store, "data/a", &[b"old"]).unwrap();
    assert_eq!(store.put_if_absent("log/1", b"old").unwrap(), Put::Created);
    for name in ["data/a", "log/1"] {
        // At the beginning or at the end.
        assert_eq!(
            kind(write(store, name, &[b"new"])),
            ErrorKind::AlreadyExists
        );
        assert_eq!(store.put_if_absent(name, b"new").unwrap(), Put::Exists);
        assert_eq!(read(store, name), b"old");
    }
}

pub fn are_names_listed_by_folder_in_order(store: &dyn Store) {
    assert_eq!(store.list("log/").unwrap(), [""; 0]);
    for name in ["log/2", "log/10", "data/z", "log/1", "data/Z"] {
        store.put_if_absent(name, b"").unwrap();
    }
    assert_eq!(store.list("log/").unwrap(), ["log/1", "log/10", "log/2"]);
    assert_eq!(store.list("data/").unwrap(), ["data/Z", "data/z"]);
    assert_eq!(store.list("probe/").unwrap(), [""; 0]);
}

pub fn is_what_was_deleted_gone(store: &dyn Store) {
    for name in ["log/1", "data/a"] {
        store.put_if_absent(name, b"old").unwrap();
        store.delete(name).unwrap();
        store.delete(name).unwrap();
        assert!(store.open(name).err().unwrap().is_not_found());
        assert_eq!(store.put_if_absent(name, b"new").unwrap(), Put::Created);
        assert_eq!(read(store, name), b"new");
    }
}

pub fn are_other_names_refused(store: &dyn Store) {
    let long = format!("log/{}", "1".repeat(256));
    let names = [
        "",
        "log",
        "log/",
        "/log/1",
        "log//1",
        "log/../data/a",
        "log/..",
        "log/.",
        "../a",
        "tmp/a",
        "lock",
        "log/a/b",
        "log/.a",
        "log/a b",
        "log/\0",
        "./log/1",
        "log/é",
        "Log/1",
        &long,
    ];
    for name in names {
        let refused = [
            kind(store.create(name)),
            kind(store.put_if_absent(name, b"")),
            kind(store.open(name)),
            kind(store.delete(name)),
        ];
        assert_eq!(refused, [ErrorKind::InvalidInput; 4], "{name:?}");
    }
    for prefix in ["", "log", "/", "log/1", "../", "tmp/", "log//"] {
        assert_eq!(
            kind(store.list(prefix)),
            ErrorKind::InvalidInput,
            "{prefix:?}"
        );
    }
    let error = store.open("log/..").err().unwrap().to_string();
    let message = "cannot read `log/..` in the checkpoint store: it is no name of an object";
    assert_eq!(error, message);
}

pub fn does_one_of_many_create_a_name(store: &dyn Store) {
    const THREADS: u8 = 8;
    for round in 1..=100 {
        let name = format!("log/{round}");
        let start = Barrier::new(usize::from(THREADS));
        let put = |own: u8| {
            start.wait();
            store.put_if_absent(&name, &[own; 1000]).unwrap()
        };
        let created: Vec<u8> = thread::scope(|scope| {
            let put = &put;
            let threads = (0..THREADS).map(|own| (own, scope.spawn(move || put(own))));
            let threads: Vec<_> = threads.collect();
            let puts = threads
                .into_iter()
                .map(|(own, it)| (own, it.join().unwrap()));
            let created = puts.filter(|(_, put)| *put == Put::Created);
            created.map(|(own, _)| own).collect()
        });
        assert_eq!(created.len(), 1, "{created:?} created {name}");
        assert_eq!(read(store, &name), vec![created[0]; 1000]);
    }
}

/// A local one is synced on the way, one in a bucket goes there in parts.
pub fn is_a_large_object_whole(store: &dyn Store) {
    const PART: usize = 3 << 20;
    let parts: Vec<Vec<u8>> = (0..12).map(|number| vec![number; PART]).collect();
    let pieces: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    write(store, "data/large", &pieces).unwrap();
    let all = read_all(store, "data/large", u64::MAX).unwrap();
    assert!(all == parts.concat());
    // On and on, and here and there.
    let mut reader = store.open("data/large").unwrap();
    let mut piece = vec![0; 100_000];
    let onwards = (0..all.len() - piece.len()).step_by(piece.len());
    for position in onwards.chain([PART - 1, 0, 11 * PART, 5 * PART - 7]) {
        reader.read_at(position as u64, &mut piece).unwrap();
        let expected = &all[position..position + piece.len()];
        assert!(piece == expected, "at {position}");
    }
    // It has the only one of this name.
    assert_eq!(
        kind(write(store, "data/large", &pieces)),
        ErrorKind::AlreadyExists
    );
}

pub fn does_it_look_at_conditions(store: &dyn Store) {
    for _ in 0..3 {
        check_conditions(store).unwrap();
        assert_eq!(store.list("probe/").unwrap(), ["probe/conditions"]);
    }
}
