//! Here-documents: which words of a line open one, and what their words mean.

use std::borrow::Cow;

use super::{expand::Expander, scan};

/// How many a line may open. A shell takes sixteen.
pub(super) const MAX_HEREDOCS: usize = 1000;

/// A here-document with its text, both parts of the Dockerfile where they can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc<'a> {
    /// The word that ends it; also the file's name for COPY and ADD.
    pub name: Cow<'a, str>,
    /// The lines as written, their ends and tabs included.
    pub content: Cow<'a, str>,
    /// No part of the word was quoted: COPY and ADD expand variables in it.
    pub expand: bool,
    /// Written `<<-`: leading tabs are dropped from each line.
    pub strip_tabs: bool,
    /// The file descriptor in front of `<<`, 0 when there is none.
    pub fd: u32,
}

impl<'a> Heredoc<'a> {
    /// How many bytes of a text are its content, and how many bytes and lines these are with the
    /// line that ends it. Nothing if no line does.
    pub(super) fn measure(&self, text: &[u8]) -> Option<(usize, usize, usize)> {
        measure(text, self.name.as_bytes(), self.strip_tabs)
    }

    /// The text as it is used, without the leading tabs when these are dropped.
    pub fn text(&self) -> Cow<'_, str> {
        if !self.strip_tabs {
            return Cow::Borrowed(&self.content);
        }
        let lines = self.content.split_inclusive('\n');
        Cow::Owned(lines.map(|line| line.trim_start_matches('\t')).collect())
    }

    /// The same apart from the Dockerfile.
    pub fn into_owned(self) -> Heredoc<'static> {
        Heredoc {
            name: Cow::Owned(self.name.into_owned()),
            content: Cow::Owned(self.content.into_owned()),
            expand: self.expand,
            strip_tabs: self.strip_tabs,
            fd: self.fd,
        }
    }
}

/// As [`Heredoc::measure`], of one with this name.
pub(super) fn measure(text: &[u8], name: &[u8], strip_tabs: bool) -> Option<(usize, usize, usize)> {
    let (mut rest, mut lines) = (text, 0);
    while !rest.is_empty() {
        let (raw, after) = rest.split_at_checked(scan::line_length(rest))?;
        lines += 1;
        let mut end = scan::end_of(raw, scan::is_line_end);
        while let ([b'\t', after @ ..], true) = (end, strip_tabs) {
            end = after;
        }
        // Most lines differ in the first byte, and a call that compares costs more than they do.
        if end.first() == name.first() && end == name {
            return Some((text.len() - rest.len(), text.len() - after.len(), lines));
        }
        rest = after;
    }
    None
}

/// The here-document that a word opens, still without content.
pub fn opens(word: &str) -> Option<Heredoc<'_>> {
    let digits = scan::position(word.as_bytes(), |byte| !byte.is_ascii_digit())?;
    let strip_tabs = match word.as_bytes().get(digits..)? {
        [b'<', b'<', b'-', ..] => true,
        [b'<', b'<', ..] => false,
        _ => return None,
    };
    let written = word.get(digits + 2 + usize::from(strip_tabs)..)?;
    if written.is_empty() || written.as_bytes().contains(&b'<') {
        return None;
    }
    let fd = if digits > 0 { word.get(..digits)?.parse().unwrap_or_default() } else { 0 };
    let bare = match written.as_bytes() {
        [quote @ (b'\'' | b'"'), .., last] if quote == last => written.get(1..written.len() - 1)?,
        _ => written,
    };
    let expand = bare.len() == written.len();
    if is_plain(bare) && !bare.is_empty() && !(expand && bare.bytes().any(scan::is_blank)) {
        let name = Cow::Borrowed(bare);
        return Some(Heredoc { name, content: Cow::default(), expand, strip_tabs, fd });
    }
    // A word with quotes is one from which taking the quotes off takes something away.
    let mut lex = Expander::new('\\', &|_| None);
    lex.keep_unset = true;
    let mut words = lex.words(written).ok()?;
    lex.raw_quotes = true;
    let mut raw_words = lex.words(written).ok()?;
    if words.len() != 1 || raw_words.len() != 1 {
        return None;
    }
    let (name, raw) = (words.pop()?, raw_words.pop()?);
    let expand = quotes(&name) == quotes(&raw);
    Some(Heredoc { name: name.into(), content: Cow::default(), expand, strip_tabs, fd })
}

/// Where the next word begins that may open a here-document, from a place in the line on, and where
/// its sign stands. Only blanks, and what is not ASCII, part words here.
fn next_sign(line: &[u8], mut from: usize) -> Option<(usize, usize)> {
    loop {
        let sign = from + scan::position(line.get(from..)?, |byte| byte == b'<')?;
        let (before, after) = line.split_at_checked(sign)?;
        let before = scan::end_of(before, |byte| byte.is_ascii_digit());
        let begins = before.last().is_none_or(|byte| scan::is_blank(*byte) || !byte.is_ascii());
        if begins && matches!(after, [b'<', b'<', ..]) {
            return Some((before.len(), sign));
        }
        from = sign + 1;
    }
}

/// Whether a word of a line may begin as one does that opens a here-document. The first `<` is known.
pub(super) fn may_be_opened_by(line: &str, first: usize) -> bool {
    // The lexer takes escapes out of variables' defaults: what is a word then is not seen here.
    next_sign(line.as_bytes(), first).is_some() || line.contains('$') && line.contains('\\')
}

/// The name if a line opens one here-document in the way in which most do: `<<NAME`, with nothing in
/// the line that makes it hard to read. The first `<` is known.
#[inline(always)]
pub(super) fn only(line: &[u8], first: usize) -> Option<&[u8]> {
    let (before, after) = line.split_at_checked(first)?;
    let ([.., b' ' | b'\t'], [b'<', b'<', word @ ..]) = (before, after) else { return None };
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let end = scan::position(word, |byte| !is_letter(byte)).unwrap_or(word.len());
    let (name, after) = word.split_at_checked(end)?;
    let is_hard = |byte| is_special(byte) || byte == b'<';
    let is_only = !name.is_empty()
        && matches!(after, [] | [b' ' | b'\t', ..])
        && scan::position(before, is_special).is_none()
        && scan::position(after, is_hard).is_none();
    is_only.then_some(name)
}

/// What says that words are not just what stands between blanks.
#[inline(always)]
fn is_special(byte: u8) -> bool {
    matches!(byte, b'\'' | b'"' | b'\\' | b'{' | 0x80..)
}

/// Gives all here-documents that a line opens, in order, until one is not taken.
pub(super) fn opened_by<'a>(
    line: &'a str,
    take: &mut dyn FnMut(Heredoc<'a>) -> Option<()>,
) -> Option<()> {
    match words(line, &mut |_| Some(()))? {
        Words::Closed => words(line, take).map(drop),
        // A line whose quotes do not close is the shell's to complain about.
        Words::Open => Some(()),
        Words::Hard => with_lexer(line, take),
    }
}

/// How the words of a line end.
enum Words {
    /// All quotes are closed.
    Closed,
    /// One is not.
    Open,
    /// It takes the lexer to tell.
    Hard,
}

/// The same for a line in which words are parts of it, as the lexer would cut them.
fn words<'a>(line: &'a str, take: &mut dyn FnMut(Heredoc<'a>) -> Option<()>) -> Option<Words> {
    let bytes = line.as_bytes();
    let (mut quote, mut begin, mut at) = (None, 0, 0);
    while let Some(byte) = bytes.get(at).copied() {
        match (byte, quote) {
            (b' ' | b'\t'..=b'\r', None) => {
                if let Some(opened) = opens(line.get(begin..at)?) {
                    take(opened)?;
                }
                begin = at + 1;
            }
            (b'\'' | b'"', None) => quote = Some(byte),
            (_, Some(open)) if open == byte => quote = None,
            (b'\\', None | Some(b'"')) => at += 1,
            (b'$', None | Some(b'"')) if bytes.get(at + 1) == Some(&b'{') => {
                let name = bytes.get(at + 2..)?;
                let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
                let end = scan::position(name, |byte| !is_letter(byte));
                match (name, end.and_then(|end| name.get(end))) {
                    ([b'A'..=b'Z' | b'a'..=b'z' | b'_', ..], Some(b'}')) => {}
                    _ => return Some(Words::Hard),
                }
            }
            // Blanks of other alphabets begin so, and others.
            (0xC2 | 0xE1..=0xE3, None) => return Some(Words::Hard),
            _ => {}
        }
        at += 1;
    }
    if let Some(opened) = opens(line.get(begin..)?) {
        take(opened)?;
    }
    Some(if quote.is_some() { Words::Open } else { Words::Closed })
}

/// The same for any line.
fn with_lexer<'a>(line: &'a str, take: &mut dyn FnMut(Heredoc<'a>) -> Option<()>) -> Option<()> {
    let mut lex = Expander::new('\\', &|_| None);
    lex.raw_quotes = true;
    lex.raw_escapes = true;
    lex.keep_unset = true;
    let words = lex.words_that(line, |word, n| n <= MAX_HEREDOCS && opens(word).is_some());
    for word in words.unwrap_or_default() {
        if let Some(opened) = opens(&word) {
            take(opened.into_owned())?;
        }
    }
    Some(())
}

/// ASCII, and nothing in it means anything to the lexer, but blanks.
fn is_plain(text: &str) -> bool {
    let is_special = |byte| matches!(byte, b'\'' | b'"' | b'\\' | b'$' | 0x80..);
    scan::position(text.as_bytes(), is_special).is_none()
}

fn quotes(text: &str) -> usize {
    text.bytes().filter(|byte| matches!(byte, b'\'' | b'"')).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Take<'t, 'a> = &'t mut dyn FnMut(Heredoc<'a>) -> Option<()>;

    fn all<'a>(give: impl FnOnce(Take<'_, 'a>) -> Option<()>) -> Vec<Heredoc<'a>> {
        let mut all = Vec::new();
        let given = give(&mut |opened| {
            all.push(opened);
            Some(())
        });
        given.unwrap();
        all
    }

    #[test]
    fn a_word_says_name_quoting_tabs_and_descriptor() {
        for (word, name, expand, strip_tabs, fd) in [
            ("<<EOF", "EOF", true, false, 0),
            ("<<-EOF", "EOF", true, true, 0),
            ("<<'EOF'", "EOF", false, false, 0),
            ("<<\"EOF\"", "EOF", false, false, 0),
            ("<<E\"O\"F", "EOF", false, false, 0),
            ("3<<-'X Y'", "X Y", false, true, 3),
            ("<<$EOF", "$EOF", true, false, 0),
            ("<<${EOF}", "${EOF}", true, false, 0),
        ] {
            let found = opens(word).expect(word);
            assert_eq!((found.name.as_ref(), found.expand), (name, expand), "{word}");
            assert_eq!((found.strip_tabs, found.fd), (strip_tabs, fd), "{word}");
        }
        for word in ["<<", "<<-", "a<<EOF", "<<<EOF", "<EOF", "<<EOF<", "<<'EOF", "x", "1<<"] {
            assert_eq!(opens(word), None, "{word}");
        }
    }

    #[test]
    fn a_line_opens_all_its_documents_in_order() {
        for (line, names) in [
            ("RUN cat <<A && cat <<'B'", &["A", "B"][..]),
            ("RUN echo 'x <<EOF'", &[]),
            ("RUN echo \"a << b\"", &[]),
            ("RUN echo $((1<<3))", &[]),
            ("RUN echo \\<<EOF", &[]),
            ("RUN it's <<EOF", &[]),
            ("COPY <<a.txt <<b.txt /d/", &["a.txt", "b.txt"]),
            ("RUN cat 3<<EOF <&3", &["EOF"]),
            ("RUN echo ${X:-<<EOF}", &[]),
            ("RUN echo ${X:- <\\<EOF }", &["EOF"]),
            ("RUN 'a b'<<X '<<A'<<B \"<<C\"\u{3000}4<<D", &["D"]),
            ("RUN <<'A B' <<\"\" <<C\"'\"D", &["A B", "C'D"]),
            ("RUN <<A \"", &[]),
        ] {
            let found = all(|take| opened_by(line, take));
            assert!(found.is_empty() || may_be_opened_by(line, line.find('<').unwrap()), "{line}");
            let found: Vec<&str> = found.iter().map(|doc| doc.name.as_ref()).collect();
            assert_eq!(found, names, "{line}");
        }
    }

    #[test]
    fn words_are_those_of_the_lexer() {
        let pieces = [
            " ", " ", "<<", "<<-", "E", "<<E", "'", "\"", "\\", "$", "${A}", "${", "}", "{", ":-",
            "1", "3<<X", "\t", "\u{3000}", "\u{a0}", "é", "<", "${A:-", "${1}", "${}", "$$",
            "\\\\",
        ];
        let mut numbers = 7_u64;
        let (mut found, mut of_the_usual_form) = (0, 0);
        for case in 0..300_000 {
            let mut line = "RUN ".to_owned();
            for _ in 0..2 + case % 7 {
                numbers =
                    numbers.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                line.push_str(pieces[(numbers >> 33) as usize % pieces.len()]);
            }
            let own = all(|take| opened_by(&line, take));
            let wanted = all(|take| with_lexer(&line, take));
            assert_eq!(own, wanted, "{line:?}");
            let first = line.find('<').unwrap_or_default();
            assert!(own.is_empty() || may_be_opened_by(&line, first), "{line:?}");
            if let Some(name) = only(line.as_bytes(), first) {
                let found = own.first().unwrap();
                assert_eq!((own.len(), found.name.as_bytes()), (1, name), "{line:?}");
                assert!(!found.strip_tabs, "{line:?}");
                of_the_usual_form += 1;
            }
            found += own.len();
        }
        assert!(found > 5_000 && of_the_usual_form > 500, "{found} {of_the_usual_form}");
    }

    #[test]
    fn only_leading_tabs_are_dropped() {
        let mut document = opens("<<-E").unwrap();
        document.content = "\ta\n\t\tb\tc\n  d\n".into();
        assert_eq!(document.text(), "a\nb\tc\n  d\n");
    }
}
