//! Variables in words: results are bounded, plain text stays, and `#`, `%` and `/` agree with
//! matchers that try everything.
//!
//! The first byte says how; NULs part the rest into the word and the values of A, B and C.

#![no_main]

use lath::dockerfile::Expander;
use lath_fuzz::peak;
use libfuzzer_sys::fuzz_target;

const SIGNS: &[u8; 8] = b"aab*?bac";

fuzz_target!(|input: &[u8]| {
    let Some((how, input)) = input.split_first() else { return };
    if how % 4 == 3 {
        return pattern(*how, input);
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    let parts: Vec<&str> = text.split('\0').collect();
    let lookup = |name: &str| {
        let at = ["A", "B", "C"].iter().position(|known| *known == name)?;
        parts.get(at + 1).map(|value| (*value).to_owned())
    };
    let word = parts[0];
    let escape = if how & 4 == 0 { '\\' } else { '`' };
    let mut expander = Expander::new(escape, &lookup);
    expander.raw_quotes = how & 8 != 0;
    expander.raw_escapes = how & 16 != 0;
    expander.skip_quotes = how & 32 != 0;
    expander.keep_unset = how & 64 != 0;
    let (result, bytes) = peak(|| expander.word(word));
    if let Ok(result) = &result {
        assert!(result.len() <= (16 << 20) + word.len());
        // The text, and the copy that a growing string makes; a pattern of at most 1 MiB is taken apart
        // into four times its text. A pattern or a replacement, in which variables stand, may be large on
        // the way to a small result; the limit holds for it too.
        let is_bounded_so = !word.contains(['/', '%', '#']);
        let most = match is_bounded_so {
            true => 4 * (result.len() + text.len()) + 4096,
            false => (4 * 16 + 8) << 20,
        };
        assert!(bytes <= most, "{bytes} for {}", result.len());
    }
    let words = expander.words(word);
    if !word.contains(['$', '\'', '"', escape]) {
        assert_eq!(result.as_deref().ok(), Some(word));
        let wanted: Vec<&str> = word.split_whitespace().collect();
        assert_eq!(words.ok().unwrap_or_default(), wanted);
    } else if let (Ok(result), Ok(words)) = (&result, &words) {
        let joined: usize = words.iter().map(String::len).sum();
        assert!(joined <= result.len(), "{result:?} {words:?}");
        assert!(words.iter().all(|word| !word.is_empty()));
    }
    let _ = expander.heredoc(word);
    if !word.contains('\'') {
        let plain = Expander::new(escape, &lookup);
        assert_eq!(plain.word(&format!("'{word}'")).as_deref().ok(), Some(word));
    }
});

fn pattern(how: u8, input: &[u8]) {
    let text: String =
        input.iter().take(40).map(|b| char::from(SIGNS[usize::from(b % 8)])).collect();
    let split = input.first().map_or(0, |byte| usize::from(*byte) % (text.len() + 1)).min(8);
    let (pattern, value) = text.split_at(split);
    let value = &value[..value.len().min(10)];
    let lookup = |name: &str| (name == "V").then(|| value.to_owned());
    let expander = Expander::new('\\', &lookup);
    let show = |word: &str| expander.word(word).expect("a pattern of few signs");
    let sign = [("#", true), ("%", false)][usize::from(how >> 2 & 1)];
    // A pattern that begins with the sign would be the longer form; these do not.
    let ends: Vec<usize> = (0..=value.len())
        .filter(|at| match sign.1 {
            true => fits(pattern.as_bytes(), &value.as_bytes()[..*at]),
            false => fits(pattern.as_bytes(), &value.as_bytes()[*at..]),
        })
        .collect();
    let cut = |at: Option<&usize>| match (at, sign.1) {
        (None, _) => value,
        (Some(at), true) => &value[*at..],
        (Some(at), false) => &value[..*at],
    };
    let (first, last) = (cut(ends.first()), cut(ends.last()));
    let (short, long) = if sign.1 { (first, last) } else { (last, first) };
    assert_eq!(show(&format!("${{V{0}{pattern}}}", sign.0)), short, "{pattern} {value}");
    assert_eq!(show(&format!("${{V{0}{0}{pattern}}}", sign.0)), long, "{pattern} {value}");
    assert_eq!(
        show(&format!("${{V//{pattern}/_}}")),
        replaced(pattern, value, true),
        "{pattern} {value}"
    );
    if !pattern.is_empty() {
        assert_eq!(
            show(&format!("${{V/{pattern}/_}}")),
            replaced(pattern, value, false),
            "{pattern} {value}"
        );
    }
}

fn fits(pattern: &[u8], value: &[u8]) -> bool {
    match (pattern.first(), value.first()) {
        (None, first) => first.is_none(),
        (Some(b'*'), first) => {
            fits(&pattern[1..], value) || first.is_some() && fits(pattern, &value[1..])
        }
        (Some(b'?'), Some(_)) => fits(&pattern[1..], &value[1..]),
        (Some(own), Some(first)) => own == first && fits(&pattern[1..], &value[1..]),
        (Some(_), None) => false,
    }
}

/// Go's ReplaceAllString: the leftmost, longest; an empty match right behind a match is none.
fn replaced(pattern: &str, value: &str, all: bool) -> String {
    let (pattern, value) = (pattern.as_bytes(), value.as_bytes());
    let (mut out, mut at, mut behind, mut done) = (Vec::new(), 0, false, false);
    while at <= value.len() {
        let end = (at..=value.len()).rev().find(|end| fits(pattern, &value[at..*end]));
        if let Some(end) = end.filter(|end| !done && (*end > at || !behind)) {
            out.push(b'_');
            done = !all;
            if end > at {
                at = end;
                behind = true;
                continue;
            }
        }
        behind = false;
        if at < value.len() {
            out.push(value[at]);
        }
        at += 1;
    }
    String::from_utf8(out).expect("ASCII")
}
