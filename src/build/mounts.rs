//! `RUN --mount`: what a step sees besides the image. Nothing of it gets into the layer.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use super::copy_tree::{Copier, Skip, Style};
use super::source::{Found, Tree};
use crate::error::{Context, Error, Result};
use crate::instruction::RunMount;
use crate::pattern::Ignore;
use crate::sandbox::{Bind, Content, Tmpfs};
use crate::snapshot::{Chain, Snapshot};
use crate::sort::sort_by;
use crate::store::{CacheMount, Driver, Scratch, Sharing, Store, Workspace};
use crate::sys::fs::{NewDir, read_bounded};
use crate::sys::mount::{Overlay, clone_tree, overlay};

/// A larger secret is refused, as BuildKit does.
const MAX_SECRET: usize = 500 << 10;

/// `--secret`: where its content is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// A file of the caller's.
    File(String),
    /// A variable of the caller's environment.
    Variable(String),
}

impl Secret {
    fn read(&self, id: &str) -> Result<Vec<u8>> {
        match self {
            Secret::File(path) => {
                let file = std::fs::File::open(path)
                    .context(|| format!("secret {id:?}: open {path:?}"))?;
                read_bounded(file, MAX_SECRET).context(|| format!("secret {id:?}"))
            }
            Secret::Variable(name) => std::env::var_os(name)
                .map(std::os::unix::ffi::OsStringExt::into_vec)
                .ok_or_else(|| Error::not_found(format!("secret {id:?}: {name} is not set"))),
        }
    }
}

/// Where the files of a mount come from.
pub enum Files {
    /// The build context, or a named one.
    Context(Option<Arc<Tree>>),
    /// A stage or an image.
    Layers(Chain),
}

/// What a step's mounts need while it runs.
#[derive(Default)]
pub struct Mounts {
    /// For the sandbox, in order.
    pub binds: Vec<Bind>,
    /// Variables that the mounts bring along.
    pub env: Vec<(String, String)>,
    workspaces: Vec<Workspace>,
    snapshots: Vec<Snapshot>,
    /// What is mounted from must stay as it is.
    trees: Vec<Tree>,
    /// In use, and so not anybody else's, until the step has ended.
    caches: Vec<(String, Option<CacheMount>)>,
}

/// Makes mounts one after the other.
pub struct Maker<'a> {
    pub store: &'a Store,
    pub scratch: &'a Scratch,
    pub secrets: &'a [(String, Secret)],
    pub sockets: &'a [(String, String)],
    pub mounts: Mounts,
}

impl Maker<'_> {
    /// Makes one more mount.
    pub fn add(&mut self, mount: &RunMount, files: Files) -> Result<()> {
        let says = || format!("mount {} {}", mount.kind, mount.target);
        match mount.kind.as_str() {
            "tmpfs" => self.put(mount, Content::Tmpfs(Tmpfs::of_size(mount.size_bytes)), true),
            "bind" => self.bind(mount, files).context(says)?,
            "cache" => self.cache(mount, files).context(says)?,
            "secret" => self.secret(mount)?,
            "ssh" => self.ssh(mount)?,
            other => return Err(Error::unsupported(format!("RUN --mount=type={other}"))),
        }
        Ok(())
    }

    fn put(&mut self, mount: &RunMount, content: Content, is_dir: bool) {
        let (target, readonly) = (mount.target.clone(), mount.readonly);
        self.mounts.binds.push(Bind { content, target, is_dir, readonly, is_device: false });
    }

    fn bind(&mut self, mount: &RunMount, files: Files) -> Result<()> {
        let (content, is_dir) = match files {
            Files::Context(tree) => {
                let tree = tree.ok_or_else(|| Error::input("there is no build context"))?;
                let found = source(&tree, mount)?;
                let is_dir = found.is_dir();
                (self.context(&tree, &found, mount.readonly)?, is_dir)
            }
            Files::Layers(chain) => self.layers(chain, mount)?,
        };
        self.put(mount, content, is_dir);
        Ok(())
    }

    /// Files of the build context: themselves when they cannot be changed and none is ignored,
    /// otherwise a view or a copy whose changes are thrown away.
    fn context(&mut self, tree: &Tree, found: &Found, readonly: bool) -> Result<Content> {
        let is_whole = !tree.has_rules() || !found.is_dir();
        if is_whole && readonly {
            return Ok(Content::Tree(clone_tree(tree.open_path(&found.real)?.as_fd())?));
        }
        let workspace = self.scratch.workspace()?;
        let has_overlay = self.store.driver().driver == Driver::Overlay;
        let content = if is_whole && found.is_dir() && has_overlay {
            let lower = tree.open_dir(&found.real)?;
            let (upper, work) =
                (workspace.make_dir("diff", 0o755)?, workspace.make_dir("work", 0o700)?);
            let writable = Some((upper.as_fd(), work.as_fd()));
            Content::Tree(overlay(&Overlay {
                lowers: &[lower.as_fd()],
                writable,
                is_volatile: true,
            })?)
        } else {
            let copy = workspace.make_dir("copy", 0o755)?;
            copy_from(self.store, tree, found, copy.as_fd())?;
            let inside = if found.is_dir() { copy } else { open_first(copy)? };
            Content::Tree(clone_tree(inside.as_fd())?)
        };
        self.mounts.workspaces.push(workspace);
        Ok(content)
    }

    fn layers(&mut self, chain: Chain, mount: &RunMount) -> Result<(Content, bool)> {
        let path = Path::new(mount.source.trim_start_matches('/'));
        let missing = || Error::not_found(format!("{:?}: not found", mount.source));
        let Some(view) = chain.view(self.store)? else {
            if !is_root(mount) {
                return Err(missing());
            }
            let workspace = self.scratch.workspace()?;
            let empty = clone_tree(workspace.make_dir("empty", 0o755)?.as_fd())?;
            self.mounts.workspaces.push(workspace);
            return Ok((Content::Tree(empty), true));
        };
        let tree = Tree::new(view, Ignore::default(), true);
        let is_dir = tree.look(path)?.ok_or_else(missing)?.is_dir();
        let root = if !mount.readonly {
            // Nobody looks at the tree any more, so the snapshot may take it.
            drop(tree);
            let snapshot = Snapshot::prepare(self.scratch, &chain)?;
            let mounted = snapshot.mount(None)?;
            self.mounts.snapshots.push(snapshot);
            mounted
        } else if chain.is_plain() {
            let content = Content::Tree(clone_tree(tree.open_path(path)?.as_fd())?);
            self.mounts.trees.push(tree);
            return Ok((content, is_dir));
        } else {
            tree.into_root()
        };
        Ok((Content::Inside(root, path.to_owned()), is_dir))
    }

    /// Makes the caches of these mounts the step's own: each once, and in the order of their ids,
    /// since another step may want the same ones. `is_wanted` ends the waiting for them.
    pub fn take_caches(
        &mut self,
        mounts: &[RunMount],
        is_wanted: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        let mut caches: Vec<&RunMount> =
            mounts.iter().filter(|mount| mount.kind == "cache").collect();
        sort_by(&mut caches, &mut |one, other| one.id.cmp(&other.id));
        caches.dedup_by(|one, other| one.id == other.id);
        for mount in caches {
            let sharing = match mount.sharing.as_str() {
                "locked" => Sharing::Locked,
                "private" => Sharing::Private,
                _ => Sharing::Shared,
            };
            let taken = self.store.cache_mount(&mount.id, new_cache(mount), sharing, is_wanted)?;
            self.mounts.caches.push((mount.id.clone(), taken));
        }
        Ok(())
    }

    fn cache(&mut self, mount: &RunMount, files: Files) -> Result<()> {
        let new = new_cache(mount);
        let mut taken = self.mounts.caches.iter_mut();
        let data = match taken.find(|(id, _)| *id == mount.id).and_then(|(_, taken)| taken.as_mut())
        {
            Some(cache) => {
                let data = cache.data.try_clone()?;
                if std::mem::take(&mut cache.is_new) {
                    self.fill(mount, files, &data)?;
                }
                data
            }
            None => {
                let workspace = self.scratch.workspace()?;
                let data = workspace.make_dir("cache", new.mode)?;
                crate::sys::fs::set_owner(data.as_fd(), new.owner.0, new.owner.1)?;
                self.fill(mount, files, &data)?;
                self.mounts.workspaces.push(workspace);
                data
            }
        };
        self.put(mount, Content::Tree(clone_tree(data.as_fd())?), true);
        Ok(())
    }

    /// `from=`: what a new cache begins with.
    fn fill(&self, mount: &RunMount, files: Files, data: &OwnedFd) -> Result<()> {
        if mount.from.is_none() {
            return Ok(());
        }
        let tree = match files {
            Files::Layers(chain) => {
                let Some(view) = chain.view(self.store)? else { return Ok(()) };
                Arc::new(Tree::new(view, Ignore::default(), true))
            }
            Files::Context(Some(tree)) => tree,
            Files::Context(None) => return Ok(()),
        };
        let found = source(&tree, mount)?;
        copy_from(self.store, &tree, &found, data.as_fd())
    }

    fn secret(&mut self, mount: &RunMount) -> Result<()> {
        let known = self.secrets.iter().find(|(id, _)| *id == mount.id);
        let Some((id, secret)) = known else {
            if mount.required {
                return Err(Error::not_found(format!("secret {}: not found", mount.id))
                    .hint(format!("give it with --secret id={},src=FILE", mount.id)));
            }
            return Ok(());
        };
        let bytes = secret.read(id)?;
        if let Some(name) = &mount.env {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            self.mounts.env.push((name.clone(), text));
        }
        if !mount.target.is_empty() {
            let (mode, owner) = (mount.mode.unwrap_or(0o400), (mount.uid, mount.gid));
            self.put(mount, Content::File { bytes, mode, owner }, false);
        }
        Ok(())
    }

    fn ssh(&mut self, mount: &RunMount) -> Result<()> {
        let id = if mount.id.is_empty() { "default" } else { &mount.id };
        let Some((_, path)) = self.sockets.iter().find(|(known, _)| known == id) else {
            if mount.required {
                return Err(Error::not_found(format!("ssh socket {id}: not found"))
                    .hint("give it with --ssh default, or --ssh ID=SOCKET"));
            }
            return Ok(());
        };
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
        let socket = rustix::fs::open(path.as_str(), flags, rustix::fs::Mode::empty())
            .context(|| format!("ssh socket {id:?}: open {path:?}"))?;
        let mut mount = mount.clone();
        if mount.target.is_empty() {
            mount.target = format!("/run/buildkit/ssh_agent.{}", self.mounts.env.len());
        }
        self.mounts.env.push(("SSH_AUTH_SOCK".to_owned(), mount.target.clone()));
        self.put(&mount, Content::Tree(clone_tree(socket.as_fd())?), false);
        Ok(())
    }
}

impl Mounts {
    /// Takes away what the mounts needed. Call it when the step has ended.
    pub fn clean(self, scratch: &Scratch) -> Result<()> {
        drop(self.binds);
        for snapshot in self.snapshots {
            snapshot.discard(scratch)?;
        }
        for workspace in self.workspaces {
            scratch.discard(workspace)?;
        }
        Ok(())
    }
}

/// How a cache begins.
fn new_cache(mount: &RunMount) -> NewDir {
    NewDir { mode: mount.mode.unwrap_or(0o755), owner: (mount.uid, mount.gid) }
}

/// Adds what a mount shows to a digest.
pub fn digest(
    store: &Store,
    mount: &RunMount,
    files: &Files,
    into: &mut blake3::Hasher,
) -> Result<()> {
    match files {
        Files::Context(tree) => {
            let tree = tree.as_ref();
            let tree = tree.ok_or_else(|| Error::input("there is no build context"))?;
            tree.digest(&source(tree, mount)?, &Ignore::default(), into)
        }
        Files::Layers(chain) => {
            let view = match chain.view(store)? {
                Some(view) => view,
                None if is_root(mount) => return Ok(()),
                None => return Err(Error::not_found(format!("{:?}: not found", mount.source))),
            };
            let tree = Tree::new(view, Ignore::default(), true);
            tree.digest(&source(&tree, mount)?, &Ignore::default(), into)
        }
    }
}

/// Whether all of the files are mounted.
fn is_root(mount: &RunMount) -> bool {
    mount.source == "."
}

/// What `source=` leads to.
fn source(tree: &Tree, mount: &RunMount) -> Result<Found> {
    let path = Path::new(mount.source.trim_start_matches('/'));
    let found = tree.look(path)?;
    found.ok_or_else(|| tree.missing(&mount.source))
}

/// Copies a directory's content, or the one file, into a directory.
fn copy_from(
    store: &Store,
    tree: &Tree,
    found: &Found,
    to: std::os::fd::BorrowedFd<'_>,
) -> Result<()> {
    let mut skip = |path: &Path, is_dir: bool| {
        let path = found.real.join(path);
        match tree.ignores(&path) {
            false => Skip::No,
            true if is_dir && tree.may_include_below(&path) => Skip::LookInside,
            true => Skip::All,
        }
    };
    let owner = (!tree.keeps_owner).then_some((0, 0));
    let style = Style { owner, mode: &|mode, _| mode, skip: &mut skip };
    let mut will = |bytes| store.room(bytes);
    let mut copier = Copier::new(style, &mut will);
    if found.is_dir() {
        return copier.contents(tree.open_dir(&found.real)?.as_fd(), to);
    }
    let parent = tree.open_dir(found.real.parent().unwrap_or(Path::new("")))?;
    copier.entry(parent.as_fd(), &found.name()?, to, c"file")
}

fn open_first(dir: OwnedFd) -> Result<OwnedFd> {
    let flags =
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC;
    Ok(rustix::fs::openat(&dir, "file", flags, rustix::fs::Mode::empty())?)
}
