//! Certificates for brokers of tests: an authority that nobody else trusts, and what it issues. By the tool that comes with
//! Java, which a broker needs anyway.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::archives::QUICK;

/// Java's tool for keys and certificates, by its name inside of Java: the program `keytool` may be another Java's.
const TOOL: &str = "java.base/sun.security.tools.keytool.Main";
/// Opens the files of keys, which are thrown away with their test.
const PASSWORD: &str = "of-a-test";
/// By what names the authority's own certificate, and a broker's, go in their files.
const AUTHORITY: &str = "authority";
const BROKER: &str = "broker";

/// Who issues certificates.
#[derive(Clone, Debug)]
pub struct Authority {
    folder: PathBuf,
}

/// A broker's key, with a certificate for it.
#[derive(Clone, Debug)]
pub struct Keys {
    file: PathBuf,
}

impl Authority {
    /// A new authority, whose files lie in this folder, which is made.
    ///
    /// # Errors
    /// When the folder cannot be made, or with what Java's tool says.
    pub fn make(folder: &Path) -> Result<Authority> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let authority = Authority {
            folder: folder.to_path_buf(),
        };
        let keys = authority.keys();
        let name = "CN=Authority of a test";
        generate(&keys, AUTHORITY, name, &["-ext", "bc:critical=ca:true"])?;
        let mut export = tool("-exportcert", &keys, AUTHORITY);
        export.arg("-rfc").arg("-file").arg(authority.certificate());
        finish(export)?;
        Ok(authority)
    }

    /// The file of its certificate, in PEM: who trusts that trusts all that it issues.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("authority.pem")
    }

    /// Keys, with a certificate for these names, such as `dns:localhost,ip:127.0.0.1`.
    ///
    /// # Errors
    /// What Java's tool says.
    pub fn issue(&self, names: &str) -> Result<Keys> {
        let number = fs::read_dir(&self.folder)
            .with_context(|| format!("cannot read {}", self.folder.display()))?
            .count();
        let at = |end: &str| self.folder.join(format!("broker-{number}.{end}"));
        let (file, request, issued) = (at("p12"), at("csr"), at("pem"));
        generate(&file, BROKER, "CN=Broker of a test", &[])?;
        let mut asking = tool("-certreq", &file, BROKER);
        asking.arg("-file").arg(&request);
        finish(asking)?;
        let mut issuing = tool("-gencert", &self.keys(), AUTHORITY);
        issuing.arg("-rfc").args(["-ext", &format!("san={names}")]);
        issuing.arg("-infile").arg(&request);
        issuing.arg("-outfile").arg(&issued);
        finish(issuing)?;
        // It is taken with that of its issuer behind it.
        let read = |file: &Path| {
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
        };
        let chain = format!("{}{}", read(&issued)?, read(&self.certificate())?);
        fs::write(&issued, chain).with_context(|| format!("cannot write {}", issued.display()))?;
        let mut import = tool("-importcert", &file, BROKER);
        import.arg("-noprompt").arg("-file").arg(&issued);
        finish(import)?;
        Ok(Keys { file })
    }

    fn keys(&self) -> PathBuf {
        self.folder.join("authority.p12")
    }
}

impl Keys {
    /// What a broker is told of them.
    pub(super) fn properties(&self) -> [(&'static str, String); 4] {
        [
            ("ssl.keystore.type", "PKCS12".to_owned()),
            ("ssl.keystore.location", self.file.display().to_string()),
            ("ssl.keystore.password", PASSWORD.to_owned()),
            ("ssl.key.password", PASSWORD.to_owned()),
        ]
    }
}

/// Makes a pair of keys.
fn generate(file: &Path, alias: &str, name: &str, more: &[&str]) -> Result<()> {
    let mut tool = tool("-genkeypair", file, alias);
    tool.args(["-keyalg", "EC", "-groupname", "secp256r1"])
        .args(["-validity", "3650", "-dname", name])
        .args(more);
    finish(tool)
}

/// Java's tool, to do this with what goes by that name in a file of keys.
fn tool(what: &str, file: &Path, alias: &str) -> Command {
    let words: [&OsStr; 8] = [
        what.as_ref(),
        "-keystore".as_ref(),
        file.as_ref(),
        "-storetype".as_ref(),
        "PKCS12".as_ref(),
        "-storepass".as_ref(),
        PASSWORD.as_ref(),
        "-alias".as_ref(),
    ];
    let mut tool = Command::new("java");
    tool.stdin(Stdio::null()).args(QUICK).args(["-m", TOOL]);
    tool.args(words).arg(alias);
    tool
}

fn finish(mut tool: Command) -> Result<()> {
    let answer = tool.output().context("cannot start `java`")?;
    if !answer.status.success() {
        bail!(
            "Java's tool for certificates ended with {}: {}{}",
            answer.status,
            String::from_utf8_lossy(&answer.stdout),
            String::from_utf8_lossy(&answer.stderr)
        );
    }
    Ok(())
}
