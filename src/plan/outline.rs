//! What a target takes: build arguments, secrets, sockets and caches; and which targets there are.
//!
//! Source: BuildKit's `frontend/subrequests/outline` and `targets`. An argument in front of the
//! first FROM counts when a FROM or a stage that is needed uses it; what a stage declares counts
//! always. A description is a comment above that begins with the name.

use std::collections::BTreeSet;

use super::Plan;
use super::lint::Here;
use crate::dockerfile::{Document, Expander, Pair, Statement};
use crate::instruction::{self, Effect, From, Instruction, Scope};

/// First and last line, from 1.
pub type Lines = (usize, usize);

/// A build argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// What the comment above says; empty without one.
    pub description: String,
    /// Its value in a build with these options; empty without one.
    pub value: String,
    /// Where it is declared.
    pub lines: Lines,
}

/// A secret, a socket or a cache of a `RUN --mount`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// `secret`, `ssh` or `cache`.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// The step fails without it.
    pub required: bool,
    /// The statement.
    pub lines: Lines,
}

/// A stage as something to build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name; empty without one.
    pub name: String,
    /// What the comment above its FROM says.
    pub description: String,
    /// Its base, as written.
    pub base: String,
    /// `--platform`, as written.
    pub platform: String,
    /// The FROM.
    pub lines: Lines,
}

/// What the target at hand takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// All stages, in order.
    pub targets: Vec<Target>,
    /// Which of them it is.
    pub target: usize,
    /// In the order of their lines.
    pub args: Vec<Argument>,
    /// The same.
    pub mounts: Vec<Mounted>,
}

/// Gathers an outline while the linter walks.
pub struct Outliner<'a> {
    plan: &'a Plan,
    scope: &'a Scope,
    outline: Outline,
    /// The arguments in front of the first FROM, with the names that their values come from.
    globals: Vec<(Argument, BTreeSet<String>)>,
    /// Names of those that are used.
    used: BTreeSet<String>,
    /// With the stages that they stand in.
    args: Vec<(usize, Argument)>,
    mounts: Vec<(usize, Mounted)>,
}

impl<'a> Outliner<'a> {
    /// Looks at all that stands outside of the stages. `scope` as for `Plan::new`.
    pub fn new(document: &Document, plan: &'a Plan, scope: &'a Scope) -> Outliner<'a> {
        let mut outliner = Outliner {
            plan,
            scope,
            outline: Outline::default(),
            globals: Vec::new(),
            used: BTreeSet::new(),
            args: Vec::new(),
            mounts: Vec::new(),
        };
        outliner.outline.target = plan.needed.last().copied().unwrap_or_default();
        for statement in &document.statements {
            match instruction::parse(statement, plan.escape) {
                Ok(Instruction::From(from)) => outliner.begin(statement, &from),
                Ok(Instruction::Arg(arg)) if outliner.outline.targets.is_empty() => {
                    arg.pairs.iter().for_each(|pair| outliner.global(statement, pair));
                }
                _ => {}
            }
        }
        outliner
    }

    fn begin(&mut self, statement: &Statement, from: &From) {
        let written = |text: &Option<String>| text.clone().unwrap_or_default();
        let name = written(&from.name);
        if self.plan.needed.contains(&self.outline.targets.len()) {
            self.used.append(&mut self.asked(&from.image_written));
            self.used.append(&mut self.asked(&written(&from.platform_written)));
        }
        self.outline.targets.push(Target {
            description: description(statement, &name),
            name,
            base: from.image_written.clone(),
            platform: written(&from.platform_written),
            lines: lines(statement),
        });
    }

    fn global(&mut self, statement: &Statement, pair: &Pair) {
        let value = self.plan.global_args.get(self.globals.len());
        let value = value.and_then(|(_, value)| value.clone()).unwrap_or_default();
        let asked = match &pair.value {
            Some(default) if !self.scope.build_args.contains_key(&pair.name) => self.asked(default),
            _ => BTreeSet::new(),
        };
        self.globals.push((argument(statement, &pair.name, value), asked));
    }

    /// The variables that a word asks for.
    fn asked(&self, word: &str) -> BTreeSet<String> {
        let names = std::cell::RefCell::new(BTreeSet::new());
        let lookup = |name: &str| {
            names.borrow_mut().insert(name.to_owned());
            let known = self.plan.global_args.iter().rev().find(|(known, _)| known == name);
            known.and_then(|(_, value)| value.clone())
        };
        // A word that is wrong has been told before this.
        let _ = Expander::new(self.plan.escape, &lookup).word(word);
        names.into_inner()
    }

    /// Takes a statement of a stage.
    pub fn hear(&mut self, stage: usize, here: &Here<'_>) {
        if !self.plan.needed.contains(&stage) {
            return;
        }
        let statement = here.statement;
        match (here.instruction, here.effect) {
            (Instruction::Arg(arg), _) => {
                for Pair { name, value } in &arg.pairs {
                    let is_given = value.is_some() || here.scope.build_args.contains_key(name);
                    if !is_given && here.scope.global(name).is_some() {
                        self.used.insert(name.clone());
                        continue;
                    }
                    let value = here.scope.args.iter().find(|(own, _)| own == name);
                    let value = value.and_then(|(_, value)| value.clone()).unwrap_or_default();
                    self.args.push((stage, argument(statement, name, value)));
                }
            }
            (_, Effect::Run(run)) => {
                let known = |kind: &str| matches!(kind, "secret" | "ssh" | "cache");
                for mount in run.mounts.iter().filter(|mount| known(&mount.kind)) {
                    let (kind, id) = (mount.kind.clone(), mount.id.clone());
                    let lines = lines(statement);
                    let mounted = Mounted { kind, id, required: mount.required, lines };
                    self.mounts.push((stage, mounted));
                }
            }
            _ => {}
        }
    }

    /// All of it. Of several of one name that of the target counts, then those of the stages
    /// that it needs.
    pub fn finish(mut self) -> Outline {
        let place = |stage: &usize| self.plan.needed.iter().rposition(|needed| needed == stage);
        self.args.sort_by_key(|(stage, _)| std::cmp::Reverse(place(stage)));
        self.mounts.sort_by_key(|(stage, _)| std::cmp::Reverse(place(stage)));
        let mut outline = self.outline;
        for (_, argument) in self.args {
            add(&mut outline.args, argument, |one, other| one.name == other.name);
        }
        // The last of a name counts. A value comes from arguments that stand before it.
        for (argument, asked) in self.globals.into_iter().rev() {
            if self.used.contains(&argument.name) {
                self.used.extend(asked);
                add(&mut outline.args, argument, |one, other| one.name == other.name);
            }
        }
        for (_, mounted) in self.mounts {
            add(&mut outline.mounts, mounted, |one, other| {
                (&one.kind, &one.id) == (&other.kind, &other.id)
            });
        }
        outline.args.sort_by_key(|argument| argument.lines);
        outline.mounts.sort_by_key(|mounted| mounted.lines);
        outline
    }
}

fn add<T>(list: &mut Vec<T>, new: T, is_same: fn(&T, &T) -> bool) {
    if !list.iter().any(|old| is_same(old, &new)) {
        list.push(new);
    }
}

fn argument(statement: &Statement, name: &str, value: String) -> Argument {
    let description = description(statement, name);
    Argument { name: name.to_owned(), description, value, lines: lines(statement) }
}

fn lines(statement: &Statement) -> Lines {
    (statement.line, statement.last_line)
}

/// `# NAME what it is`
fn description(statement: &Statement, name: &str) -> String {
    let mut texts = statement.comments.iter().filter_map(|comment| {
        comment.strip_prefix(name).filter(|_| !name.is_empty())?.strip_prefix(' ')
    });
    texts.next().unwrap_or_default().to_owned()
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
            .args
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
            .mounts
            .iter()
            .map(|mount| (&*mount.kind, &*mount.id, mount.required, mount.lines.0));
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
            .map(|target| (&*target.name, &*target.base, &*target.description, target.lines.0));
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
        let told = outline.args.iter().map(|arg| (&*arg.name, &*arg.value, arg.lines.0));
        assert_eq!(told.collect::<Vec<_>>(), [("V", "1", 2), ("W", "3", 6)]);
    }
}
