//! All stages that the target needs: one by one, or several side by side.

use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::lanes::Lanes;
use super::shared::Shared;
use super::walk::Walk;
use crate::error::{Context, Error, Result};
use crate::event::Listener;
use crate::image::digest::ImageId;

/// Builds every needed stage and publishes the image of the last. At most `jobs` stages are at
/// work at once; the log and the result are those of one after the other.
pub fn build(shared: &Shared<'_>, jobs: usize, listener: &mut dyn Listener) -> Result<ImageId> {
    let mut walk = Walk::new(shared, listener, 0);
    walk.globals()?;
    let needed = &shared.plan.needed;
    let jobs = jobs.min(needed.len());
    if jobs > 1 {
        side_by_side(shared, jobs, listener)?;
        walk = Walk::new(
            shared,
            listener,
            shared.total - usize::from(!shared.request.labels.is_empty()),
        );
    } else {
        for index in needed {
            if let Some(stage) = shared.plan.stages.get(*index) {
                let building = walk.stage(stage)?;
                shared.built(*index, building);
            }
        }
    }
    let index = needed.last().copied().unwrap_or_default();
    let last = shared.plan.stages.get(index).zip(shared.take(index));
    let (stage, building) = last.ok_or_else(|| Error::input("the Dockerfile has no stage"))?;
    walk.last(stage, building)
}

/// Stages are begun in their order, and each waits where it needs one that is not built yet: that
/// one has been begun, so somebody always goes on.
fn side_by_side(shared: &Shared<'_>, jobs: usize, listener: &mut dyn Listener) -> Result<()> {
    let needed = &shared.plan.needed;
    let file = || -> Result<File> {
        let scratch = shared.work.get(shared.session, &shared.request.hosts)?.scratch.clone();
        scratch.nameless_file()
    };
    let lanes = Lanes::new(needed.len(), &file);
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(stage) = needed.get(at).and_then(|index| shared.plan.stages.get(*index))
            else {
                return;
            };
            let mut lane = lanes.listener(at);
            let mut walk = Walk::new(shared, &mut lane, number(shared, at));
            let built = shared.go_on().and_then(|()| walk.stage(stage));
            match built.and_then(|building| walk.tell_untold().map(|()| building)) {
                Ok(building) => shared.built(needed.get(at).copied().unwrap_or_default(), building),
                Err(error) => shared.fail(at, error),
            }
            lanes.close(at);
        }
    };
    std::thread::scope(|scope| {
        for number in 0..jobs {
            let builder = std::thread::Builder::new().stack_size(1 << 20);
            match builder.spawn_scoped(scope, work) {
                Ok(_) => {}
                Err(cause) if number == 0 => {
                    return Err(cause).context(|| "start a thread for a stage");
                }
                // Fewer at once do it too.
                Err(_) => break,
            }
        }
        // Nothing of a stage that comes after the one that failed: that one has the last word.
        lanes.tell(listener, &|at| shared.failed() == Some(at));
        Ok(())
    })?;
    shared.failure()
}

/// The number of the last step before a stage.
fn number(shared: &Shared<'_>, at: usize) -> usize {
    let before = shared.plan.needed.iter().take(at);
    let stages = before.filter_map(|index| shared.plan.stages.get(*index));
    shared.plan.global_texts.len() + stages.map(|stage| 1 + stage.steps.count()).sum::<usize>()
}
