//! Ranges of versions, as people who know npm, Cargo or Flux write them.

use std::fmt;
use std::str::FromStr;

use semver::{Version, VersionReq};
use serde::{Deserialize, Serialize};

/// Longest range.
const MAX_LENGTH: usize = 500;

/// Which versions are meant: any of the parts between `||`, each of which asks for all of its comparators, with commas or
/// spaces between them.
///
/// A version without an operator means "compatible", as in Cargo: `1.2` is `>=1.2.0, <2.0.0`, and so is `^1.2`. (npm and
/// Flux read `1.2` as `1.2.x`, and `1.2.3` as that version alone: those are written `1.2.x` and `=1.2.3` here.)
/// A pre-release is meant only by a range that names one of the same version, as in npm and Cargo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VersionRange {
    text: String,
    any: Vec<VersionReq>,
}

/// Why a text is no range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a range of versions: {reason}")]
pub struct BadRange {
    text: String,
    reason: String,
}

impl VersionRange {
    pub fn matches(&self, version: &Version) -> bool {
        self.any.iter().any(|all| all.matches(version))
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<VersionRange> for String {
    fn from(range: VersionRange) -> String {
        range.text
    }
}

impl TryFrom<String> for VersionRange {
    type Error = BadRange;
    fn try_from(text: String) -> Result<Self, BadRange> {
        text.parse()
    }
}

impl FromStr for VersionRange {
    type Err = BadRange;

    fn from_str(text: &str) -> Result<Self, BadRange> {
        let bad = |reason: String| BadRange { text: text.chars().take(80).collect(), reason };
        if text.len() > MAX_LENGTH {
            return Err(bad(format!("it is longer than {MAX_LENGTH} bytes")));
        }
        if text.trim().is_empty() {
            return Err(bad("it is empty; any version is '*'".to_owned()));
        }
        let any: Result<Vec<_>, String> = text.split("||").map(part).collect();
        Ok(Self { text: text.trim().to_owned(), any: any.map_err(bad)? })
    }
}

/// What stands between two `||`.
fn part(text: &str) -> Result<VersionReq, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("nothing stands beside '||'".to_owned());
    }
    // A hyphen with spaces around it: from and to, both included.
    if let Some((from, to)) = text.split_once(" - ") {
        let plain = |version: &str| match operator(version.trim()) {
            ("", version) => bare(version),
            (operator, _) => Err(format!("'{operator}' can't stand beside ' - '")),
        };
        let (from, to) = (plain(from)?, plain(to)?);
        let bound = |operator: &str, version: &str| match version {
            "*" => "*".to_owned(),
            version => format!("{operator}{version}"),
        };
        return requirement(&[bound(">=", &from), bound("<=", &to)]);
    }
    let mut comparators = Vec::new();
    let mut words = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        let (operator, rest) = operator(word);
        // `>= 1.2`: the version is the next word.
        let rest = match (operator, rest) {
            ("", rest) => rest,
            (_, "") => words.next().ok_or_else(|| format!("no version stands after '{operator}'"))?,
            (_, rest) => rest,
        };
        comparators.push(comparator(operator, rest)?);
    }
    requirement(&comparators)
}

fn requirement(comparators: &[String]) -> Result<VersionReq, String> {
    // `*` beside others asks for nothing more.
    let others: Vec<&str> = comparators.iter().map(String::as_str).filter(|text| *text != "*").collect();
    if others.is_empty() {
        return Ok(VersionReq::STAR);
    }
    VersionReq::parse(&others.join(", ")).map_err(|error| error.to_string())
}

/// The operator that a word begins with, as the crate writes it, and what comes after.
fn operator(word: &str) -> (&'static str, &str) {
    const OPERATORS: [(&str, &str); 10] = [
        (">=", ">="),
        ("=>", ">="),
        ("<=", "<="),
        ("=<", "<="),
        ("~>", "~"),
        (">", ">"),
        ("<", "<"),
        ("=", "="),
        ("^", "^"),
        ("~", "~"),
    ];
    OPERATORS
        .iter()
        .find_map(|(written, meant)| Some((*meant, word.strip_prefix(written)?)))
        .unwrap_or(("", word))
}

fn comparator(operator: &str, version: &str) -> Result<String, String> {
    let version = bare(version)?;
    Ok(match (operator, version.as_str()) {
        // Every version is at least, at most and compatible with any; none is above or below all.
        (">" | "<", "*") => return Err(format!("'{operator}*' means no version")),
        (_, "*") => version,
        // `1.x` alone is a wildcard; after an operator it is the shorter version.
        ("", _) => version,
        (operator, version) => format!("{operator}{}", version.trim_end_matches(".*")),
    })
}

/// A version as the crate writes it: without a `v`, `x` as `*`, and nothing after the first `*`.
fn bare(version: &str) -> Result<String, String> {
    let text = version.strip_prefix(['v', 'V']).unwrap_or(version);
    let (numbers, more) = match text.find(['-', '+']) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let mut parts = Vec::new();
    let mut wild = false;
    for part in numbers.split('.') {
        let star = matches!(part, "x" | "X" | "*");
        let number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        // What comes after a wildcard can be nothing else.
        if !star && (wild || !number) {
            return Err(format!("'{version}' is not a version"));
        }
        if !wild {
            parts.push(if star { "*" } else { part });
        }
        wild |= star;
    }
    if parts.len() > 3 {
        return Err(format!("'{version}' has more than three numbers"));
    }
    Ok(if wild { parts.join(".") } else { format!("{}{more}", parts.join(".")) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matching(range: &str) -> String {
        let range: VersionRange = range.parse().unwrap_or_else(|error| panic!("{error}"));
        let versions = [
            "0.9.0",
            "1.0.0",
            "1.2.0",
            "1.2.3",
            "1.3.0",
            "1.4.0-rc.1",
            "1.4.0",
            "2.0.0",
            "2.3.0",
            "2.4.0",
            "3.1.0",
        ];
        let found = versions.iter().filter(|version| range.matches(&version.parse().unwrap()));
        found.copied().collect::<Vec<_>>().join(" ")
    }

    /// What each form means, by the documents of npm's and Cargo's semver.
    #[test]
    fn the_forms_that_people_write() {
        let from_one = "1.0.0 1.2.0 1.2.3 1.3.0 1.4.0";
        for (ranges, versions) in [
            (
                &[
                    "^1",
                    "1",
                    "1.x",
                    "1.X",
                    "1.*",
                    "1.x.x",
                    "v1",
                    "^v1",
                    "~1",
                    ">=1 <2",
                    ">=1, <2",
                    ">= 1.0  < 2.0.0",
                    "=1",
                ][..],
                from_one,
            ),
            (&["^1.2", "1.2", "^1.2.0", ">=1.2,<2", "^1.2.x"], "1.2.0 1.2.3 1.3.0 1.4.0"),
            (&["~1.2", "1.2.x", "1.2.*", "~1.2.0", "~>1.2.0", "=1.2", "~> 1.2", ">=1.2 <1.3"], "1.2.0 1.2.3"),
            (&["=1.2.3", "1.2.3 - 1.2.3", "v1.2.3 - v1.2.3", "= v1.2.3"], "1.2.3"),
            (&["1.2.3", "^1.2.3"], "1.2.3 1.3.0 1.4.0"),
            (
                &["*", "x", ">=0", "x.x", "* || 1", ">=*"],
                "0.9.0 1.0.0 1.2.0 1.2.3 1.3.0 1.4.0 2.0.0 2.3.0 2.4.0 3.1.0",
            ),
            (&["1.2 - 2.3", "1.2.0 - 2.3.0", ">=1.2 <=2.3"], "1.2.0 1.2.3 1.3.0 1.4.0 2.0.0 2.3.0"),
            (&["<1 || >=3", "<1||>2.4", "0.x || 3.x"], "0.9.0 3.1.0"),
            (&["^1.4.0-rc.1", ">=1.4.0-0 <1.5"], "1.4.0-rc.1 1.4.0"),
            (&[">1.x <3", ">1 <3.x"], "2.0.0 2.3.0 2.4.0"),
            (&["=1.2.3+build.7"], "1.2.3"),
        ] {
            for range in ranges {
                assert_eq!(matching(range), versions, "{range}");
            }
        }
    }

    #[test]
    fn what_is_no_range_says_why() {
        for (text, reason) in [
            ("", "empty"),
            ("  ", "empty"),
            ("latest", "'latest' is not a version"),
            ("1 ||", "beside '||'"),
            (">=", "no version stands after '>='"),
            ("1.2.3.4", "more than three numbers"),
            ("1..2", "not a version"),
            ("x.y", "not a version"),
            ("1.x.3", "not a version"),
            (">=1 - 2", "can't stand beside"),
            (">*", "no version"),
            ("1.2.3-", "unexpected"),
        ] {
            let error = text.parse::<VersionRange>().unwrap_err().to_string();
            assert!(error.contains(reason) || reason == "unexpected", "{text}: {error}");
        }
        assert!("1,".repeat(400).parse::<VersionRange>().is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[0-9xX*v^~<>=|., +a-z-]{0,60}") {
            if let Ok(range) = text.parse::<VersionRange>() {
                range.matches(&Version::new(1, 2, 3));
            }
        }

        /// What was a range before this type means what it meant.
        #[test]
        fn ranges_of_the_crate_mean_the_same(
            text in "(\\^|~|=|>=|<=|>|<|)[0-3](\\.[0-3](\\.[0-3])?)?(, ?(<|>=)[0-3])?",
            version in (0u64..4, 0u64..4, 0u64..4),
        ) {
            let version = Version::new(version.0, version.1, version.2);
            let (old, new) = (VersionReq::parse(&text).unwrap(), text.parse::<VersionRange>().unwrap());
            prop_assert_eq!(old.matches(&version), new.matches(&version));
        }
    }
}
