//! Rules that plans from one release to another share with plans for a live cluster.

use serde_json::Value;

use crate::model::object::ObjectKey;

/// Whether a kind is in a list of protected ones: by kind, or as `Kind.group`.
pub(super) fn is_protected(key: &ObjectKey, protect: &[String]) -> bool {
    let kind = key.group_kind().to_string();
    protect.iter().any(|p| *p == key.kind() || *p == kind)
}

/// The name without a kustomize generator's suffix: `app-7f9c8d6b5k` is `app`. A suffix is ten of the letters and
/// digits that kustomize's hash encoding leaves (hex with `0 1 3 a e` written as `g h k m t`).
fn without_hash_suffix(key: &ObjectKey) -> Option<&str> {
    let generated = key.is("", "ConfigMap") || key.is("", "Secret");
    let (base, suffix) = key.name().rsplit_once('-').filter(|_| generated)?;
    let fits = suffix.len() == 10 && suffix.bytes().all(|b| b"2456789bcdfghkmt".contains(&b));
    fits.then_some(base)
}

/// The name of a generator's object with another hash suffix that stands among `wanted` in the place of `key`:
/// to replace one by the other is no deletion.
pub(super) fn superseded_by<'a>(
    key: &ObjectKey,
    wanted: impl IntoIterator<Item = &'a ObjectKey>,
) -> Option<String> {
    let base = without_hash_suffix(key)?;
    let same = |k: &&ObjectKey| {
        k.kind() == key.kind() && k.namespace() == key.namespace() && without_hash_suffix(k) == Some(base)
    };
    wanted.into_iter().find(same).map(|k| k.name().to_owned())
}

/// Whether a manifest says `fairlead.dev/replace: allow`.
pub(super) fn allows_replace(manifest: &Value) -> bool {
    let value = manifest.pointer("/metadata/annotations/fairlead.dev~1replace");
    value.and_then(Value::as_str) == Some("allow")
}
