//! What a target takes: build arguments, secrets, sockets and caches; and which targets there are.
//!
//! Source: BuildKit's `frontend/subrequests/outline` and `targets`. An argument in front of the
//! first FROM counts when a FROM or a stage that is needed uses it; what a stage declares counts
//! always. A description is a comment above that begins with the name.

use std::cell::RefCell;

use super::Plan;
use super::lint::Here;
use crate::dockerfile::{Document, Expander, Statement};
use crate::instruction::{self, Effect, From, Instruction, Scope};

/// So many things that a target takes are told, and no more.
const MAX_ENTRIES: usize = 1000;

/// One thing that is listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// `arg`, `secret`, `ssh`, `cache` or `target`.
    pub kind: String,
    /// Its name or id; empty for a target without one.
    pub name: String,
    /// What the comment above says; empty without one.
    pub description: String,
    /// An argument's value in a build with these options, a target's base as written; empty
    /// without one.
    pub value: String,
    /// A target's `--platform`, as written.
    pub platform: String,
    /// The step fails without it; of targets: it is what is built when none is named.
    pub is_needed: bool,
    /// First and last line, from 1.
    pub lines: (usize, usize),
    /// How near to the target its stage is; of several of one name the nearest counts.
    nearness: usize,
}

/// What a Dockerfile offers and takes.
#[derive(Debug, Default)]
pub struct Outline {
    /// All stages, in order.
    pub targets: Vec<Entry>,
    /// Which of them is looked at.
    pub target: usize,
    /// What that one takes, in the order of the lines.
    pub takes: Vec<Entry>,
}

/// Gathers an outline while the linter walks.
pub struct Outliner<'a> {
    plan: &'a Plan<'a>,
    scope: &'a Scope,
    outline: Outline,
    /// The arguments in front of the first FROM, with the names that their values come from.
    globals: Vec<(Entry, Vec<String>)>,
    /// Names of those that are used.
    used: Vec<String>,
}

impl<'a> Outliner<'a> {
    /// Looks at all that stands outside of the stages. `scope` as for `Plan::new`.
    pub fn new(document: &Document<'_>, plan: &'a Plan<'a>, scope: &'a Scope) -> Outliner<'a> {
        let target = plan.needed.last().copied().unwrap_or_default();
        let outline = Outline { target, ..Outline::default() };
        let mut outliner = Outliner { plan, scope, outline, globals: Vec::new(), used: Vec::new() };
        for statement in document.statements() {
            match instruction::parse(&statement, plan.escape) {
                Ok(Instruction::From(from)) => outliner.begin(&statement, from),
                Ok(Instruction::Arg(arg)) if outliner.outline.targets.is_empty() => {
                    for pair in arg.pairs {
                        outliner.global(&statement, &pair.name, pair.value.as_deref());
                    }
                }
                _ => {}
            }
        }
        outliner
    }

    fn begin(&mut self, statement: &Statement<'_>, from: From) {
        let number = self.outline.targets.len();
        let platform = from.platform_written.unwrap_or_default();
        if self.plan.needed.contains(&number) {
            self.used.append(&mut self.asked(&from.image_written));
            self.used.append(&mut self.asked(&platform));
        }
        let mut target = entry(statement, "target", &from.name.unwrap_or_default());
        target.value = from.image_written;
        target.platform = platform;
        target.is_needed = number + 1 == self.plan.stages.len();
        self.outline.targets.push(target);
    }

    fn global(&mut self, statement: &Statement<'_>, name: &str, default: Option<&str>) {
        let mut global = entry(statement, "arg", name);
        let value = self.plan.global_args.get(self.globals.len());
        global.value = value.and_then(|(_, value)| value.clone()).unwrap_or_default();
        let default = default.filter(|_| !self.scope.build_args.contains_key(name));
        let asked = self.asked(default.unwrap_or_default());
        self.globals.push((global, asked));
    }

    /// The variables that a word asks for.
    fn asked(&self, word: &str) -> Vec<String> {
        let names = RefCell::new(Vec::new());
        let lookup = |name: &str| {
            names.borrow_mut().push(name.to_owned());
            let known = self.plan.global_args.iter().rev().find(|(known, _)| known == name);
            known.and_then(|(_, value)| value.clone())
        };
        // A word that is wrong has been told before this.
        let _ = Expander::new(self.plan.escape, &lookup).word(word);
        names.into_inner()
    }

    /// Takes a statement of a stage.
    pub fn hear(&mut self, stage: usize, here: &Here<'_>) {
        let Some(nearness) = self.plan.needed.iter().position(|needed| *needed == stage) else {
            return;
        };
        if let Instruction::Arg(arg) = here.instruction {
            for pair in &arg.pairs {
                let name = &pair.name;
                let is_given = pair.value.is_some() || here.scope.build_args.contains_key(name);
                if !is_given && here.scope.global(name).is_some() {
                    self.used.push(name.clone());
                    continue;
                }
                let mut argument = entry(here.statement, "arg", name);
                let value = here.scope.args.iter().find(|(own, _)| own == name);
                argument.value = value.and_then(|(_, value)| value.clone()).unwrap_or_default();
                argument.nearness = nearness + 1;
                self.add(argument);
            }
        }
        if let Effect::Run(run) = here.effect {
            for mount in &run.mounts {
                if matches!(mount.kind.as_str(), "secret" | "ssh" | "cache") {
                    let mut mounted = entry(here.statement, &mount.kind, &mount.id);
                    mounted.description.clear();
                    mounted.is_needed = mount.required;
                    mounted.nearness = nearness + 1;
                    self.add(mounted);
                }
            }
        }
    }

    /// Puts an entry where its line belongs, unless another one of its name counts.
    fn add(&mut self, new: Entry) {
        let takes = &mut self.outline.takes;
        let is_same = |old: &Entry| (&old.kind, &old.name) == (&new.kind, &new.name);
        if let Some(at) = takes.iter().position(is_same) {
            let old = takes.get(at).map_or(0, |old| old.nearness);
            // In one stage the last ARG counts, and the first mount.
            if old > new.nearness || (old == new.nearness && new.kind != "arg") {
                return;
            }
            takes.remove(at);
        }
        if takes.len() >= MAX_ENTRIES {
            return;
        }
        let at = takes.iter().position(|old| old.lines > new.lines).unwrap_or(takes.len());
        takes.insert(at, new);
    }

    /// All of it.
    pub fn finish(mut self) -> Outline {
        // A value comes from arguments that stand before it; the last of a name counts.
        while let Some((global, mut asked)) = self.globals.pop() {
            if self.used.contains(&global.name) {
                self.used.append(&mut asked);
                let is_there = |old: &Entry| old.kind == "arg" && old.name == global.name;
                if !self.outline.takes.iter().any(is_there) {
                    self.add(global);
                }
            }
        }
        self.outline
    }
}

/// An entry with the comment `# NAME what it is`.
fn entry(statement: &Statement<'_>, kind: &str, name: &str) -> Entry {
    let mut texts = statement.comments().filter_map(|comment| {
        comment.strip_prefix(name).filter(|_| !name.is_empty())?.strip_prefix(' ')
    });
    Entry {
        kind: kind.to_owned(),
        name: name.to_owned(),
        description: texts.next().unwrap_or_default().to_owned(),
        lines: (statement.line, statement.last_line),
        ..Entry::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::{self, Check};
    use crate::image::config::ImageConfig;
    use crate::plan::lint::{self, Subject};

    fn outline(text: &str, target: Option<&str>, build_args: &[(&str, &str)]) -> Outline {
        let document = dockerfile::parse(text.as_bytes()).unwrap();
        let pairs = build_args.iter();
        let build_args = pairs.map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let scope = Scope { build_args, ..Scope::default() };
        let plan = Plan::new(&document, scope.clone(), target).unwrap();
        let mut outliner = Outliner::new(&document, &plan, &scope);
        let subject = Subject {
            document: &document,
            plan: &plan,
            rules: &Check::default(),
            scope: scope.clone(),
            every_stage: false,
            base: &|_| None::<ImageConfig>,
            ignored: &|_| false,
        };
        let outcome = lint::check(&subject, &mut |stage, here| outliner.hear(stage, here));
        assert_eq!(outcome.fault, None);
        outliner.finish()
    }

    /// The case of BuildKit's own test `testOutlineArgs`.
    #[test]
    fn arguments_that_a_target_uses_are_listed() {
        let text = "ARG inherited=box\nARG inherited2=box2\nARG unused=abc${inherited2}\n\
                    # sfx is a suffix\nARG sfx=\"usy${inherited}\"\n\nFROM b${sfx} AS first\n\
                    # this is not assigned to anything\nARG FOO=123\n# BAR is a number\n\
                    ARG BAR=456\nRUN true\n\nFROM alpine${unused} AS second\nARG BAZ\nRUN true\n\n\
                    FROM scratch AS third\nARG ABC=a\n\n# target defines build target\n\
                    FROM third AS target\nCOPY --from=first /etc/passwd /\n\nFROM second\n";
        let outline = outline(text, Some("target"), &[("BAR", "678")]);
        let told = outline
            .takes
            .iter()
            .map(|arg| (&*arg.name, &*arg.value, &*arg.description, arg.lines.0));
        let told = told.collect::<Vec<_>>();
        assert_eq!(
            told,
            [
                ("inherited", "box", "", 1),
                ("sfx", "usybox", "is a suffix", 5),
                ("FOO", "123", "", 9),
                ("BAR", "678", "is a number", 11),
                ("ABC", "a", "", 19),
            ]
        );
        let target = outline.targets.get(outline.target).unwrap();
        assert_eq!(target.name, "target");
        assert_eq!(target.description, "defines build target");
    }

    /// The case of BuildKit's own test `testOutlineSecrets`, and a cache.
    #[test]
    fn mounts_of_the_needed_stages_are_listed_once() {
        let text = "\nFROM busybox AS first\nRUN --mount=type=secret,target=/etc/passwd,\
                    required=true --mount=type=ssh true\n\nFROM alpine AS second\n\
                    RUN --mount=type=secret,id=unused --mount=type=ssh,id=ssh2 true\n\n\
                    FROM scratch AS third\nARG BAR\nRUN --mount=type=secret,id=second${BAR} true\n\n\
                    FROM third AS target\nCOPY --from=first /foo /\n\
                    RUN --mount=type=ssh,id=ssh3,required --mount=type=cache,target=/c true\n\
                    RUN --mount=type=ssh,id=ssh3 true\n\nFROM second\n";
        let outline = outline(text, Some("target"), &[("BAR", "678")]);
        let told = outline
            .takes
            .iter()
            .filter(|entry| entry.kind != "arg")
            .map(|mount| (&*mount.kind, &*mount.name, mount.is_needed, mount.lines.0));
        assert_eq!(
            told.collect::<Vec<_>>(),
            [
                ("secret", "passwd", true, 3),
                ("ssh", "default", false, 3),
                ("secret", "second678", false, 10),
                ("ssh", "ssh3", true, 14),
                ("cache", "/c", false, 14),
            ]
        );
    }

    /// The case of BuildKit's own test `testTargetsList`.
    #[test]
    fn every_stage_is_a_target() {
        let text = "\n# build defines stage for compiling the binary\nFROM alpine AS build\n\
                    RUN true\n\nFROM busybox as second\nRUN false\n\nFROM alpine\nRUN false\n\n\
                    # binary returns the compiled binary\nFROM second AS binary\n";
        let targets = outline(text, None, &[]).targets;
        let told = targets
            .iter()
            .map(|target| (&*target.name, &*target.value, &*target.description, target.lines.0));
        assert_eq!(
            told.collect::<Vec<_>>(),
            [
                ("build", "alpine", "defines stage for compiling the binary", 3),
                ("second", "busybox", "", 6),
                ("", "alpine", "", 9),
                ("binary", "second", "returns the compiled binary", 13),
            ]
        );
    }

    #[test]
    fn a_stage_that_takes_an_argument_over_shows_where_it_came_from() {
        let text =
            "# V is a version\nARG V=1\nARG W=2\nFROM scratch\nARG V\nARG W=3\nARG TARGETARCH\n";
        let outline = outline(text, None, &[]);
        let told = outline.takes.iter().map(|arg| (&*arg.name, &*arg.value, arg.lines.0));
        assert_eq!(told.collect::<Vec<_>>(), [("V", "1", 2), ("W", "3", 6)]);
    }
}
