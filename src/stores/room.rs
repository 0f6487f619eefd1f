//! The folder in which the control socket of a job is: that of its checkpoint store, or where this is none, a folder of
//! this machine that the user alone may enter.

use std::env;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use crate::pipeline::spec::StorePlace;

/// The user's own folder for sockets, by the rules of the desktop; services of systemd have it too.
const RUNTIME: &str = "XDG_RUNTIME_DIR";

/// Who may enter: the user.
const PRIVATE: u32 = 0o700;

/// The room of the job with this store. It may not be there.
pub fn of(store: &StorePlace) -> PathBuf {
    match store {
        StorePlace::Folder(folder) => folder.clone(),
        // The names in it are plain, so it lies below.
        StorePlace::Bucket { bucket, prefix } => private().join(bucket).join(prefix),
    }
}

/// Makes ready what a room has to lie in.
///
/// # Errors
/// It can't be made, or is open to others than the user, who could take the socket's place.
pub fn prepare(store: &StorePlace) -> io::Result<()> {
    match store {
        StorePlace::Folder(_) => Ok(()),
        StorePlace::Bucket { .. } => make_private(&private()),
    }
}

/// The folder of the rooms of all jobs of this user whose stores are elsewhere.
fn private() -> PathBuf {
    let runtime = env::var_os(RUNTIME).map(PathBuf::from);
    private_in(runtime, &env::temp_dir(), geteuid().as_raw())
}

fn private_in(runtime: Option<PathBuf>, temporary: &Path, user: u32) -> PathBuf {
    match runtime.filter(|folder| folder.is_absolute()) {
        Some(runtime) => runtime.join("slackwater"),
        None => temporary.join(format!("slackwater-{user}")),
    }
}

/// Makes a folder that only this user may enter. Where anybody may make folders, somebody else may have been there.
fn make_private(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(PRIVATE).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made,
    }
    let found = fs::symlink_metadata(folder)?;
    if found.is_dir() && found.uid() == geteuid().as_raw() && found.mode() & 0o077 == 0 {
        return Ok(());
    }
    let message = format!(
        "it must be a folder of yours that nobody else may enter: remove it, or set {RUNTIME} to a folder of yours"
    );
    Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::{Path, PathBuf};

    use super::{make_private, of, private_in};
    use crate::pipeline::spec::StorePlace;

    #[test]
    fn where_is_the_room() {
        let check = |runtime: Option<&str>, expected: &str| {
            let found = private_in(runtime.map(PathBuf::from), Path::new("/tmp"), 7);
            assert_eq!(found, Path::new(expected));
        };
        check(Some("/run/user/7"), "/run/user/7/slackwater");
        check(Some("run"), "/tmp/slackwater-7");
        check(None, "/tmp/slackwater-7");
        let folder = StorePlace::Folder("state/x".into());
        assert_eq!(of(&folder), Path::new("state/x"));
        let bucket = StorePlace::Bucket {
            bucket: "b".into(),
            prefix: "jobs/x".into(),
        };
        assert!(of(&bucket).ends_with("b/jobs/x"));
    }

    #[test]
    fn is_it_the_user_s_alone() {
        let folder = tempfile::tempdir().unwrap();
        let room = folder.path().join("room");
        make_private(&room).unwrap();
        let mode = fs::metadata(&room).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        make_private(&room).unwrap();
        fs::set_permissions(&room, Permissions::from_mode(0o750)).unwrap();
        let refused = make_private(&room).unwrap_err().to_string();
        assert!(refused.contains("set XDG_RUNTIME_DIR"), "{refused}");
        let (link, file) = (folder.path().join("link"), folder.path().join("file"));
        fs::set_permissions(&room, Permissions::from_mode(0o700)).unwrap();
        symlink(&room, &link).unwrap();
        fs::write(&file, "").unwrap();
        for other in [link, file] {
            make_private(&other).unwrap_err();
        }
    }
}
