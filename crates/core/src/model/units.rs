//! Durations and amounts as people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A duration written as `30s`, `5m`, `1h30m` or `2d`; units in falling order, each at most once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(Duration);

/// A number, or a percentage of something that the field's documentation names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "RawAmount", into = "RawAmount")]
pub enum Amount {
    Count(u32),
    /// 0 to 100.
    Percent(u32),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUnit {
    #[error("'{0}' is not a duration: write 30s, 5m, 1h30m or 2d")]
    Duration(String),
    #[error("'{0}' is not an amount: write a whole number, or a percentage from 0% to 100%")]
    Amount(String),
}

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

impl Span {
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for Span {
    type Err = InvalidUnit;
    fn from_str(text: &str) -> Result<Self, InvalidUnit> {
        let invalid = || InvalidUnit::Duration(text.to_owned());
        let mut units = UNITS.iter();
        let mut rest = text;
        let mut total = 0u64;
        while let Some(end) = rest.find(|c: char| !c.is_ascii_digit()) {
            let number: u64 = rest[..end].parse().map_err(|_| invalid())?;
            let unit = rest[end..].chars().next().ok_or_else(invalid)?;
            let (_, seconds) = units.find(|(name, _)| *name == unit).ok_or_else(invalid)?;
            total = number.checked_mul(*seconds).and_then(|n| total.checked_add(n)).ok_or_else(invalid)?;
            rest = &rest[end + unit.len_utf8()..];
        }
        if text.is_empty() || !rest.is_empty() { Err(invalid()) } else { Ok(Self::from_secs(total)) }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0.as_secs();
        if left == 0 {
            return f.write_str("0s");
        }
        for (name, seconds) in UNITS {
            if left >= seconds {
                write!(f, "{}{name}", left / seconds)?;
                left %= seconds;
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for Span {
    type Error = InvalidUnit;
    fn try_from(text: String) -> Result<Self, InvalidUnit> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> String {
        span.to_string()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum RawAmount {
    Number(u32),
    Text(String),
}

impl TryFrom<RawAmount> for Amount {
    type Error = InvalidUnit;
    fn try_from(raw: RawAmount) -> Result<Self, InvalidUnit> {
        let text = match raw {
            RawAmount::Number(n) => return Ok(Amount::Count(n)),
            RawAmount::Text(text) => text,
        };
        let percent = text.strip_suffix('%').and_then(|n| n.parse().ok()).filter(|n| *n <= 100);
        percent.map(Amount::Percent).ok_or(InvalidUnit::Amount(text))
    }
}

impl From<Amount> for RawAmount {
    fn from(amount: Amount) -> RawAmount {
        match amount {
            Amount::Count(n) => RawAmount::Number(n),
            Amount::Percent(_) => RawAmount::Text(amount.to_string()),
        }
    }
}

impl Amount {
    /// Its share of `whole`, rounded down: for failures and deletions.
    pub fn floor_of(self, whole: usize) -> usize {
        match self {
            Amount::Count(n) => n as usize,
            Amount::Percent(p) => whole * p as usize / 100,
        }
    }
    /// Its share of `whole`, rounded up: for concurrency.
    pub fn ceil_of(self, whole: usize) -> usize {
        match self {
            Amount::Count(n) => n as usize,
            Amount::Percent(p) => (whole * p as usize).div_ceil(100),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Amount::Count(n) => write!(f, "{n}"),
            Amount::Percent(p) => write!(f, "{p}%"),
        }
    }
}

impl schemars::JsonSchema for Span {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^(?=.)([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$"})
    }
}

impl schemars::JsonSchema for Amount {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Amount".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"anyOf": [
            {"type": "integer", "minimum": 0, "maximum": u32::MAX},
            {"type": "string", "pattern": "^(100|[0-9]{1,2})%$"},
        ]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_parse_and_print() {
        for (text, secs) in [("30s", 30), ("5m", 300), ("1h30m", 5_400), ("2d", 172_800), ("0s", 0)] {
            let span: Span = text.parse().unwrap();
            assert_eq!((span, span.to_string().as_str()), (Span::from_secs(secs), text));
        }
        for bad in ["", "5", "m", "5m1h", "1m1m", "5x", "-5m", "99999999999999999999d", "300000000000000d"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn percentages_round_up_for_concurrency_and_down_for_failures() {
        let amount = |json: &str| serde_json::from_str::<Amount>(json);
        let quarter = amount("\"25%\"").unwrap();
        assert_eq!((quarter.ceil_of(10), quarter.floor_of(10)), (3, 2));
        assert_eq!(amount("7").unwrap().ceil_of(3), 7);
        for bad in ["\"101%\"", "\"7\"", "-1", "1.5", "\"%\""] {
            assert!(amount(bad).is_err(), "{bad}");
        }
    }
}
