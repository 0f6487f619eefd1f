//! The service that plays S3: a program in Python, on a free port, that ends with the test.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use slackwater_services::cache;
use xxhash_rust::xxh3::xxh3_64;

/// Its bucket.
pub const BUCKET: &str = "bucket";

pub struct Server {
    child: Child,
    pub port: u16,
}

impl Server {
    pub fn start() -> Self {
        Server::start_with(&[])
    }

    /// With these variables, which moto reads.
    pub fn start_with(variables: &[(&str, &str)]) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut child = Command::new(python(root))
            .arg("-B")
            .arg(root.join("tests/s3/server.py"))
            .envs(variables.iter().copied())
            // It ends when this does.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        let port = line.trim().parse();
        let port = port.unwrap_or_else(|_| {
            let status = child.wait();
            panic!("the service said `{line}` instead of its port, and ended: {status:?}")
        });
        Server { child, port }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// From now on it takes requests and answers none.
    pub fn stall(&self) {
        self.signal(Signal::STOP);
    }

    /// It answers again.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What a program needs in its environment to find a service on this port.
pub fn environment(port: u16) -> Vec<(String, String)> {
    let variables = [
        ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}")),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "tides".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
        ("AWS_SESSION_TOKEN", SECRET.to_owned()),
    ];
    let owned = variables.map(|(name, value)| (name.to_owned(), value));
    owned.into()
}

/// What must stand in no message.
pub const SECRET: &str = "moonlight";

/// The Python that `cargo xtask` has made for the service, which is found by its rule (`xtask/src/tools.rs`): in the cache,
/// by a digest of what it is made from and of what the machine's Python is.
fn python(root: &Path) -> PathBuf {
    let mut content = fs::read(root.join("tests/s3/requirements.txt")).unwrap();
    let version = Command::new("python3").arg("--version").output();
    let version = version.unwrap_or_else(|error| panic!("there is no python3: {error}"));
    let version = String::from_utf8(version.stdout).unwrap();
    content.extend_from_slice(version.trim().as_bytes());
    let cache = cache::folder().unwrap();
    let home = cache.join(format!("python-{:016x}", xxh3_64(&content)));
    assert!(
        home.join("complete").is_file(),
        "the service that plays S3 needs a Python environment that is not there ({}): \
         `cargo xtask test --only tools` makes it",
        home.display()
    );
    home.join("bin/python")
}
