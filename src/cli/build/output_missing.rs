//! What stands for `--output` where the binary was built without `outputs`: the image stays in the
//! store, and goes to registries.


use crate::catalog::push;
use crate::error::{Context as _, Error, Result};
use crate::event::Listener;
use crate::image::digest::ImageId;
use crate::image::reference::Reference;
use crate::session::Session;
use crate::sys::flow::Outflow;

/// What is pushed.
pub struct Outputs(Vec<Reference>);

impl Outputs {
    /// Refuses all but a push.
    pub fn parse(
        words: &[String],
        annotations: &[String],
        metadata: Option<String>,
        _: Option<i64>,
        names: &mut [Reference],
        is_pushed: bool,
    ) -> Result<Outputs> {
        if !(words.is_empty() && annotations.is_empty() && metadata.is_none()) {
            return Err(Error::built_without("outputs"));
        }
        if is_pushed && names.is_empty() {
            return Err(Error::usage("tag is needed when pushing to registry"));
        }
        Ok(Outputs(if is_pushed { names.to_vec() } else { Vec::new() }))
    }

    /// Standard output is the log's.
    pub fn take_stdout(&self) -> bool {
        false
    }

    /// There is nothing to take away.
    pub fn begin(&self) -> Result<()> {
        Ok(())
    }

    /// Pushes.
    pub fn make(
        &self,
        session: &Session,
        _: ImageId,
        _: Option<&mut dyn Outflow>,
        listener: &mut dyn Listener,
    ) -> Result<()> {
        for name in &self.0 {
            let name = name.to_string();
            push::push(session, &name, false, listener).context(|| format!("push {name}"))?;
        }
        Ok(())
    }
}
