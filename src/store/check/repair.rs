//! Takes away what is bad, and only that: names first, layers last, so that at no time a name is
//! left that points at nothing.

use std::collections::BTreeSet;
use std::os::fd::AsFd;

use rustix::fs::AtFlags;

use super::{Checked, Fault, Lost, Remedy};
use crate::error::{Context, Result};
use crate::image::digest::{ChainId, ImageId};
use crate::store::{Store, version};
use crate::sys::fs::{random_name, remove_tree, write_new};
use crate::sys::signal;

impl Store {
    /// Mends all faults that can be mended here; gives them, from below to above. `bad_layers`
    /// are those whose content an earlier check has found bad: all else is looked at again.
    pub fn repair(
        &self,
        bad_layers: &BTreeSet<String>,
        mountpoints: (&[&str], &[&str]),
    ) -> Result<Vec<Fault>> {
        self.lay_out()?;
        let _alone = self.removing()?;
        let lock = self.lock()?;
        let mut content = |layer: &crate::store::Layer| {
            let is_bad = layer.name.as_ref().is_some_and(|name| bad_layers.contains(name));
            Ok(is_bad.then(|| (layer.diff_id.to_string(), "another content".to_owned())))
        };
        let Checked { faults, bad_images, .. } =
            self.check_as(&mut content, mountpoints, Some(&lock))?;
        let leased = self.leased()?;
        for fault in faults.iter().rev() {
            signal::check()?;
            match &fault.remedy {
                Remedy::Make => self.make_dir(&fault.object)?,
                Remedy::Write(_) if fault.object == "VERSION" => {
                    version::write(self.fd(), self.marks_by_name)?
                }
                Remedy::Write(text) => self.replace(&fault.object, text)?,
                Remedy::Lose(Lost::Layer(chain)) => {
                    if let Some(chain) = chain {
                        self.unlink(&format!("chains/{}", chain.hex()))?;
                    }
                    let name = fault.object.strip_prefix("layers/");
                    // Who works with it finds out for itself.
                    if name.is_some_and(|name| !leased.iter().any(|leased| leased == name)) {
                        self.take_away(&fault.object)?;
                    }
                }
                Remedy::Name(_) | Remedy::Command(_) => {}
                Remedy::Remove | Remedy::Forget | Remedy::Lose(_) => {
                    self.take_away(&fault.object)?
                }
            }
        }
        self.forget_records(&bad_images)?;
        rustix::fs::syncfs(self.fd()).context(|| "sync the store")?;
        self.collect(false)?;
        Ok(faults)
    }

    /// Takes chains and images out of the way of those that come from an archive.
    pub fn forget(&self, chains: &[ChainId], image: Option<&ImageId>) -> Result<()> {
        let _lock = self.lock()?;
        if let Some(image) = image {
            for dir in ["images", "steps"] {
                self.unlink(&format!("{dir}/{}", image.hex()))?;
            }
        }
        for chain in chains {
            self.unlink(&format!("chains/{}", chain.hex()))?;
        }
        Ok(())
    }

    /// Records that lead to images that are no more.
    fn forget_records(&self, images: &BTreeSet<ImageId>) -> Result<()> {
        let mut paths = Vec::new();
        self.each_record(true, &mut |path, record| {
            if images.contains(&record.image) {
                paths.push(path.to_owned());
            }
            Ok(true)
        })?;
        paths.iter().try_for_each(|path| self.unlink(path).map(drop))
    }

    fn replace(&self, path: &str, text: &str) -> Result<()> {
        let beside = format!("tmp/{}", random_name()?);
        let file = write_new(self.fd(), &beside, text.as_bytes())?;
        let done = rustix::fs::fsync(&file)
            .and_then(|()| rustix::fs::renameat(self.fd(), &beside, self.fd(), path));
        if done.is_err() {
            let _ = rustix::fs::unlinkat(self.fd(), &beside, AtFlags::empty());
        }
        done.context(|| format!("write {path} in the store"))
    }

    fn take_away(&self, path: &str) -> Result<()> {
        let (dir, name) = path.rsplit_once('/').unwrap_or((".", path));
        remove_tree(self.dir(dir)?.as_fd(), name)
    }
}
