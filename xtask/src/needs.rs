//! What the gate needs of the machine and cannot install itself, asked for before anything slow. A tool
//! that is missing would otherwise show after half an hour, as a test that fails for no reason of its own.
//!
//! The same list, for people, is in CONTRIBUTING.md.

use std::process::Command;

use anyhow::{Result, bail};

use crate::process::{self, shell_line};

/// The least Python, major and minor: the oracle's packages are built for it and later ones.
const PYTHON: (u32, u32) = (3, 11);

/// Something that the gate needs.
struct Need {
    /// What for.
    purpose: &'static str,
    /// Lines that show it, each a program with its arguments; one that works is enough.
    ways: &'static [&'static [&'static str]],
    /// How to get it.
    remedy: &'static str,
}

const NEEDS: [Need; 11] = [
    Need {
        purpose: "the house rules read the files that git knows",
        ways: &[&["git", "rev-parse", "--is-inside-work-tree"]],
        remedy: "install git, and run this in a clone or a work tree of the repository",
    },
    Need {
        purpose: "the allocator and parts of the ONNX runtime are C",
        ways: &[&["cc", "--version"]],
        remedy: "install a C compiler (Debian and Ubuntu: apt-get install build-essential)",
    },
    Need {
        purpose: "OpenSSL, for TLS to Kafka, is configured by Perl before it is built",
        ways: &[&[
            "perl",
            "-e",
            "use FindBin; use IPC::Cmd; use File::Compare; use File::Copy;",
        ]],
        remedy: "install Perl with the modules that come with it (Debian and Ubuntu: apt-get install perl; \
                 Fedora: dnf install perl)",
    },
    Need {
        purpose: "the tests of TLS to Redis make certificates for its server",
        ways: &[&["openssl", "version"]],
        remedy: "install the program openssl (Debian, Ubuntu and Fedora: the package openssl)",
    },
    Need {
        purpose: "the oracle's packages live in an environment of their own",
        ways: &[&["python3", "-c", "import venv, ensurepip"]],
        remedy: "install Python 3.11 or newer with its venv module (Debian and Ubuntu: apt-get install \
                 python3 python3-venv)",
    },
    Need {
        purpose: "the tests of full disks mount one where only they can see it",
        ways: &[
            &["unshare", "--mount", "--uts", "true"],
            &[
                "unshare",
                "--user",
                "--map-root-user",
                "--mount",
                "--uts",
                "true",
            ],
        ],
        remedy: "install util-linux, and allow mount namespaces: run as root, in a container with the \
                 right to mount, or where user namespaces are allowed",
    },
    Need {
        purpose: "the tests of Kafka start its broker and its tools, which are Java",
        ways: &[&["java", "-version"]],
        remedy: "install Java 17 or newer (Debian and Ubuntu: apt-get install openjdk-17-jre-headless)",
    },
    Need {
        purpose: "Maven fetches Kafka",
        ways: &[&["mvn", "--version"]],
        remedy: "install Maven (Debian and Ubuntu: apt-get install maven)",
    },
    Need {
        purpose: "a Kafka broker of a test ends with the test",
        ways: &[&["setpriv", "--pdeathsig", "KILL", "true"]],
        remedy: "install util-linux, in a version of 2018 or newer",
    },
    Need {
        purpose: "the tests of signals send them",
        ways: &[&["kill", "-l"]],
        remedy: "install the program `kill` (Debian and Ubuntu: apt-get install procps)",
    },
    Need {
        purpose: "the tests of what a person sees run at a pseudo-terminal",
        ways: &[&[
            "python3",
            "-c",
            "import os; os.open('/dev/ptmx', os.O_RDWR)",
        ]],
        remedy: "let this user open /dev/ptmx (in a container: mount devpts)",
    },
];

/// Asks for all of it.
///
/// # Errors
/// Everything that is missing at once: what for, what was tried, how to get it.
pub fn check() -> Result<()> {
    let mut missing: Vec<String> = NEEDS.iter().filter_map(lack).collect();
    let python = answer(process::command("python3").arg("--version"));
    if let Ok(said) = python {
        missing.extend(old_python(&said));
    }
    if !missing.is_empty() {
        bail!(
            "this machine lacks what the gate needs\n{}",
            missing.join("\n")
        );
    }
    Ok(())
}

/// Why a need is not met, if it is not.
fn lack(need: &Need) -> Option<String> {
    let mut tried = Vec::new();
    for way in need.ways {
        let (program, arguments) = way.split_first()?;
        let mut command = process::command(program);
        match answer(command.args(arguments)) {
            Ok(_) => return None,
            Err(error) => tried.push(format!("    `{}`: {error}", shell_line(&command))),
        }
    }
    let Need {
        purpose, remedy, ..
    } = need;
    Some(format!("- {purpose}\n{}\n    {remedy}", tried.join("\n")))
}

/// What a program says, or why it says nothing.
fn answer(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}, {}", output.status, said.trim()))
}

/// What is wrong with a Python that answers `--version` so.
fn old_python(said: &str) -> Option<String> {
    let version = said.strip_prefix("Python ").unwrap_or_default();
    let mut parts = version.split('.').map(str::parse::<u32>);
    let found = match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor),
        _ => (0, 0),
    };
    let (major, minor) = PYTHON;
    (found < PYTHON).then(|| {
        format!("- `python3 --version` says `{said}`\n    install Python {major}.{minor} or newer, first on the PATH")
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::{Need, lack, old_python};

    #[test]
    fn which_python_is_too_old() {
        let check = |said: &str, old: bool| assert_eq!(old_python(said).is_some(), old, "{said}");
        check("Python 3.11.0", false);
        check("Python 3.14.0rc1", false);
        check("Python 4.0", false);
        check("Python 3.9.18", true);
        check("Python 2.7.18", true);
        check("Python three", true);
        check("", true);
    }

    #[test]
    fn is_one_way_that_works_enough() {
        let need = |ways| Need {
            purpose: "purpose",
            ways,
            remedy: "remedy",
        };
        assert_eq!(lack(&need(&[&["false"], &["true"]])), None);
        let said = lack(&need(&[&["false"], &["no-such-program"]])).unwrap();
        for word in [
            "purpose",
            "`false`: exit status: 1",
            "`no-such-program`: ",
            "remedy",
        ] {
            assert!(said.contains(word), "{word}: {said}");
        }
    }
}
