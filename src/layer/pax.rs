//! Records of POSIX pax headers: `LENGTH KEY=VALUE\n`, both ways.
//!
//! Source: POSIX.1-2017, pax, "pax Extended Header"; `SCHILY.xattr` as star and GNU tar write it.

use crate::error::{Error, Result};
use crate::layer::entry::show;

/// In front of the name of an extended attribute.
pub const XATTR: &[u8] = b"SCHILY.xattr.";

/// Appends one record. The length counts its own digits.
pub fn append(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + digits(rest);
    if digits(length) > digits(rest) {
        length += 1;
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().unwrap_or_default() as usize + 1
}

/// Takes the first record off `records`: its key and its value.
pub fn take<'a>(records: &mut &'a [u8]) -> Result<(&'a [u8], &'a [u8])> {
    let bad = || Error::input("a pax header of the tar is damaged");
    let blank = records.iter().take(20).position(|byte| *byte == b' ').ok_or_else(bad)?;
    let (length, _) = records.split_at_checked(blank).ok_or_else(bad)?;
    let length = decimal(length)
        .and_then(|length| usize::try_from(length).ok())
        .filter(|length| *length > blank + 2)
        .ok_or_else(bad)?;
    let (record, rest) = records.split_at_checked(length).ok_or_else(bad)?;
    *records = rest;
    let record = record.get(blank + 1..).and_then(|record| record.strip_suffix(b"\n"));
    let record = record.ok_or_else(bad)?;
    let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(bad)?;
    let (key, value) = record.split_at_checked(equals).ok_or_else(bad)?;
    if key.is_empty() {
        return Err(bad());
    }
    Ok((key, value.get(1..).unwrap_or_default()))
}

/// A number without a sign and nothing around it.
pub fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Seconds with an optional fraction, rounded down to whole seconds.
pub fn seconds(text: &[u8]) -> Result<i64> {
    let read = || {
        let (negative, number) = match text.strip_prefix(b"-") {
            Some(number) => (true, number),
            None => (false, text),
        };
        let mut halves = number.splitn(2, |byte| *byte == b'.');
        let whole = i64::try_from(decimal(halves.next()?)?).ok()?;
        let fraction = halves.next().unwrap_or_default();
        if !fraction.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let part_of_a_second = fraction.iter().any(|digit| *digit != b'0');
        if negative {
            whole.checked_neg()?.checked_sub(part_of_a_second.into())
        } else {
            Some(whole)
        }
    };
    read().ok_or_else(|| Error::input(format!("the tar has the time {}", show(text))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_its_own_length() {
        // Around the lengths where a digit more makes the record longer by one.
        for value in [0, 1, 3, 4, 5, 89, 90, 91, 92, 93, 988, 989, 990, 991, 5000] {
            let value = vec![b'v'; value];
            let mut out = Vec::new();
            append(&mut out, b"path", &value);
            append(&mut out, b"uid", b"7");
            let mut records = out.as_slice();
            assert_eq!(take(&mut records).unwrap(), (b"path".as_slice(), value.as_slice()));
            assert_eq!(take(&mut records).unwrap(), (b"uid".as_slice(), b"7".as_slice()));
            assert!(records.is_empty());
        }
        let mut out = Vec::new();
        append(&mut out, b"mtime", b"1");
        assert_eq!(out, b"11 mtime=1\n");
    }

    #[test]
    fn damaged_records_are_refused() {
        for bad in
            ["", "5", "x a=b\n", "99 a=b\n", "6 a=bc", "5 ab\n", "5 =b\n", "-6 a=b\n", "0 a=b\n"]
        {
            assert!(take(&mut bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn times_are_rounded_down() {
        for (text, expected) in
            [("0", 0), ("1.9", 1), ("-1", -1), ("-1.0", -1), ("-1.5", -2), ("-0.1", -1), ("5.", 5)]
        {
            assert_eq!(seconds(text.as_bytes()).unwrap(), expected, "{text}");
        }
        for bad in ["", "-", ".5", "1.x", "+1", "1e3", "99999999999999999999"] {
            assert!(seconds(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
