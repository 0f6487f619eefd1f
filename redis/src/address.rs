//! Where a server is and who asks it.

use std::fmt;

use redis::{ConnectionAddr, IntoConnectionInfo as _};

use crate::tls::{HAS_TLS, Tls};
use crate::trust::BUILD;

/// A server, and a database of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// Name or address of its host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The database; 0 unless the URL says otherwise.
    pub database: i64,
    /// Who asks, where the server wants to know that.
    pub user: Option<String>,
    /// And the proof.
    pub password: Option<String>,
    /// Whether connections are encrypted.
    pub encrypted: bool,
    /// How, if not with what this machine trusts.
    pub tls: Option<Tls>,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An address of version 6 has colons of its own.
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// A URL that names no server that can be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is none of Redis.
    #[error("expected `redis://HOST:PORT/DATABASE`, or `rediss://` for TLS")]
    Malformed,
    /// It asks for TLS.
    #[error("`rediss://` needs TLS, and {BUILD}")]
    Tls,
    /// It asks for TLS with anybody.
    #[error(
        "the certificate of a server is always checked: leave out `#insecure`, and name who signs it with `ca`"
    )]
    Insecure,
    /// Something stands behind the database, where a password would be taken for nothing.
    #[error(
        "nothing may stand behind the database: write what a `?` or `#` begins as keys of its own, such as `password`, and one of these \
         in a password as `%3F` or `%23`"
    )]
    Behind,
    /// It names a socket in the file system.
    #[error("a socket in the file system cannot be asked: expected `redis://HOST:PORT/DATABASE`")]
    Socket,
}

impl Address {
    /// What a URL names.
    ///
    /// # Errors
    /// It names no server that can be asked; nothing of it is repeated, since it may hold a password.
    pub fn parse(url: &str) -> Result<Self, AddressError> {
        // What is said of TLS is ours, and not the library's.
        let rest = url.strip_prefix("rediss:");
        if rest.is_some() && !HAS_TLS {
            return Err(AddressError::Tls);
        }
        if rest.is_some_and(|rest| rest.ends_with("#insecure")) {
            return Err(AddressError::Insecure);
        }
        let plain = rest.map(|rest| format!("redis:{rest}"));
        let info = plain.as_deref().unwrap_or(url).into_connection_info();
        let info = info.map_err(|_| AddressError::Malformed)?;
        let (host, port) = match info.addr() {
            ConnectionAddr::Tcp(host, port) => (host.clone(), *port),
            ConnectionAddr::Unix(_) => return Err(AddressError::Socket),
            _ => return Err(AddressError::Malformed),
        };
        if url.contains(['?', '#']) {
            return Err(AddressError::Behind);
        }
        let settings = info.redis_settings();
        Ok(Address {
            host,
            port,
            database: settings.db(),
            user: settings.username().map(str::to_owned),
            password: settings.password().map(str::to_owned),
            encrypted: rest.is_some(),
            tls: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, AddressError};

    #[test]
    fn what_does_a_url_name() {
        let check = |url: &str, host: &str, port, database, user: Option<&str>, password| {
            let password: Option<&str> = password;
            let expected = Address {
                host: host.to_owned(),
                port,
                database,
                user: user.map(str::to_owned),
                password: password.map(str::to_owned),
                encrypted: url.starts_with("rediss:"),
                tls: None,
            };
            assert_eq!(Address::parse(url), Ok(expected), "{url}");
        };
        check("redis://127.0.0.1", "127.0.0.1", 6379, 0, None, None);
        check(
            "redis://cache.internal:7000/3",
            "cache.internal",
            7000,
            3,
            None,
            None,
        );
        check("redis://[::1]:7000", "::1", 7000, 0, None, None);
        check(
            "redis://me:s%20cret@h/1",
            "h",
            6379,
            1,
            Some("me"),
            Some("s cret"),
        );
        check("redis://:secret@h", "h", 6379, 0, None, Some("secret"));
        #[cfg(feature = "tls")]
        check("rediss://:secret@h:7/2", "h", 7, 2, None, Some("secret"));
    }

    #[test]
    fn which_urls_name_nothing() {
        let check = |url: &str, expected| {
            assert_eq!(Address::parse(url), Err(expected), "{url}");
        };
        check("", AddressError::Malformed);
        check("http://h", AddressError::Malformed);
        check("redis://h/x", AddressError::Malformed);
        check("redis://h:9/0?password=secret", AddressError::Behind);
        check("redis://h#secret", AddressError::Behind);
        check(
            "rediss://h#insecure",
            if cfg!(feature = "tls") {
                AddressError::Insecure
            } else {
                AddressError::Tls
            },
        );
        #[cfg(not(feature = "tls"))]
        check("rediss://h", AddressError::Tls);
    }

    #[test]
    fn is_a_password_shown_nowhere() {
        let address = Address::parse("redis://me:hunter2@h:1/2");
        let shown = format!(
            "{address:?} {}",
            address
                .clone()
                .map_or_else(|e| e.to_string(), |it| it.to_string())
        );
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("h:1"), "{shown}");
    }
}
