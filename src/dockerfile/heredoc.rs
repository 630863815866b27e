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

impl Heredoc<'_> {
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

/// The here-document that a word opens, still without content.
pub fn opens(word: &str) -> Option<Heredoc<'_>> {
    let digits = word.bytes().position(|byte| !byte.is_ascii_digit())?;
    let strip_tabs = match word.as_bytes().get(digits..)? {
        [b'<', b'<', b'-', ..] => true,
        [b'<', b'<', ..] => false,
        _ => return None,
    };
    let written = word.get(digits + 2 + usize::from(strip_tabs)..)?;
    if written.is_empty() || written.as_bytes().contains(&b'<') {
        return None;
    }
    let fd = word.get(..digits)?.parse().unwrap_or_default();
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

/// Whether a word of a line may begin as one does that opens a here-document.
pub(super) fn may_be_opened_by(line: &str) -> bool {
    let (mut is_begin, mut is_sign) = (true, false);
    for byte in line.bytes() {
        if is_sign && byte == b'<' {
            return true;
        }
        is_sign = is_begin && byte == b'<';
        is_begin = scan::is_blank(byte) || !byte.is_ascii() || is_begin && byte.is_ascii_digit();
    }
    // The lexer takes escapes out of variables' defaults: what is a word then is not seen here.
    line.contains('$') && line.contains('\\')
}

/// Gives all here-documents that a line opens, in order, or one more than it may.
pub(super) fn opened_by<'a>(line: &'a str, into: &mut Vec<Heredoc<'a>>) {
    // Else the words are parts of the line.
    let needs_lexer = |byte| matches!(byte, b'\\' | b'{' | 0x80..);
    if !line.bytes().any(needs_lexer) {
        let (mut quote, mut begin) = (None, 0);
        for (at, byte) in line.bytes().chain([b' ']).enumerate() {
            match quote {
                None if scan::is_blank(byte) => {
                    let word = line.get(begin..at).unwrap_or_default();
                    if into.len() <= MAX_HEREDOCS {
                        into.extend(opens(word));
                    }
                    begin = at + 1;
                }
                None if matches!(byte, b'\'' | b'"') => quote = Some(byte),
                Some(open) if open == byte => quote = None,
                _ => {}
            }
        }
        // A line whose quotes do not close is the shell's to complain about.
        if quote.is_some() {
            into.clear();
        }
        return;
    }
    let mut lex = Expander::new('\\', &|_| None);
    lex.raw_quotes = true;
    lex.raw_escapes = true;
    lex.keep_unset = true;
    let words = lex.words_that(line, |word, n| n <= MAX_HEREDOCS && opens(word).is_some());
    for word in words.unwrap_or_default() {
        into.extend(opens(&word).map(Heredoc::into_owned));
    }
}

/// ASCII, and nothing in it means anything to the lexer, but blanks.
fn is_plain(text: &str) -> bool {
    !text.bytes().any(|byte| matches!(byte, b'\'' | b'"' | b'\\' | b'$' | 0x80..))
}

fn quotes(text: &str) -> usize {
    text.bytes().filter(|byte| matches!(byte, b'\'' | b'"')).count()
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let mut found = Vec::new();
            opened_by(line, &mut found);
            assert!(found.is_empty() || may_be_opened_by(line), "{line}");
            let found: Vec<&str> = found.iter().map(|doc| doc.name.as_ref()).collect();
            assert_eq!(found, names, "{line}");
        }
    }

    #[test]
    fn only_leading_tabs_are_dropped() {
        let mut document = opens("<<-E").unwrap();
        document.content = "\ta\n\t\tb\tc\n  d\n".into();
        assert_eq!(document.text(), "a\nb\tc\n  d\n");
    }
}
