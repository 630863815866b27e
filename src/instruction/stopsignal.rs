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

/// The names of Linux's signals without `SIG`.
const NAMES: &[&str] = &[
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
    "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP",
    "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX",
];

impl Meaning for Stopsignal {
    fn parse(statement: &Statement<'_>, _: char) -> Result<Stopsignal> {
        Ok(Stopsignal { signal: only(statement)? })
    }

    fn lower(&self, scope: &mut Scope) -> Result<Lowered> {
        let signal = scope.word(&self.signal)?;
        if !is_signal(&signal) {
            return Err(Error::input(format!("invalid signal: {signal}"))
                .hint("name one as SIGTERM, SIGRTMIN+3 or 15"));
        }
        let created_by = format!("STOPSIGNAL {signal}");
        scope.config.stop_signal = Some(signal);
        Ok(Lowered { effect: Effect::Config, created_by })
    }
}

fn is_signal(text: &str) -> bool {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=64).contains(&number);
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let offset = |number: &str, max: u32| {
        !number.starts_with(['0', '+']) && number.parse().is_ok_and(|n: u32| n <= max)
    };
    match (name.strip_prefix("RTMIN+"), name.strip_prefix("RTMAX-")) {
        (Some(number), _) => offset(number, 15),
        (_, Some(number)) => offset(number, 14),
        _ => NAMES.contains(&name),
    }
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
