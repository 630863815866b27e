//! What the linter has found as text, as docker shows it after a build.

use super::safe;
use crate::event::Finding;

/// A line each, with one above that counts them.
pub fn list(findings: &[Finding]) -> String {
    let plural = if findings.len() == 1 { "" } else { "s" };
    let mut list =
        format!("\n {} warning{plural} found (use --check to expand):\n", findings.len());
    for Finding { rule, message, lines } in findings {
        list.push_str(&format!(" - {rule}: {} (line {})\n", safe::text(message), lines.0));
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_counted_and_listed() {
        let finding = |rule, line| Finding { rule, message: "bad".into(), lines: (line, line) };
        assert_eq!(
            list(&[finding("FromAsCasing", 3)]),
            "\n 1 warning found (use --check to expand):\n - FromAsCasing: bad (line 3)\n"
        );
        let two = list(&[finding("A", 1), finding("B", 2)]);
        assert!(two.starts_with("\n 2 warnings found"));
    }
}
