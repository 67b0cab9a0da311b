//! Which files Git tracks in a work tree, read from its index (gitformat-index).
//!
//! Not by libgit2, which gives up at a split or a sparse index; both are what Git makes of large repositories. All that is
//! wanted of an entry is its path, its kind, and whether the work tree is meant to have it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::error::RepoError;
use super::folder::FOLDER;
use fairlead_core::model::digest::TreeId;

/// One tracked path. A folder that a sparse index keeps as a whole is one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tracked {
    pub mode: u32,
    pub id: TreeId,
    /// Left out of the work tree on purpose: a sparse checkout.
    pub left_out: bool,
}

/// All tracked paths, in bytes from the work tree's root, without a slash at the end.
#[derive(Debug, Default)]
pub(super) struct Index(BTreeMap<Vec<u8>, Tracked>);

/// Largest index that is read; one of a million files is smaller.
const MAX_INDEX: u64 = 512 << 20;

/// Most entries of a shared index.
const MAX_ENTRIES: usize = 10_000_000;

impl Index {
    /// The index of a work tree whose own Git folder this is. A new repository has none, and tracks nothing.
    pub(super) fn read(git_dir: &Path) -> Result<Self, RepoError> {
        let path = git_dir.join("index");
        let Some(bytes) = bytes_of(&path)? else { return Ok(Self::default()) };
        let wrong = |reason: &str| RepoError::Form {
            place: path.display().to_string(),
            reason: format!("{reason}; 'git read-tree HEAD' writes it anew"),
        };
        let read = parse(&bytes).map_err(wrong)?;
        let base = match &read.link {
            None => Vec::new(),
            Some(link) => {
                let shared = git_dir.join(format!("sharedindex.{}", link.base));
                let bytes = bytes_of(&shared)?;
                let bytes =
                    bytes.ok_or_else(|| wrong("the shared index that it is a part of is not there"))?;
                parse(&bytes).map_err(wrong)?.entries
            }
        };
        Ok(Self(join(base, read).map_err(wrong)?))
    }

    pub(super) fn get(&self, path: &[u8]) -> Option<&Tracked> {
        self.0.get(path)
    }

    /// Tracked paths below a folder (all of them for ``), by what comes after the folder.
    pub(super) fn below<'a>(&'a self, folder: &[u8]) -> impl Iterator<Item = (&'a [u8], &'a Tracked)> {
        let mut prefix = folder.to_vec();
        if !prefix.is_empty() {
            prefix.push(b'/');
        }
        let length = prefix.len();
        let from = self.0.range(prefix.clone()..);
        from.take_while(move |(path, _)| path.starts_with(&prefix))
            .map(move |(path, tracked)| (&path[length..], tracked))
    }

    /// Whether it, or something below it, is tracked.
    pub(super) fn tracks(&self, path: &[u8]) -> bool {
        self.0.contains_key(path) || self.below(path).next().is_some()
    }

    /// Whether it, something below it, or a folder that it is in was left out of the work tree.
    pub(super) fn leaves_out(&self, path: &[u8]) -> bool {
        let above = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| &path[..at]);
        let whole = |path: &[u8]| self.0.get(path).is_some_and(|tracked| tracked.left_out);
        whole(path) || above.into_iter().any(whole) || self.below(path).any(|(_, tracked)| tracked.left_out)
    }
}

fn bytes_of(path: &Path) -> Result<Option<Vec<u8>>, RepoError> {
    let failed = |error: std::io::Error| RepoError::io(format!("read {}", path.display()), &error);
    match fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
        Ok(data) if data.len() > MAX_INDEX => {
            return Err(RepoError::TooLarge {
                what: path.display().to_string(),
                size: data.len(),
                limit: MAX_INDEX,
            });
        }
        Ok(_) => {}
    }
    fs::read(path).map(Some).map_err(failed)
}

type Entry = (Vec<u8>, Tracked);

/// What a file of an index says by itself.
struct Read {
    entries: Vec<Entry>,
    link: Option<Link>,
}

/// The part of a split index that names the other part.
struct Link {
    base: String,
    /// Positions in the base.
    deleted: Vec<usize>,
    replaced: Vec<usize>,
}

type Found<T> = Result<T, &'static str>;

const CUT: &str = "it is cut off";

fn parse(bytes: &[u8]) -> Found<Read> {
    let mut at = Cursor { bytes, at: 0 };
    if at.take(4)? != b"DIRC" {
        return Err("it is not an index of Git");
    }
    let version = at.u32()?;
    if !(2..=4).contains(&version) {
        return Err("it is of a version that is not known here");
    }
    let count = at.u32()?;
    let mut entries: Vec<Entry> = Vec::new();
    for _ in 0..count {
        let entry = at.entry(version, entries.last().map(|(path, _)| path.as_slice()).unwrap_or_default())?;
        entries.push(entry);
    }
    let mut link = None;
    // The checksum stands at the end; a newer Git may leave it out as zeros.
    while at.at + 20 < bytes.len() {
        let name: [u8; 4] = at.take(4)?.try_into().map_err(|_| CUT)?;
        let length = at.u32()? as usize;
        let content = at.take(length)?;
        match &name {
            b"link" => link = parse_link(content)?,
            b"sdir" => {}
            // Git's rule: an extension in small letters must be understood.
            [first, ..] if first.is_ascii_uppercase() => {}
            _ => return Err("it needs an extension of Git that is not known here"),
        }
    }
    Ok(Read { entries, link })
}

fn parse_link(content: &[u8]) -> Found<Option<Link>> {
    let mut at = Cursor { bytes: content, at: 0 };
    let base = at.take(20)?;
    if base.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let base = base.iter().map(|byte| format!("{byte:02x}")).collect();
    if at.at == content.len() {
        return Ok(Some(Link { base, deleted: Vec::new(), replaced: Vec::new() }));
    }
    Ok(Some(Link { base, deleted: at.bitmap()?, replaced: at.bitmap()? }))
}

/// Puts the two parts of a split index together.
fn join(base: Vec<Entry>, read: Read) -> Found<BTreeMap<Vec<u8>, Tracked>> {
    let mut own = read.entries.into_iter();
    let mut base: Vec<Option<Entry>> = base.into_iter().map(Some).collect();
    if let Some(link) = read.link {
        for position in link.replaced {
            let slot =
                base.get_mut(position).and_then(Option::as_mut).ok_or("it does not fit its shared index")?;
            // In the order of the base, each without its name.
            slot.1 = own.next().ok_or(CUT)?.1;
        }
        for position in link.deleted {
            *base.get_mut(position).ok_or("it does not fit its shared index")? = None;
        }
    }
    Ok(base.into_iter().flatten().chain(own).filter(|(path, _)| !path.is_empty()).collect())
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Found<&'a [u8]> {
        let end = self.at.checked_add(count).ok_or(CUT)?;
        let taken = self.bytes.get(self.at..end).ok_or(CUT)?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Found<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| CUT)
    }

    fn u32(&mut self) -> Found<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn entry(&mut self, version: u32, before: &[u8]) -> Found<Entry> {
        let from = self.at;
        // Times, device, inode.
        self.take(24)?;
        let mode = self.u32()?;
        // Owner, group, size.
        self.take(12)?;
        let id = TreeId::from_bytes(self.array()?);
        let flags = u16::from_be_bytes(self.array()?);
        let more = if flags & 0x4000 == 0 { 0 } else { u16::from_be_bytes(self.array()?) };
        let mut path = if version == 4 {
            let kept = before.len().checked_sub(self.varint()?).ok_or("its names don't fit each other")?;
            before[..kept].to_vec()
        } else {
            Vec::new()
        };
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == 0).ok_or(CUT)?;
        path.extend_from_slice(self.take(end)?);
        // NULs up to a multiple of eight, at least one; in version 4 just one.
        let length = self.at - from;
        self.take(if version == 4 { 1 } else { 8 - length % 8 })?;
        if mode == FOLDER && path.last() == Some(&b'/') {
            path.pop();
        }
        Ok((path, Tracked { mode, id, left_out: more & 0x4000 != 0 }))
    }

    /// A number as in the offsets of packs.
    fn varint(&mut self) -> Found<usize> {
        let mut value = 0usize;
        loop {
            let [byte] = self.array()?;
            value = value.checked_mul(128).and_then(|v| v.checked_add(usize::from(byte & 127))).ok_or(CUT)?;
            if byte & 128 == 0 {
                return Ok(value);
            }
            value = value.checked_add(1).ok_or(CUT)?;
        }
    }

    /// The positions of the bits that are set in a bitmap of EWAH's form (gitformat-bitmap).
    fn bitmap(&mut self) -> Found<Vec<usize>> {
        let bits = self.u32()? as usize;
        if bits > MAX_ENTRIES {
            return Err("it has too many entries");
        }
        let words = self.u32()?;
        let (mut set, mut position, mut literal) = (Vec::new(), 0usize, 0u64);
        for _ in 0..words {
            let word = u64::from_be_bytes(self.array()?);
            if literal > 0 {
                set.extend((0..64).filter(|bit| word >> bit & 1 == 1).map(|bit| position + bit));
                (position, literal) = (position + 64, literal - 1);
                continue;
            }
            let run = usize::try_from(word >> 1 & 0xffff_ffff).unwrap_or(usize::MAX).saturating_mul(64);
            let end = position.saturating_add(run);
            if word & 1 == 1 {
                set.extend(position..end.min(bits));
            }
            (position, literal) = (end, word >> 33);
        }
        self.u32()?;
        set.retain(|bit| *bit < bits);
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    fn git(folder: &Path, arguments: &[&str]) {
        let mut command = Command::new("git");
        command
            .arg("-C")
            .arg(folder)
            .args(["-c", "user.name=A", "-c", "user.email=a@example.com"])
            .args(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn paths(folder: &Path) -> Vec<String> {
        let index = Index::read(&folder.join(".git")).unwrap();
        index.0.keys().map(|path| String::from_utf8_lossy(path).into_owned()).collect()
    }

    #[test]
    fn every_form_of_an_index_says_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path();
        git(folder, &["init", "-q"]);
        assert!(paths(folder).is_empty());
        let names: Vec<String> = (0..200).map(|n| format!("clusters/edge-{n:03}.yaml")).collect();
        fs::create_dir(folder.join("clusters")).unwrap();
        for name in &names {
            fs::write(folder.join(name), name).unwrap();
        }
        git(folder, &["add", "-A"]);
        git(folder, &["commit", "-qm", "x"]);
        for version in ["2", "3", "4"] {
            git(folder, &["update-index", "--index-version", version]);
            assert_eq!(paths(folder), names, "version {version}");
        }
        // A split index; then changes, removals and additions beside the shared part.
        git(folder, &["-c", "splitIndex.maxPercentChange=100", "update-index", "--split-index"]);
        assert_eq!(paths(folder), names);
        let split = |arguments: &[&str]| {
            git(
                folder,
                &[&["-c", "splitIndex.maxPercentChange=100", "-c", "core.splitIndex=true"], arguments]
                    .concat(),
            );
        };
        fs::write(folder.join("clusters/edge-007.yaml"), "changed").unwrap();
        fs::write(folder.join("a.yaml"), "new").unwrap();
        split(&["add", "clusters/edge-007.yaml", "a.yaml"]);
        split(&["rm", "-q", "clusters/edge-003.yaml", "clusters/edge-100.yaml"]);
        let shared = fs::read_dir(folder.join(".git")).unwrap();
        let shared =
            shared.filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().starts_with("sharedindex."));
        assert!(shared.count() > 0, "this Git splits no index");
        let mut expected: Vec<_> =
            names.iter().filter(|n| !n.contains("-003") && !n.contains("-100")).cloned().collect();
        expected.insert(0, "a.yaml".to_owned());
        assert_eq!(paths(folder), expected);
        git(folder, &["update-index", "--no-split-index"]);
        assert_eq!(paths(folder), expected);
    }

    #[test]
    fn what_a_sparse_checkout_leaves_out_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path();
        git(folder, &["init", "-q"]);
        for name in ["clusters/a.yaml", "clusters/eu/b.yaml", "fleets/c.yaml", "profiles/d.yaml"] {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        git(folder, &["add", "-A"]);
        git(folder, &["commit", "-qm", "x"]);
        for form in ["--no-sparse-index", "--sparse-index"] {
            git(folder, &["sparse-checkout", "set", "--cone", form, "fleets"]);
            let index = Index::read(&folder.join(".git")).unwrap();
            for (path, out) in [
                ("clusters", true),
                ("clusters/a.yaml", true),
                ("clusters/eu/b.yaml", true),
                ("fleets", false),
                ("fleets/c.yaml", false),
                ("other", false),
            ] {
                assert_eq!(index.leaves_out(path.as_bytes()), out, "{form}: {path}");
            }
            assert!(index.tracks(b"clusters") && index.tracks(b"fleets/c.yaml") && !index.tracks(b"fleet"));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400), version in 2u32..5) {
            let mut index = b"DIRC".to_vec();
            index.extend(version.to_be_bytes());
            index.extend(3u32.to_be_bytes());
            index.extend(&bytes);
            let _ = parse(&index);
            let _ = parse(&bytes);
            let _ = parse_link(&bytes);
        }
    }
}
