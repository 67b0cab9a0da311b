//! What an object names. Pure.
//!
//! Read from the object's own bytes, not by libgit2's parsers: those refuse a commit as a whole for an author without an
//! e-mail address, which old tools and imports wrote, and which says nothing about what the commit holds.

use git2::{ObjectType, Oid};

use super::folder::{is_submodule, raw_entries};

/// The heads of a commit: its tree, and its parents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CommitLinks {
    pub tree: Oid,
    pub parents: Vec<Oid>,
}

/// None for what is no commit.
pub(super) fn of_commit(bytes: &[u8]) -> Option<CommitLinks> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let tree = id_after(lines.next()?, b"tree ")?;
    let parents = lines.map_while(|line| id_after(line, b"parent ")).collect();
    Some(CommitLinks { tree, parents })
}

/// What a tag names; none for what is no tag.
pub(super) fn of_tag(bytes: &[u8]) -> Option<Oid> {
    id_after(bytes.split(|byte| *byte == b'\n').next()?, b"object ")
}

/// Every object of the same repository that an object names. A folder that is not well-formed names what stands before
/// its fault; a commit or tag that is none, nothing.
pub(super) fn of_object(kind: ObjectType, bytes: &[u8]) -> Vec<Oid> {
    match kind {
        ObjectType::Blob | ObjectType::Any => Vec::new(),
        ObjectType::Tag => of_tag(bytes).into_iter().collect(),
        ObjectType::Commit => of_commit(bytes)
            .map(|links| links.parents.into_iter().chain([links.tree]).collect())
            .unwrap_or_default(),
        ObjectType::Tree => raw_entries(bytes)
            .map_while(Result::ok)
            .filter(|entry| !is_submodule(entry.mode))
            .filter_map(|entry| Oid::from_bytes(entry.id.as_bytes()).ok())
            .collect(),
    }
}

fn id_after(line: &[u8], word: &[u8]) -> Option<Oid> {
    let hex = line.strip_prefix(word).filter(|hex| hex.len() == 40)?;
    Oid::from_str(std::str::from_utf8(hex).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_and_tags_are_read_by_their_first_lines_alone() {
        let id = |c: char| Oid::from_str(&c.to_string().repeat(40)).unwrap();
        let (tree, one, two) = (id('a'), id('b'), id('c'));
        let text =
            format!("tree {tree}\nparent {one}\nparent {two}\nauthor Nobody\ncommitter x\n\nparent {tree}\n");
        let links = CommitLinks { tree, parents: vec![one, two] };
        assert_eq!(of_commit(text.as_bytes()), Some(links));
        assert_eq!(of_object(ObjectType::Commit, text.as_bytes()), [one, two, tree]);
        assert_eq!(of_commit(b"tree abc\n"), None);
        assert_eq!(of_commit(b""), None);
        assert_eq!(of_tag(format!("object {tree}\ntype commit\n").as_bytes()), Some(tree));
        assert_eq!(of_tag(b"\xff"), None);
    }
}
