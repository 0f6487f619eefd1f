//! Certificates for servers of tests: an authority that nobody else trusts, and what it issues, in PEM as Redis reads it. By the
//! program of OpenSSL, whose library Redis has its TLS from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Who issues certificates.
#[derive(Clone, Debug)]
pub struct Authority {
    folder: PathBuf,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The file of the certificate.
    pub certificate: PathBuf,
    /// The file of its key.
    pub key: PathBuf,
}

impl Authority {
    /// A new authority, whose files lie in this folder, which is made.
    ///
    /// # Errors
    /// When the folder cannot be made, or with what OpenSSL says.
    pub fn make(folder: &Path) -> Result<Authority> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let authority = Authority {
            folder: folder.to_path_buf(),
        };
        let settings = "[req]\ndistinguished_name = name\nprompt = no\nx509_extensions = of_ca\n\
                        [name]\nCN = Authority of a test\n\
                        [of_ca]\nbasicConstraints = critical,CA:TRUE\nkeyUsage = critical,keyCertSign\n";
        let settings = authority.write("authority.cnf", settings)?;
        let mut make = request(&settings, &authority.key());
        make.args(["-x509", "-days", "3650", "-out"]);
        make.arg(authority.certificate());
        finish(make)?;
        Ok(authority)
    }

    /// The file of its certificate: who trusts that trusts all that it issues.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("authority.pem")
    }

    /// A certificate for these names, such as `DNS:localhost,IP:127.0.0.1`.
    ///
    /// # Errors
    /// What OpenSSL says.
    pub fn issue(&self, names: &str) -> Result<Issued> {
        let number = fs::read_dir(&self.folder)
            .with_context(|| format!("cannot read {}", self.folder.display()))?
            .count();
        let at = |end: &str| self.folder.join(format!("issued-{number}.{end}"));
        let issued = Issued {
            certificate: at("pem"),
            key: at("key"),
        };
        let settings = "[req]\ndistinguished_name = name\nprompt = no\n[name]\nCN = Of a test\n";
        let settings = self.write(&format!("issued-{number}.cnf"), settings)?;
        let mut ask = request(&settings, &issued.key);
        ask.arg("-out").arg(at("csr"));
        finish(ask)?;
        let extensions = format!("basicConstraints = CA:FALSE\nsubjectAltName = {names}\n");
        let extensions = self.write(&format!("issued-{number}.ext"), &extensions)?;
        let mut sign = Command::new("openssl");
        sign.args(["x509", "-req", "-days", "3650", "-set_serial"]);
        sign.arg(number.to_string()).arg("-in").arg(at("csr"));
        sign.arg("-CA").arg(self.certificate());
        sign.arg("-CAkey").arg(self.key());
        sign.arg("-extfile").arg(extensions);
        sign.arg("-out").arg(&issued.certificate);
        finish(sign)?;
        Ok(issued)
    }

    fn key(&self) -> PathBuf {
        self.folder.join("authority.key")
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let file = self.folder.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }
}

/// OpenSSL, about to make a key and ask for a certificate for it.
fn request(settings: &Path, key: &Path) -> Command {
    let mut request = Command::new("openssl");
    request.args(["req", "-new", "-nodes", "-newkey", "ec", "-pkeyopt"]);
    request.arg("ec_paramgen_curve:prime256v1");
    request.arg("-config").arg(settings).arg("-keyout").arg(key);
    request
}

fn finish(mut openssl: Command) -> Result<()> {
    let answer = openssl.stdin(Stdio::null()).output();
    let answer = answer.context("cannot start `openssl`: install the package of that name")?;
    if !answer.status.success() {
        bail!(
            "OpenSSL ended with {}: {}",
            answer.status,
            String::from_utf8_lossy(&answer.stderr)
        );
    }
    Ok(())
}
