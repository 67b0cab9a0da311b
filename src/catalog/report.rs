//! Diagnostics as text, JSON and SARIF.

use crate::model::diagnostic::Diagnostic;

/// One line a finding: `file:line:column: what is wrong; expected ... (hint: ...)`.
pub fn text(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(|d| format!("{d}\n")).collect()
}
