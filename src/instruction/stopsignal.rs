//! STOPSIGNAL: the signal that ends a container.

use super::form::only;
use super::table::Meaning;
use super::{Effect, Lowered, Scope};
use crate::dockerfile::Statement;
use crate::error::{Error, Result};

/// `STOPSIGNAL NAME` or `STOPSIGNAL NUMBER`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopsignal {
    /// The rest of the line, not yet expanded.
    pub signal: String,
}

/// The names of Linux's signals without `SIG`, from 1 on (signal(7), all but MIPS and the like).
#[rustfmt::skip]
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM",
    "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF",
    "WINCH", "IO", "PWR", "SYS",
];
/// Other names of some, and the two ends of the real-time signals as a C library numbers them.
const OTHERS: [(&str, i32); 5] =
    [("IOT", 6), ("CLD", 17), ("POLL", 29), ("RTMIN", 34), ("RTMAX", 64)];

impl Meaning for Stopsignal {
    fn parse(statement: &Statement<'_>, _: char) -> Result<Stopsignal> {
        Ok(Stopsignal { signal: only(statement)? })
    }

    fn lower(&self, scope: &mut Scope) -> Result<Lowered> {
        let signal = scope.word(&self.signal)?;
        if signal_number(&signal).is_none() {
            return Err(Error::input(format!("invalid signal: {signal}"))
                .hint("name one as SIGTERM, SIGRTMIN+3 or 15"));
        }
        let created_by = format!("STOPSIGNAL {signal}");
        scope.config.stop_signal = Some(signal);
        Ok(Lowered { effect: Effect::Config, created_by })
    }
}

/// The number of a signal that is named as docker takes it: `SIGTERM`, `term`, `RTMIN+3`, `15`.
pub fn signal_number(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return Some(number).filter(|number| (1..=64).contains(number));
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let offset = |number: &str, most: i32| {
        let number = number.parse().ok().filter(|_| !number.starts_with(['0', '+', '-']));
        number.filter(|number: &i32| (0..=most).contains(number))
    };
    if let Some(number) = name.strip_prefix("RTMIN+") {
        return offset(number, 15).map(|number| 34 + number);
    }
    if let Some(number) = name.strip_prefix("RTMAX-") {
        return offset(number, 14).map(|number| 64 - number);
    }
    let other = OTHERS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    let at = NAMES.iter().position(|known| *known == name);
    at.and_then(|at| i32::try_from(at + 1).ok()).or(other)
}

#[cfg(test)]
mod tests {
    use crate::instruction::table::tests::{lower, scope};

    #[test]
    fn names_and_numbers_of_signals_are_checked() {
        for (text, right) in [
            ("SIGKILL", true),
            ("term", true),
            ("9", true),
            ("64", true),
            ("SIGRTMIN+3", true),
            ("RTMAX-14", true),
            ("RTMAX-15", false),
            ("RTMIN+0", false),
            ("0", false),
            ("65", false),
            ("SIGNOPE", false),
            ("$U", false),
        ] {
            let mut scope = scope();
            let done = lower(&format!("STOPSIGNAL {text}"), &mut scope);
            assert_eq!(done.is_ok(), right, "{text}");
            assert_eq!(scope.config.stop_signal.as_deref(), right.then_some(text));
        }
    }
}
