//! Holds what `docs/rollouts.md` quotes to the scripts that it quotes from.

use super::read;

const PAGE: &str = "docs/rollouts.md";

#[test]
fn quoted_scripts_say_what_is_quoted() {
    let page = read(PAGE);
    let mut quotes = 0;
    for (number, part) in page.split("<!-- tests/scenarios/").skip(1).enumerate() {
        let (name, rest) = part.split_once(" -->\n```text\n").unwrap_or_else(|| panic!("quote {number}"));
        let (quote, _) = rest.split_once("```\n").unwrap_or_else(|| panic!("{name}: the quote has no end"));
        let script = read(&format!("tests/scenarios/{name}"));
        // Whole lines, and none left out.
        let found = format!("\n{script}").contains(&format!("\n{quote}"));
        assert!(found, "{PAGE} quotes {name}, which has no such lines:\n{quote}");
        quotes += 1;
    }
    let blocks = page.matches("```text").count();
    assert_eq!(quotes, blocks, "every block of text is a quote, with its script in a comment before it");
    assert!(quotes > 10, "only {quotes} quotes found");
}
