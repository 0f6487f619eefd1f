//! Writing bytes and waiting until they are durable: what no checkpoint can go below.

use std::fs::File;
use std::io::Write as _;
use std::time::Instant;

use serde_json::json;

use crate::input::Input;
use crate::{Failure, say};

/// Name, bytes, and how often.
const SIZES: [(&str, usize, usize); 3] = [
    ("42 KB", 42 * 1_000, 100),
    ("1 MB", 1_000_000, 30),
    ("100 MB", 100_000_000, 5),
];

/// A new file each time, below the folder for temporary files.
pub fn run(_: &Input) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    for (name, size, times) in SIZES {
        let bytes: Vec<u8> = (0..size).map(|at| (at * 31 % 251) as u8).collect();
        let mut took_ms = Vec::with_capacity(times);
        for time in 0..times {
            let path = folder.path().join(format!("{time}"));
            let start = Instant::now();
            let mut file = File::create(&path)?;
            file.write_all(&bytes)?;
            file.sync_data()?;
            took_ms.push(start.elapsed().as_secs_f64() * 1e3);
            std::fs::remove_file(&path)?;
        }
        took_ms.sort_by(f64::total_cmp);
        for (what, share) in [("median", 0.5), ("p99", 0.99)] {
            let at = ((times - 1) as f64 * share).round() as usize;
            let value = took_ms.get(at).copied().unwrap_or_default();
            let name = format!("write and fsync {name}, {what}");
            say(&json!({ "name": name, "unit": "ms", "value": value }).to_string());
        }
    }
    Ok(())
}
