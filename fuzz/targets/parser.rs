//! A Dockerfile from its bytes to its plan and what the linter says of it.
//!
//! Each statement, printed on one line with its here-documents, is read again as the same; reading
//! takes no more than four times the memory of the text.

#![no_main]

use lath::dockerfile::{self, Fault};
use lath::instruction::{Scope, parse};
use lath::plan::Plan;
use lath::plan::lint::{Subject, check};
use lath_fuzz::peak;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let (document, bytes) = peak(|| {
        let document = dockerfile::parse(text)?;
        document.statements().for_each(drop);
        Ok::<_, Vec<Fault>>(document)
    });
    // With the text itself four times. A flag is 48 bytes and may be written with four.
    let flags = text.windows(2).filter(|two| two == b"--").count();
    assert!(bytes <= 3 * text.len() + 256 * flags + 8192, "{bytes} bytes for {}", text.len());
    let Ok(document) = document else { return };
    let escape = document.directives.escape;
    for statement in document.statements() {
        let mut printed = if escape == '`' { "# escape=`\n".to_owned() } else { String::new() };
        let _ = parse(&statement, escape);
        // A blank of another alphabet at the end hides an escape character before it.
        // One of continued lines alone is empty, and no instruction.
        let original = &statement.original;
        if original.is_empty() || original.ends_with(escape) || original.starts_with('\u{feff}') {
            continue;
        }
        printed.push_str(&statement.original);
        for document in statement.heredocs() {
            printed.push('\n');
            printed.push_str(&document.content);
            printed.push_str(&document.name);
        }
        let again = dockerfile::parse(printed.as_bytes()).expect(&printed);
        let mut statements = again.statements();
        let (Some(again), None) = (statements.next(), statements.next()) else {
            panic!("not one: {printed:?}")
        };
        assert_eq!(again.keyword(), statement.keyword());
        assert_eq!(again.flags(), statement.flags());
        assert_eq!(again.rest(), statement.rest());
        assert_eq!(again.original, statement.original);
        assert_eq!(again.heredocs(), statement.heredocs());
    }
    let scope = Scope::default();
    let Ok(plan) = Plan::new(&document, scope.clone(), None) else { return };
    let subject = Subject {
        document: &document,
        plan: &plan,
        rules: &document.directives.check,
        scope,
        every_stage: true,
        base: &|_| None,
        ignored: &|path| path.len() % 2 == 0,
    };
    let outcome = check(&subject, &mut |_, _| {});
    assert!(outcome.findings.is_sorted_by_key(|finding| finding.lines.0));
});
