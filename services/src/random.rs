//! A few bytes that nobody can guess: for names that must not be met twice. The system's own, so that no crate for
//! randomness is needed.

use std::fs::File;
use std::io::Read as _;

use anyhow::{Context as _, Result};

/// So many bytes.
///
/// # Errors
/// When the system's source cannot be read.
pub fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("cannot read /dev/urandom")?;
    Ok(bytes)
}
