//! Stages: from each FROM to the next, what each is based on, and which of them a target needs.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::dockerfile::{Document, Fault, MAX_FAULTS, Statement, Statements};
use crate::error::Error;
use crate::image::platform::Platform;
use crate::instruction::{self, From, Instruction, Scope, parse_trigger};
use crate::sort::sort;

/// Nobody has so many. Each one is looked for by those that follow, and may hold a whole environment.
const MAX_STAGES: usize = 1000;

/// One statement of a stage.
#[derive(Clone, Debug)]
pub struct Step<'a> {
    /// What it says.
    pub instruction: Instruction,
    /// The statement on one line, for the log.
    pub text: Cow<'a, str>,
    /// Its first line, from 1.
    pub line: usize,
}

/// The statements of a stage. They are read again when they are asked for: a plan keeps nothing of
/// them, so that it is not larger for their number.
#[derive(Clone, Debug)]
pub struct Steps<'a> {
    first: Statements<'a>,
    count: usize,
    escape: char,
}

impl<'a> Steps<'a> {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = Step<'a>> + use<'a> {
        let escape = self.escape;
        // Their form was right when the plan was made.
        self.first.clone().take(self.count).filter_map(move |statement| {
            let instruction = instruction::parse(&statement, escape).ok()?;
            Some(Step { instruction, text: statement.original, line: statement.line })
        })
    }
}

/// What a stage begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// Nothing.
    Scratch,
    /// Another stage, by its index.
    Stage(usize),
    /// An image, as its name was written.
    Image(String),
}

/// A stage.
#[derive(Clone, Debug)]
pub struct Stage<'a> {
    /// Its name; its number for one without.
    pub name: String,
    /// What it begins with.
    pub base: Base,
    /// `FROM --platform`.
    pub platform: Option<Platform>,
    /// The FROM on one line, for the log.
    pub text: String,
    /// The line of the FROM.
    pub line: usize,
    /// Its statements.
    pub steps: Steps<'a>,
    /// Stages that files are taken from, by the words of `--from`.
    pub sources: BTreeMap<String, usize>,
    /// The other words of `--from`, and the first line of each.
    elsewhere: BTreeMap<String, usize>,
    /// What is stored for images and stages that begin with this one.
    triggers: Vec<String>,
}

/// A whole Dockerfile, understood.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// All stages, in order.
    pub stages: Vec<Stage<'a>>,
    /// The stages that the target needs, in order; the target is the last.
    pub needed: Vec<usize>,
    /// `ARG`s before the first FROM, with their values.
    pub global_args: Vec<(String, Option<String>)>,
    /// Their texts, for the log.
    pub global_texts: Vec<String>,
    /// The escape character.
    pub escape: char,
    /// The names of all `ARG`s.
    pub declared: BTreeSet<String>,
}

impl<'a> Plan<'a> {
    /// Makes the plan of a Dockerfile. `scope` has the build arguments and platforms. Nothing is
    /// read or run for it; what is wrong is told for all statements together.
    pub fn new(
        document: &Document<'a>,
        mut scope: Scope,
        target: Option<&str>,
    ) -> Result<Plan<'a>, Vec<Fault>> {
        scope.escape = document.directives.escape;
        let mut plan = Plan {
            stages: Vec::new(),
            needed: Vec::new(),
            global_args: Vec::new(),
            global_texts: Vec::new(),
            escape: document.directives.escape,
            declared: BTreeSet::new(),
        };
        let mut faults = Vec::new();
        let mut statements = document.statements();
        while let Some(statement) = statements.next()
            && faults.len() <= MAX_FAULTS
        {
            let parsed = instruction::parse(&statement, scope.escape)
                .and_then(|instruction| plan.add(&statement, instruction, &statements, &mut scope));
            faults.extend(parsed.err());
        }
        faults.extend(plan.too_early());
        if !faults.is_empty() {
            return Err(faults);
        }
        plan.global_args = scope.global_args;
        let target = plan.target(target).map_err(|fault| vec![fault])?;
        plan.need(target).map_err(|fault| vec![fault])?;
        Ok(plan)
    }

    /// Sets which stages a target needs.
    fn need(&mut self, target: usize) -> Result<(), Fault> {
        let state = vec![Visited::No; self.stages.len()];
        let mut order = Order { plan: self, state, needed: Vec::new() };
        order.visit(target)?;
        self.needed = order.needed;
        // Nobody can need what comes later, so the order of the text does too, and is the one
        // that its writer has in mind.
        sort(&mut self.needed);
        Ok(())
    }

    /// Takes in the stages that triggers of the bases ask for, as in `ONBUILD COPY --from=STAGE`.
    /// `of_image` gives the triggers of an image.
    pub fn hear_triggers(
        &mut self,
        of_image: &dyn Fn(&str, Option<&Platform>) -> Vec<String>,
    ) -> Result<(), Fault> {
        let mut heard = BTreeSet::new();
        // A stage that is newly needed may have triggers too.
        while let Some(index) = self.needed.iter().copied().find(|index| heard.insert(*index)) {
            let mut is_more = false;
            for text in self.triggers(index, of_image) {
                // One that is wrong is told when the stage begins.
                let Ok((_, instruction)) = parse_trigger(&text) else { continue };
                for word in instruction.takes_from() {
                    if let Some(source) = self.stage_named(word, index)
                        && let Some(stage) = self.stages.get_mut(index)
                    {
                        stage.sources.entry(word.to_owned()).or_insert(source);
                        is_more = true;
                    }
                }
            }
            if let Some(target) = self.needed.last().filter(|_| is_more) {
                self.need(*target)?;
            }
        }
        Ok(())
    }

    fn triggers(
        &self,
        index: usize,
        of_image: &dyn Fn(&str, Option<&Platform>) -> Vec<String>,
    ) -> Vec<String> {
        let Some(stage) = self.stages.get(index) else { return Vec::new() };
        match &stage.base {
            Base::Image(name) => of_image(name, stage.platform.as_ref()),
            Base::Stage(base) => {
                self.stages.get(*base).map(|base| base.triggers.clone()).unwrap_or_default()
            }
            Base::Scratch => Vec::new(),
        }
    }

    fn add(
        &mut self,
        statement: &Statement<'a>,
        instruction: Instruction,
        below: &Statements<'a>,
        scope: &mut Scope,
    ) -> Result<(), Fault> {
        let line = statement.line;
        if let Instruction::Arg(arg) = &instruction {
            self.declared.extend(arg.pairs.iter().map(|pair| pair.name.clone()));
        }
        if let Instruction::From(from) = &instruction {
            return self.begin(from, statement, below, scope);
        }
        let Some(index) = self.stages.len().checked_sub(1) else {
            let Instruction::Arg(arg) = &instruction else {
                let text = format!("{} before the first FROM", instruction.keyword());
                return Err(Fault::new(line, format!("no build stage in current context: {text}"))
                    .hint("begin the Dockerfile with FROM; only ARG may stand before it"));
            };
            arg.declare_global(scope).map_err(|error| fault(line, &error))?;
            self.global_texts.push(statement.original.to_string());
            return Ok(());
        };
        for word in instruction.takes_from() {
            if word.parse::<usize>().is_ok_and(|number| number >= index) {
                let text =
                    format!("invalid from flag value {word}: there is no earlier stage {word}");
                return Err(Fault::new(line, text));
            }
            let source = self.stage_named(word, index);
            let Some(stage) = self.stages.get_mut(index) else { continue };
            match source {
                Some(source) => stage.sources.insert(word.to_owned(), source),
                None if stage.elsewhere.contains_key(word) => None,
                None => stage.elsewhere.insert(word.to_owned(), line),
            };
        }
        if let Some(stage) = self.stages.get_mut(index) {
            stage.steps.count += 1;
            if let Instruction::Onbuild(onbuild) = instruction {
                stage.triggers.push(onbuild.trigger);
            }
        }
        Ok(())
    }

    /// Files that are taken from a stage that is not built by then.
    fn too_early(&self) -> Option<Fault> {
        for (index, stage) in self.stages.iter().enumerate() {
            let words = stage.elsewhere.iter();
            let missed = words.filter_map(|(word, line)| Some((line, word, self.named(word)?)));
            let Some((line, word, other)) = missed.min() else { continue };
            let text = match other == index {
                true => format!("circular dependency detected on stage: {word}"),
                false => format!(
                    "cannot copy from stage {word:?}, it needs to be defined before current \
                     stage {:?}",
                    stage.name
                ),
            };
            return Some(Fault::new(*line, text));
        }
        None
    }

    fn begin(
        &mut self,
        from: &From,
        statement: &Statement<'a>,
        below: &Statements<'a>,
        scope: &Scope,
    ) -> Result<(), Fault> {
        let line = statement.line;
        let image = from.image(scope).map_err(|error| fault(line, &error))?;
        let platform = from.platform(scope).map_err(|error| fault(line, &error))?;
        let number = self.stages.len();
        if number >= MAX_STAGES {
            return Err(Fault::new(line, format!("more than {MAX_STAGES} stages")));
        }
        let base = match self.named(&image) {
            Some(stage) => Base::Stage(stage),
            None if image == "scratch" => Base::Scratch,
            None => Base::Image(image),
        };
        let name = from.name.clone().unwrap_or_else(|| number.to_string());
        self.stages.push(Stage {
            name,
            base,
            platform,
            text: statement.original.to_string(),
            line,
            steps: Steps { first: below.clone(), count: 0, escape: self.escape },
            sources: BTreeMap::new(),
            elsewhere: BTreeMap::new(),
            triggers: Vec::new(),
        });
        Ok(())
    }

    /// The last stage of a name so far, in any case of its letters.
    fn named(&self, name: &str) -> Option<usize> {
        self.stages.iter().rposition(|stage| {
            stage.name.eq_ignore_ascii_case(name) && stage.name.parse::<usize>().is_err()
        })
    }

    /// The stage that `--from=WORD` in stage `index` means: an earlier one by name or number.
    fn stage_named(&self, word: &str, index: usize) -> Option<usize> {
        match word.parse::<usize>() {
            Ok(number) => (number < index).then_some(number),
            Err(_) => self.named(word).filter(|found| *found != index),
        }
    }

    fn target(&self, target: Option<&str>) -> Result<usize, Fault> {
        let Some(last) = self.stages.len().checked_sub(1) else {
            return Err(Fault::new(0, "no build stage in the Dockerfile: there is no FROM"));
        };
        let Some(name) = target.filter(|name| !name.is_empty()) else { return Ok(last) };
        let known = self.named(name);
        known.ok_or_else(|| {
            let names: Vec<&str> = self.stages.iter().map(|stage| stage.name.as_str()).collect();
            Fault::new(0, format!("target stage {name:?} could not be found"))
                .hint(format!("the stages are: {}", names.join(", ")))
        })
    }
}

/// An error of a statement as a fault of its line.
pub(super) fn fault(line: usize, error: &Error) -> Fault {
    Fault { line, message: error.text().to_owned(), hint: error.hints().first().cloned() }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Visited {
    No,
    Begun,
    Done,
}

struct Order<'a> {
    plan: &'a Plan<'a>,
    state: Vec<Visited>,
    needed: Vec<usize>,
}

impl Order<'_> {
    fn visit(&mut self, index: usize) -> Result<(), Fault> {
        let Some(stage) = self.plan.stages.get(index) else { return Ok(()) };
        match self.state.get(index) {
            Some(Visited::No) => {}
            Some(Visited::Begun) => {
                let text = format!("stage {:?} needs itself", stage.name);
                return Err(Fault::new(stage.line, text));
            }
            _ => return Ok(()),
        }
        self.mark(index, Visited::Begun);
        if let Base::Stage(base) = stage.base {
            self.visit(base)?;
        }
        for source in stage.sources.values() {
            self.visit(*source)?;
        }
        self.mark(index, Visited::Done);
        self.needed.push(index);
        Ok(())
    }

    fn mark(&mut self, index: usize, state: Visited) {
        if let Some(old) = self.state.get_mut(index) {
            *old = state;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Result<Plan<'_>, Vec<Fault>> {
        let document = crate::dockerfile::parse(text.as_bytes()).unwrap();
        Plan::new(&document, Scope::default(), None)
    }

    #[test]
    fn files_come_from_earlier_stages_only() {
        for (text, line, wanted) in [
            (
                "FROM x AS a\nCOPY --from=b /f /\nFROM y AS b\nFROM a\n",
                2,
                "cannot copy from stage \"b\", it needs to be defined before current stage \"a\"",
            ),
            ("FROM x AS a\nCOPY --from=A /f /\n", 2, "circular dependency detected on stage: A"),
            (
                "FROM x AS a\nRUN --mount=from=b,target=/m true\nFROM y AS b\n",
                2,
                "cannot copy from stage \"b\", it needs to be defined before current stage \"a\"",
            ),
            (
                "FROM x\nCOPY --from=1 /f /\nFROM y\n",
                2,
                "invalid from flag value 1: there is no earlier stage 1",
            ),
        ] {
            let faults = plan(text).unwrap_err();
            assert_eq!((faults[0].line, faults[0].message.as_str()), (line, wanted), "{text}");
        }
        let fine = plan("FROM x AS a\nFROM y AS b\nCOPY --from=a /f /\nCOPY --from=other /f /\n");
        assert_eq!(fine.unwrap().needed, [0, 1]);
    }
}
