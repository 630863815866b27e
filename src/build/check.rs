//! What is looked for in a Dockerfile before it is built: what the linter finds, what the target
//! takes, and from where more than one step fetches files.

use std::collections::BTreeSet;

use super::context::BuildContext;
use super::{Named, Request, effect_copy, plan, scope, told};
use crate::archive::Layout;
use crate::catalog::resolve;
use crate::dockerfile::{self, Check, Document};
use crate::error::{Error, Result};
use crate::event::Finding;
use crate::image::config::ImageConfig;
use crate::instruction::{Effect, Source};
use crate::plan::Plan;
use crate::plan::lint::{self, Here, Outcome, Subject};
use crate::plan::outline::Outliner;
pub use crate::plan::outline::{Entry, Outline};
use crate::session::Session;

/// What `check` has found.
#[derive(Debug, Default)]
pub struct Checked {
    /// The Dockerfile's name.
    pub file: String,
    /// Its text.
    pub text: Vec<u8>,
    /// What the linter says, in the order of the lines.
    pub findings: Vec<Finding>,
    /// What the target takes, and which targets there are.
    pub outline: Outline,
    /// The first statement that a build could not do.
    pub fault: Option<Error>,
}

/// Says what a Dockerfile takes and what is wrong or likely not meant in it, and builds nothing.
/// Without a session nothing is known of base images.
pub fn check(session: Option<&Session>, request: &Request) -> Result<Checked> {
    let context = BuildContext::open(&request.place, session)?;
    let document = dockerfile::parse(&context.text).map_err(|faults| told(faults, &context))?;
    let plan = plan(&document, request).map_err(|faults| told(faults, &context))?;
    let rules = rules(&document, request)?;
    let scope = scope(request);
    let mut outliner = Outliner::new(&document, &plan, &scope);
    let ear = Ear::Outliner(&mut outliner);
    let outcome = lint(session, request, &context, &document, &plan, &rules, ear);
    Ok(Checked {
        findings: outcome.findings,
        outline: outliner.finish(),
        fault: outcome.fault.map(|fault| told(vec![fault], &context)),
        file: context.dockerfile,
        text: context.text,
    })
}

/// What is known before the first step.
pub struct Looked {
    /// What the linter says, in the order of the lines.
    pub findings: Vec<Finding>,
    /// Addresses that more than one step fetches from.
    pub several: BTreeSet<String>,
    /// `# check=error=true`, and there is something: the build ends before it begins.
    pub violation: Option<Error>,
}

/// Goes once through what will be built.
pub fn look(
    session: &Session,
    request: &Request,
    context: &BuildContext,
    document: &Document,
    plan: &Plan,
) -> Result<Looked> {
    let rules = rules(document, request)?;
    let mut fetched = Fetched::default();
    let ear = Ear::Fetched(&mut fetched);
    let findings = lint(Some(session), request, context, document, plan, &rules, ear).findings;
    let violation = (rules.error && !findings.is_empty()).then(|| violation(&findings));
    Ok(Looked { findings, several: fetched.several, violation })
}

/// The config of a base image, if it is one and is there.
fn base_config(session: &Session, request: &Request, name: &str) -> Option<ImageConfig> {
    let name = match request.named(name) {
        None => name,
        Some(Named::Image(image)) => image,
        Some(Named::Layout(place)) => {
            let text = Layout::find(place, request.platform.as_ref()).and_then(|it| it.config());
            return ImageConfig::parse(&text.ok()?).ok();
        }
        Some(_) => return None,
    };
    session.store.config(&resolve::find(&session.store, name).ok()??.image).ok()?
}

/// Which rules of the linter hold: by the build argument, else by the directive.
fn rules(document: &Document, request: &Request) -> Result<Check> {
    match request.build_args.get("BUILDKIT_DOCKERFILE_CHECK") {
        Some(given) => Check::parse(given).map_err(|problem| {
            Error::input(problem).during("read the build argument BUILDKIT_DOCKERFILE_CHECK")
        }),
        None => Ok(document.directives.check.clone()),
    }
}

/// Who hears the statements that the linter goes through. With an outliner those are of all stages,
/// unless one is asked for.
enum Ear<'a, 'b> {
    Outliner(&'a mut Outliner<'b>),
    Fetched(&'a mut Fetched),
}

/// From where steps fetch files, and from where more than one does.
#[derive(Default)]
struct Fetched {
    once: BTreeSet<String>,
    several: BTreeSet<String>,
}

impl Fetched {
    fn hear(&mut self, here: &Here<'_>) {
        let Effect::Copy(copy) = here.effect() else { return };
        for source in &copy.sources {
            let (Source::Url(address) | Source::Git(address)) = source else { continue };
            let place = effect_copy::place(address).to_owned();
            if !self.once.insert(place.clone()) {
                self.several.insert(place);
            }
        }
    }
}

fn lint(
    session: Option<&Session>,
    request: &Request,
    context: &BuildContext,
    document: &Document,
    plan: &Plan,
    rules: &Check,
    mut ear: Ear<'_, '_>,
) -> Outcome {
    let every_stage = matches!(ear, Ear::Outliner(_)) && request.target.is_none();
    let base = |name: &str| base_config(session?, request, name);
    let ignored =
        |path: &str| context.tree.as_ref().is_some_and(|tree| tree.leaves_out(path.as_ref()));
    let scope = scope(request);
    let subject =
        Subject { document, plan, rules, scope, every_stage, base: &base, ignored: &ignored };
    lint::check(&subject, &mut |stage, here: &Here<'_>| match &mut ear {
        Ear::Outliner(outliner) => outliner.hear(stage, here),
        Ear::Fetched(fetched) => fetched.hear(here),
    })
}

fn violation(findings: &[Finding]) -> Error {
    let mut rules: Vec<&str> = Vec::new();
    for finding in findings {
        if !rules.contains(&finding.rule) {
            rules.push(finding.rule);
        }
    }
    Error::input(format!("lint violation found for rules: {}", rules.join(", ")))
        .hint("\"check=error=true\" asks for this; lath build --check shows the lines")
}
