//! Compares what two clusters said, but for what can't be the same: uids, times, resourceVersions, addresses.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::side::Answer;

/// One place in which two answers differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// A JSON pointer into the answer; `code` for the status code.
    pub path: String,
    pub a: Value,
    pub b: Value,
}

/// Before the paths in a list.
const LIST: &str = "list:";

/// What stands for what: grows while a sequence is compared.
#[derive(Debug, Default)]
pub struct Pairs {
    names: BTreeMap<String, String>,
    taken: BTreeMap<String, String>,
    versions: BTreeMap<u64, u64>,
}

impl Pairs {
    /// Everything in which two answers differ.
    pub fn compare(&mut self, a: &Answer, b: &Answer) -> Vec<Difference> {
        let mut found = Vec::new();
        if a.code != b.code {
            found.push(Difference { path: "code".into(), a: a.code.into(), b: b.code.into() });
        }
        // A list's own version may be any that is new enough; an object's may not.
        let root = if a.body.get("items").is_some() { LIST } else { "" };
        self.values(root, &a.body, &b.body, &mut found);
        for difference in &mut found {
            difference.path = difference.path.trim_start_matches(LIST).to_owned();
        }
        found
    }

    fn values(&mut self, path: &str, a: &Value, b: &Value, found: &mut Vec<Difference>) {
        match (a, b) {
            (Value::Object(x), Value::Object(y)) => {
                let keys: BTreeSet<&String> = x.keys().chain(y.keys()).collect();
                for key in keys {
                    let path = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
                    let of = |members: &serde_json::Map<String, Value>| {
                        members.get(key).cloned().unwrap_or_default()
                    };
                    self.values(&path, &of(x), &of(y), found);
                }
            }
            // Lists of custom resources have an empty token where others have none.
            (Value::String(text), Value::Null) | (Value::Null, Value::String(text))
                if text.is_empty() && path.ends_with("/continue") => {}
            (Value::Array(x), Value::Array(y)) => self.lists(path, x, y, found),
            (Value::String(x), Value::String(y)) if self.texts(path, x, y) => {}
            _ if a == b => {}
            _ => found.push(Difference { path: path.to_owned(), a: a.clone(), b: b.clone() }),
        }
    }

    fn lists(&mut self, path: &str, x: &[Value], y: &[Value], found: &mut Vec<Difference>) {
        let (mut x, mut y) = (x.to_vec(), y.to_vec());
        if path.ends_with("/managedFields") {
            // The server sorts them by time, which has whole seconds.
            let order = |entry: &Value| {
                ["manager", "operation", "subresource", "apiVersion"].map(|key| entry[key].to_string())
            };
            x.sort_by_key(order);
            y.sort_by_key(order);
        }
        if path.ends_with("/details/causes") {
            x.sort_by_key(Value::to_string);
            y.sort_by_key(Value::to_string);
        }
        for n in 0..x.len().max(y.len()) {
            let of = |list: &[Value]| list.get(n).cloned().unwrap_or_default();
            self.values(&format!("{path}/{n}"), &of(&x), &of(&y), found);
        }
    }

    /// Whether two texts say the same.
    fn texts(&mut self, path: &str, a: &str, b: &str) -> bool {
        let key = path.rsplit('/').next().unwrap_or_default();
        match key {
            "resourceVersion" if path.strip_prefix(LIST) == Some("/metadata/resourceVersion") => true,
            "resourceVersion" => match (a.parse(), b.parse()) {
                (Ok(a), Ok(b)) => self.versions(a, b),
                _ => a == b,
            },
            "continue" => a.is_empty() == b.is_empty(),
            // Conflicts are named in the order of managedFields.
            "message" if a.starts_with("Apply failed") => lines(a) == lines(b),
            _ if a == b => true,
            _ if is_time(a) && is_time(b) => true,
            _ => {
                let ((a, names), (b, others)) = (take_names(a), take_names(b));
                let same = a == b && names.len() == others.len();
                same && names.iter().zip(&others).all(|(a, b)| self.names(a, b))
            }
        }
    }

    fn names(&mut self, a: &str, b: &str) -> bool {
        let forth = self.names.entry(a.to_owned()).or_insert_with(|| b.to_owned());
        let back = self.taken.entry(b.to_owned()).or_insert_with(|| a.to_owned());
        forth == b && back == a
    }

    /// Versions may be any numbers, in the same order.
    fn versions(&mut self, a: u64, b: u64) -> bool {
        if let Some(known) = self.versions.get(&a) {
            return *known == b;
        }
        let below = self.versions.range(..a).next_back().is_none_or(|(_, known)| *known < b);
        let above = self.versions.range(a..).next().is_none_or(|(_, known)| *known > b);
        if below && above {
            self.versions.insert(a, b);
        }
        below && above
    }
}

fn lines(text: &str) -> BTreeSet<String> {
    text.replace(": conflict", ":\nconflict").lines().map(str::to_owned).collect()
}

fn is_time(text: &str) -> bool {
    text.parse::<jiff::Timestamp>().is_ok()
}

/// A text with its uids, addresses of services and versions in messages taken out.
fn take_names(text: &str) -> (String, Vec<String>) {
    let (mut rest, mut out, mut names) = (text, String::new(), Vec::new());
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '.'));
        let (word, tail) = rest.split_at(end.unwrap_or(rest.len()));
        if is_uid(word) || is_service_address(word) {
            names.push(word.to_owned());
            out.push_str("<name>");
        } else if word.parse::<u64>().is_ok_and(|number| number > 9) {
            out.push_str("<number>");
        } else {
            out.push_str(word);
        }
        let skip = tail.chars().next().map_or(0, char::len_utf8);
        out.push_str(&tail[..skip]);
        rest = &tail[skip..];
    }
    (out, names)
}

fn is_uid(word: &str) -> bool {
    let parts: Vec<usize> = word.split('-').map(str::len).collect();
    parts == [8, 4, 4, 4, 12] && word.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}

fn is_service_address(word: &str) -> bool {
    word.starts_with("10.0.") && word.parse::<std::net::Ipv4Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_cannot_be_the_same_may_differ_and_nothing_else() {
        let uid = |n: u8| format!("0000000{n}-0000-0000-0000-000000000000");
        let object = |uid: String, version: u64, value: &str| {
            let meta = json!({"uid": uid, "resourceVersion": version.to_string(), "creationTimestamp": "2026-01-01T00:00:00Z"});
            Answer { code: 200, body: json!({"metadata": meta, "data": {"a": value}}) }
        };
        let mut pairs = Pairs::default();
        let mut same =
            |a: Answer, b: Answer| pairs.compare(&a, &b).iter().map(|d| d.path.clone()).collect::<Vec<_>>();
        assert!(same(object(uid(1), 5, "x"), object(uid(2), 90, "x")).is_empty());
        assert!(same(object(uid(1), 7, "x"), object(uid(2), 91, "x")).is_empty());
        assert_eq!(same(object(uid(1), 7, "x"), object(uid(2), 91, "y")), ["/data/a"]);
        assert_eq!(
            same(object(uid(1), 8, "x"), object(uid(3), 91, "x")),
            ["/metadata/resourceVersion", "/metadata/uid"]
        );
        assert_eq!(
            same(object(uid(4), 6, "x"), object(uid(2), 95, "x")),
            ["/metadata/resourceVersion", "/metadata/uid"]
        );
    }
}
