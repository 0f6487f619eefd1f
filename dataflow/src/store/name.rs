//! What a store takes as a name: so that no name leaves a store's folder, and that every store takes the same.

use std::io;

use crate::store::{StoreError, failed};

/// The folders of a store, all there are.
pub const FOLDERS: [&str; 3] = [LOG, "data", "probe"];

/// The folder of the records that say which other objects count.
pub const LOG: &str = "log";

/// Longest name within its folder, in bytes: what the file systems of Linux take.
const LENGTH_MAX: usize = 255;

/// Sixteen hexadecimal digits that nobody else comes upon: what makes a name its writer's own.
pub fn random_digits() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// The folder and the name within it of the object `name`.
///
/// # Errors
/// It can't be one: `action` is what was tried with it.
pub fn parse<'a>(
    action: &'static str,
    name: &'a str,
) -> Result<(&'static str, &'a str), StoreError> {
    let parsed = name.split_once('/').and_then(|(folder, own)| {
        let folder = FOLDERS.into_iter().find(|known| *known == folder)?;
        is_plain(own).then_some((folder, own))
    });
    parsed.ok_or_else(|| refused(action, name, "is no name of an object"))
}

/// The folder that `prefix`, its name and a slash, stands for.
///
/// # Errors
/// There is no such folder: `action` is what was tried with it.
pub fn parse_prefix(action: &'static str, prefix: &str) -> Result<&'static str, StoreError> {
    let named = |folder: &&str| prefix.strip_suffix('/') == Some(folder);
    let folder = FOLDERS.into_iter().find(named);
    folder.ok_or_else(|| refused(action, prefix, "is no folder and its slash"))
}

/// Whether this is a name within a folder. One that begins with a dot would be hidden, or lead elsewhere.
pub fn is_plain(own: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=LENGTH_MAX).contains(&own.len()) && !own.starts_with('.') && own.bytes().all(plain)
}

fn refused(action: &'static str, name: &str, why: &str) -> StoreError {
    let source = io::Error::new(io::ErrorKind::InvalidInput, format!("it {why}"));
    failed(action, name)(source)
}
