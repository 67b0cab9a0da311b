//! Answers read into memory, with a bound on what they become there.
//!
//! A short text can become a large tree: `{"":0},` has 7 bytes and takes 700. So a tree is weighed while it is
//! built, and a list is read item by item: no more than one item of it is a tree at a time. Pure.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value};

/// Heaviest tree of one object, in bytes: about twenty times the largest object that an API server stores.
pub const MAX_TREE: usize = 32 << 20;
/// What a map weighs by itself, what one of its members does, and what an item of a list does.
const MAP: usize = 700;
const MEMBER: usize = 60;
const ITEM: usize = 32;

/// What a list says beside its items.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ListMeta {
    pub resource_version: Option<String>,
    /// The token of the next page.
    #[serde(rename = "continue")]
    pub token: Option<String>,
    pub remaining_item_count: Option<u64>,
}

/// Reads the items of a list into a type of their own; those that `keep` denies are dropped at once. More than `most`
/// that stay are an error, and so is a list that is thirty times as long.
pub fn bounded<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    reader: D,
    most: usize,
    keep: impl Fn(&T) -> bool,
) -> Result<Vec<T>, D::Error> {
    reader.deserialize_seq(Bounded { most, keep, item: PhantomData })
}

struct Bounded<T, K> {
    most: usize,
    keep: K,
    item: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>, K: Fn(&T) -> bool> Visitor<'de> for Bounded<T, K> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {} items", self.most)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
        let (mut found, mut count) = (Vec::new(), 0_usize);
        while let Some(item) = items.next_element()? {
            count += 1;
            if (self.keep)(&item) {
                found.push(item);
            }
            if found.len() > self.most || count > self.most.saturating_mul(30) {
                return Err(A::Error::custom(format!("more than {} items", self.most)));
            }
        }
        Ok(found)
    }
}

/// Reads the first `most` items of a list; the others are passed over. `null` is an empty list.
pub fn first<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    reader: D,
    most: usize,
) -> Result<Vec<T>, D::Error> {
    reader.deserialize_any(First { most, item: PhantomData })
}

struct First<T> {
    most: usize,
    item: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for First<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<Vec<T>, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
        let mut found = Vec::new();
        while found.len() < self.most {
            let Some(item) = items.next_element()? else { return Ok(found) };
            found.push(item);
        }
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }
}

/// What a value weighs in memory, as [`tree`] counts.
pub fn weight(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(|item| 2 * ITEM + weight(item)).sum(),
        Value::Object(members) => {
            let map = if members.is_empty() { 0 } else { MAP - MEMBER };
            map + members.iter().map(|(name, value)| MEMBER + name.len() + weight(value)).sum::<usize>()
        }
        _ => 0,
    }
}

/// Reads one value, which may weigh no more than `most` bytes.
pub fn tree(bytes: &[u8], most: usize) -> Result<Value, serde_json::Error> {
    let left = Cell::new(most);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Tree(&left).deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// Reads a list, and gives each item away as soon as it is read. An error of `take` ends the reading.
pub fn list(
    bytes: &[u8],
    take: &mut dyn FnMut(Value) -> Result<(), String>,
) -> Result<ListMeta, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let meta = List(take).deserialize(&mut reader)?;
    reader.end()?;
    Ok(meta)
}

struct List<'a>(&'a mut dyn FnMut(Value) -> Result<(), String>);

impl<'de> DeserializeSeed<'de> for List<'_> {
    type Value = ListMeta;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<ListMeta, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = ListMeta;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<ListMeta, A::Error> {
        let mut meta = ListMeta::default();
        while let Some(name) = members.next_key::<std::borrow::Cow<'de, str>>()? {
            match &*name {
                "metadata" => meta = members.next_value()?,
                "items" => members.next_value_seed(Items(&mut *self.0))?,
                _ => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(meta)
    }
}

struct Items<'a>(&'a mut dyn FnMut(Value) -> Result<(), String>);

impl<'de> DeserializeSeed<'de> for Items<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("items of a list")
    }

    /// `"items": null` is an empty list.
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        loop {
            let left = Cell::new(MAX_TREE);
            let Some(item) = items.next_element_seed(Tree(&left))? else { return Ok(()) };
            (self.0)(item).map_err(A::Error::custom)?;
        }
    }
}

/// A tree, and what it may still weigh.
#[derive(Clone, Copy)]
struct Tree<'a>(&'a Cell<usize>);

impl Tree<'_> {
    fn weigh<E: serde::de::Error>(self, weight: usize) -> Result<(), E> {
        let left = self.0.get().checked_sub(weight);
        self.0.set(left.ok_or_else(|| E::custom("an object that would take too much memory"))?);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        self.weigh(value.len())?;
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut found = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            // A vector that grows is copied, and holds up to twice what it needs.
            self.weigh(2 * ITEM)?;
            found.push(item);
        }
        Ok(Value::Array(found))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut found = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            self.weigh(name.len() + if found.is_empty() { MAP } else { MEMBER })?;
            found.insert(name, members.next_value_seed(self)?);
        }
        Ok(Value::Object(found))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_tree_is_what_was_sent() {
        let sent = json!({"a": [1, -2, 3.5, true, null, "x", {}], "b": {"c": {"d": []}}, "": "ä"});
        assert_eq!(tree(sent.to_string().as_bytes(), MAX_TREE).unwrap(), sent);
        for bad in ["", "{", "[1,]", "{\"a\":1}x"] {
            assert!(tree(bad.as_bytes(), MAX_TREE).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_value_weighs_what_reading_it_was_allowed_to() {
        let sent = json!({"a": [1, {"b": "text"}, []], "c": {"d": {}, "e": {"f": 1}}, "g": null});
        let (text, weight) = (sent.to_string(), weight(&sent));
        assert_eq!(tree(text.as_bytes(), weight).unwrap(), sent);
        assert!(tree(text.as_bytes(), weight - 1).is_err());
    }

    #[test]
    fn the_first_items_are_kept_and_the_others_passed_over() {
        let read = |text: &str| first::<_, u8>(&mut serde_json::Deserializer::from_str(text), 2);
        assert_eq!(read("[1]").unwrap(), [1]);
        assert_eq!(read("[1,2,300,\"x\",{}]").unwrap(), [1, 2]);
        assert!(read("null").unwrap().is_empty());
        assert!(read("{}").is_err() && read("[1,2,3").is_err());
    }

    #[test]
    fn a_list_of_too_many_is_an_error() {
        let read =
            |text: &str| bounded::<_, u8>(&mut serde_json::Deserializer::from_str(text), 2, |item| *item > 0);
        assert_eq!(read("[1,0,0,0,2]").unwrap(), [1, 2]);
        assert!(read("[1,2,3]").unwrap_err().to_string().contains("more than 2 items"));
        assert!(read(&format!("[{}]", ["0"; 61].join(","))).is_err(), "and what is dropped counts, too");
    }

    #[test]
    fn a_text_that_would_become_too_much_is_no_tree() {
        for unit in [r#"{"":0}"#, "[]", "0", r#""""#, r#"{"":{}}"#] {
            let text = format!("[{}]", vec![unit; 1_000_000].join(","));
            let error = tree(text.as_bytes(), 8 << 20).unwrap_err();
            assert!(error.to_string().contains("too much memory"), "{unit}: {error}");
        }
        let deep = format!("{}{}", r#"{"":"#.repeat(1_000), "0");
        assert!(tree(deep.as_bytes(), MAX_TREE).is_err());
    }

    #[test]
    fn items_are_given_away_one_by_one_wherever_the_metadata_stands() {
        let items = r#""items":[{"n":1},{"n":2}]"#;
        let meta = r#""metadata":{"resourceVersion":"7","continue":"next","remainingItemCount":3,"x":[1]}"#;
        for text in [format!("{{{meta},{items}}}"), format!("{{{items},{meta},\"other\":{{}}}}")] {
            let mut found = Vec::new();
            let mut take = |item: Value| -> Result<(), String> {
                found.push(item["n"].as_u64());
                Ok(())
            };
            let meta = list(text.as_bytes(), &mut take).unwrap();
            let next = ListMeta {
                resource_version: Some("7".into()),
                token: Some("next".into()),
                remaining_item_count: Some(3),
            };
            assert_eq!((meta, found), (next, vec![Some(1), Some(2)]));
        }
        assert_eq!(list(br#"{"items":null}"#, &mut |_| Ok(())).unwrap(), ListMeta::default());
        let mut count = 0;
        let mut stop = |_: Value| {
            count += 1;
            if count > 3 { Err("enough".to_owned()) } else { Ok(()) }
        };
        let many = format!(r#"{{"items":[{}]}}"#, vec!["{}"; 100].join(","));
        assert!(list(many.as_bytes(), &mut stop).unwrap_err().to_string().contains("enough"));
        assert_eq!(count, 4);
    }
}
