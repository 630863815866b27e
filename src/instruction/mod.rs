//! What each statement of a Dockerfile means: one file an instruction, with its grammar and its
//! lowering to an `Effect`. Plan, cache key and executor know effects and never an instruction's
//! name; so one more instruction is one more file here and one line in the table.

mod add;
mod arg;
mod cmd;
mod copy;
mod entrypoint;
mod env;
mod expose;
mod form;
mod from;
mod healthcheck;
mod label;
mod maintainer;
mod onbuild;
mod paths;
mod run;
mod run_mount;
mod scope;
mod shell;
mod stopsignal;
mod table;
mod user;
mod volume;
mod workdir;

use std::cell::RefCell;

pub use add::Add;
pub use arg::Arg;
pub use cmd::Cmd;
pub use copy::{Copy, is_git};
pub use entrypoint::Entrypoint;
pub use env::Env;
pub use expose::{Expose, Ports};
pub use from::From;
pub use healthcheck::{Healthcheck, duration};
pub use label::Label;
pub use maintainer::Maintainer;
pub use onbuild::Onbuild;
pub use run::Run;
pub use run_mount::{csv_fields, parse_size};
pub use shell::Shell;
pub use stopsignal::{Stopsignal, signal_number};
pub use table::{Instruction, KEYWORDS, parse, parse_trigger};
pub use user::User;
pub use volume::Volume;
pub use workdir::Workdir;

use crate::image::config::ContainerConfig;
use crate::image::platform::Platform;
use crate::map::Map;

/// What a step does to the image. Config changes have been applied to the scope's config when
/// the effect comes out of lowering, so that a step from the cache has them too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Only the config changes (ENV, CMD, LABEL ...) or only the scope (ARG, SHELL).
    Config,
    /// A command runs.
    Run(RunEffect),
    /// Files are put in place.
    Copy(CopyEffect),
}

/// A command to run in the image so far.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RunEffect {
    /// The words, the shell's first for a shell form. Empty: nothing to run.
    pub argv: Vec<String>,
    /// The whole environment, `NAME=value`: the config's and the arguments in force.
    pub env: Vec<String>,
    /// Names of predefined proxy arguments in `env`: given to the step, but not part of its key.
    pub unkeyed: Vec<String>,
    /// `user[:group]` as in the config.
    pub user: String,
    /// Absolute path; empty is `/`.
    pub cwd: String,
    /// `--mount` flags, in order.
    pub mounts: Vec<RunMount>,
    /// `--network`: `default`, `none` or `host`.
    pub network: &'static str,
    /// `--security`: `sandbox` or `insecure`.
    pub security: &'static str,
    /// Here-documents that start with `#!`: name and content, put at `/dev/pipes/NAME`.
    pub scripts: Vec<(String, String)>,
}

/// One `RUN --mount`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RunMount {
    /// `bind`, `cache`, `tmpfs`, `secret` or `ssh`.
    pub kind: String,
    /// Where in the container.
    pub target: String,
    /// Path in `from` or in the build context.
    pub source: String,
    /// Stage, image or named context.
    pub from: Option<String>,
    /// `id=` of caches, secrets and sockets.
    pub id: String,
    /// Not writable.
    pub readonly: bool,
    /// It is an error when a secret or socket is not there.
    pub required: bool,
    /// `shared`, `private` or `locked`, for caches.
    pub sharing: String,
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes at most, for tmpfs; 0 is no limit.
    pub size_bytes: u64,
    /// `env=` of a secret: the variable that holds it.
    pub env: Option<String>,
}

/// Where the files of a copy come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyFrom {
    /// The build context.
    Context,
    /// `--from=NAME`: a stage, an image or a named context; `plan` decides which.
    Named(String),
}

/// One source of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A path or pattern, cleaned, relative to the root of where it comes from; the root is `.`.
    /// With `--parents` a `/./` in it says where the part begins that is kept.
    Path(String),
    /// A here-document: the file's name and its content.
    Text {
        /// File name.
        name: String,
        /// Content, expanded.
        content: String,
    },
    /// An http(s) URL.
    Url(String),
    /// A git repository.
    Git(String),
}

/// Files to put in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyEffect {
    /// Where from.
    pub from: CopyFrom,
    /// What; empty makes only the directory `dest` (WORKDIR).
    pub sources: Vec<Source>,
    /// Absolute path in the image; a trailing slash means a directory.
    pub dest: String,
    /// `--chown`, or the USER for WORKDIR.
    pub chown: Option<String>,
    /// `--chmod`, octal or symbolic.
    pub chmod: Option<String>,
    /// `--link`.
    pub link: bool,
    /// `--parents`.
    pub parents: bool,
    /// `--exclude` patterns.
    pub excludes: Vec<String>,
    /// Unpack local archives: ADD unless `--unpack=false`.
    pub unpack: bool,
    /// Unpack downloaded archives too: `--unpack=true`.
    pub unpack_urls: bool,
    /// `--checksum` for URLs.
    pub checksum: Option<String>,
    /// `--keep-git-dir`.
    pub keep_git_dir: bool,
    /// It is an ADD: decides a few words of messages and the attributes of unpacked directories.
    pub is_add: bool,
}

impl CopyEffect {
    /// All files of a named context, as they are, into the root of the image.
    pub fn everything(from: &str) -> CopyEffect {
        CopyEffect {
            from: CopyFrom::Named(from.to_owned()),
            sources: vec![Source::Path(".".to_owned())],
            dest: "/".to_owned(),
            chown: None,
            chmod: None,
            link: false,
            parents: false,
            excludes: Vec::new(),
            unpack: false,
            unpack_urls: false,
            checksum: None,
            keep_git_dir: false,
            is_add: false,
        }
    }
}

/// A statement's meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lowered {
    /// What to do.
    pub effect: Effect,
    /// The line of the image's history, as docker writes it: `RUN /bin/sh -c make`, `ENV A=b`.
    pub created_by: String,
}

/// What is in force where a statement stands. Lowering reads and changes it.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// The config of the image so far.
    pub config: ContainerConfig,
    /// The author, by MAINTAINER.
    pub author: Option<String>,
    /// `ARG`s declared in this stage or inherited from a parent stage, in order; `None`: declared
    /// without a value.
    pub args: Vec<(String, Option<String>)>,
    /// `ARG`s before the first FROM, with their values.
    pub global_args: Vec<(String, Option<String>)>,
    /// What the user gave with `--build-arg`.
    pub build_args: Map<String, String>,
    /// The platform that is built for.
    pub target_platform: Platform,
    /// The platform that builds.
    pub build_platform: Platform,
    /// The stage that the user asked for with `--target`, for TARGETSTAGE; empty is the last one.
    pub stage_name: String,
    /// `\` or, by the directive, a backtick.
    pub escape: char,
    /// CMD was set in this very stage: ENTRYPOINT then keeps it.
    pub cmd_set: bool,
    /// So many bytes of variables may be added before all are counted again.
    pub room: usize,
    /// Nothing is carried out: the environments of commands are left out, which would be made for
    /// each anew.
    pub is_draft: bool,
    /// Variables that the last statement asked for and nobody has set, once for each word, for
    /// the linter.
    pub unknown: RefCell<Vec<String>>,
}
