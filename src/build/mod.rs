//! The walk of a plan: each needed step comes from the cache or is done.

#[cfg(feature = "outputs")]
mod after;
#[cfg(not(feature = "outputs"))]
#[path = "after_missing.rs"]
mod after;
mod bases;
#[cfg(feature = "lint")]
mod check;
#[cfg(not(feature = "lint"))]
#[path = "check_missing.rs"]
mod check;
mod chmod;
pub mod context;
mod copy_tree;
mod effect_copy;
mod effect_run;
#[cfg(feature = "outputs")]
mod exchange;
mod explain;
#[cfg(feature = "net")]
mod git;
#[cfg(not(feature = "net"))]
#[path = "git_missing.rs"]
mod git;
#[cfg(feature = "net")]
mod git_ref;
#[cfg(feature = "net")]
mod held;
mod lanes;
mod mounts;
mod once;
#[cfg(feature = "net")]
mod remote;
#[cfg(not(feature = "net"))]
#[path = "remote_missing.rs"]
mod remote;
mod shared;
mod source;
#[cfg(feature = "outputs")]
mod squash;
mod stage;
mod stages;
mod stat_cache;
mod walk;
mod watch;
mod work;

use std::cell::RefCell;
use std::collections::BTreeSet;

pub use crate::archive::LayoutPlace;
use crate::dockerfile::{self, Document, Fault};
use crate::error::{Error, Place, Result};
use crate::event::{Event, Listener};
use crate::image::digest::ImageId;
use crate::image::platform::Platform;
use crate::image::reference::Reference;
use crate::instruction::Scope;
use crate::map::Map;
use crate::plan::{Plan, Stage};
pub use crate::sandbox::{Bounds, HOST_GATEWAY, Limits, Network};
use crate::session::Session;
use bases::Bases;
use check::Looked;
#[cfg(feature = "lint")]
pub use check::{Checked, Entry, Outline, check};
use context::BuildContext;
pub use mounts::Secret;
use shared::Shared;

/// What to build.
#[derive(Clone, Debug)]
pub struct Request {
    /// The context and the Dockerfile.
    pub place: context::Place,
    /// `-t`, in order.
    pub tags: Vec<Reference>,
    /// `--build-arg NAME=value`; a bare `NAME` has been given the caller's own value or left out.
    pub build_args: Map<String, String>,
    /// `--target`.
    pub target: Option<String>,
    /// `--no-cache`.
    pub no_cache: bool,
    /// `--jobs`: how many stages may be at work at once.
    pub jobs: usize,
    /// `--no-cache-filter`: stages that are not taken from the cache.
    pub no_cache_stages: Vec<String>,
    /// `--explain`: say why a step is not taken from the cache.
    pub explain: bool,
    /// `--shm-size` and `--ulimit`, for every step. As in BuildKit they are part of its key.
    pub limits: Limits,
    /// `--memory` and such, for every step; they change nothing of its result.
    pub bounds: Bounds,
    /// `--network`, for every step that does not choose its own.
    pub network: Network<'static>,
    /// `--label`, in order.
    pub labels: Vec<(String, String)>,
    /// `--pull`: ask the registries for bases that are here.
    pub pull: bool,
    /// `--platform`.
    pub platform: Option<Platform>,
    /// `--secret`: ids and where the contents are.
    pub secrets: Vec<(String, Secret)>,
    /// `--ssh`: ids and sockets.
    pub sockets: Vec<(String, String)>,
    /// `--build-context`: names, and what stands behind them.
    pub contexts: Vec<(String, Named)>,
    /// `--allow security.insecure`: steps may ask for all powers.
    pub may_be_insecure: bool,
    /// `--add-host`: names and addresses.
    pub hosts: Vec<(String, String)>,
    /// `--squash`: what the build adds to its base becomes one layer.
    pub squash: bool,
    /// `--cache-from`.
    pub cache_from: Vec<CachePlace>,
    /// `--cache-to`.
    pub cache_to: Vec<CachePlace>,
}

/// Where finished steps are kept for other stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachePlace {
    /// Where that is.
    pub at: CacheAt,
    /// `mode=max`, to write: the steps of all stages, and not only those of the image.
    pub all_stages: bool,
}

/// A place of finished steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheAt {
    /// A directory.
    Directory(String),
    /// A name in a registry.
    #[cfg(feature = "net")]
    Registry(Reference),
    /// The image of the build itself, to write.
    #[cfg(feature = "net")]
    Image,
}

impl std::fmt::Display for CacheAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CacheAt::Directory(path) => write!(f, "{path:?}"),
            #[cfg(feature = "net")]
            CacheAt::Registry(name) => name.fmt(f),
            #[cfg(feature = "net")]
            CacheAt::Image => f.write_str("the image"),
        }
    }
}

/// What a name of `--build-context` stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// A directory.
    Directory(String),
    /// A tar at an http(s) address.
    Url(String),
    /// An image.
    Image(String),
    /// An image in an OCI layout.
    Layout(LayoutPlace),
    /// The address of a git repository.
    Git(String),
}

impl Named {
    /// A directory, a git repository or the address of a tar, told by how it is written.
    pub fn files(text: &str) -> Named {
        if crate::instruction::is_git(text) {
            Named::Git(text.to_owned())
        } else if text.starts_with("http://") || text.starts_with("https://") {
            Named::Url(text.to_owned())
        } else {
            Named::Directory(text.to_owned())
        }
    }
}

impl Request {
    /// What `--build-context` gives a name, in any case of its letters.
    fn named(&self, name: &str) -> Option<&Named> {
        let mut known = self.contexts.iter().rev();
        known.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, named)| named)
    }

    /// Whether the steps of a stage are done again.
    fn does_again(&self, stage: &Stage) -> bool {
        let mut stages = self.no_cache_stages.iter();
        self.no_cache || stages.any(|name| name.eq_ignore_ascii_case(&stage.name))
    }

    /// Whether a name stands for files that are no image.
    fn has_files(&self, name: &str) -> bool {
        matches!(self.named(name), Some(Named::Directory(_) | Named::Git(_) | Named::Url(_)))
    }

    /// `SOURCE_DATE_EPOCH`, seconds since 1970: the time of all that the build makes.
    pub fn epoch(&self) -> Result<Option<i64>> {
        let Some(text) = self.build_args.get("SOURCE_DATE_EPOCH").filter(|text| !text.is_empty())
        else {
            return Ok(None);
        };
        let seconds = text.parse().map_err(|_| {
            Error::usage(format!(
                "SOURCE_DATE_EPOCH {text:?} is not a number of seconds since 1970"
            ))
        })?;
        Ok(Some(seconds))
    }
}

/// Builds an image; when it returns the image and its names are on the medium.
pub fn build(session: &Session, request: &Request, listener: &mut dyn Listener) -> Result<ImageId> {
    let context = BuildContext::open(&request.place, Some(session))?;
    let document = dockerfile::parse(&context.text).map_err(|faults| told(faults, &context))?;
    let mut plan = plan(&document, request).map_err(|faults| told(faults, &context))?;
    let bases = Bases::new(session, request);
    let teller = RefCell::new(&mut *listener);
    // What cannot be had is told when its stage begins.
    let triggers = |name: &str, platform: Option<&Platform>| {
        let is_files = request.has_files(name);
        let found = (!is_files).then(|| bases.image(name, platform, &mut **teller.borrow_mut()));
        let image = found.and_then(|image| session.store.config(&image.ok()?).ok()?);
        image.map(|image| image.config.on_build).unwrap_or_default()
    };
    plan.hear_triggers(&triggers).map_err(|fault| told(vec![fault], &context))?;
    let Looked { findings, several, violation } =
        check::look(session, request, &context, &document, &plan)?;
    let done = match violation {
        None => walk(&bases, request, &context, &plan, several, listener),
        Some(error) => Err(error),
    };
    if !findings.is_empty() {
        listener.event(&Event::Findings { list: &findings });
    }
    done
}

fn walk(
    bases: &Bases<'_>,
    request: &Request,
    context: &BuildContext,
    plan: &Plan,
    several: BTreeSet<String>,
    listener: &mut dyn Listener,
) -> Result<ImageId> {
    after::look(request, listener);
    let session = bases.session;
    let shared = Shared::new(bases, request, context, plan, several)?;
    let built = stages::build(&shared, request.jobs, listener)
        .and_then(|image| Ok((image, after::ends(&shared, request, image)?)));
    // Finished steps are published whatever came after them.
    let published = shared.work.finish();
    let (image, ends) = built?;
    let image = after::finish(session, request, image, &ends, published?, listener)?;
    listener.event(&Event::Built { image: &image });
    warn_of_unused(plan, request, listener);
    for tag in &request.tags {
        listener.event(&Event::Tagged { name: &tag.to_string() });
    }
    Ok(image)
}

fn plan<'a>(document: &Document<'a>, request: &Request) -> Result<Plan<'a>, Vec<Fault>> {
    Plan::new(document, scope(request), request.target.as_deref())
}

fn scope(request: &Request) -> Scope {
    Scope {
        build_args: request.build_args.clone(),
        target_platform: request.platform.clone().unwrap_or_default(),
        stage_name: request.target.clone().unwrap_or_default(),
        ..Scope::default()
    }
}

/// A build argument that no ARG takes, or a stage that is not there, is most likely a slip of the pen.
fn warn_of_unused(plan: &Plan, request: &Request, listener: &mut dyn Listener) {
    let unused = request.build_args.keys().filter(|name| {
        !plan.declared.contains(*name)
            && !PREDEFINED_ARGS.contains(&name.to_ascii_lowercase().as_str())
    });
    let unused: Vec<&str> = unused.map(String::as_str).collect();
    if !unused.is_empty() {
        let text = format!("One or more build-args [{}] were not consumed", unused.join(" "));
        listener.event(&Event::Warning { text: &text });
    }
    for name in &request.no_cache_stages {
        if !plan.stages.iter().any(|stage| stage.name.eq_ignore_ascii_case(name)) {
            let text = format!("--no-cache-filter {name}: there is no such stage");
            listener.event(&Event::Warning { text: &text });
        }
    }
}

/// Arguments that need no ARG, in lower case.
const PREDEFINED_ARGS: [&str; 10] = [
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "no_proxy",
    "all_proxy",
    "source_date_epoch",
    "buildkit_dockerfile_check",
    "buildkit_inline_cache",
    "buildkit_multi_platform",
    "buildkit_sandbox_hostname",
];

/// All faults of form as one error: the first with its place, the others as hints.
fn told(faults: Vec<Fault>, context: &BuildContext) -> Error {
    let mut faults = faults.into_iter();
    let Some(first) = faults.next() else { return Error::input("the Dockerfile is not valid") };
    let mut error = first.into_error(&context.dockerfile, &context.text);
    for fault in faults.take(dockerfile::MAX_FAULTS) {
        error = error.hint(format!("also line {}: {}", fault.line, fault.message));
    }
    error
}

impl BuildContext {
    /// The place of a statement.
    fn place(&self, line: usize) -> Place {
        let text = dockerfile::line_text(&self.text, line);
        Place { file: self.dockerfile.clone(), line, text }
    }
}
