//! Validated names.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest name: an RFC 1123 DNS label, because names become parts of Kubernetes object names and labels.
pub const MAX_NAME: usize = 63;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a name: 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit")]
pub struct InvalidName {
    pub text: String,
}

fn is_dns_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = text.as_bytes();
    bytes.len() <= MAX_NAME && bytes.iter().all(|b| inner(*b)) && edge(bytes.first()) && edge(bytes.last())
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                if is_dns_label(text) { Ok(Self(text.to_owned())) } else { Err(InvalidName { text: text.to_owned() }) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
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
                schemars::json_schema!({
                    "type": "string",
                    "minLength": 1,
                    "maxLength": MAX_NAME,
                    "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
                })
            }
        }
    )*};
}

names! {
    /// The name of a cluster profile.
    ProfileName;
    /// The name of a layer, unique in its profile.
    LayerName;
    /// The name of a cluster target.
    TargetName;
    /// The name of a fleet.
    FleetName;
    /// The name of a wave of a rollout, unique in its fleet.
    WaveName;
    /// The name of one Fairlead installation; two with different names can manage the same clusters without conflict.
    InstanceName;
    /// The name of a source repository; the one that holds the fleets is [`SourceName::control`].
    SourceName;
}

impl WaveName {
    /// The wave of what no other wave of a fleet takes, where the fleet names none for it.
    pub fn rest() -> Self {
        Self("rest".to_owned())
    }
}

impl SourceName {
    /// The repository that holds the fleets and targets.
    pub fn control() -> Self {
        Self("control".to_owned())
    }
}

impl Default for InstanceName {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        for good in ["a", "edge-001", "0", &"a".repeat(63)] {
            assert_eq!(good.parse::<TargetName>().map(String::from), Ok(good.to_owned()));
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", "ä", "a\n", &"a".repeat(64)] {
            assert!(bad.parse::<TargetName>().is_err(), "{bad:?}");
        }
    }
}
