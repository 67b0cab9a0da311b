//! Content digests (BLAKE3, 256 bits) and Git commit ids.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// Why a text is not a digest or a commit id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not {wanted} hexadecimal digits")]
pub struct InvalidHex {
    pub text: String,
    pub wanted: usize,
}

fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], InvalidHex> {
    let invalid = || InvalidHex { text: text.chars().take(80).collect(), wanted: N * 2 };
    if text.len() != N * 2 || !text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return Err(invalid());
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| invalid())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| invalid())?;
    }
    Ok(out)
}

/// Ledgers and layers on disk hold two digests an object: digits are looked up, not formatted.
const HEX: &[u8; 16] = b"0123456789abcdef";

macro_rules! hex_ids {
    ($($(#[$doc:meta])* $name:ident($len:literal);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name([u8; $len]);

        impl $name {
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
            /// The first seven digits, for people.
            pub fn short(&self) -> String {
                self.to_string().chars().take(7).collect()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; $len * 2];
                for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
                    pair.copy_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
                }
                f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidHex;
            fn from_str(text: &str) -> Result<Self, InvalidHex> {
                parse_hex(text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidHex;
            fn try_from(text: String) -> Result<Self, InvalidHex> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": "string", "pattern": format!("^[0-9a-f]{{{}}}$", $len * 2)})
            }
        }
    )*};
}

hex_ids! {
    /// A Git commit, by its full SHA-1.
    CommitId(20);
    /// A Git tree or blob, by its full SHA-1.
    TreeId(20);
    /// A release: the digest of its layers' digests in order.
    ReleaseDigest(32);
    /// A rendered layer: the digest of its objects' bytes in order, with what else decides how it is applied.
    LayerDigest(32);
    /// What a layer is rendered from: equal inputs mean an equal layer.
    InputDigest(32);
    /// The canonical bytes of one object, before stamping.
    ObjectDigest(32);
    /// Our entry in an object's `managedFields`, without its time.
    FieldsDigest(16);
}

macro_rules! content_digests {
    ($($name:ident)*) => {$(
        impl $name {
            /// Digests parts with their lengths, so that no two lists of parts run into each other.
            pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
                let mut hasher = blake3::Hasher::new();
                for part in parts {
                    hasher.update(&(part.len() as u64).to_le_bytes());
                    hasher.update(part);
                }
                Self(*hasher.finalize().as_bytes())
            }
        }
    )*};
}
content_digests!(ReleaseDigest LayerDigest InputDigest ObjectDigest);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trips_and_is_strict() {
        let text = "4f2c91a04f2c91a04f2c91a04f2c91a04f2c91a0";
        assert_eq!(
            text.parse::<CommitId>().map(|c| (c.to_string(), c.short())),
            Ok((text.into(), "4f2c91a".into()))
        );
        for bad in ["", "4f2c91a", &text.to_uppercase(), &format!("{text}0"), &"é".repeat(20)] {
            assert!(bad.parse::<CommitId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(ObjectDigest::of([b"ab".as_slice(), b"c"]), ObjectDigest::of([b"a".as_slice(), b"bc"]));
    }
}
