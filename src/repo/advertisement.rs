//! The refs that a server lists when it is connected to (gitprotocol-pack, "Reference Discovery"). Pure.
//!
//! In: the bytes of the listing as they come. Out: the branches and tags in it, and the listing that libgit2 gets to
//! see. Guarantees: whoever may push to a repository chooses what its refs are called, so a ref that is not followed is
//! passed over whatever its name is made of, and libgit2 (whose Rust wrapper panics at names that are not UTF-8) is
//! shown only what is to be fetched; memory grows with the branches and tags that can be kept, not with the listing.

use git2::Oid;

use super::refs::{HEADS, Refs, TAGS, can_be_kept};

/// What a listing may not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// Not of this protocol, or cut off.
    Malformed(&'static str),
    /// The repository hashes its objects with another function than SHA-1.
    ObjectFormat(String),
}

/// Which refs libgit2 is shown.
#[derive(Debug, Clone, Default)]
pub(super) struct Shown {
    /// By full name.
    pub names: Vec<String>,
    /// Tags of every name that can be kept.
    pub all_tags: bool,
}

impl Shown {
    fn has(&self, name: &str) -> bool {
        (self.all_tags && name.starts_with(TAGS)) || self.names.iter().any(|shown| shown == name)
    }
}

/// A listing on its way.
#[derive(Debug, Default)]
pub(super) struct Advertisement {
    shown: Shown,
    refs: Refs,
    /// How many refs had names that nothing here can be called.
    passed_over: usize,
    /// Bytes of a packet that has not come in full.
    rest: Vec<u8>,
    /// Of the first ref's line; libgit2 wants them on the first that it sees.
    capabilities: Option<Vec<u8>>,
    said_capabilities: bool,
    /// Between the line that http begins with, and the flush after it.
    in_head: bool,
    ended: bool,
}

/// Longest packet: gitprotocol-common, "pkt-line format".
const MAX_PACKET: usize = 65_520;

impl Advertisement {
    pub(super) fn new(shown: Shown) -> Self {
        Self { shown, ..Self::default() }
    }

    /// Branches and tags of names that can be kept, and those that are shown; how many were passed over.
    pub(super) fn take(&mut self) -> (Refs, usize) {
        (std::mem::take(&mut self.refs), std::mem::take(&mut self.passed_over))
    }

    /// Whether all of it has come.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Takes the next bytes; gives those that libgit2 is to read.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut out = Vec::new();
        if self.ended {
            out.extend_from_slice(bytes);
            return Ok(out);
        }
        let mut all = std::mem::take(&mut self.rest);
        all.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(packet) = next_packet(&all[at..])? {
            at += packet.len().max(4);
            match packet {
                Packet::Flush => self.flush(&mut out),
                Packet::Line(line) => self.line(line, &mut out)?,
            }
            if self.ended {
                out.extend_from_slice(&all[at..]);
                return Ok(out);
            }
        }
        self.rest = all.split_off(at);
        Ok(out)
    }

    /// A flush ends the head that http puts before the listing, and then the listing.
    fn flush(&mut self, out: &mut Vec<u8>) {
        if !std::mem::take(&mut self.in_head) {
            if self.capabilities.is_some() && !self.said_capabilities {
                // What a server without refs says.
                self.say(Oid::ZERO_SHA1, b"capabilities^{}", out);
            }
            self.ended = true;
        }
        out.extend_from_slice(b"0000");
    }

    fn line(&mut self, line: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let passed_on = [&b"# service="[..], b"version ", b"ERR ", b"shallow "];
        if passed_on.iter().any(|start| text.starts_with(start)) {
            self.in_head |= text.starts_with(b"# service=");
            packet(line, out);
            return Ok(());
        }
        let malformed = Fault::Malformed("a line of its listing of refs is none");
        let space = text.iter().position(|byte| *byte == b' ').ok_or_else(|| malformed.clone())?;
        let (hash, rest) = (&text[..space], &text[space + 1..]);
        let (name, capabilities) = match rest.iter().position(|byte| *byte == 0) {
            Some(end) => (&rest[..end], Some(&rest[end + 1..])),
            None => (rest, None),
        };
        if self.capabilities.is_none() {
            self.capabilities = Some(self.judge(capabilities.unwrap_or_default())?);
        }
        let hash = std::str::from_utf8(hash).ok().filter(|hash| hash.len() == 40);
        let id = hash.and_then(|hash| Oid::from_str(hash).ok()).ok_or(malformed)?;
        // What an annotated tag names has a line of its own, by a name that no ref has.
        if name == b"capabilities^{}" || name == b"HEAD" || name.ends_with(b"^{}") {
            return Ok(());
        }
        let Some(name) = std::str::from_utf8(name).ok().filter(|name| can_be_kept(name)) else {
            self.passed_over += 1;
            return Ok(());
        };
        let shown = self.shown.has(name);
        if shown {
            self.say(id, name.as_bytes(), out);
        }
        if shown || name.starts_with(HEADS) || name.starts_with(TAGS) {
            self.refs.insert(name.to_owned(), id);
        }
        Ok(())
    }

    /// The capabilities without what speaks of refs by name.
    fn judge(&self, capabilities: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut kept: Vec<&[u8]> = Vec::new();
        for capability in capabilities.split(|byte| *byte == b' ').filter(|word| !word.is_empty()) {
            if let Some(format) = capability.strip_prefix(b"object-format=")
                && format != b"sha1"
            {
                let format = super::error::clean_to(&String::from_utf8_lossy(format), 20);
                return Err(Fault::ObjectFormat(format));
            }
            if !capability.starts_with(b"symref=") {
                kept.push(capability);
            }
        }
        Ok(kept.join(&b' '))
    }

    fn say(&mut self, id: Oid, name: &[u8], out: &mut Vec<u8>) {
        let mut line = format!("{id} ").into_bytes();
        line.extend_from_slice(name);
        if !std::mem::replace(&mut self.said_capabilities, true) {
            line.push(0);
            line.extend_from_slice(self.capabilities.as_deref().unwrap_or_default());
        }
        line.push(b'\n');
        packet(&line, out);
    }
}

enum Packet<'a> {
    Flush,
    Line(&'a [u8]),
}

impl Packet<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Flush => 4,
            Self::Line(line) => line.len() + 4,
        }
    }
}

/// The packet at the head of `bytes`, if all of it is there.
fn next_packet(bytes: &[u8]) -> Result<Option<Packet<'_>>, Fault> {
    let Some((head, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let digits = std::str::from_utf8(head).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
    let length = digits.and_then(|text| usize::from_str_radix(text, 16).ok());
    match length {
        Some(0) => Ok(Some(Packet::Flush)),
        Some(length @ 4..=MAX_PACKET) => Ok(rest.get(..length - 4).map(Packet::Line)),
        _ => Err(Fault::Malformed("its listing of refs is not made of Git's packets")),
    }
}

fn packet(line: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{:04x}", line.len() + 4).as_bytes());
    out.extend_from_slice(line);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "4f2c91a04f2c91a04f2c91a04f2c91a04f2c91a0";

    fn packets(lines: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for line in lines {
            if line.is_empty() { out.extend_from_slice(b"0000") } else { packet(line, &mut out) }
        }
        out
    }

    fn shown() -> Shown {
        Shown { names: vec!["refs/heads/main".to_owned()], all_tags: true }
    }

    fn reference(name: &[u8]) -> Vec<u8> {
        [ID.as_bytes(), b" ", name, b"\n"].concat()
    }

    fn first(name: &[u8], capabilities: &str) -> Vec<u8> {
        [ID.as_bytes(), b" ", name, b"\0", capabilities.as_bytes(), b"\n"].concat()
    }

    #[test]
    fn only_what_is_fetched_is_shown_and_odd_names_are_passed_over() {
        let long = [b"refs/tags/".as_slice(), &[b'x'; 300]].concat();
        let names: [&[u8]; 9] = [
            b"refs/heads/fix-\xe9",
            b"refs/heads/main",
            b"refs/notes/\xff\xfe",
            b"refs/heads/other",
            b"refs/tags/v1\x01",
            b"refs/tags/../../config",
            b"refs/tags/v1.0.0",
            b"refs/tags/v1.0.0^{}",
            &long,
        ];
        let mut lines = vec![
            b"# service=git-upload-pack\n".to_vec(),
            Vec::new(),
            first(b"HEAD", "side-band-64k symref=HEAD:refs/heads/\u{e9} agent=git/2"),
        ];
        lines.extend(names.iter().map(|name| reference(name)));
        lines.push(Vec::new());
        let all = packets(&lines.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let expected = packets(&[
            b"# service=git-upload-pack\n",
            b"",
            &first(b"refs/heads/main", "side-band-64k agent=git/2"),
            &reference(b"refs/tags/v1.0.0"),
            b"",
        ]);
        // However the bytes are cut.
        for size in [1, 7, 4_096] {
            let mut advertisement = Advertisement::new(shown());
            let out: Vec<u8> = all.chunks(size).flat_map(|part| advertisement.feed(part).unwrap()).collect();
            assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&expected));
            assert!(advertisement.ended());
            let (refs, passed_over) = advertisement.take();
            let names: Vec<_> = refs.keys().map(String::as_str).collect();
            assert_eq!(names, ["refs/heads/main", "refs/heads/other", "refs/tags/v1.0.0"]);
            assert_eq!(passed_over, 5);
        }
    }

    #[test]
    fn a_server_without_refs_that_are_shown_keeps_its_capabilities() {
        let all = packets(&[&first(b"refs/heads/other", "ofs-delta"), b""]);
        let mut advertisement = Advertisement::new(shown());
        let out = advertisement.feed(&all).unwrap();
        let none = format!("{} capabilities^{{}}\0ofs-delta\n", "0".repeat(40));
        assert_eq!(out, packets(&[none.as_bytes(), b""]));
        assert!(advertisement.ended());
    }

    #[test]
    fn another_hash_function_and_what_is_no_listing_are_named() {
        let all = packets(&[&first(b"HEAD", "object-format=sha256")]);
        let fault = Advertisement::new(shown()).feed(&all).unwrap_err();
        assert_eq!(fault, Fault::ObjectFormat("sha256".to_owned()));
        for bytes in [&b"<html>"[..], b"0001", b"fffffff", b"0009hello", b"+00a12"] {
            let fault = Advertisement::new(shown()).feed(bytes);
            assert!(matches!(fault, Err(Fault::Malformed(_))), "{bytes:?}: {fault:?}");
        }
    }

    /// Pieces that a listing is made of, right and wrong ones, so that a run gets far into it.
    fn piece() -> impl Strategy<Value = Vec<u8>> {
        let name = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..40),
            "refs/(heads|tags|notes|pull)/[a-z./^{}@ ~:?*\\\\-]{0,30}".prop_map(String::into_bytes),
            Just(b"refs/heads/main".to_vec()),
        ];
        let id = prop_oneof![4 => Just(ID.to_owned()), 1 => "[0-9a-f]{0,64}"];
        let line = (id, name, proptest::option::of(proptest::collection::vec(any::<u8>(), 0..60)));
        let line = line.prop_map(|(id, name, more)| {
            let mut line = [id.as_bytes(), b" ", &name].concat();
            if let Some(more) = more {
                line.push(0);
                line.extend(more);
            }
            let mut out = Vec::new();
            packet(&line, &mut out);
            out
        });
        prop_oneof![8 => line, 1 => Just(b"0000".to_vec()), 1 => proptest::collection::vec(any::<u8>(), 0..20)]
    }

    /// Whether a listing means the same however it is cut, and what is shown is UTF-8 and asked for.
    fn holds(pieces: &[Vec<u8>], size: usize) -> Result<(), TestCaseError> {
        let all = pieces.concat();
        let read = |size: usize| {
            let mut advertisement = Advertisement::new(shown());
            let mut out = Vec::new();
            for part in all.chunks(size.max(1)) {
                match advertisement.feed(part) {
                    Ok(bytes) => out.extend(bytes),
                    Err(fault) => return Err(fault),
                }
            }
            Ok((out, advertisement.ended(), advertisement.take()))
        };
        let (whole, cut) = (read(usize::MAX), read(size));
        prop_assert_eq!(&whole, &cut);
        let Ok((out, ended, (refs, _))) = whole else { return Ok(()) };
        prop_assert!(refs.keys().all(|name| can_be_kept(name)));
        if !ended {
            return Ok(());
        }
        let (mut at, mut in_head) = (0, false);
        while let Ok(Some(packet)) = next_packet(&out[at..]) {
            at += packet.len();
            let line = match packet {
                Packet::Line(line) => line,
                // The end of the listing; what comes then is no part of it.
                Packet::Flush if !std::mem::take(&mut in_head) => break,
                Packet::Flush => continue,
            };
            in_head |= line.starts_with(b"# service=");
            let Some(name) = line.strip_suffix(b"\n").and_then(|line| line.get(41..)) else { continue };
            let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
            if line.starts_with(ID.as_bytes()) {
                let name = std::str::from_utf8(name).unwrap();
                prop_assert!(name == "refs/heads/main" || name.starts_with("refs/tags/"));
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn every_listing_is_read_or_refused(pieces in proptest::collection::vec(piece(), 0..30), size in 1usize..50) {
            holds(&pieces, size)?;
        }
    }

    /// The same for as long as wanted: `FAIRLEAD_FUZZ_MINUTES=11 cargo test fuzz_listings -- --ignored`.
    #[test]
    #[ignore = "runs for minutes"]
    fn fuzz_listings() {
        let minutes =
            std::env::var("FAIRLEAD_FUZZ_MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
        let end = std::time::Instant::now() + std::time::Duration::from_secs(60 * minutes);
        let mut cases = 0u64;
        while std::time::Instant::now() < end {
            let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
                cases: 2_000,
                failure_persistence: None,
                ..ProptestConfig::default()
            });
            let input = (proptest::collection::vec(piece(), 0..30), 1usize..50);
            runner.run(&input, |(pieces, size)| holds(&pieces, size)).unwrap();
            cases += 2_000;
        }
        println!("{cases} listings");
    }
}
