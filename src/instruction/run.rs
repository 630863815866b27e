//! RUN: a command in the image so far.

use super::form::{CommandLine, Flags, Takes};
use super::run_mount::MountFlag;
use super::table::Meaning;
use super::{Effect, Lowered, RunEffect, Scope};
use crate::dockerfile::{Heredoc, Statement, opens_heredoc};
use crate::error::{Error, Result};

/// `RUN [flags] ["WORD", ...]` or `RUN [flags] LINE`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    command: CommandLine,
    heredocs: Vec<Heredoc<'static>>,
    mounts: Vec<MountFlag>,
    network: &'static str,
    security: &'static str,
}

const NO_DEVICE: &str = "unknown flag: --device";
const NETWORKS: &[&str] = &["default", "none", "host"];
const SECURITIES: &[&str] = &["sandbox", "insecure"];

/// The one of the known words that a flag has; the first without it, the text itself if it is none.
fn one_of(known: &[&'static str], given: Option<String>) -> Result<&'static str, String> {
    let Some(given) = given else { return Ok(known.first().copied().unwrap_or_default()) };
    known.iter().copied().find(|known| *known == given).ok_or(given)
}

impl Run {
    /// Stages, images and contexts of `--mount=from=`.
    pub fn mounts_from(&self) -> Vec<&str> {
        self.mounts.iter().filter_map(MountFlag::from).collect()
    }
}

impl Meaning for Run {
    fn parse(statement: &Statement<'_>, _: char) -> Result<Run> {
        let flags = Flags::check(
            statement,
            &[("mount", Takes::Texts), ("network", Takes::Text), ("security", Takes::Text)],
        )
        .map_err(|error| match error.text() == NO_DEVICE {
            true => Error::input(NO_DEVICE).hint("lath hands no devices to build steps"),
            false => error,
        })?;
        let mut mounts = Vec::new();
        for text in flags.texts("mount") {
            mounts.push(MountFlag::parse(&text)?);
        }
        let network = one_of(NETWORKS, flags.text("network")).map_err(|other| {
            Error::input(format!("invalid network mode {other:?}"))
                .hint("it is default, none or host")
        })?;
        let security = one_of(SECURITIES, flags.text("security")).map_err(|other| {
            Error::input(format!("security {other:?} is not valid"))
                .hint("it is sandbox or insecure")
        })?;
        let command = CommandLine::parse(statement.rest())?;
        let heredocs = statement.heredocs().into_iter().map(Heredoc::into_owned).collect();
        Ok(Run { command, heredocs, mounts, network, security })
    }

    fn lower(&self, scope: &mut Scope) -> Result<Lowered> {
        let (command, scripts) = self.with_heredocs();
        let argv = command.argv(scope);
        let cwd = scope.config.working_dir.clone();
        let mut mounts = Vec::with_capacity(self.mounts.len());
        for mount in &self.mounts {
            mounts.push(mount.lower(scope, &cwd)?);
        }
        let created_by = format!("RUN {}{}", arguments(scope), argv.join(" "));
        let (env, unkeyed) = if scope.is_draft { Default::default() } else { scope.environment() };
        let effect = Effect::Run(RunEffect {
            argv,
            env,
            unkeyed,
            user: scope.config.user.clone(),
            cwd,
            mounts,
            network: self.network,
            security: self.security,
            scripts,
        });
        Ok(Lowered { effect, created_by })
    }
}

impl Run {
    /// The command with its here-documents, and the scripts that it starts.
    fn with_heredocs(&self) -> (CommandLine, Vec<(String, String)>) {
        let shell = |line: String| CommandLine { words: vec![line], shell: true };
        let line = self.command.words.first().map(String::as_str).unwrap_or_default();
        let Some(first) = self.heredocs.first() else { return (self.command.clone(), Vec::new()) };
        if opens_heredoc(line).is_none() {
            // The shell knows here-documents itself: it gets them back as they were written.
            let mut whole = line.to_owned();
            for document in &self.heredocs {
                whole.push('\n');
                whole.push_str(&document.content);
                whole.push_str(&document.name);
            }
            return (shell(whole), Vec::new());
        }
        let text = first.text().into_owned();
        if first.content.starts_with("#!") {
            let path = format!("/dev/pipes/{}", first.name);
            return (shell(path), vec![(first.name.to_string(), text)]);
        }
        (shell(text), Vec::new())
    }
}

/// The arguments in force, as docker puts them in front of the command in the history.
fn arguments(scope: &Scope) -> String {
    if scope.args.is_empty() || scope.is_draft {
        return String::new();
    }
    let mut out = format!("|{} ", scope.args.len());
    for (name, _) in &scope.args {
        let value = scope.variable(name).unwrap_or_default();
        out.push_str(&format!("{name}={value} "));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instruction::table::tests::{form, lower, scope};

    fn run(text: &str) -> (RunEffect, String) {
        let mut scope = scope();
        let lowered = lower(text, &mut scope).expect(text);
        match lowered.effect {
            Effect::Run(effect) => (effect, lowered.created_by),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_shell_form_takes_the_shell_and_keeps_the_line() {
        for (text, argv) in [
            ("RUN echo $A  'x'", &["/bin/sh", "-c", "echo $A  'x'"][..]),
            ("RUN [\"touch\", \"/$A\"]", &["touch", "/$A"]),
            ("RUN", &["/bin/sh", "-c", ""]),
            ("RUN []", &[]),
            ("RUN [ -d /etc ] && x", &["/bin/sh", "-c", "[ -d /etc ] && x"]),
            ("SHELL [\"/bin/awk\"]\nRUN BEGIN {}", &["/bin/awk", "BEGIN {}"]),
            ("RUN <<E\na\nb\nE", &["/bin/sh", "-c", "a\nb\n"]),
            ("RUN <<-E\n\ta\n\tE", &["/bin/sh", "-c", "a\n"]),
            ("RUN cat <<A <<-B\n1\nA\n\t2\n\tB", &["/bin/sh", "-c", "cat <<A <<-B\n1\nA\n\t2\nB"]),
            ("RUN <<E\nE", &["/bin/sh", "-c", ""]),
        ] {
            assert_eq!(run(text).0.argv, argv, "{text}");
        }
    }

    #[test]
    fn a_script_with_an_interpreter_becomes_a_file() {
        let (effect, _) = run("RUN <<EOF\n#!/bin/awk -f\nBEGIN {}\nEOF");
        assert_eq!(effect.argv, ["/bin/sh", "-c", "/dev/pipes/EOF"]);
        assert_eq!(effect.scripts, [("EOF".to_owned(), "#!/bin/awk -f\nBEGIN {}\n".to_owned())]);
    }

    #[test]
    fn arguments_are_in_the_environment_and_the_history() {
        let (effect, created_by) = run("ENV E=1\nARG A=x\nARG N\nWORKDIR /w\nUSER u\nRUN true");
        assert_eq!(effect.env, ["PATH=/bin", "E=1", "A=x"]);
        assert_eq!((effect.cwd.as_str(), effect.user.as_str()), ("/w", "u"));
        assert_eq!(created_by, "RUN |2 A=x N= /bin/sh -c true");
        assert_eq!((effect.network, effect.security), ("default", "sandbox"));
    }

    #[test]
    fn wrong_flags_are_refused_with_the_words_of_docker() {
        for (text, message) in [
            ("RUN --network=bogus x", "invalid network mode \"bogus\""),
            ("RUN --security=bogus x", "security \"bogus\" is not valid"),
            ("RUN --device=x y", "unknown flag: --device"),
            ("RUN --moutn=x y", "unknown flag: --moutn (did you mean --mount?)"),
        ] {
            assert_eq!(form(text).unwrap_err(), message);
        }
    }
}
