//! Watches what a step takes of the disk while its process runs, and stops it before the store has
//! more than its limit. What it writes between two looks is not seen; the nearer the limit, the
//! more often it looks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::store::Store;

/// No step writes more in a microsecond: it is as fast as memory.
const BYTES_PER_MICROSECOND: u64 = 4000;
const SHORTEST: u64 = 200;
const LONGEST: u64 = 20_000;

/// A thread that watches; it ends when this is dropped.
#[derive(Default)]
pub struct Watch {
    /// The process has ended; it is stopped.
    flags: Arc<[AtomicBool; 2]>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Watches a process for a store with a limit.
    pub fn start(store: &Arc<Store>, pid: Pid) -> Watch {
        let mut watch = Watch::default();
        if store.limit().is_some() {
            let (store, flags) = (store.clone(), watch.flags.clone());
            // Without process descriptors (kernel 5.3) whoever reads its output kills it.
            let process = pidfd_open(pid, PidfdFlags::empty()).ok();
            let thread = std::thread::Builder::new().stack_size(256 << 10).spawn(move || {
                let [ended, stopped] = &*flags;
                while !ended.load(Ordering::Relaxed) {
                    // Nor what cannot be measured.
                    let left = store.left_for_step().ok().flatten().unwrap_or(0);
                    if left == 0 {
                        stopped.store(true, Ordering::Relaxed);
                        if let Some(process) = &process {
                            let _ = pidfd_send_signal(process, Signal::KILL);
                        }
                        return;
                    }
                    let pause = (left / BYTES_PER_MICROSECOND).clamp(SHORTEST, LONGEST);
                    std::thread::sleep(Duration::from_micros(pause));
                }
            });
            // What cannot be watched cannot be let run.
            let [_, stopped] = &*watch.flags;
            stopped.store(thread.is_err(), Ordering::Relaxed);
            watch.thread = thread.ok();
        }
        watch
    }

    /// Whether the process was stopped, or is to be.
    pub fn has_stopped(&self) -> bool {
        let [_, stopped] = &*self.flags;
        stopped.load(Ordering::Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let [ended, _] = &*self.flags;
        ended.store(true, Ordering::Relaxed);
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            log::warn!("the watch of a step ended too early");
        }
    }
}
