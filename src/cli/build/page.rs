//! What the linter has found with the lines of the Dockerfile, for `build --check`.

use std::io::Write;

use crate::build::Checked;
use crate::cli::safe;
use crate::error::Result;
use crate::sys::flow::Outflow;

/// So many lines are shown above and below.
const AROUND: usize = 2;

const RULE: &str = "--------------------\n";

/// Writes a paragraph for each finding.
pub fn write(out: &mut dyn Outflow, checked: &Checked) -> Result<()> {
    let count = match checked.findings.len() {
        0 => ", no warnings found.\n".to_owned(),
        1 => ", 1 warning has been found!\n".to_owned(),
        count => format!(", {count} warnings have been found!\n"),
    };
    out.write_all(b"Check complete")?;
    out.write_all(count.as_bytes())?;
    let file = safe::text(&checked.file);
    let text = checked.text.strip_suffix(b"\n").unwrap_or(&checked.text);
    for finding in &checked.findings {
        let (first, last) = finding.lines;
        let (rule, url, message) = (finding.rule, finding.url(), safe::text(&finding.message));
        let mut page = format!("\nWARNING: {rule} - {url}\n{message}\n{file}:{first}\n{RULE}");
        let from = first.saturating_sub(AROUND + 1);
        let lines = text.split(|byte| *byte == b'\n').enumerate().skip(from);
        for (at, line) in lines.take_while(|(at, _)| *at < last + AROUND) {
            let mark = if (first..=last).contains(&(at + 1)) { ">>>" } else { "   " };
            let line = String::from_utf8_lossy(line);
            page.push_str(&format!("{:4} | {mark} {}\n", at + 1, safe::text(line.trim_end())));
        }
        page.push_str(RULE);
        out.write_all(page.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Finding;

    #[test]
    fn a_page_shows_the_lines() {
        let shown = |text: &str, findings| {
            let mut out = Vec::new();
            let checked = Checked {
                file: "Dockerfile".into(),
                text: text.into(),
                findings,
                ..Checked::default()
            };
            write(&mut out, &checked).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(shown("FROM x", Vec::new()), "Check complete, no warnings found.\n");
        let finding = Finding { rule: "FromAsCasing", message: "bad\x1b[2J".into(), lines: (4, 5) };
        assert_eq!(
            shown("a\nb\nc\nd \\\r\n e\nf\n", vec![finding]),
            "Check complete, 1 warning has been found!\n\nWARNING: FromAsCasing - \
             https://docs.docker.com/go/dockerfile/rule/from-as-casing/\nbad\\u{1b}[2J\nDockerfile:4\n\
             --------------------\n   2 |     b\n   3 |     c\n   4 | >>> d \\\n   5 | >>>  e\n   \
             6 |     f\n--------------------\n"
        );
    }
}
