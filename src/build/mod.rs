//! The walk of a plan: each needed step comes from the cache or is done.

mod chmod;
pub mod context;
mod copy_tree;
mod effect_copy;
mod effect_run;
mod mounts;
mod source;
mod stage;
mod walk;
mod work;

use std::collections::BTreeMap;

use crate::dockerfile::{self, Document, Fault};
use crate::error::{Error, Place, Result};
use crate::event::{Event, Listener};
use crate::image::digest::ImageId;
use crate::image::platform::Platform;
use crate::image::reference::Reference;
use crate::instruction::Scope;
use crate::plan::Plan;
pub use crate::sandbox::Network;
use crate::session::Session;
use context::BuildContext;
pub use mounts::Secret;
use walk::Walk;

/// What to build.
#[derive(Clone, Debug)]
pub struct Request {
    /// The context and the Dockerfile.
    pub place: context::Place,
    /// `-t`, in order.
    pub tags: Vec<Reference>,
    /// `--build-arg NAME=value`; a bare `NAME` has been given the caller's own value or left out.
    pub build_args: BTreeMap<String, String>,
    /// `--target`.
    pub target: Option<String>,
    /// `--no-cache`.
    pub no_cache: bool,
    /// `--network`, for every step that does not choose its own.
    pub network: Network,
    /// `--label`, in order.
    pub labels: Vec<(String, String)>,
    /// `--platform`.
    pub platform: Option<Platform>,
    /// `--secret`: ids and where the contents are.
    pub secrets: Vec<(String, Secret)>,
    /// `--ssh`: ids and sockets.
    pub sockets: Vec<(String, String)>,
    /// `--add-host`: names and addresses.
    pub hosts: Vec<(String, String)>,
}

impl Request {
    /// `SOURCE_DATE_EPOCH`, seconds since 1970: the time of all that the build makes.
    fn epoch(&self) -> Result<Option<i64>> {
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
    let context = BuildContext::open(&request.place, session)?;
    let document = dockerfile::parse(&context.text).map_err(|faults| told(faults, &context))?;
    let plan = plan(&document, request).map_err(|faults| told(faults, &context))?;
    let mut walk = Walk::new(session, request, &context, &plan, listener)?;
    let built = walk.all();
    // Finished steps are published whatever came after them.
    let published = walk.finish();
    let image = built?;
    published?;
    listener.event(&Event::Built { image: &image });
    warn_of_unused(&plan, request, listener);
    for tag in &request.tags {
        listener.event(&Event::Tagged { name: &tag.to_string() });
    }
    Ok(image)
}

fn plan(document: &Document, request: &Request) -> Result<Plan, Vec<Fault>> {
    let scope = Scope {
        build_args: request.build_args.clone(),
        target_platform: request.platform.clone().unwrap_or_default(),
        stage_name: request.target.clone().unwrap_or_default(),
        ..Scope::default()
    };
    Plan::new(document, scope, request.target.as_deref())
}

/// A build argument that no ARG takes is most likely a slip of the pen.
fn warn_of_unused(plan: &Plan, request: &Request, listener: &mut dyn Listener) {
    let unused = request.build_args.keys().filter(|name| {
        !plan.declared.contains(*name) && !PREDEFINED_ARGS.contains(&name.to_lowercase().as_str())
    });
    let unused: Vec<&str> = unused.map(String::as_str).collect();
    if !unused.is_empty() {
        let text = format!("One or more build-args [{}] were not consumed", unused.join(" "));
        listener.event(&Event::Warning { text: &text });
    }
}

/// Arguments that need no ARG, in lower case.
const PREDEFINED_ARGS: [&str; 9] = [
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "no_proxy",
    "all_proxy",
    "source_date_epoch",
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
