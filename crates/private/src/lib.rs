//! Who may read and write the files of state and settings. Every one of them is opened by way of here.
//!
//! State lies in a folder that is this user's alone. Settings and secrets are other people's files as a rule (an
//! administrator's, a mounted Secret of Kubernetes): nobody but this user and root may be able to change them, and a secret
//! that others may read is warned of.

use std::collections::BTreeSet;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

use rustix::fs::OFlags;
use rustix::process::{getegid, geteuid, getgroups};

/// Bits of a mode that let others write: the group, and everybody.
const GROUP_WRITES: u32 = 0o020;
const ALL_WRITE: u32 = 0o002;
const ALL_READ: u32 = 0o004;
const OF_OTHERS: u32 = 0o077;

/// What a file of settings holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// Nothing that must stay hidden.
    Settings,
    /// A token, a key, a password.
    Secret,
}

/// Files that were warned of.
static WARNED: LazyLock<Mutex<BTreeSet<PathBuf>>> = LazyLock::new(Mutex::default);

/// Opens a file of settings. It is followed through symbolic links, as a mounted Secret has them; what counts is the file
/// at their end, as it is open now.
///
/// # Errors
/// As [`File::open`]; or others could change the file, which is refused with a text of ours.
pub fn open(path: &Path, holds: Holds) -> io::Result<(File, Metadata)> {
    // A pipe without a writer would wait for one.
    let file =
        OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(refused("it is a folder".to_owned()));
    }
    if let Ok(link) = std::fs::symlink_metadata(path)
        && link.is_symlink()
        && !is_trusted(link.uid())
    {
        return Err(refused(format!(
            "it is a symbolic link of the user {}, who could lead it elsewhere",
            link.uid()
        )));
    }
    if let Some(why) = others_write(metadata.uid(), metadata.gid(), metadata.mode()) {
        return Err(refused(format!(
            "{why}; run 'chmod go-w' and 'chown' on it, so that only its user can change it"
        )));
    }
    if holds == Holds::Secret && metadata.mode() & ALL_READ != 0 {
        warn_once(path, &metadata);
    }
    Ok((file, metadata))
}

/// Reads a file of settings that is not larger than `most` bytes.
///
/// # Errors
/// As [`open`]; or it is larger.
pub fn read(path: &Path, holds: Holds, most: u64) -> io::Result<Vec<u8>> {
    let (file, _) = open(path, holds)?;
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(refused(format!("it is larger than {most} bytes")));
    }
    Ok(bytes)
}

fn refused(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn warn_once(path: &Path, metadata: &Metadata) {
    if WARNED.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned()) {
        let mode = metadata.mode() & 0o7777;
        tracing::warn!(file = %path.display(), "every user of this machine may read this secret (mode {mode:04o}); run 'chmod o-r' on it");
    }
}

fn is_trusted(uid: u32) -> bool {
    uid == 0 || uid == geteuid().as_raw()
}

/// Whether a group is this process's. What it may write, this process's own user may as well.
fn is_our_group(gid: u32) -> bool {
    gid == getegid().as_raw()
        || getgroups().is_ok_and(|groups| groups.iter().any(|group| group.as_raw() == gid))
}

/// Why somebody else could change what has this owner and mode.
fn others_write(uid: u32, gid: u32, mode: u32) -> Option<String> {
    let shown = mode & 0o7777;
    if !is_trusted(uid) {
        return Some(format!("it belongs to another user ({uid}), who can change it"));
    }
    if mode & ALL_WRITE != 0 {
        return Some(format!("every user of this machine may change it (mode {shown:04o})"));
    }
    if mode & GROUP_WRITES != 0 && !is_our_group(gid) {
        return Some(format!("another group ({gid}) may change it (mode {shown:04o})"));
    }
    None
}

/// Makes the folder of the state, or takes it as it is if nobody else can get at it. One that is this user's own and open
/// to others is closed, and that is said. In it, what others put there is refused.
///
/// # Errors
/// The folder can't be made or closed; it belongs to somebody else; or there are links or files of others in it.
pub fn state_folder(folder: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let flags = (OFlags::DIRECTORY | OFlags::CLOEXEC).bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(folder)?;
    let metadata = opened.metadata()?;
    let mode = metadata.mode() & 0o7777;
    if metadata.uid() == geteuid().as_raw() {
        // A group that is ours may look: a volume of Kubernetes is made so.
        let closed = if is_our_group(metadata.gid()) && mode & OF_OTHERS & !0o070 == 0 {
            mode
        } else {
            mode & !OF_OTHERS
        };
        if closed != mode {
            opened.set_permissions(std::fs::Permissions::from_mode(closed))?;
            let writable = mode & (ALL_WRITE | GROUP_WRITES) != 0;
            if writable {
                tracing::warn!(folder = %folder.display(), "others could write in the state folder (mode {mode:04o}); it is closed now (mode {closed:04o})");
            } else {
                tracing::info!(folder = %folder.display(), "others could look into the state folder (mode {mode:04o}); it is closed now (mode {closed:04o})");
            }
        }
    } else if let Some(why) = others_write(metadata.uid(), metadata.gid(), mode) {
        // A volume that is mounted so can't be changed by its user, but a folder in it can be made.
        return Err(refused(format!(
            "{why}; set 'state' to a folder below it, which is made so that nobody else can use it"
        )));
    }
    for entry in std::fs::read_dir(folder)? {
        of_ours(&entry?.path())?;
    }
    Ok(())
}

/// Whether something in the state folder is this user's own, and no link. Others may not write to it from now on.
fn of_ours(path: &Path) -> io::Result<()> {
    let metadata = match std::fs::symlink_metadata(path) {
        // It is gone meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let refuse = |what: &str| Err(refused(format!("{} {what}; remove it", path.display())));
    if metadata.is_symlink() {
        return refuse("is a symbolic link, and nothing in the state folder may lead out of it");
    }
    if !is_trusted(metadata.uid()) {
        return refuse(&format!("belongs to another user ({})", metadata.uid()));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & (ALL_WRITE | GROUP_WRITES) != 0 && metadata.uid() == geteuid().as_raw() && !metadata.is_dir() {
        let closed = mode & !OF_OTHERS;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(closed))?;
        tracing::warn!(file = %path.display(), "others could change this file of the state (mode {mode:04o}); it is closed now");
    }
    Ok(())
}

/// How files of the state are opened: never through a link, and for this user alone where they are new.
pub fn state_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options
}

/// From now on, what this process makes is for its user alone.
pub fn keep_to_ourselves() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn file(folder: &Path, name: &str, mode: u32) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, "secret").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn what_others_may_write_is_refused_and_what_they_may_read_is_warned_of() {
        let folder = tempfile::tempdir().unwrap();
        for (mode, good, warned) in [
            (0o600, true, false),
            (0o400, true, false),
            (0o640, true, false),
            (0o440, true, false),
            (0o660, true, false),
            (0o644, true, true),
            (0o444, true, true),
            (0o602, false, false),
            (0o666, false, false),
            (0o777, false, false),
        ] {
            let path = file(folder.path(), &format!("{mode:o}"), mode);
            let found = read(&path, Holds::Secret, 100);
            assert_eq!(found.is_ok(), good, "{mode:o}: {found:?}");
            assert_eq!(WARNED.lock().unwrap().contains(&path), warned, "{mode:o}");
            if let Err(error) = found {
                assert!(error.to_string().contains("every user of this machine may change it"), "{error}");
            }
        }
        let path = file(folder.path(), "long", 0o600);
        assert!(read(&path, Holds::Settings, 5).unwrap_err().to_string().contains("larger than 5 bytes"));
        assert_eq!(read(&path, Holds::Settings, 6).unwrap(), b"secret");
        assert!(open(folder.path(), Holds::Settings).unwrap_err().to_string().contains("a folder"));
    }

    /// As kubelet mounts a Secret: links in a folder that everybody may write to, but for its sticky bit.
    #[test]
    fn a_mounted_secret_of_kubernetes_is_read() {
        for mode in [0o644, 0o440, 0o400] {
            let volume = tempfile::tempdir().unwrap();
            std::fs::set_permissions(volume.path(), std::fs::Permissions::from_mode(0o1777)).unwrap();
            let first = volume.path().join("..2026_12_01_00_00_00.1");
            std::fs::create_dir(&first).unwrap();
            file(&first, "token", mode);
            symlink("..2026_12_01_00_00_00.1", volume.path().join("..data")).unwrap();
            symlink("..data/token", volume.path().join("token")).unwrap();
            assert_eq!(
                read(&volume.path().join("token"), Holds::Secret, 100).unwrap(),
                b"secret",
                "{mode:o}"
            );
            let second = volume.path().join("..2026_12_02");
            std::fs::create_dir(&second).unwrap();
            std::fs::write(file(&second, "token", 0o600), "rotated").unwrap();
            symlink("..2026_12_02", volume.path().join("..data_tmp")).unwrap();
            std::fs::rename(volume.path().join("..data_tmp"), volume.path().join("..data")).unwrap();
            assert_eq!(read(&volume.path().join("token"), Holds::Secret, 100).unwrap(), b"rotated");
        }
    }

    #[test]
    fn a_state_folder_that_is_open_is_closed_and_links_in_it_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o7777;
        let fresh = root.path().join("a/b");
        state_folder(&fresh).unwrap();
        assert_eq!(mode(&fresh), 0o700);
        for (open, closed) in
            [(0o777, 0o700), (0o755, 0o700), (0o1777, 0o1700), (0o770, 0o770), (0o700, 0o700)]
        {
            std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(open)).unwrap();
            state_folder(&fresh).unwrap();
            assert_eq!(mode(&fresh), closed, "{open:o}");
        }
        let stop = file(&fresh, "stop", 0o666);
        state_folder(&fresh).unwrap();
        assert_eq!(mode(&stop), 0o600);
        // The folder itself may be reached by a link: systemd's dynamic users have it so.
        let link = root.path().join("link");
        symlink(&fresh, &link).unwrap();
        state_folder(&link).unwrap();
        let elsewhere = file(root.path(), "elsewhere", 0o600);
        symlink(&elsewhere, fresh.join("store.db")).unwrap();
        let error = state_folder(&fresh).unwrap_err().to_string();
        assert!(error.contains("store.db is a symbolic link"), "{error}");
        let through = state_file().create(true).append(true).open(fresh.join("store.db"));
        assert!(through.is_err());
    }

    #[test]
    fn what_belongs_to_another_user_is_refused() {
        if !geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let of_another = file(folder.path(), "other", 0o600);
        std::os::unix::fs::chown(&of_another, Some(12_345), None).unwrap();
        let error = open(&of_another, Holds::Secret).unwrap_err().to_string();
        assert!(error.contains("belongs to another user (12345)"), "{error}");
        let error = state_folder(folder.path()).unwrap_err().to_string();
        assert!(error.contains("other belongs to another user"), "{error}");
        std::fs::remove_file(&of_another).unwrap();
        std::os::unix::fs::chown(folder.path(), Some(12_345), None).unwrap();
        assert!(state_folder(folder.path()).is_err());
        let group = file(folder.path(), "group", 0o660);
        std::os::unix::fs::chown(&group, None, Some(54_321)).unwrap();
        let error = open(&group, Holds::Secret).unwrap_err().to_string();
        assert!(error.contains("another group (54321) may change it (mode 0660)"), "{error}");
    }
}
