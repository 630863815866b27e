//! The table of instructions: names, parsing and lowering. One more instruction is one more line.

use super::{Lowered, Scope};
use crate::dockerfile::{self, Fault, Statement, nearest};
use crate::error::{Error, Result};

/// What an instruction's file gives to the table.
pub(super) trait Meaning: Sized {
    /// Checks the form of a statement.
    fn parse(statement: &Statement<'_>, escape: char) -> Result<Self>;

    /// Says what it does where it stands, and changes the scope accordingly.
    fn lower(&self, scope: &mut Scope) -> Result<Lowered>;
}

macro_rules! instructions {
    ($($keyword:literal $name:ident)*) => {
        /// A statement whose form is right.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Instruction {
            $(
                #[doc = $keyword]
                $name(super::$name),
            )*
        }

        /// The names of all instructions.
        pub const KEYWORDS: &[&str] = &[$($keyword),*];

        impl Instruction {
            /// Its name, in upper case.
            pub fn keyword(&self) -> &'static str {
                match self { $(Instruction::$name(_) => $keyword,)* }
            }

            /// What it does where it stands; the scope is changed accordingly.
            pub fn lower(&self, scope: &mut Scope) -> Result<Lowered> {
                scope.unknown.get_mut().clear();
                match self { $(Instruction::$name(own) => own.lower(scope),)* }
            }
        }

        fn dispatch(statement: &Statement<'_>, escape: char) -> Result<Instruction> {
            match statement.keyword().as_ref() {
                $($keyword => Meaning::parse(statement, escape).map(Instruction::$name),)*
                _ => Err(unknown(statement.keyword_written())),
            }
        }
    };
}

instructions! {
    "ADD" Add
    "ARG" Arg
    "CMD" Cmd
    "COPY" Copy
    "ENTRYPOINT" Entrypoint
    "ENV" Env
    "EXPOSE" Expose
    "FROM" From
    "HEALTHCHECK" Healthcheck
    "LABEL" Label
    "MAINTAINER" Maintainer
    "ONBUILD" Onbuild
    "RUN" Run
    "SHELL" Shell
    "STOPSIGNAL" Stopsignal
    "USER" User
    "VOLUME" Volume
    "WORKDIR" Workdir
}

impl Instruction {
    /// Names of the stages, images or contexts that it takes files from, as written.
    pub fn takes_from(&self) -> Vec<&str> {
        match self {
            Instruction::Copy(copy) => copy.from().into_iter().collect(),
            Instruction::Run(run) => run.mounts_from(),
            _ => Vec::new(),
        }
    }
}

/// Checks the form of a statement.
pub fn parse(statement: &Statement<'_>, escape: char) -> Result<Instruction, Fault> {
    dispatch(statement, escape).map_err(|error| Fault {
        line: statement.line,
        message: error.text().to_owned(),
        hint: error.hints().first().cloned(),
    })
}

/// Reads a trigger that an image or a stage has stored by ONBUILD.
pub fn parse_trigger(text: &str) -> Result<(Statement<'_>, Instruction)> {
    let document = dockerfile::parse(text.as_bytes());
    let document = document.map_err(|faults| {
        let message = faults.into_iter().next().map(|fault| fault.message);
        Error::input(message.unwrap_or_default()).during(format!("ONBUILD trigger {text:?}"))
    })?;
    let mut statements = document.statements();
    let (Some(statement), None) = (statements.next(), statements.next()) else {
        return Err(Error::input("onbuild trigger should be a single expression"));
    };
    let instruction = dispatch(&statement, document.directives.escape)
        .map_err(|error| error.during(format!("ONBUILD trigger {text:?}")))?;
    if matches!(instruction, Instruction::From(_) | Instruction::Onbuild(_)) {
        let keyword = instruction.keyword();
        return Err(Error::input(format!("{keyword} isn't allowed as an ONBUILD trigger")));
    }
    Ok((statement, instruction))
}

fn unknown(written: &str) -> Error {
    let shown: String = written.chars().take(100).collect();
    match nearest(written, &mut KEYWORDS.iter().copied()) {
        Some(meant) => {
            Error::input(format!("unknown instruction: {shown} (did you mean {meant}?)"))
        }
        None => Error::input(format!("unknown instruction: {shown}"))
            .hint("a statement begins with an instruction such as FROM, RUN or COPY"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The only statement of a text, parsed; the message when its form is wrong.
    pub(in super::super) fn form(text: &str) -> Result<Instruction, String> {
        let document = dockerfile::parse(text.as_bytes()).map_err(|f| f[0].message.clone())?;
        let escape = document.directives.escape;
        parse(&document.statements().last().unwrap(), escape).map_err(|fault| fault.message)
    }

    /// Lowers all statements in order; gives the last result.
    pub(in super::super) fn lower(text: &str, scope: &mut Scope) -> Result<Lowered, String> {
        let document = dockerfile::parse(text.as_bytes()).map_err(|f| f[0].message.clone())?;
        let mut last = Err("nothing to lower".to_owned());
        for statement in document.statements() {
            let parsed = parse(&statement, document.directives.escape).map_err(|f| f.message)?;
            last = Ok(parsed.lower(scope).map_err(|error| error.text().to_owned())?);
        }
        last
    }

    /// A scope like that of a stage on a usual base.
    pub(in super::super) fn scope() -> Scope {
        let mut scope = Scope { escape: '\\', ..Scope::default() };
        scope.config.env.push("PATH=/bin".to_owned());
        scope
    }

    #[test]
    fn an_unknown_name_is_named_with_what_may_be_meant() {
        for (text, message) in [
            ("RNU x", "unknown instruction: RNU (did you mean RUN?)"),
            ("rnu x", "unknown instruction: rnu (did you mean RUN?)"),
            ("FROBNICATE x", "unknown instruction: FROBNICATE"),
        ] {
            assert_eq!(form(text).unwrap_err(), message);
        }
    }

    #[test]
    fn names_are_read_in_any_case() {
        for keyword in KEYWORDS {
            let lower = keyword.to_ascii_lowercase();
            let message = form(&format!("{lower} \u{1}")).err().unwrap_or_default();
            assert!(!message.contains("unknown instruction"), "{lower}: {message}");
        }
    }

    #[test]
    fn a_trigger_is_one_statement_that_is_no_from() {
        assert!(parse_trigger("RUN <<E\nx\nE").is_ok());
        for (text, part) in [
            ("RUN a\nRUN b", "single expression"),
            ("FROM x", "FROM isn't allowed"),
            ("BOGUS x", "unknown instruction: BOGUS"),
            ("", "cannot be empty"),
        ] {
            let message = parse_trigger(text).unwrap_err().text().to_owned();
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn no_statement_makes_parsing_or_lowering_panic() {
        let words = [
            "RUN",
            "COPY",
            "ADD",
            "ENV",
            "ARG",
            "LABEL",
            "EXPOSE",
            "USER",
            "WORKDIR",
            "VOLUME",
            "HEALTHCHECK",
            "STOPSIGNAL",
            "SHELL",
            "CMD",
            "ENTRYPOINT",
            "ONBUILD",
            "MAINTAINER",
            "FROM",
            "--from=a",
            "--mount=type=cache,target=$A",
            "--chmod=",
            "--interval=1",
            "CMD",
            "A=b",
            "=",
            "$A",
            "${A:-",
            "\"",
            "'",
            "[\"a\"]",
            "[",
            "1-2/tcp",
            ":",
            "/",
            "..",
            "<<E",
            "--",
            "é",
            "http://x",
            "a b",
            "99999999999999999999",
            "--mount=\"",
            "AS",
        ];
        let mut seed = 11u64;
        let mut next = |limit: usize| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((seed >> 33) as usize) % limit
        };
        for _ in 0..5_000 {
            let mut text = words[next(18)].to_owned();
            for _ in 0..next(6) {
                text.push_str([" ", ""][next(2)]);
                text.push_str(words[next(words.len())]);
            }
            let mut scope = scope();
            let _ = lower(&text, &mut scope);
        }
    }
}
