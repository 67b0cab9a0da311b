//! Writes `revision: {commit: ...}` into a fleet's file, leaving the rest of the text as people wrote it.

use fairlead_core::catalog::LocatedFleet;
use fairlead_core::catalog::yaml::{Dialect, parse};
use fairlead_core::model::digest::CommitId;
use serde_json::{Value, json};

/// The file's text with every profile of the fleet pinned to `commit`.
///
/// # Errors
/// The text is written in a way that this can't edit; then nothing is changed.
pub fn pin_profiles(text: &str, fleet: &LocatedFleet, commit: CommitId) -> Result<String, String> {
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    // From the last to the first, so that the places of the others stay right.
    for index in (0..fleet.spec.profiles.len()).rev() {
        let pointer = format!("/spec/profiles/{index}");
        edit(&mut lines, fleet, &pointer, commit)?;
    }
    let edited: String = lines.concat();
    if as_wanted(text, &edited, fleet, commit) {
        Ok(edited)
    } else {
        Err(format!("{} is written in a way that can't be edited by a program", fleet.file()))
    }
}

fn edit(
    lines: &mut Vec<String>,
    fleet: &LocatedFleet,
    pointer: &str,
    commit: CommitId,
) -> Result<(), String> {
    let wanted = format!("revision: {{commit: {commit}}}");
    let has = fleet.places.has(&format!("{pointer}/revision"));
    let place = fleet.places.key(&format!("{pointer}/{}", if has { "revision" } else { "name" }));
    let (row, column) = (place.line as usize, place.column as usize);
    let gone = || format!("line {row} is not there");
    let line = row.checked_sub(1).and_then(|row| lines.get_mut(row)).ok_or_else(gone)?;
    let before: String = line.chars().take(column.saturating_sub(1)).collect();
    let rest: String = line.chars().skip(column.saturating_sub(1)).collect();
    let flow = before.contains('{');
    *line = match (has, flow) {
        (false, true) => {
            let end = rest.find([',', '}']).ok_or("the flow mapping goes on in another line")?;
            format!("{before}{}, {wanted}{}", &rest[..end], &rest[end..])
        }
        (false, false) => {
            let newline = if rest.ends_with('\n') { "" } else { "\n" };
            let indent = " ".repeat(before.chars().count());
            format!("{before}{rest}{newline}{indent}{wanted}\n")
        }
        (true, true) => {
            let end = rest.find('}').ok_or("the flow mapping goes on in another line")?;
            format!("{before}{wanted}{}", &rest[end + 1..])
        }
        (true, false) => {
            let indent = before.chars().count();
            let deeper =
                |line: &String| line.trim().is_empty() || line.len() - line.trim_start().len() > indent;
            let nested = lines[row..].iter().take_while(|line| deeper(line)).count();
            lines.drain(row..row + nested);
            lines[row - 1] = format!("{before}{wanted}\n");
            return Ok(());
        }
    };
    Ok(())
}

/// Whether the edited text says what the old one said, but for the pins.
fn as_wanted(old: &str, new: &str, fleet: &LocatedFleet, commit: CommitId) -> bool {
    let values = |text: &str| {
        let parsed = parse(fleet.file(), text.as_bytes(), Dialect::Fairlead);
        (parsed.diagnostics.is_empty() && parsed.complete)
            .then(|| parsed.docs.into_iter().map(|doc| doc.value).collect::<Vec<Value>>())
    };
    let (Some(mut old), Some(new)) = (values(old), values(new)) else { return false };
    let ours =
        |doc: &&mut Value| doc["kind"] == "Fleet" && doc["metadata"]["name"] == fleet.metadata.name.as_str();
    let Some(doc) = old.iter_mut().find(ours) else { return false };
    let Some(profiles) = doc.pointer_mut("/spec/profiles").and_then(Value::as_array_mut) else {
        return false;
    };
    for profile in profiles {
        profile["revision"] = json!({"commit": commit});
    }
    old == new
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairlead_core::catalog::{Catalog, Folders};
    use fairlead_core::model::tree::MemoryTree;

    const COMMIT: &str = "4f2c91a04f2c91a04f2c91a04f2c91a04f2c91a0";

    fn pinned(profiles: &str) -> Result<String, String> {
        let head = "apiVersion: fairlead.dev/v1alpha1\nkind: Fleet\nmetadata: {name: retail}\n# kept\nspec:\n  clusters: {}\n";
        let text = format!("{head}{profiles}");
        let tree = MemoryTree::new([("fleets/retail.yaml", text.as_str())]);
        let catalog = Catalog::read(&tree, &Folders::default());
        let fleet = catalog
            .fleet(&"retail".parse().unwrap())
            .unwrap_or_else(|| panic!("{:?}", catalog.diagnostics()));
        let edited = pin_profiles(&text, fleet, COMMIT.parse().unwrap())?;
        Ok(edited.strip_prefix(head).unwrap().to_owned())
    }

    #[test]
    fn pins_keep_the_rest_of_the_text() {
        let pin = format!("revision: {{commit: {COMMIT}}}");
        for (before, after) in [
            (
                "  profiles:\n  - name: a\n  - name: b # why\n",
                format!("  profiles:\n  - name: a\n    {pin}\n  - name: b # why\n    {pin}\n"),
            ),
            ("  profiles: [{name: a}]\n", format!("  profiles: [{{name: a, {pin}}}]\n")),
            (
                "  profiles:\n  - name: a\n    revision: {branch: main}\n",
                format!("  profiles:\n  - name: a\n    {pin}\n"),
            ),
            (
                "  profiles:\n  - name: a\n    revision:\n      tag: '>=1'\n  - {name: b}\n",
                format!("  profiles:\n  - name: a\n    {pin}\n  - {{name: b, {pin}}}\n"),
            ),
            (
                "  profiles:\n  - {name: a, revision: {branch: x}}\n",
                format!("  profiles:\n  - {{name: a, {pin}}}\n"),
            ),
        ] {
            assert_eq!(pinned(before), Ok(after));
        }
    }

    #[test]
    fn what_it_cannot_edit_it_refuses() {
        assert!(pinned("  profiles: [{name:\n    a}]\n").is_err());
    }
}
