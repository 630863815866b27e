//! What others want of a container than whoever looks after it: to find it, to end it, to wait for
//! it, to remove it. A signal goes to the very process that was written down: the folder's lock says
//! that its keeper lives, and the process began when the keeper says it did.

use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{Container, Record, Restart, State, keeper};
use crate::error::{Context, Error, Kind, Result};
use crate::session::Session;
use crate::sys::process::{self, began};

/// In the folder of a container that somebody has stopped: nobody starts it again but by name.
pub const STOPPED: &str = "stopped";

/// How long a killed program may take to go.
const GRACE: Duration = Duration::from_secs(10);

/// All containers, in no order, but those whose record is damaged.
pub fn all(session: &Session) -> Result<Vec<Container>> {
    all_and(session, &mut |_| ())
}

/// The same; `damaged` hears of the others.
pub fn all_and(session: &Session, damaged: &mut dyn FnMut(&Error)) -> Result<Vec<Container>> {
    let mut found = Vec::new();
    for folder in session.store.containers()? {
        match folder.config().and_then(|text| Record::parse(&text)) {
            Ok(record) => found.push(Container { record, folder }),
            Err(error) => damaged(&error),
        }
    }
    Ok(found)
}

/// The container of a name, an id, or the beginning of an id that no other has.
pub fn find(session: &Session, word: &str) -> Result<Container> {
    find_one(session, word)?.ok_or_else(|| Error::not_found(format!("No such container: {word}")))
}

/// The same, where it need not be there.
pub fn find_one(session: &Session, word: &str) -> Result<Option<Container>> {
    let mut by_id = Vec::new();
    let name = word.strip_prefix('/').unwrap_or(word);
    for container in all(session)? {
        if container.record.name == name || container.record.id == word {
            return Ok(Some(container));
        }
        if !word.is_empty() && container.record.id.starts_with(word) {
            by_id.push(container);
        }
    }
    if by_id.len() > 1 {
        return Err(Error::input(format!("several containers begin with {word}"))
            .hint("write more digits of its id, or its name"));
    }
    Ok(by_id.pop())
}

/// Removes what is left of one whose record cannot be read, by its id or the beginning of that.
/// Whether there was one.
pub fn remove_damaged(session: &Session, word: &str) -> Result<bool> {
    for folder in session.store.containers()? {
        let is_it = word.len() >= 12 && folder.id.starts_with(word);
        if is_it
            && folder.config().and_then(|text| Record::parse(&text)).is_err()
            && folder.hold()?
        {
            return folder.remove().map(|()| true);
        }
    }
    Ok(false)
}

/// Removes those that nobody looks after and `is_taken` names; their ids, and what they took on
/// the disk.
#[cfg(feature = "prune")]
pub fn prune(session: &Session, is_taken: &dyn Fn(&Record) -> bool) -> Result<(Vec<String>, u64)> {
    let (mut removed, mut bytes) = (Vec::new(), 0);
    for container in all(session)? {
        if !is_taken(&container.record) || !container.folder.hold()? {
            continue;
        }
        bytes += container.bytes()?;
        container.take_away(session, false)?;
        removed.push(container.record.id);
    }
    Ok((removed, bytes))
}

impl Container {
    /// Whether it runs, and how it is doing.
    pub fn state(&self) -> Result<(bool, State)> {
        let is_held = self.folder.is_held()?;
        let state = State::parse(&self.folder.state()?);
        Ok((is_held && state.pid > 0, state))
    }

    /// Whether somebody looks after it: it runs, or waits to be started again.
    pub fn is_kept(&self) -> Result<bool> {
        self.folder.is_held()
    }

    /// What it takes on the disk, besides its image.
    pub fn bytes(&self) -> Result<u64> {
        crate::sys::usage::usage(self.folder.dir(), ".")
    }

    /// Whether somebody has stopped it.
    pub fn was_stopped(&self) -> bool {
        self.folder.has_mark(STOPPED)
    }

    /// Whether it shall run when the machine has started: by its policy, if nobody has stopped it.
    pub fn is_wanted(&self) -> Result<bool> {
        let (_, state) = self.state()?;
        Ok(match self.record.restart {
            Restart::No => false,
            Restart::Always => !self.is_kept()?,
            _ if self.was_stopped() || self.is_kept()? || !self.folder.has_begun()? => false,
            Restart::UnlessStopped => true,
            // It ran when the power went, perhaps in the middle of a word, or had failed.
            Restart::OnFailure(_) => state.started.0 == 0 || super::inspect::code(&state) != 0,
        })
    }

    /// Begins to look after it, to start it. An error when it runs.
    pub fn hold(&self) -> Result<()> {
        if !self.folder.hold()? {
            let text = format!("container {} is running", self.record.name);
            return Err(Error::new(Kind::Conflict, text));
        }
        self.folder.set_mark(STOPPED, false)
    }

    /// Sends its program a signal. One that ends it is the user's wish that it stays ended.
    pub fn signal(&self, number: i32) -> Result<()> {
        let (is_running, state) = self.state()?;
        if !is_running {
            return Err(self.is_not_running());
        }
        if number == libc::SIGKILL || number == self.record.stop_signal {
            self.folder.set_mark(STOPPED, true)?;
        }
        self.send(&state, number)
    }

    /// The error of what only a running one can do.
    pub fn is_not_running(&self) -> Error {
        let text = format!("container {} is not running", self.record.name);
        Error::new(Kind::Conflict, text).hint("start it with lath start")
    }

    fn send(&self, state: &State, number: i32) -> Result<()> {
        let Some(pid) = keeper::process_of(state.pid) else { return Ok(()) };
        let opened = pidfd_open(pid, PidfdFlags::empty());
        if !self.is_program(pid, state)? {
            return Ok(());
        }
        match (opened, Signal::from_named_raw(number)) {
            (Ok(process), Some(signal)) => match pidfd_send_signal(process, signal) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
                Err(other) => Err(other).context(|| "send a signal"),
            },
            // Before kernel 5.3, and real-time signals.
            _ => {
                process::kill(pid, number);
                Ok(())
            }
        }
    }

    /// Whether a process is its program, as this state has it. Asked after the process was opened: it was
    /// that when it was opened, and whoever looks after it lives.
    pub(super) fn is_program(&self, pid: Pid, state: &State) -> Result<bool> {
        Ok(began(pid) == Some(state.began) && self.is_kept()?)
    }

    /// Asks its program to end and kills it when it does not, after `timeout` seconds or those that
    /// were said when it was made. Nothing happens to one that does not run.
    pub fn stop(&self, signal: Option<i32>, timeout: Option<u64>) -> Result<()> {
        self.folder.set_mark(STOPPED, true)?;
        let (_, state) = self.state()?;
        self.send(&state, signal.unwrap_or(self.record.stop_signal))?;
        let time = Duration::from_secs(timeout.unwrap_or(self.record.stop_timeout));
        if self.folder.wait(Some(time))? {
            return Ok(());
        }
        self.kill()
    }

    /// Kills its program and waits for its end.
    fn kill(&self) -> Result<()> {
        self.folder.set_mark(STOPPED, true)?;
        let (_, state) = self.state()?;
        self.send(&state, libc::SIGKILL)?;
        if self.folder.wait(Some(GRACE))? {
            return Ok(());
        }
        let text = format!("container {} does not end", self.record.name);
        Err(Error::new(Kind::System, text)
            .hint("a process that waits for a broken disk or network ends when that answers"))
    }

    /// Waits for the end of its program; the exit code.
    pub fn wait(&self) -> Result<i32> {
        self.folder.wait(None)?;
        Ok(State::parse(&self.folder.state()?).code)
    }

    /// Removes it. One that runs is killed with `force`, else that is an error.
    /// `with_volumes`: those of its volumes that nobody has named go too.
    pub fn remove(&self, session: &Session, force: bool, with_volumes: bool) -> Result<()> {
        if self.is_kept()? {
            if !force {
                let text = format!(
                    "cannot remove container \"{}\": container is running",
                    self.record.name
                );
                return Err(Error::new(Kind::Conflict, text)
                    .hint("stop the container before removing or force remove"));
            }
            self.kill()?;
        }
        // One that goes by itself may be gone already, or held by whoever removes it.
        if !self.folder.hold()? && !self.record.flags.remove {
            let text = format!("container {} was started meanwhile", self.record.name);
            return Err(Error::new(Kind::Conflict, text));
        }
        match self.take_away(session, with_volumes || self.record.flags.remove) {
            Err(error) if error.kind() == Kind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Gives it another name.
    pub fn rename(&mut self, session: &Session, name: &str) -> Result<()> {
        self.record.name = name.to_owned();
        self.is_only(session, true)?;
        self.folder.write_config(&self.record.to_text())?;
        #[cfg(feature = "bridge")]
        super::network::tell_name(&self.record);
        self.folder.sync()
    }
}
