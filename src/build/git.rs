//! Git repositories as sources, by the program `git` of this machine.
//!
//! The address and the repository may be a stranger's. git gets no configuration of the user or
//! the system, asks nobody anything, runs no hooks, and speaks nothing but http, git and ssh,
//! submodules included. What it has checked out is read like any other tree: links lead nowhere
//! outside of it. Source: git(1), gitsubmodules(7), git-config(1).

use std::cell::OnceCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::AtFlags;

use super::git_ref::{GitRef, is_commit};
use super::held::Held;
use super::once::Once;
use super::source::{Found, Framed, Tree};
use crate::error::{Error, Kind, Result};
use crate::event::Stream;
use crate::layer::walk::{Visit, Walk};
use crate::pattern::Ignore;
use crate::sandbox::pump;
use crate::store::{Scratch, Workspace};
use crate::sys::mount::fd_path;
use crate::sys::program::{self, Place, Program};
use crate::sys::signal;

/// What git may say; more than the names of any reference need.
const MAX_OUTPUT: usize = 1 << 20;
/// What of its complaints is shown.
const MAX_COMPLAINT: usize = 2 << 10;

/// For all that git starts, whatever a repository says.
const SETTINGS: &[&str] = &[
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "protocol.file.allow=never",
    "protocol.ext.allow=never",
    "init.defaultBranch=master",
    "advice.detachedHead=false",
    "gc.auto=0",
    "maintenance.auto=false",
];

/// What git and its helpers get of lath's environment.
const PASSED_ON: &[&str] = &[
    "PATH",
    "SSH_AUTH_SOCK",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
];

/// What the steps of a build have learnt of repositories, so that each is asked and fetched once.
#[derive(Default)]
pub struct Known {
    asked: Once<Asked>,
    checkouts: Once<Arc<Held>>,
}

/// The ids that a reference stands for, and its full name.
type Asked = (Vec<String>, String);

/// A repository whose commit is known; its files come when they are needed.
pub struct Repository {
    at: GitRef,
    commit: String,
    /// The full name of the reference, where the commit was not named itself.
    name: Option<String>,
    keep_git_dir: bool,
    files: OnceCell<Arc<Held>>,
}

impl Repository {
    /// Finds out which commit is meant: a commit by itself, anything else by asking the server.
    pub fn ask(
        address: &str,
        keep_git_dir: bool,
        checksum: Option<&str>,
        known: &Known,
    ) -> Result<Repository> {
        let mut at = GitRef::parse(address)?;
        if let Some(checksum) = checksum {
            at.checksum = Some(checksum.to_owned());
            at.check()?;
        }
        let keep_git_dir = at.keep_git_dir.unwrap_or(keep_git_dir);
        let (ids, name) = match at.commit() {
            Some(commit) => (vec![commit.to_owned()], None),
            None => {
                let key = format!("{} {:?}", at.remote, at.reference);
                let (ids, name) = known.asked.get(key, || ask_server(&at))?;
                (ids, Some(name))
            }
        };
        let matches = |sum: &String| ids.iter().any(|id| id.starts_with(&sum.to_ascii_lowercase()));
        if let Some(sum) = at.checksum.as_ref().filter(|sum| !matches(sum)) {
            let text = format!("expected checksum to match {sum}, got {}", ids.join(" or "));
            return Err(Error::input(text).during(at.shown()));
        }
        let commit = ids.into_iter().last().unwrap_or_default();
        Ok(Repository { at, commit, name, keep_git_dir, files: OnceCell::new() })
    }

    /// Adds to a digest what a copy of it takes in.
    pub fn digest(&self, into: &mut blake3::Hasher) {
        let kept = self.keep_git_dir.then(|| self.name.as_deref().unwrap_or_default());
        let submodules = if self.at.submodules == Some(false) { "without" } else { "with" };
        let mut framed = Framed::new(into);
        for part in [&self.commit, &self.at.subdir, submodules, kept.unwrap_or("-")] {
            framed.frame(part.as_bytes());
        }
    }

    /// The address, as it may be shown.
    pub fn shown(&self) -> String {
        self.at.shown()
    }

    /// Fetches the commit and its submodules, unless another step has done so already.
    pub fn check_out(&self, scratch: &Arc<Scratch>, known: Option<&Known>) -> Result<()> {
        let make = || {
            let (tree, workspace) = self.bring(scratch)?;
            Ok(Arc::new(Held::new(tree, scratch.clone(), workspace)))
        };
        let name = self.has_git_dir().then_some(&self.name);
        let key = format!("{} {} {:?} {name:?}", self.at.remote, self.commit, self.at.submodules);
        let files = match known {
            Some(known) => known.checkouts.get(key, make)?,
            None => make()?,
        };
        let _ = self.files.set(files);
        Ok(())
    }

    /// The directory that is meant, once it was fetched.
    pub fn found(&self) -> Result<(&Tree, Found)> {
        let missing = || Error::not_found(format!("{}: it was not fetched", self.shown()));
        let tree = &self.files.get().ok_or_else(missing)?.tree;
        Ok((tree, self.found_in(tree)?))
    }

    fn found_in(&self, tree: &Tree) -> Result<Found> {
        let subdir = &self.at.subdir;
        let missing = || Error::not_found(format!("the directory {subdir:?} is not there"));
        let found = tree.look(Path::new(subdir))?.ok_or_else(missing)?;
        if !found.is_dir() {
            return Err(Error::input(format!("{subdir:?} is not a directory")));
        }
        Ok(found)
    }

    fn has_git_dir(&self) -> bool {
        self.keep_git_dir && self.at.subdir.is_empty()
    }

    fn bring(&self, scratch: &Scratch) -> Result<(Tree, Workspace)> {
        let workspace = scratch.workspace()?;
        match self.check_out_in(&workspace) {
            Ok(tree) => Ok((tree, workspace)),
            Err(error) => {
                scratch.discard(workspace)?;
                Err(error.during(self.shown()))
            }
        }
    }

    fn check_out_in(&self, workspace: &Workspace) -> Result<Tree> {
        let root = workspace.make_dir("tree", 0o755)?;
        let folder = rustix::fs::readlink(fd_path(workspace.dir.as_fd()), Vec::new())?;
        let folder = PathBuf::from(folder.to_string_lossy().into_owned());
        let has_git_dir = self.has_git_dir();
        let work = folder.join("tree");
        let dir = if has_git_dir { work.join(".git") } else { folder.join("git") };
        let git = Git { place: Some((&dir, &work)) };
        let format = if self.commit.len() == 64 { "sha256" } else { "sha1" };
        git.run(&["init", "--quiet", "--template=", &format!("--object-format={format}")])?;
        git.run(&["config", "remote.origin.url", &self.at.remote])?;
        git.run(&["config", "remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*"])?;
        self.fetch(&git)?;
        git.run(&["checkout", "--quiet", "--force", "--detach", &self.commit, "--"])?;
        if self.at.submodules != Some(false) && work.join(".gitmodules").exists() {
            let update = ["submodule", "--quiet", "update", "--init", "--recursive", "--depth=1"];
            git.run(&update)?;
            if !has_git_dir {
                remove_git_files(root.as_fd())?;
            }
        }
        if has_git_dir {
            git.run(&["config", "remote.origin.url", &self.shown()])?;
            git.run(&["reflog", "expire", "--all", "--expire=now"])?;
            remove_if_there(&dir.join("FETCH_HEAD"))?;
        }
        Ok(Tree::new(root, Ignore::default(), false))
    }

    /// Fetches as little as the server lets: one commit, else its history, else everything.
    fn fetch(&self, git: &Git<'_>) -> Result<()> {
        let wanted = match &self.name {
            Some(name) if self.keep_git_dir && name.starts_with("refs/tags/") => {
                format!("+{name}:{name}")
            }
            Some(name) => name.clone(),
            None => self.commit.clone(),
        };
        let all = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"];
        let one: &[&str] = &[&wanted];
        let mut last = None;
        for (depth, names) in [(&["--depth=1"][..], one), (&[][..], one), (&[][..], &all[..])] {
            let begin = ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules"];
            let words = [&begin[..], depth, &["--", "origin"], names].concat();
            match git.run(&words) {
                Ok(_) => {
                    last = None;
                    break;
                }
                Err(error) => {
                    let text = error.text();
                    let may_give_more = ["shallow", "depth", "not our ref", "unadvertised"];
                    let goes_on = may_give_more.iter().any(|word| text.contains(word));
                    last = Some(error);
                    if !goes_on {
                        break;
                    }
                }
            }
        }
        if let Some(error) = last {
            return Err(error);
        }
        let commit = format!("{}^{{commit}}", self.commit);
        git.run(&["cat-file", "-e", &commit]).map(|_| ()).map_err(|_| {
            Error::input(format!("the server did not give commit {}", self.commit)).hint(match self
                .name
            {
                Some(_) => "the reference has moved meanwhile: build again",
                None => "the commit may have been removed, or be one of another repository",
            })
        })
    }
}

/// Fetches what an address means, for as long as the scratch is there.
pub fn fetch(address: &str, scratch: &Scratch) -> Result<OwnedFd> {
    let github = address.starts_with("github.com/").then(|| format!("https://{address}"));
    let address = github.as_deref().unwrap_or(address);
    let repository = Repository::ask(address, false, None, &Known::default())?;
    let (tree, _) = repository.bring(scratch)?;
    tree.open_dir(&repository.found_in(&tree)?.real)
}

/// A submodule's `.git` says where in the scratch its repository was.
fn remove_git_files(root: BorrowedFd<'_>) -> Result<()> {
    let mut walk = Walk::new(root, None)?;
    loop {
        let is_dir = match walk.next_visit()? {
            None => return Ok(()),
            Some(Visit::Enter(entry)) if entry.name == b".git" => {
                if entry.directory.is_none() {
                    rustix::fs::unlinkat(entry.parent, entry.name, AtFlags::empty())?;
                }
                entry.directory.is_some()
            }
            Some(_) => false,
        };
        if is_dir {
            walk.prune();
        }
    }
}

fn remove_if_there(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Asks which commits a reference stands for: that of an annotated tag has two ids, its own and
/// that of the commit, which comes last. Also gives the full name.
fn ask_server(at: &GitRef) -> Result<Asked> {
    let git = Git { place: None };
    let Some(reference) = &at.reference else {
        let said = git.run(&["ls-remote", "--symref", "--", &at.remote, "HEAD"])?;
        let missing = || Error::not_found(format!("{}: it has no default branch", at.shown()));
        let name = said.lines().find_map(|line| line.strip_prefix("ref: ")?.split('\t').next());
        let id = id_of(&said, "HEAD").ok_or_else(missing)?;
        return Ok((vec![id], name.unwrap_or("HEAD").to_owned()));
    };
    let peeled = format!("{reference}^{{}}");
    let said = git.run(&["ls-remote", "--", &at.remote, reference, &peeled])?;
    // Where names are ambiguous, git-checkout takes the branch.
    let bare = reference.strip_prefix("refs/").unwrap_or(reference);
    let names = [format!("refs/{bare}"), format!("refs/heads/{bare}"), format!("refs/tags/{bare}")];
    for name in names {
        let Some(id) = id_of(&said, &name) else { continue };
        let mut ids = vec![id];
        if name.starts_with("refs/tags/") {
            ids.extend(id_of(&said, &format!("{name}^{{}}")));
        }
        return Ok((ids, name));
    }
    Err(Error::not_found(format!("{}: repository does not contain ref {reference}", at.shown()))
        .hint("a commit needs its whole id, 40 or 64 digits"))
}

fn id_of(said: &str, name: &str) -> Option<String> {
    let mut lines = said.lines().filter_map(|line| line.split_once('\t'));
    let (id, _) = lines.find(|(id, known)| *known == name && is_commit(id))?;
    Some(id.to_owned())
}

/// The program, and the repository that it works on.
struct Git<'a> {
    place: Option<(&'a Path, &'a Path)>,
}

impl Git<'_> {
    /// Runs a command of git; gives what it prints.
    fn run(&self, words: &[&str]) -> Result<String> {
        signal::check()?;
        let mut program = Program::new(["git"]);
        for name in PASSED_ON {
            if let Some(value) = std::env::var_os(name) {
                program.set(name.as_ref(), &value);
            }
        }
        // ssh asks nobody either.
        let ssh = std::env::var_os("GIT_SSH_COMMAND");
        let ssh = ssh.unwrap_or_else(|| "ssh -o BatchMode=yes".into());
        program.set("GIT_SSH_COMMAND".as_ref(), &ssh);
        for (name, value) in [
            ("LC_ALL", "C"),
            ("HOME", "/dev/null"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_ALLOW_PROTOCOL", "git:http:https:ssh"),
        ] {
            program.set(name.as_ref(), value.as_ref());
        }
        for setting in SETTINGS {
            program.word("-c".as_ref());
            program.word(setting.as_ref());
        }
        // Not in whatever repository the caller stands in.
        program.place = Place::Path(Path::new("/"));
        if let Some((dir, work)) = self.place {
            program.place = Place::Path(work);
            program.word("--git-dir".as_ref());
            program.word(dir.as_ref());
            program.word("--work-tree".as_ref());
            program.word(work.as_ref());
        }
        words.iter().for_each(|word| program.word(word.as_ref()));
        program.streams = [program::Stream::Null, program::Stream::Pipe, program::Stream::Pipe];
        let child = program.start().map_err(|error| match error.kind() {
            Kind::NotFound => Error::unsupported("there is no program git")
                .hint("a git repository as a source needs git on this machine: install it"),
            _ => error.during("start git"),
        })?;
        let [_, Some(out), Some(errors)] = child.pipes else {
            return Err(Error::unsupported("git has no output"));
        };
        let streams = [(Stream::Out, out.into()), (Stream::Err, errors.into())];
        let (mut said, mut complaint) = (Vec::new(), Vec::new());
        let mut is_too_much = false;
        let ended = pump(child.pid, streams.into(), &mut |stream, bytes| {
            match stream {
                Stream::Out => said.extend_from_slice(bytes),
                Stream::Err => complaint.extend_from_slice(bytes),
            }
            // The end says why.
            complaint.drain(..complaint.len().saturating_sub(MAX_COMPLAINT));
            is_too_much = said.len() > MAX_OUTPUT;
            !is_too_much
        });
        let what = words.first().copied().unwrap_or_default();
        if is_too_much {
            return Err(Error::input(format!("git {what}: the server says too much")));
        }
        match ended? {
            0 => Ok(String::from_utf8_lossy(&said).into_owned()),
            code => {
                let text = String::from_utf8_lossy(&complaint);
                let text = text.trim().replace('\n', "; ");
                let text = if text.is_empty() { format!("exit code {code}") } else { text };
                Err(Error::input(format!("git {what}: {text}")))
            }
        }
    }
}
