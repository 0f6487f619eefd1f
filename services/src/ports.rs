//! Ports that are free. Not by asking the system for any: those it also gives to whoever connects to somebody, so that
//! such a port may be gone while its service restarts. Worse, a client that connects to it meanwhile may be given the
//! very same port, and then is connected to itself.

use std::net::TcpListener;

use anyhow::{Result, bail};

use crate::random;

/// Where ports are sought: below those that Linux gives out by itself (from 32,768 on), above the well-known ones.
const FIRST: u16 = 15_000;
/// How many there are to choose from.
const RANGE: u16 = 15_000;
/// So many taken ones in a row are no accident.
const ATTEMPTS: usize = 100;

/// A port of this machine on which nobody listens now. Which one is chance, so that those who ask at the same time get
/// different ones.
///
/// # Errors
/// When a hundred ports were all taken.
pub fn free_port() -> Result<u16> {
    for _ in 0..ATTEMPTS {
        let port = FIRST + u16::from_le_bytes(random::bytes()?) % RANGE;
        if is_free(port) {
            return Ok(port);
        }
    }
    let last = FIRST + (RANGE - 1);
    bail!("no free port from {FIRST} to {last}: {ATTEMPTS} of them were tried")
}

/// So many of them, all different, and another than a port that is taken already.
///
/// # Errors
/// As [`free_port`].
pub(crate) fn free_ports(how_many: usize, but: Option<u16>) -> Result<Vec<u16>> {
    let mut ports = Vec::new();
    while ports.len() < how_many {
        let port = free_port()?;
        if Some(port) != but && !ports.contains(&port) {
            ports.push(port);
        }
    }
    Ok(ports)
}

/// Whether a service could listen there.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::net::TcpListener;

    use super::{FIRST, RANGE, free_port, free_ports, is_free};

    #[test]
    fn is_a_taken_port_known() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        assert!(!is_free(taken.local_addr().unwrap().port()));
    }

    #[test]
    fn are_ports_different_that_are_drawn_together() {
        // So many that two of them would be the same nearly always.
        let mut ports = free_ports(500, Some(FIRST)).unwrap();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 500);
        assert!(!ports.contains(&FIRST));
    }

    #[test]
    fn can_one_listen_at_a_free_port() {
        let port = free_port().unwrap();
        assert!((FIRST..FIRST + RANGE).contains(&port), "{port}");
        TcpListener::bind(("127.0.0.1", port)).unwrap();
    }
}
