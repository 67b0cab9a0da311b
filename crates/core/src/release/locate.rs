//! Where in a file an expression is written.

use crate::model::diagnostic::Place;

use super::scan::OPENING;

/// The place of the `nth` `${{` of the scalar that begins at `scalar`. A scalar holds its expressions in the
/// order of the text however it is quoted or folded, so they are counted. The scalar's own place where that
/// does not work: an alias, or a brace written as an escape.
pub(super) fn expression(text: &str, scalar: &Place, nth: usize) -> Place {
    find(text, scalar, nth).unwrap_or_else(|| scalar.clone())
}

fn find(text: &str, scalar: &Place, nth: usize) -> Option<Place> {
    let line = usize::try_from(scalar.line.checked_sub(1)?).ok()?;
    let start_of_line = match line {
        0 => 0,
        _ => text.match_indices('\n').nth(line - 1)?.0 + 1,
    };
    let column = usize::try_from(scalar.column.checked_sub(1)?).ok()?;
    let rest = &text[start_of_line..];
    let start = start_of_line + rest.char_indices().nth(column)?.0;
    if text[start..].starts_with('*') {
        return None;
    }
    let at = start + text[start..].match_indices(OPENING).nth(nth)?.0;
    let before = &text[..at];
    let last_line = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = scalar.line + u32::try_from(text[start..at].matches('\n').count()).ok()?;
    let column = u32::try_from(before[last_line..].chars().count()).ok()?.checked_add(1)?;
    Some(Place::at(scalar.file.clone(), line, column))
}
