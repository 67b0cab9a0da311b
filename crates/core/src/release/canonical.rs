//! Canonical bytes and the digests over them. What is written here must never change its result: it is in
//! every ledger, and a new version of Fairlead that computed other digests would roll every fleet out anew.

use bytes::Bytes;
use serde_json::{Number, Value};

use crate::model::digest::{LayerDigest, ObjectDigest, ReleaseDigest};
use crate::model::release::{ReleaseLayer, ReleaseObject};

/// First part of every layer digest.
const LAYER: &[u8] = b"fairlead layer 1";
/// First part of every release digest.
const RELEASE: &[u8] = b"fairlead release 1";

/// JSON with keys sorted by their bytes, no white space, integral floats as integers, other numbers in the
/// shortest form that reads back the same.
pub fn canonical_bytes(value: &Value) -> Bytes {
    let mut out = Vec::with_capacity(256);
    write(value, &mut out);
    out.into()
}

pub fn object_digest(bytes: &[u8]) -> ObjectDigest {
    ObjectDigest::of([bytes])
}

/// The digest of a layer's objects in their order. Where they are written is not in it.
pub fn layer_digest(objects: &[ReleaseObject]) -> LayerDigest {
    digest_of_objects(objects.iter().map(|object| &object.digest))
}

pub(super) fn digest_of_objects<'a>(objects: impl Iterator<Item = &'a ObjectDigest>) -> LayerDigest {
    let parts = objects.map(|digest| digest.as_bytes().as_slice());
    LayerDigest::of(std::iter::once(LAYER).chain(parts))
}

/// The digest of layers in their order: what they are called, what decides how they are applied, and what
/// is in them. Target, fleet, commit and time are not in it.
pub fn release_digest(layers: &[ReleaseLayer]) -> ReleaseDigest {
    let headers: Vec<Vec<u8>> = layers.iter().map(|layer| canonical_bytes(&header(layer)).to_vec()).collect();
    let parts = headers
        .iter()
        .zip(layers)
        .flat_map(|(header, layer)| [header.as_slice(), layer.content.digest.as_bytes().as_slice()]);
    ReleaseDigest::of(std::iter::once(RELEASE).chain(parts))
}

fn header(layer: &ReleaseLayer) -> Value {
    let ids = layer.depends_on.iter().map(|id| Value::String(id.to_string()));
    serde_json::json!({
        "id": layer.id.to_string(),
        "type": layer.layer_type,
        "dependsOn": ids.collect::<Vec<_>>(),
        "adopt": layer.adopt,
    })
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => number_text(number, out),
        Value::String(text) => string(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        Value::Object(map) => {
            // Sorted here, whatever order serde_json's map has in this build.
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
            out.push(b'{');
            for (n, (key, item)) in entries.into_iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                string(key, out);
                out.push(b':');
                write(item, out);
            }
            out.push(b'}');
        }
    }
}

/// Integers beyond 64 bits stay floats, as JSON readers make them.
fn number_text(number: &Number, out: &mut Vec<u8>) {
    /// Below this every integral float is exactly one integer.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let text = match number.as_f64().filter(|_| number.is_f64()) {
        None => number.to_string(),
        Some(0.0) => "0".to_owned(),
        Some(float) if float.fract() == 0.0 && float.abs() <= EXACT => format!("{float:.0}"),
        // The standard library's shortest digits, so that no library's taste is in a digest.
        Some(float) if (1e-5..1e17).contains(&float.abs()) => format!("{float}"),
        Some(float) => format!("{float:e}"),
    };
    out.extend_from_slice(text.as_bytes());
}

/// Only what RFC 8259 requires is escaped.
fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut plain = 0;
    let bytes = text.as_bytes();
    for (n, byte) in bytes.iter().enumerate() {
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0c => b'f',
            0..0x20 => 0,
            _ => continue,
        };
        out.extend_from_slice(&bytes[plain..n]);
        plain = n + 1;
        if short == 0 {
            out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
        } else {
            out.extend_from_slice(&[b'\\', short]);
        }
    }
    out.extend_from_slice(&bytes[plain..]);
    out.push(b'"');
}
