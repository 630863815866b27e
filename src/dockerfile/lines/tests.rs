//! Tests of the way from bytes to statements.

use super::*;

fn rests(text: &str) -> Vec<(String, String)> {
    let document = parse(text.as_bytes()).expect(text);
    let statements = document.statements();
    statements.map(|s| (s.keyword().into_owned(), s.rest().to_owned())).collect()
}

fn one(text: &str) -> Statement<'_> {
    let document = parse(text.as_bytes()).expect(text);
    assert_eq!(document.statements().count(), 1, "{text}");
    document.statements().next().unwrap()
}

#[test]
fn continued_lines_are_joined_without_comments_and_empty_lines() {
    for (text, rest) in [
        ("RUN a \\\n  b", "a   b"),
        ("RUN a \\\n# c\n   # c\n  b", "a   b"),
        ("RUN a \\\n\n  b", "a   b"),
        ("RUN a \\  \t\n b", "a  b"),
        ("RUN a\\\nb", "ab"),
        ("RUN a \\\r\nb\r\n", "a b"),
        ("RUN a\\\\", "a\\\\"),
        ("RUN last \\", "last"),
        ("\u{feff}RUN a", "a"),
        ("#!/bin/x\nRUN a", "a"),
        ("# escape=`\nRUN a `\nb \\", "a b \\"),
        ("  RUN\ta  ", "a"),
        ("RUN 'a\\\n    b'", "'a    b'"),
        ("\\\nRUN a", "a"),
    ] {
        assert_eq!(rests(text), [("RUN".to_owned(), rest.to_owned())], "{text:?}");
    }
}

#[test]
fn lines_comments_and_names_are_kept() {
    let document = parse(b"# top\n\n# two\nfrom x\n#\n# kept\nRuN --a=b c \\\n d\n").unwrap();
    let statements: Vec<_> = document.statements().collect();
    let [from, run] = statements.as_slice() else { panic!() };
    assert_eq!((from.line, from.last_line, from.keyword_written()), (4, 4, "from"));
    assert_eq!(from.comments().collect::<Vec<_>>(), ["two"]);
    assert_eq!((run.line, run.last_line), (7, 8));
    assert_eq!(run.comments().collect::<Vec<_>>(), ["kept"]);
    assert_eq!(run.original, "RuN --a=b c  d");
    assert_eq!((run.flags().len(), run.rest()), (1, "c  d"));
    let document = parse(b"RUN a\\\n\n b\n").unwrap();
    assert_eq!(document.statements().next().unwrap().empty_continuation, Some(3));
}

#[test]
fn heredocs_belong_to_run_copy_add_and_their_triggers() {
    let run = one("RUN cat <<A 3<<-'B'\nx $y\n\\\nA\n\ttab\n\tB\n");
    assert_eq!(run.heredocs()[0].content, "x $y\n\\\n");
    assert!(run.heredocs()[0].expand && !run.heredocs()[1].expand);
    assert_eq!((run.heredocs()[1].text().as_ref(), run.heredocs()[1].fd), ("tab\n", 3));
    assert_eq!((run.line, run.last_line), (1, 6));
    assert_eq!(one("ONBUILD COPY --link <<f /d\n1\nf").heredocs()[0].content, "1\n");
    assert_eq!(one("COPY <<f /d\r\n1\r\nf\r\n").heredocs()[0].content, "1\r\n");
    assert_eq!(one("CMD cat <<f").heredocs().len(), 0);
    assert_eq!(one("RUN [\"cat\", \"<<f\"]").heredocs().len(), 0);
    assert_eq!(one("RUN [ a ] <<f\nx\nf").heredocs().len(), 1);
    assert_eq!(one("COPY <<EOF /a\nEOF here\n EOF\nEOF").heredocs()[0].content, "EOF here\n EOF\n");
}

#[test]
fn faults_name_their_lines() {
    for (text, line, message) in [
        (&b""[..], 0, "the Dockerfile cannot be empty"),
        (b"# x\n\n", 0, "file with no instructions"),
        (b"FROM x\nRUN <<E\nx\n", 2, "unterminated heredoc"),
        (b"FROM x\nRUN a\xff\n", 2, "the line is not valid UTF-8"),
        (b"FROM x\nRUN a \\\n\xff\n", 2, "the line is not valid UTF-8"),
        (b"FROM x\nRUN a \\\n# c\n\n <<E \\\n b\nRUN c\n", 2, "unterminated heredoc"),
        (b"FROM x\nRUN a \\\n b \\\n c\nRUN \0\n", 5, "the line holds a NUL character"),
        (b"RUN a \\\n# c\n\n b\nRUN <<E\n", 5, "unterminated heredoc"),
        (b"FROM x\0\n", 1, "the line holds a NUL character"),
        (b"# escape=x\nFROM x", 1, "invalid escape token 'x' does not match ` or \\"),
    ] {
        let faults = parse(text).unwrap_err();
        assert_eq!((faults[0].line, faults[0].message.as_str()), (line, message), "{text:?}");
    }
    assert!(parse(b"# M\xfcller\nRUN a \\\n # \xff\n b").is_ok(), "comments may hold anything");
    assert_eq!(parse(&b"RUN \xff\n".repeat(50)).unwrap_err().len(), MAX_FAULTS);
    let many = [b"COPY ".as_slice(), &b"--exclude=a ".repeat(1001)].concat();
    assert_eq!(parse(&many).unwrap_err()[0].message, "more than 1000 flags in a line");
    let many = [b"COPY \\\n".as_slice(), &b"  --exclude=a \\\n".repeat(1001)].concat();
    assert_eq!(parse(&many).unwrap_err()[0].message, "more than 1000 flags in a line");
    let many = [b"RUN ".as_slice(), &b"<<E ".repeat(1001), &b"\nE".repeat(1001)].concat();
    assert_eq!(parse(&many).unwrap_err()[0].message, "more than 1000 heredocs in a line");
}

/// A small generator of numbers, so that a failure repeats.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 33) as usize) % limit
    }
}

#[test]
fn no_text_makes_the_parser_or_the_expander_panic() {
    let pieces: &[&[u8]] = &[
        b"FROM x\n",
        b"RUN ",
        b"COPY ",
        b"ENV ",
        b"ONBUILD ",
        b"\\\n",
        b"\n",
        b" ",
        b"\"",
        b"'",
        b"${",
        b"}",
        b":-",
        b"$",
        b"#",
        b"%",
        b"/",
        b"<<E",
        b"<<-'E'",
        b"\nE\n",
        b"=",
        b"--f=",
        b"[\"",
        b"\"]",
        b",",
        b"\xff",
        b"\xc3\xbc",
        b"\0",
        b"\r\n",
        b"\t",
        b"`",
        b"# escape=`\n",
        b"*",
        b"?",
        b"A",
        b"\\",
        b"!",
        b"{",
        b"[",
        b"\xe2\x80\x83",
    ];
    let mut numbers = Numbers(7);
    for _ in 0..4000 {
        let mut text = Vec::new();
        for _ in 0..numbers.below(40) {
            text.extend_from_slice(pieces[numbers.below(pieces.len())]);
        }
        if let Ok(document) = parse(&text) {
            for statement in document.statements() {
                let known = |name: &str| (name == "A").then(|| "a*b?c/d".to_owned());
                let lex = crate::dockerfile::Expander::new(document.directives.escape, &known);
                let _ = lex.word(statement.rest());
                let _ = lex.words(statement.rest());
                let _ = lex.heredoc(statement.rest());
                let _ = json_form::parse(statement.rest());
                let _ = crate::dockerfile::name_values("ENV", statement.rest(), '\\');
            }
        }
    }
}

#[test]
fn a_text_of_the_limit_is_read_and_one_byte_more_is_refused() {
    let mut text = b"FROM x\nRUN ".to_vec();
    text.extend(std::iter::repeat_n(b"x \\\n".as_slice(), 1 << 18).flatten());
    text.extend(b"\n");
    text.extend(b"ENV a=b\n".repeat(1 << 18));
    text.extend(b"RUN ");
    text.resize(MAX_BYTES, b'y');
    // The line that is continued at its end takes the first ENV in.
    assert_eq!(parse(&text).unwrap().statements().count(), 2 + (1 << 18));
    text.push(b'y');
    let faults = parse(&text).unwrap_err();
    assert_eq!(faults[0].message, "the Dockerfile is larger than 16 MiB");
    assert_eq!(faults[0].line, 0);
}
