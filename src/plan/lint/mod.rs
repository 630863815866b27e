//! BuildKit's checks of a Dockerfile: what is not wrong, but likely not meant.
//!
//! This file walks the statements and holds what a rule may ask about; the rules are in the table
//! of `rules`. Nothing is read or run: what an image or an ignore file says is asked for by the
//! caller's functions. An image that is not here is taken for one that sets PATH alone.
//! Source: BuildKit's documentation of its rules (`frontend/dockerfile/docs/rules`).

mod rules;

use crate::dockerfile::{Check, Document, Fault, Statement};
use crate::event::Finding;
use crate::image::config::{DEFAULT_PATH, ImageConfig};
use crate::image::platform::Platform;
use crate::instruction::{self, Effect, From, Instruction, Lowered, Scope, parse_trigger};
use crate::plan::stage::fault;
use crate::plan::{Base, Plan};
use rules::{Casing, RULES, Rule, Scan};

/// So many findings are told, and no more.
const MAX_FINDINGS: usize = 1000;

/// What is looked at.
pub struct Subject<'a> {
    /// The text.
    pub document: &'a Document<'a>,
    /// The same, understood.
    pub plan: &'a Plan<'a>,
    /// Which rules are checked.
    pub rules: &'a Check,
    /// Build arguments and platforms, as for `Plan::new`.
    pub scope: Scope,
    /// Stages that are not needed are looked at too.
    pub every_stage: bool,
    /// What is known of a base image.
    pub base: &'a dyn Fn(&str) -> Option<ImageConfig>,
    /// Whether the ignore file leaves a path of the context out.
    pub ignored: &'a dyn Fn(&str) -> bool,
}

/// What came out.
#[derive(Debug, Default)]
pub struct Outcome {
    /// In the order of their lines.
    pub findings: Vec<Finding>,
    /// The first statement that a build could not do.
    pub fault: Option<Fault>,
}

/// A FROM, for the rules.
struct Opening<'a> {
    from: &'a From,
    /// Names of the stages before it.
    names: &'a [&'a str],
    /// The arguments in front of the first FROM.
    scope: &'a Scope,
    /// The same if the user gave none; nothing when that is an error.
    bare: Option<&'a Scope>,
    /// The platform that the image is for, and the one that is wanted.
    platforms: Option<(&'a Platform, &'a Platform)>,
}

/// A statement and what it says.
type Parsed<'a> = (Statement<'a>, Instruction);

/// A statement of a stage after it was lowered, for the rules.
pub struct Here<'a> {
    pub(super) statement: &'a Statement<'a>,
    pub(super) instruction: &'a Instruction,
    pub(super) scope: &'a Scope,
    pub(super) effect: &'a Effect,
    /// Variables that it asked for and nobody has set.
    unknown: &'a [String],
    /// The last statement of its name before it in the same stage, for names of which one counts.
    earlier: Option<&'a Statement<'a>>,
    /// A WORKDIR stands before it, here or in a parent stage.
    has_workdir: bool,
    ignored: &'a dyn Fn(&str) -> bool,
}

impl Here<'_> {
    /// What the statement does.
    pub fn effect(&self) -> &Effect {
        self.effect
    }
}

/// Where a rule says what it has found.
struct Say<'a> {
    rule: &'static Rule,
    /// The lines that it is about.
    lines: (usize, usize),
    /// The statement there: a comment above it may switch the rule off.
    statement: Option<&'a Statement<'a>>,
    findings: &'a mut Vec<Finding>,
}

impl<'a> Say<'a> {
    fn new(rule: &'static Rule, findings: &'a mut Vec<Finding>) -> Say<'a> {
        Say { rule, lines: (0, 0), statement: None, findings }
    }

    /// What follows is about this statement.
    fn about(&mut self, statement: &'a Statement<'a>) {
        self.lines = (statement.line, statement.last_line);
        self.statement = Some(statement);
    }

    /// Nothing more is told, so there is nothing more to look for.
    fn is_done(&self) -> bool {
        self.findings.len() >= MAX_FINDINGS
    }

    fn is_off(&self) -> bool {
        self.statement.is_some_and(|statement| {
            let mut checks = statement.comments().filter_map(Check::of_comment);
            checks.any(|check| check.skips(self.rule.name))
        })
    }

    /// The rule is broken; its text has these words in it.
    fn say(&mut self, words: &[&str]) {
        if self.is_done() || self.is_off() {
            return;
        }
        let mut message = String::new();
        let mut words = words.iter();
        for (at, part) in self.rule.text.split('%').enumerate() {
            if at > 0 {
                message.push_str(words.next().copied().unwrap_or_default());
            }
            message.push_str(part);
        }
        let (rule, lines) = (self.rule.name, self.lines);
        let before = |old: &Finding| (old.lines.0, old.rule) <= (lines.0, rule);
        let at = self.findings.iter().rposition(before).map_or(0, |last| last + 1);
        self.findings.insert(at, Finding { rule, message, lines });
    }
}

/// A stage after its last statement.
struct Ended {
    scope: Scope,
    has_workdir: bool,
}

/// Looks at a Dockerfile whose form is right. `hear` is told of each statement and of the number
/// of its stage.
pub fn check(subject: &Subject<'_>, hear: &mut dyn FnMut(usize, &Here<'_>)) -> Outcome {
    let escape = subject.document.directives.escape;
    let is_on = |rule: &&'static Rule| is_on(rule, subject.rules);
    let start = Scope {
        escape,
        is_draft: true,
        global_args: subject.plan.global_args.clone(),
        ..subject.scope.clone()
    };
    let mut linter = Linter {
        subject,
        rules: RULES.iter().filter(is_on).collect(),
        bare: bare(&start, parsed(subject.document)),
        start,
        casing: Casing::of(subject.document.statements()),
        hear,
        ended: Vec::new(),
        outcome: Outcome::default(),
    };
    let mut statements = parsed(subject.document);
    let mut opening = statements.find(|(statement, instruction)| {
        let is_from = is_from(instruction);
        if !is_from {
            linter.text(statement, instruction, false);
        }
        is_from
    });
    while let Some(opened) = opening {
        opening = linter.stage(&opened, &mut statements);
    }
    linter.outcome
}

/// The statements with what they say, read one after the other: none is kept.
fn parsed<'a>(document: &Document<'a>) -> impl Iterator<Item = Parsed<'a>> + use<'a> {
    let escape = document.directives.escape;
    document.statements().filter_map(move |statement| {
        let instruction = instruction::parse(&statement, escape).ok()?;
        Some((statement, instruction))
    })
}

fn is_from(instruction: &Instruction) -> bool {
    matches!(instruction, Instruction::From(_))
}

/// Names of instructions of which the last one in a stage counts.
const ONE_COUNTS: [&str; 3] = ["CMD", "ENTRYPOINT", "HEALTHCHECK"];

fn is_on(rule: &Rule, check: &Check) -> bool {
    let is_wanted = !rule.is_experimental || check.wants(rule.name);
    is_wanted && !check.skips(rule.name)
}

/// The arguments in front of the first FROM with nothing but their defaults.
fn bare<'a>(start: &Scope, statements: impl Iterator<Item = Parsed<'a>>) -> Option<Scope> {
    let mut bare = start.clone();
    bare.build_args.clear();
    bare.global_args.clear();
    for (_, instruction) in statements {
        let Instruction::Arg(arg) = instruction else { break };
        arg.declare_global(&mut bare).ok()?;
    }
    Some(bare)
}

struct Linter<'a> {
    subject: &'a Subject<'a>,
    rules: Vec<&'static Rule>,
    start: Scope,
    casing: Casing,
    bare: Option<Scope>,
    hear: &'a mut dyn FnMut(usize, &Here<'_>),
    ended: Vec<Ended>,
    outcome: Outcome,
}

impl Linter<'_> {
    /// The rules that only look at the text. The names of instructions count in stages only.
    fn text(&mut self, statement: &Statement<'_>, instruction: &Instruction, in_stage: bool) {
        for rule in self.rules.iter().copied() {
            let mut say = Say::new(rule, &mut self.outcome.findings);
            say.about(statement);
            match rule.scan {
                Scan::Statement(check) => check(statement, instruction, &mut say),
                Scan::Keyword(check) if in_stage => check(statement, &self.casing, &mut say),
                _ => {}
            }
        }
    }

    /// Looks at a stage, and gives what the next one begins with.
    fn stage<'t>(
        &mut self,
        opening: &Parsed<'t>,
        statements: &mut dyn Iterator<Item = Parsed<'t>>,
    ) -> Option<Parsed<'t>> {
        let (opened, instruction @ Instruction::From(from)) = opening else { return None };
        self.text(opened, instruction, true);
        let number = self.ended.len();
        let plan = self.subject.plan;
        let stage = plan.stages.get(number)?;
        let is_looked_at = self.subject.every_stage || plan.needed.contains(&number);
        let mut image = None;
        let parent = match stage.base {
            Base::Stage(parent) => self.ended.get(parent),
            _ => None,
        };
        let has_workdir = parent.is_some_and(|parent| parent.has_workdir);
        let mut scope = parent.map_or(&self.start, |parent| &parent.scope).clone();
        scope.cmd_set = false;
        if let Base::Image(name) = &stage.base {
            image = (self.subject.base)(name);
        }
        if let Some(image) = &image {
            scope.config.clone_from(&image.config);
        }
        if scope.config.env_value("PATH").is_none() {
            scope.config.set_env("PATH", DEFAULT_PATH);
        }
        let wanted = stage.platform.as_ref().unwrap_or(&self.start.target_platform);
        let image = image.filter(|_| is_looked_at);
        let names: Vec<&str> =
            plan.stages.iter().take(number).map(|stage| stage.name.as_str()).collect();
        let facts = Opening {
            from,
            names: &names,
            scope: &self.start,
            bare: self.bare.as_ref(),
            platforms: image.as_ref().map(|image| (&image.platform, wanted)),
        };
        for rule in self.rules.iter().copied() {
            if let Scan::From(check) = rule.scan {
                let mut say = Say::new(rule, &mut self.outcome.findings);
                say.about(opened);
                check(&facts, &mut say);
            }
        }
        let mut stage = Ended { scope, has_workdir };
        let mut next = None;
        let until_next = || match statements.next()? {
            opening if is_from(&opening.1) => {
                next = Some(opening);
                None
            }
            step => Some(step),
        };
        let mut steps = std::iter::from_fn(until_next).fuse();
        let done = self.steps(&mut stage, opened, &mut steps, is_looked_at);
        // What follows a fault is looked at as a text alone.
        for (statement, instruction) in steps {
            self.text(&statement, &instruction, true);
        }
        if let Err(fault) = done
            && is_looked_at
        {
            self.outcome.fault.get_or_insert(fault);
        }
        // A scope may be large, and most are nobody's base.
        let is_base = plan.stages.iter().any(|stage| stage.base == Base::Stage(number));
        let scope = if is_base { stage.scope } else { Scope::default() };
        self.ended.push(Ended { scope, ..stage });
        next
    }

    fn steps<'t>(
        &mut self,
        stage: &mut Ended,
        opened: &Statement<'_>,
        steps: &mut dyn Iterator<Item = Parsed<'t>>,
        is_looked_at: bool,
    ) -> Result<(), Fault> {
        for text in std::mem::take(&mut stage.scope.config.on_build) {
            let (mut statement, trigger) =
                parse_trigger(&text).map_err(|error| fault(opened.line, &error))?;
            // A trigger is carried out where the FROM stands.
            (statement.line, statement.last_line) = (opened.line, opened.last_line);
            self.step(stage, &statement, &trigger, None, is_looked_at)?;
        }
        let mut last = ONE_COUNTS.map(|_| None);
        for (statement, instruction) in steps {
            self.text(&statement, &instruction, true);
            let keyword = instruction.keyword();
            let at = ONE_COUNTS.iter().position(|name| *name == keyword);
            let mut last = at.and_then(|at| last.get_mut(at));
            let earlier = last.as_mut().and_then(|last| last.take());
            self.step(stage, &statement, &instruction, earlier.as_ref(), is_looked_at)?;
            if let Some(last) = last {
                *last = Some(statement);
            }
        }
        Ok(())
    }

    fn step(
        &mut self,
        stage: &mut Ended,
        statement: &Statement<'_>,
        instruction: &Instruction,
        earlier: Option<&Statement<'_>>,
        is_looked_at: bool,
    ) -> Result<(), Fault> {
        let lowered = instruction.lower(&mut stage.scope);
        let Lowered { effect, .. } = lowered.map_err(|error| fault(statement.line, &error))?;
        let unknown = stage.scope.unknown.take();
        let here = Here {
            statement,
            instruction,
            scope: &stage.scope,
            effect: &effect,
            unknown: &unknown,
            earlier,
            has_workdir: stage.has_workdir,
            ignored: self.subject.ignored,
        };
        (self.hear)(self.ended.len(), &here);
        for rule in self.rules.iter().copied() {
            if let Scan::Step(check) = rule.scan
                && is_looked_at
            {
                let mut say = Say::new(rule, &mut self.outcome.findings);
                say.about(statement);
                check(&here, &mut say);
            }
        }
        stage.has_workdir |= matches!(instruction, Instruction::Workdir(_));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
