//! Servers that a pipeline names besides brokers: how they are reached, with what is to be shown there.

use slackwater_redis::address::Address;
use slackwater_redis::tls::Tls;
use slackwater_redis::trust::Trust;

use crate::pipeline::preflight::PreflightError;
use crate::pipeline::spec::{Hidden, PropertySpec, ServerSpec};

/// How a server is reached. `of` says what in the pipeline needs it.
pub(crate) fn address(of: &str, spec: &ServerSpec) -> Result<Address, PreflightError> {
    let failed = |reason: String| PreflightError::Server {
        of: of.to_owned(),
        reason,
    };
    let secret = |what: &str, value: Option<&PropertySpec>| {
        let value = value.map(PropertySpec::value);
        value.transpose().map_err(|place| PreflightError::NoSecret {
            name: format!("{what} of {of}"),
            place,
        })
    };
    let mut address = Address::parse(&spec.url.0).map_err(|error| failed(error.to_string()))?;
    address.user = secret("username", spec.username.as_ref())?.or(address.user);
    address.password = secret("password", spec.password.as_ref())?.or(address.password);
    let (certificate, key) = spec.identity.as_ref().map(|(it, key)| (it, key)).unzip();
    let certificate = secret("certificate", certificate)?;
    let trust = Trust {
        ca: secret("ca", spec.ca.as_ref())?,
        identity: certificate.zip(secret("certificate_key", key)?),
    };
    // Also for those whom the system trusts: who they are is read here, and not while events wait.
    if address.encrypted || trust != Trust::default() {
        let tls = Tls::new(&trust).map_err(|error| failed(error.to_string()))?;
        address.tls = Some(tls);
    }
    Ok(address)
}

/// Whether a secret stands in the file itself.
pub(crate) fn has_password(url: &Hidden) -> bool {
    Address::parse(&url.0).is_ok_and(|address| address.password.is_some())
}
