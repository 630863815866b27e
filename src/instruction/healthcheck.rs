//! HEALTHCHECK: how to see whether a container is well. Each one replaces the whole earlier one.

use super::form::{CommandLine, Flags, Takes, at_least_one};
use super::table::Meaning;
use super::{Effect, Lowered, Scope};
use crate::dockerfile::Statement;
use crate::error::{Error, Result};
use crate::image::config;

/// `HEALTHCHECK [flags] CMD COMMAND` or `HEALTHCHECK NONE`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Healthcheck {
    /// The check as it goes into the config.
    pub check: config::Healthcheck,
    written: String,
}

const MILLISECOND: u64 = 1_000_000;

const FLAGS: &[(&str, Takes)] = &[
    ("interval", Takes::Text),
    ("timeout", Takes::Text),
    ("start-period", Takes::Text),
    ("start-interval", Takes::Text),
    ("retries", Takes::Text),
];

impl Meaning for Healthcheck {
    fn parse(statement: &Statement<'_>, _: char) -> Result<Healthcheck> {
        let rest = statement.rest();
        let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let command = command.trim_start();
        if kind.is_empty() {
            return Err(at_least_one("HEALTHCHECK"));
        }
        let flags = Flags::check(statement, FLAGS)?;
        let mut check = config::Healthcheck::default();
        match kind.to_ascii_uppercase().as_str() {
            "NONE" if command.is_empty() => check.test.push("NONE".to_owned()),
            "NONE" => return Err(Error::input("HEALTHCHECK NONE takes no arguments")),
            "CMD" => {
                let command = CommandLine::parse(command)?;
                let is_blank = command.shell && command.words.iter().all(String::is_empty);
                if is_blank || command.words.is_empty() {
                    return Err(Error::input("Missing command after HEALTHCHECK CMD"));
                }
                check.test.push(if command.shell { "CMD-SHELL" } else { "CMD" }.to_owned());
                check.test.extend(command.words);
                check.interval_ns = interval(&flags, "interval")?;
                check.timeout_ns = interval(&flags, "timeout")?;
                check.start_period_ns = interval(&flags, "start-period")?;
                check.start_interval_ns = interval(&flags, "start-interval")?;
                check.retries = retries(&flags)?;
            }
            kind => {
                return Err(Error::input(format!(
                    "Unknown type {kind:?} in HEALTHCHECK (try CMD)"
                )));
            }
        }
        Ok(Healthcheck { check, written: statement.original.clone().into_owned() })
    }

    fn lower(&self, scope: &mut Scope) -> Result<Lowered> {
        scope.config.healthcheck = Some(self.check.clone());
        Ok(Lowered { effect: Effect::Config, created_by: self.written.clone() })
    }
}

fn retries(flags: &Flags) -> Result<u64> {
    let Some(text) = flags.text("retries") else { return Ok(0) };
    let Ok(number) = text.parse::<i32>() else {
        return Err(Error::input(format!("invalid value for --retries: {text:?} is no number")));
    };
    u64::try_from(number)
        .map_err(|_| Error::input(format!("--retries cannot be negative ({number})")))
}

fn interval(flags: &Flags, name: &str) -> Result<u64> {
    let Some(text) = flags.text(name) else { return Ok(0) };
    match duration(&text) {
        None => Err(Error::input(format!("time: invalid duration {text:?}"))
            .hint("write a time as 30s, 1m30s or 500ms")),
        Some((_, 0)) => Ok(0),
        Some((false, ns)) if ns >= MILLISECOND => Ok(ns),
        Some(_) => Err(Error::input(format!("Interval {name:?} cannot be less than 1ms"))),
    }
}

/// Go's `time.ParseDuration`: whether it is negative, and the nanoseconds.
pub fn duration(text: &str) -> Option<(bool, u64)> {
    let negative = text.starts_with('-');
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Some((false, 0));
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0u64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at_checked(end)?;
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(end)?;
        let unit: u64 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => MILLISECOND,
            "s" => 1_000 * MILLISECOND,
            "m" => 60_000 * MILLISECOND,
            "h" => 3_600_000 * MILLISECOND,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        total = total.checked_add(whole.checked_mul(unit)?)?;
        let mut worth = unit;
        for digit in fraction.chars() {
            worth /= 10;
            total = total.checked_add(u64::from(digit.to_digit(10)?) * worth)?;
        }
        rest = after;
    }
    (total <= i64::MAX as u64).then_some((negative, total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instruction::table::tests::{form, lower, scope};

    #[test]
    fn times_are_read_as_go_reads_them() {
        for (text, ns) in [
            ("30s", Some(30_000_000_000)),
            ("1m30s", Some(90_000_000_000)),
            ("250ms", Some(250_000_000)),
            ("1.5h", Some(5_400_000_000_000)),
            (".5s", Some(500_000_000)),
            ("1us", Some(1_000)),
            ("0", Some(0)),
            ("0s", Some(0)),
            ("soon", None),
            ("5", None),
            ("5x", None),
            (".s", None),
            ("1.2.3s", None),
            ("", None),
            ("99999999999999999999h", None),
        ] {
            assert_eq!(duration(text).map(|(_, ns)| ns), ns, "{text}");
        }
    }

    #[test]
    fn a_check_is_set_whole() {
        let mut scope = scope();
        lower(
            "HEALTHCHECK --interval=1s CMD one\nhealthcheck --timeout=2s --retries=4 cmd [\"/c\", \"-v\"]",
            &mut scope,
        )
        .unwrap();
        let check = scope.config.healthcheck.clone().unwrap();
        assert_eq!(check.test, ["CMD", "/c", "-v"]);
        assert_eq!((check.interval_ns, check.timeout_ns, check.retries), (0, 2_000_000_000, 4));
        lower("HEALTHCHECK CMD test $A || exit 1", &mut scope).unwrap();
        assert_eq!(
            scope.config.healthcheck.clone().unwrap().test,
            ["CMD-SHELL", "test $A || exit 1"]
        );
        lower("HEALTHCHECK NONE", &mut scope).unwrap();
        assert_eq!(scope.config.healthcheck.unwrap().test, ["NONE"]);
    }

    #[test]
    fn a_wrong_form_is_said_in_the_words_of_docker() {
        for (text, message) in [
            ("HEALTHCHECK", "HEALTHCHECK requires at least one argument"),
            ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
            ("HEALTHCHECK RUN x", "Unknown type \"RUN\" in HEALTHCHECK (try CMD)"),
            ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
            ("HEALTHCHECK CMD []", "Missing command after HEALTHCHECK CMD"),
            ("HEALTHCHECK --retries=-1 CMD x", "--retries cannot be negative (-1)"),
            ("HEALTHCHECK --interval=soon CMD x", "time: invalid duration \"soon\""),
            ("HEALTHCHECK --interval=1us CMD x", "Interval \"interval\" cannot be less than 1ms"),
            ("HEALTHCHECK --timeout=-1s CMD x", "Interval \"timeout\" cannot be less than 1ms"),
        ] {
            assert_eq!(form(text).unwrap_err(), message);
        }
        assert!(form("HEALTHCHECK CMD [\"\"]").is_ok(), "an empty word is one");
        assert!(form("HEALTHCHECK --interval=0s --retries=0 CMD x").is_ok());
    }
}
