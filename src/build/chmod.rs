//! `--chmod`: octal numbers and chmod(1)'s symbolic forms.

use crate::error::{Error, Result};

/// A change of permission bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chmod {
    /// These bits, whatever they were.
    Octal(u32),
    /// Changes in order.
    Symbolic(Vec<Clause>),
}

/// One of `u+x,go=r`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// Masks of user (0o4700), group (0o2070), other (0o1007).
    who: u32,
    operation: char,
    permissions: String,
}

impl Chmod {
    /// Reads the value of the flag.
    pub fn parse(text: &str) -> Result<Chmod> {
        let bad = || {
            Error::input(format!("invalid chmod parameter: {text:?}"))
                .hint("write octal digits such as 0755, or changes such as u+x,go-w")
        };
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            let mode = u32::from_str_radix(text, 8).map_err(|_| bad())?;
            return if mode <= 0o7777 { Ok(Chmod::Octal(mode)) } else { Err(bad()) };
        }
        let mut clauses = Vec::new();
        for part in text.split(',') {
            let at = part.find(['+', '-', '=']).ok_or_else(bad)?;
            let (names, mut rest) = part.split_at_checked(at).ok_or_else(bad)?;
            let mut who = 0;
            for name in names.chars() {
                who |= match name {
                    'u' => 0o4700,
                    'g' => 0o2070,
                    'o' => 0o1007,
                    'a' => 0o7777,
                    _ => return Err(bad()),
                };
            }
            let who = if who == 0 { 0o7777 } else { who };
            while let Some(operation) = rest.chars().next() {
                let tail = rest.get(1..).unwrap_or_default();
                let end = tail.find(['+', '-', '=']).unwrap_or(tail.len());
                let (permissions, next) = tail.split_at_checked(end).ok_or_else(bad)?;
                if !permissions.chars().all(|c| "rwxXstugo".contains(c)) {
                    return Err(bad());
                }
                clauses.push(Clause { who, operation, permissions: permissions.to_owned() });
                rest = next;
            }
        }
        Ok(Chmod::Symbolic(clauses))
    }

    /// The bits of a file that had `mode`.
    pub fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        match self {
            Chmod::Octal(bits) => *bits,
            Chmod::Symbolic(clauses) => {
                clauses.iter().fold(mode, |mode, clause| clause.apply(mode, is_dir))
            }
        }
    }
}

impl Clause {
    fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        let mut bits = 0;
        for permission in self.permissions.chars() {
            bits |= match permission {
                'r' => 0o444,
                'w' => 0o222,
                'x' => 0o111,
                'X' if is_dir || mode & 0o111 != 0 => 0o111,
                's' => 0o6000,
                't' => 0o1000,
                'u' => spread(mode >> 6),
                'g' => spread(mode >> 3),
                'o' => spread(mode),
                _ => 0,
            };
        }
        let bits = bits & self.who;
        match self.operation {
            '+' => mode | bits,
            '-' => mode & !bits,
            _ => (mode & !self.who) | bits,
        }
    }
}

fn spread(bits: u32) -> u32 {
    let bits = bits & 0o7;
    bits << 6 | bits << 3 | bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_come_out_as_chmod_makes_them() {
        // Checked with chmod(1) of coreutils.
        for (text, before, is_dir, after) in [
            ("755", 0o600, false, 0o755),
            ("4711", 0o600, false, 0o4711),
            ("u+x", 0o644, false, 0o744),
            ("go-w", 0o666, false, 0o644),
            ("a=r", 0o755, false, 0o444),
            ("+x", 0o644, false, 0o755),
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u=rwX,go=rX", 0o700, true, 0o755),
            ("g=u", 0o640, false, 0o660),
            ("u+s", 0o755, false, 0o4755),
            ("+t", 0o777, true, 0o1777),
            ("u+x-w", 0o644, false, 0o544),
        ] {
            assert_eq!(Chmod::parse(text).unwrap().apply(before, is_dir), after, "{text}");
        }
    }

    #[test]
    fn what_is_no_mode_is_refused() {
        for bad in ["", "8", "77777", "u", "z+x", "u+q", "u+x,"] {
            assert!(Chmod::parse(bad).is_err(), "{bad}");
        }
    }
}
