//! What a scalar means, by dialect.

use base64::Engine;
use serde_json::{Number, Value};

use super::Dialect;

/// A resolved scalar. Floats are apart from integers until the end, because keys and tags tell them apart.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Int(i64),
    /// Beyond `i64`.
    Unsigned(u64),
    Float(f64),
    Text(String),
}

impl Scalar {
    /// The JSON value; an infinite number has none.
    pub(super) fn into_value(self) -> Option<Value> {
        Some(match self {
            Scalar::Null => Value::Null,
            Scalar::Bool(b) => Value::Bool(b),
            Scalar::Int(n) => n.into(),
            Scalar::Unsigned(n) => n.into(),
            Scalar::Float(f) => Value::Number(number(f)?),
            Scalar::Text(text) => Value::String(text),
        })
    }

    /// The key that the scalar stands for, as kubectl makes it; null has none.
    pub(super) fn into_key(self) -> Option<String> {
        Some(match self {
            Scalar::Null => return None,
            Scalar::Bool(b) => b.to_string(),
            Scalar::Int(n) => n.to_string(),
            Scalar::Unsigned(n) => n.to_string(),
            Scalar::Float(f) => f.to_string(),
            Scalar::Text(text) => text,
        })
    }

    fn kind(&self) -> &'static str {
        match self {
            Scalar::Null => "null",
            Scalar::Bool(_) => "bool",
            Scalar::Int(_) | Scalar::Unsigned(_) => "int",
            Scalar::Float(_) => "float",
            Scalar::Text(_) => "str",
        }
    }
}

/// A float as JSON: integral ones as integers, as Go writes them (the shortest digits, filled with zeros).
fn number(f: f64) -> Option<Number> {
    if f.fract() == 0.0
        && let Ok(n) = format!("{f}").parse::<i64>()
    {
        return Some(n.into());
    }
    Number::from_f64(f)
}

/// The meaning of a scalar with tag `tag` (its name in YAML's own namespace, or another tag in full).
///
/// # Errors
/// What is wrong with the tag or its value.
pub(super) fn resolve(
    text: &str,
    plain: bool,
    tag: Option<&str>,
    dialect: Dialect,
) -> Result<Scalar, String> {
    let untagged = || match dialect {
        Dialect::Fairlead => core(text),
        Dialect::Kubernetes => legacy(text),
    };
    let Some(tag) = tag else {
        return Ok(if plain { untagged() } else { Scalar::Text(text.to_owned()) });
    };
    match (tag, dialect) {
        ("str", _) => Ok(Scalar::Text(text.to_owned())),
        ("binary", Dialect::Kubernetes) => binary(text).map(Scalar::Text),
        ("timestamp", Dialect::Kubernetes) => Ok(Scalar::Text(text.to_owned())),
        ("int" | "float" | "bool" | "null", _) => match untagged() {
            scalar if scalar.kind() == tag => Ok(scalar),
            Scalar::Int(n) if tag == "float" => {
                #[expect(clippy::cast_precision_loss, reason = "the tag asks for a float")]
                let float = n as f64;
                Ok(Scalar::Float(float))
            }
            _ => Err(format!("'{}' is not a !!{tag}", shortened(text))),
        },
        (_, Dialect::Kubernetes) => Ok(Scalar::Text(text.to_owned())),
        (_, Dialect::Fairlead) => Err(format!("the tag {tag} has no meaning here")),
    }
}

/// Why a number can't be kept as it is written, and what would be kept: JSON numbers are 64 bits wide here, as in
/// kubectl and the API server. None for texts, and for numbers that lose nothing.
pub(super) fn loss(text: &str, scalar: &Scalar, dialect: Dialect) -> Option<String> {
    let plain: String = match dialect {
        Dialect::Kubernetes => text.replace('_', ""),
        Dialect::Fairlead => text.to_owned(),
    };
    let shown = shortened(text);
    match scalar {
        Scalar::Float(f) if f.is_finite() => {
            let same = significant(&plain) == significant(&format!("{f:e}"));
            let whole = signed(&plain).1.bytes().all(|b| b.is_ascii_digit());
            match (same, whole) {
                (true, false) => None,
                // `08` is a float of one digit to YAML 1.1.
                (true, true) if f.abs() < 9e15 => None,
                (_, true) => {
                    Some(format!("the whole number '{shown}' does not fit into 64 bits: it is kept as {f:e}"))
                }
                (_, false) => Some(format!(
                    "the number '{shown}' has more digits than 64 bits hold: it is kept as {f:e}"
                )),
            }
        }
        // What is no number for its size would silently be a text.
        Scalar::Text(_) if dialect == Dialect::Fairlead && is_number(&plain) => {
            Some(format!("the number '{shown}' does not fit into 64 bits"))
        }
        _ => None,
    }
}

fn is_number(text: &str) -> bool {
    let based = |prefix: &str, base: u32| {
        text.strip_prefix(prefix)
            .is_some_and(|digits| !digits.is_empty() && digits.chars().all(|c| c.is_digit(base)))
    };
    yaml_float(text) || based("0x", 16) || based("0o", 8)
}

/// The digits of a decimal number without leading and closing zeros, and the power of ten of the last one.
fn significant(text: &str) -> (String, i64) {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = signed(mantissa).1.split_once('.').unwrap_or((signed(mantissa).1, ""));
    let digits = format!("{whole}{fraction}");
    let kept = digits.trim_end_matches('0');
    let dropped = i64::try_from(digits.len() - kept.len()).unwrap_or(i64::MAX);
    let places = i64::try_from(fraction.len()).unwrap_or(i64::MAX);
    let kept = kept.trim_start_matches('0');
    if kept.is_empty() {
        return (String::new(), 0);
    }
    let exponent = exponent.parse::<i64>().unwrap_or(i64::MAX);
    (kept.to_owned(), exponent.saturating_sub(places).saturating_add(dropped))
}

/// The beginning of a text, for messages.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn binary(text: &str) -> Result<String, String> {
    let compact: String = text.split_ascii_whitespace().collect();
    let bytes = base64::engine::general_purpose::STANDARD.decode(compact);
    let bytes = bytes.map_err(|_| "the !!binary value is not base64".to_owned())?;
    String::from_utf8(bytes).map_err(|_| "the !!binary value is not text; JSON can't hold it".to_owned())
}

fn null_or_infinite(text: &str) -> Option<Scalar> {
    Some(match text {
        "" | "~" | "null" | "Null" | "NULL" => Scalar::Null,
        ".nan" | ".NaN" | ".NAN" => Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Scalar::Float(f64::NEG_INFINITY),
        _ => return None,
    })
}

/// YAML 1.2's core schema.
fn core(text: &str) -> Scalar {
    if let Some(scalar) = null_or_infinite(text) {
        return scalar;
    }
    match text {
        "true" | "True" | "TRUE" => return Scalar::Bool(true),
        "false" | "False" | "FALSE" => return Scalar::Bool(false),
        _ => {}
    }
    let based = |prefix, base| text.strip_prefix(prefix).and_then(|digits| integer("", digits, base));
    let decimal = || {
        let (sign, digits) = signed(text);
        integer(sign, digits, 10)
    };
    let float = || yaml_float(text).then(|| finite(text)).flatten().map(Scalar::Float);
    let number = based("0o", 8).or_else(|| based("0x", 16)).or_else(decimal).or_else(float);
    number.unwrap_or_else(|| Scalar::Text(text.to_owned()))
}

/// YAML 1.1 as go-yaml 2 reads it (`resolve.go`), which is what kubectl uses.
fn legacy(text: &str) -> Scalar {
    if let Some(scalar) = null_or_infinite(text) {
        return scalar;
    }
    let string = || Scalar::Text(text.to_owned());
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Scalar::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Scalar::Bool(false);
        }
        _ => {}
    }
    match text.as_bytes().first() {
        Some(b'.' | b'0'..=b'9' | b'+' | b'-') => {}
        _ => return string(),
    }
    let plain = text.replace('_', "");
    let (sign, digits) = signed(&plain);
    let based = |lower, upper, base| {
        let rest = digits.strip_prefix(lower).or_else(|| digits.strip_prefix(upper))?;
        integer(sign, rest, base)
    };
    let octal = || digits.strip_prefix('0').filter(|rest| !rest.is_empty()).and_then(|r| integer(sign, r, 8));
    let decimal =
        || if digits.len() > 1 && digits.starts_with('0') { None } else { integer(sign, digits, 10) };
    let float = || yaml_float(&plain).then(|| finite(&plain)).flatten().map(Scalar::Float);
    based("0x", "0X", 16)
        .or_else(|| based("0o", "0O", 8))
        .or_else(|| based("0b", "0B", 2))
        .or_else(octal)
        .or_else(decimal)
        .or_else(float)
        .unwrap_or_else(string)
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`: YAML 1.2's floats, and go-yaml's.
fn yaml_float(text: &str) -> bool {
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let (_, rest) = signed(text);
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(signed(exponent).1)),
        None => (rest, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|e| !e.is_empty() && digits(e))
}

/// As in Go, a number too large for a float is none (and so a string).
fn finite(text: &str) -> Option<f64> {
    text.parse().ok().filter(|f: &f64| f.is_finite())
}

fn signed(text: &str) -> (&str, &str) {
    text.split_at(usize::from(text.starts_with(['+', '-'])))
}

fn integer(sign: &str, digits: &str, base: u32) -> Option<Scalar> {
    // `from_str_radix` would take a second sign.
    if !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    if sign == "-" {
        return i64::from_str_radix(&format!("-{digits}"), base).ok().map(Scalar::Int);
    }
    let number = u64::from_str_radix(digits, base).ok()?;
    Some(i64::try_from(number).map_or(Scalar::Unsigned(number), Scalar::Int))
}
