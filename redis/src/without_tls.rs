//! TLS in a program that was built without: nothing that could be there.

use std::io::{self, Read, Write};

use crate::socket::Socket;
use crate::trust::{Trust, TrustError};

/// Whether this program was built with TLS.
pub const HAS_TLS: bool = false;

/// How connections to a server are encrypted: not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {}

impl Tls {
    /// There is none.
    ///
    /// # Errors
    /// Always, with how to get it.
    pub fn new(_: &Trust) -> Result<Self, TrustError> {
        Err(TrustError::NoTls)
    }
}

/// A connection whose bytes nobody else reads.
pub(crate) enum Encrypted {}

impl Encrypted {
    pub(crate) fn agree(_: Option<&Tls>, _: &str, _: Socket) -> io::Result<Self> {
        Err(io::Error::other(TrustError::NoTls))
    }

    pub(crate) fn socket(&mut self) -> &mut Socket {
        match *self {}
    }
}

impl Read for Encrypted {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }
}

impl Write for Encrypted {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        match *self {}
    }

    fn flush(&mut self) -> io::Result<()> {
        match *self {}
    }
}
