//! One Git tree object, parsed and judged. Pure.

use fairlead_core::model::digest::TreeId;
use fairlead_core::model::tree::EntryKind;

/// Modes of Git that Fairlead reads; all others are refused by name.
pub(super) const FOLDER: u32 = 0o40000;
pub(super) const FILE: u32 = 0o100_644;
pub(super) const EXECUTABLE: u32 = 0o100_755;
pub(super) const SYMLINK: u32 = 0o120_000;
pub(super) const SUBMODULE: u32 = 0o160_000;

/// Most entries of one folder: what may stand below `profiles/`, `clusters/` or `fleets/` in all, and room.
const MAX_ENTRIES: usize = 200_000;

/// Whether a mode is an ordinary file's. Old versions of Git wrote permissions such as 100664 into trees; Git reads them
/// by the type alone (its `canon_mode`), and so do kubectl's users in their clones.
pub(super) fn is_file(mode: u32) -> bool {
    mode & TYPE == FILE & TYPE
}

pub(super) fn is_folder(mode: u32) -> bool {
    mode & TYPE == FOLDER
}

pub(super) fn is_submodule(mode: u32) -> bool {
    mode & TYPE == SUBMODULE
}

/// The bits of a mode that say what a thing is.
const TYPE: u32 = 0o170_000;

/// One entry of a folder: what it is, or why Fairlead does not read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// As it may be shown and looked up; bytes that are not UTF-8 are escaped, and such an entry is refused.
    pub name: String,
    pub kind: Result<EntryKind, &'static str>,
    pub id: TreeId,
}

/// A folder's entries, sorted by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folder(Vec<Item>);

impl Folder {
    /// Parses the bytes of a tree object.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let raw: Result<Vec<_>, _> = raw_entries(bytes).take(MAX_ENTRIES + 1).collect();
        let raw = raw?;
        if raw.len() > MAX_ENTRIES {
            return Err("has more than 200000 entries");
        }
        let mut items: Vec<_> = raw.into_iter().map(judge).collect();
        items.sort_by(|a, b| a.name.cmp(&b.name));
        refuse_twins(&mut items);
        Ok(Self(items))
    }

    pub(super) fn from_items(mut items: Vec<Item>) -> Self {
        items.sort_by(|a, b| a.name.cmp(&b.name));
        Self(items)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Item> {
        self.0.binary_search_by(|item| item.name.as_str().cmp(name)).ok().and_then(|at| self.0.get(at))
    }

    pub(super) fn items(&self) -> &[Item] {
        &self.0
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// An entry as it stands in a tree object.
pub(super) struct RawEntry<'a> {
    /// 0 when it is no octal number.
    pub mode: u32,
    pub name: &'a [u8],
    pub id: TreeId,
}

/// The entries of a tree object: `mode SP name NUL id`, over and over. Ends after the first error.
pub(super) fn raw_entries(mut bytes: &[u8]) -> impl Iterator<Item = Result<RawEntry<'_>, &'static str>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let entry = raw_entry(bytes);
        bytes = entry.as_ref().map(|(_, left)| *left).unwrap_or_default();
        Some(entry.map(|(entry, _)| entry).ok_or("is not a well-formed tree"))
    })
}

fn raw_entry(bytes: &[u8]) -> Option<(RawEntry<'_>, &[u8])> {
    let (mode, rest) = bytes.split_at(bytes.iter().position(|b| *b == b' ')?);
    let (name, rest) = rest[1..].split_at(rest[1..].iter().position(|b| *b == 0)?);
    let (id, left) = rest[1..].split_first_chunk::<20>()?;
    let mode = std::str::from_utf8(mode).ok().and_then(|mode| u32::from_str_radix(mode, 8).ok()).unwrap_or(0);
    Some((RawEntry { mode, name, id: TreeId::from_bytes(*id) }, left))
}

fn judge(RawEntry { mode, name, id }: RawEntry<'_>) -> Item {
    let kind = kind_of(mode).and_then(|kind| check_name(name).map(|()| kind));
    let name = match std::str::from_utf8(name) {
        Ok(name) if !name.chars().any(char::is_control) => name.to_owned(),
        _ => name.escape_ascii().to_string(),
    };
    Item { name, kind, id }
}

fn kind_of(mode: u32) -> Result<EntryKind, &'static str> {
    match mode & TYPE {
        FOLDER => Ok(EntryKind::Folder),
        _ if is_file(mode) => Ok(EntryKind::File),
        SYMLINK => Err(IS_SYMLINK),
        SUBMODULE => Err(IS_SUBMODULE),
        _ => Err("has a mode that is neither a file's nor a folder's"),
    }
}

pub(super) const IS_SYMLINK: &str = "is a symbolic link; links are not followed, put the content itself here";
pub(super) const IS_SUBMODULE: &str = "is a submodule; nothing is fetched by following content";

/// Why a name may not stand in a tree; these are how trees have escaped from their folders.
pub(super) fn check_name(name: &[u8]) -> Result<(), &'static str> {
    let text = std::str::from_utf8(name).map_err(|_| "has a name that is not UTF-8")?;
    if text.is_empty() || text == "." || text == ".." {
        return Err("has a name that is no name of a file");
    }
    if text.contains(['/', '\\']) {
        return Err("has a slash in its name");
    }
    if text.eq_ignore_ascii_case(".git") {
        return Err("has a name that is reserved for Git");
    }
    if text.chars().any(char::is_control) {
        return Err("has control characters in its name");
    }
    Ok(())
}

/// Two entries of one name: which one is meant depends on the reader, so neither is.
fn refuse_twins(items: &mut [Item]) {
    for at in 1..items.len() {
        if let [before, item] = &mut items[at - 1..=at]
            && before.name == item.name
        {
            before.kind = Err("is in its folder twice");
            item.kind = Err("is in its folder twice");
        }
    }
}
