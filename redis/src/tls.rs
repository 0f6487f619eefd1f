//! TLS: who is trusted, what proves who asks, and what it means when both sides do not come together.
//!
//! The certificate of the server is always checked, and its name too.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::{Arc, OnceLock};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, RootCertStore, StreamOwned,
};

use crate::socket::Socket;
use crate::trust::{Trust, TrustError};

/// Whether this program was built with TLS.
pub const HAS_TLS: bool = true;

/// How connections to a server are encrypted. Clones are the same.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(..)")
    }
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Tls {}

impl Tls {
    /// With what is trusted, and what proves who asks.
    ///
    /// # Errors
    /// What does not fit, without repeating any of it.
    pub fn new(trust: &Trust) -> Result<Self, TrustError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TrustError::Unusable(error.to_string()))?
            .with_root_certificates(roots(trust.ca.as_deref())?);
        let config = match &trust.identity {
            None => builder.with_no_client_auth(),
            Some((certificates, key)) => {
                let certificates = certificates_of(certificates);
                let certificates = certificates.map_err(|()| TrustError::Certificate)?;
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
                let key = key.map_err(|_| TrustError::Key)?;
                let built = builder.with_client_auth_cert(certificates, key);
                built.map_err(|error| TrustError::Unusable(error.to_string()))?
            }
        };
        Ok(Tls(Arc::new(config)))
    }

    /// With what this machine trusts; looked for once.
    fn of_machine() -> io::Result<Self> {
        static OF_MACHINE: OnceLock<Result<Tls, TrustError>> = OnceLock::new();
        let tls = OF_MACHINE.get_or_init(|| Tls::new(&Trust::default()));
        tls.clone().map_err(io::Error::other)
    }
}

/// Who is trusted: who is named, or else whom this machine trusts.
fn roots(ca: Option<&str>) -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(ca) => {
            for certificate in certificates_of(ca).map_err(|()| TrustError::Authority)? {
                let added = roots.add(certificate);
                added.map_err(|_| TrustError::Authority)?;
            }
        }
        // Some that cannot be read do no harm to the others.
        None => {
            let of_machine = rustls_native_certs::load_native_certs().certs;
            let _ = roots.add_parsable_certificates(of_machine);
        }
    }
    match roots.is_empty() {
        true => Err(TrustError::NobodyTrusted),
        false => Ok(roots),
    }
}

/// The certificates of a text in PEM; at least one.
fn certificates_of(text: &str) -> Result<Vec<CertificateDer<'static>>, ()> {
    let certificates = CertificateDer::pem_slice_iter(text.as_bytes());
    let certificates: Vec<_> = certificates.collect::<Result<_, _>>().map_err(drop)?;
    match certificates.is_empty() {
        true => Err(()),
        false => Ok(certificates),
    }
}

/// A connection whose bytes nobody else reads.
pub(crate) struct Encrypted(StreamOwned<ClientConnection, Socket>);

impl Encrypted {
    /// Both sides agree, by the socket's deadline.
    pub(crate) fn agree(tls: Option<&Tls>, host: &str, socket: Socket) -> io::Result<Self> {
        let Tls(config) = match tls {
            Some(tls) => tls.clone(),
            None => Tls::of_machine()?,
        };
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let client = ClientConnection::new(config, name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(client, socket);
        while stream.conn.is_handshaking() {
            let done = stream.conn.complete_io(&mut stream.sock);
            done.map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset => io::Error::new(
                    ErrorKind::InvalidData,
                    "it ends the connection when it is to be encrypted: write `redis://` if it does not speak TLS",
                ),
                _ => explained(error, host),
            })?;
        }
        Ok(Encrypted(stream))
    }

    pub(crate) fn socket(&mut self) -> &mut Socket {
        &mut self.0.sock
    }
}

impl Read for Encrypted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // What the server has against a client's certificate comes with the first answer.
        self.0.read(buffer).map_err(|error| explained(error, ""))
    }
}

impl Write for Encrypted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(|error| explained(error, ""))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// An error of the library in words that say what to do; others as they are.
fn explained(error: io::Error, host: &str) -> io::Error {
    use rustls::Error;
    let inner = error.get_ref().and_then(|it| it.downcast_ref::<Error>());
    let Some(inner) = inner else {
        return error;
    };
    let said = match inner {
        Error::InvalidCertificate(certificate) => of_certificate(certificate, host),
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "it wants a certificate of who asks: give `certificate` and `certificate_key`".to_owned()
        }
        Error::AlertReceived(AlertDescription::HandshakeFailure) => {
            "it wants a certificate of who asks (`certificate` and `certificate_key`), or has no cipher in common with us"
                .to_owned()
        }
        Error::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked,
        ) => "it does not accept our `certificate`".to_owned(),
        Error::InvalidMessage(_) => {
            "it does not speak TLS: write `redis://` in `url`, or name the port where it does"
                .to_owned()
        }
        other => format!("no encrypted connection: {other}"),
    };
    io::Error::new(ErrorKind::InvalidData, said)
}

fn of_certificate(error: &CertificateError, host: &str) -> String {
    match error {
        // The second is of one that goes by the name of somebody whom we trust.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its certificate is of nobody whom we trust: name who signs it with `ca`".to_owned()
        }
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            "its certificate names no host as subjectAltName, and a common name alone does not count: have it issued anew"
                .to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("its certificate is not for `{host}`: write a name in `url` that it is for")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet: is the clock of this machine right?".to_owned()
        }
        other => format!("its certificate is not accepted: {other}"),
    }
}
