//! The server that a person starts and stops with `cargo xtask redis`: it is found again, and keeps what it holds.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use slackwater_services::free_port;
use slackwater_services::process::Started;
use slackwater_services::redis::Resident;

fn ask(port: u16, command: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(command.as_bytes()).unwrap();
    let mut answer = [0; 64];
    let length = stream.read(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[test]
fn is_it_found_again_with_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let resident = Resident::of(Some(folder.path())).unwrap();
    assert_eq!(resident.stop().unwrap(), None);
    let port = free_port().unwrap();
    let start = || resident.start(port, |_| {}).unwrap();
    let Started::Now(process, _) = start() else {
        panic!("it cannot have run");
    };
    assert_eq!(ask(port, "SET a 7\r\n"), "+OK\r\n");
    assert_eq!(resident.process().unwrap(), Some(process));
    assert!(resident.answers(&process));
    assert!(matches!(start(), Started::Before(other) if other == process));
    assert_eq!(resident.stop().unwrap(), Some(process));
    assert_eq!(resident.process().unwrap(), None);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(matches!(start(), Started::Now(..)));
    assert_eq!(ask(port, "GET a\r\n"), "$1\r\n7\r\n");
    resident.stop().unwrap();
}

#[test]
fn is_a_port_that_is_taken_said() {
    let folder = tempfile::tempdir().unwrap();
    let resident = Resident::of(Some(folder.path())).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = resident.start(port, |_| {}).unwrap_err().to_string();
    assert!(error.contains("choose another one with --port"), "{error}");
    assert_eq!(resident.process().unwrap(), None);
}
