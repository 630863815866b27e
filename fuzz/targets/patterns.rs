//! `.dockerignore` and the globs of COPY against matchers that try everything, written after moby's
//! patternmatcher and Go's path/filepath.
//!
//! The first byte says which; texts are made of few signs, so that they often fit.

#![no_main]

use lath::pattern::{self, Ignore};
use lath_fuzz::peak;
use libfuzzer_sys::fuzz_target;

const SIGNS: &[u8; 16] = b"aab*?[]-^\\/.!x*/";

fuzz_target!(|input: &[u8]| {
    let Some((which, input)) = input.split_first() else { return };
    // Raw bytes: nothing is known of the answer, but it comes, in little memory.
    if which % 4 == 3 {
        let ((), bytes) = peak(|| {
            if let Ok(ignore) = Ignore::parse(input) {
                let _ = ignore.excludes(input);
                let _ = ignore.may_include_below(input);
            }
        });
        assert!(bytes <= 600 * input.len() + 4096, "{bytes} bytes for {}", input.len());
        return;
    }
    let text: Vec<u8> = input.iter().map(|byte| SIGNS[usize::from(byte % 16)]).collect();
    let split = input.first().map_or(0, |byte| usize::from(*byte) % (text.len() + 1));
    let (pattern, path) = text.split_at(split.min(12));
    let path = &path[..path.len().min(12)];
    let pattern = std::str::from_utf8(pattern).expect("ASCII");
    if which % 4 == 0 {
        // Names of one part: with slashes Go gives up where a longer search would still find a way.
        if path.contains(&b'/') {
            return;
        }
        let signs: Vec<char> = pattern.chars().collect();
        let found = pattern::matches(pattern, path).ok();
        assert_eq!(found.is_some(), is_well_formed(&signs), "{pattern:?}");
        if let Some(found) = found {
            let wanted = fits_glob(&signs, path);
            assert_eq!(found, wanted, "{pattern:?} {:?}", path.escape_ascii().to_string());
        }
        return;
    }
    let lines: Vec<&str> = pattern.split("!!").collect();
    let Ok(ignore) = Ignore::parse(lines.join("\n").as_bytes()) else { return };
    let path = cleaned(path);
    if path.is_empty() {
        return;
    }
    let wanted = excluded(&lines, &path);
    assert_eq!(ignore.excludes(path.as_bytes()), wanted, "{lines:?} {path:?}");
    // A directory that a walker passes over has nothing that comes back.
    for (at, _) in path.match_indices('/') {
        let directory = &path[..at];
        if ignore.excludes(directory.as_bytes()) && !ignore.may_include_below(directory.as_bytes())
        {
            assert!(wanted, "{lines:?} {path:?} comes back below {directory:?}");
        }
    }
});

/// Whether Go takes the pattern: every [ has its ], every escape its character.
fn is_well_formed(signs: &[char]) -> bool {
    let mut at = 0;
    while at < signs.len() {
        match signs[at] {
            '\\' => {
                if at + 1 == signs.len() {
                    return false;
                }
                at += 2;
            }
            '[' => match class(signs, at, 'a') {
                Some((_, end)) => at = end,
                None => return false,
            },
            _ => at += 1,
        }
    }
    true
}

/// Go's class that opens at `at`: whether `c` is in it, and where it ends.
fn class(signs: &[char], at: usize, c: char) -> Option<(bool, usize)> {
    let mut at = at + 1;
    let negated = signs.get(at) == Some(&'^');
    if negated {
        at += 1;
    }
    let mut found = false;
    let mut ranges = 0;
    loop {
        if signs.get(at) == Some(&']') && ranges > 0 {
            return Some((found != negated, at + 1));
        }
        let one = |at: &mut usize| -> Option<char> {
            let mut c = *signs.get(*at)?;
            if c == '-' || c == ']' {
                return None;
            }
            if c == '\\' {
                *at += 1;
                c = *signs.get(*at)?;
            }
            *at += 1;
            Some(c)
        };
        let low = one(&mut at)?;
        let mut high = low;
        if signs.get(at) == Some(&'-') {
            at += 1;
            high = one(&mut at)?;
        }
        found |= low <= c && c <= high;
        ranges += 1;
    }
}

fn fits_glob(signs: &[char], path: &[u8]) -> bool {
    let Some(sign) = signs.first() else { return path.is_empty() };
    let next = path.first().map(|byte| char::from(*byte));
    match sign {
        '*' => {
            fits_glob(&signs[1..], path)
                || next.is_some_and(|c| c != '/') && fits_glob(signs, &path[1..])
        }
        '?' => next.is_some_and(|c| c != '/') && fits_glob(&signs[1..], &path[1..]),
        '[' => {
            let Some(c) = next else { return false };
            let Some((found, end)) = class(signs, 0, c) else { return false };
            found && fits_glob(&signs[end..], &path[1..])
        }
        '\\' => next == signs.get(1).copied() && fits_glob(&signs[2..], &path[1..]),
        c => next == Some(*c) && fits_glob(&signs[1..], &path[1..]),
    }
}

/// A path as a walker has it: no empty parts, no dots.
fn cleaned(path: &[u8]) -> String {
    let path = String::from_utf8_lossy(path);
    let parts: Vec<_> = path.split('/').filter(|part| !matches!(*part, "" | "." | "..")).collect();
    parts.join("/")
}

/// moby, as a walker asks it: folder by folder down to the path. The last rule that fits decides,
/// and one that fits a folder fits all below it; but a rule that would change nothing is not tried,
/// and so not known to fit further down.
fn excluded(lines: &[&str], path: &str) -> bool {
    let rules: Vec<(bool, String)> = lines.iter().filter_map(|line| rule(line)).collect();
    let mut known = vec![false; rules.len()];
    let mut out = false;
    let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
    for end in ends {
        out = false;
        for ((takes_back, pattern), known) in rules.iter().zip(&mut known) {
            *known = *known || out == *takes_back && fits_moby(pattern, &path[..end]);
            if *known {
                out = !takes_back;
            }
        }
    }
    out
}

/// Whether a line takes back, and its pattern.
fn rule(line: &str) -> Option<(bool, String)> {
    let line = line.trim();
    let (takes_back, pattern) = match line.strip_prefix('!') {
        Some(rest) => (true, rest.trim()),
        None => (false, line),
    };
    if pattern.is_empty() {
        return None;
    }
    let mut pattern = go_clean(pattern);
    if pattern.len() > 1 && pattern.starts_with('/') {
        pattern.remove(0);
    }
    Some((takes_back, pattern))
}

fn fits_moby(pattern: &str, path: &str) -> bool {
    // Two stars in front of plain text: moby compares the end alone, so **a takes ba too.
    let end = pattern.strip_prefix("**").filter(|rest| !rest.contains(['*', '?', '[', ']', '\\']));
    let signs: Vec<char> = pattern.chars().collect();
    match end {
        Some(end) => path.ends_with(end) || end.strip_prefix('/') == Some(path),
        None => fits_rule(&signs, path.as_bytes()),
    }
}

fn fits_rule(signs: &[char], path: &[u8]) -> bool {
    let Some(sign) = signs.first() else { return path.is_empty() };
    let next = path.first().map(|byte| char::from(*byte));
    match sign {
        '*' if signs.get(1) == Some(&'*') => {
            let mut rest = &signs[2..];
            if rest.first() == Some(&'/') {
                rest = &rest[1..];
            }
            if rest.is_empty() {
                return true;
            }
            let after = |at: usize| fits_rule(rest, &path[at..]);
            let mut slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
            after(0) || slashes.any(|(at, _)| after(at + 1))
        }
        '*' => {
            fits_rule(&signs[1..], path)
                || next.is_some_and(|c| c != '/') && fits_rule(signs, &path[1..])
        }
        '?' => next.is_some_and(|c| c != '/') && fits_rule(&signs[1..], &path[1..]),
        '[' => {
            let Some(c) = next else { return false };
            match class(signs, 0, c) {
                Some((found, end)) => found && fits_rule(&signs[end..], &path[1..]),
                None => false,
            }
        }
        '\\' => {
            let wanted = match signs.get(1) {
                None => '\\',
                Some('a') => '\x07',
                Some(c) => *c,
            };
            next == Some(wanted) && fits_rule(signs.get(2..).unwrap_or_default(), &path[1..])
        }
        c => next == Some(*c) && fits_rule(&signs[1..], &path[1..]),
    }
}

/// Go's path.Clean, step by step.
fn go_clean(path: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    let rooted = path.starts_with('/');
    for part in path.split('/') {
        if part.is_empty() || part == "." {
            continue;
        }
        if part == ".." {
            if out.last().is_some_and(|last| *last != "..") {
                out.pop();
            } else if !rooted {
                out.push(part);
            }
            continue;
        }
        out.push(part);
    }
    let joined = out.join("/");
    if rooted {
        return format!("/{joined}");
    }
    if joined.is_empty() { ".".to_owned() } else { joined }
}
