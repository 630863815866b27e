//! What this device has of what lath wants, what each lack costs, and what to add.

mod kernel;
mod limits;

use crate::error::Error;
use crate::session::Session;
use crate::store::Driver;

/// How much of it there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// All.
    There,
    /// Not all; what is lost is said, and the rest works.
    Limited,
    /// Nothing, and lath cannot build and run without it.
    Missing,
}

/// One thing that was looked at.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What.
    pub name: &'static str,
    /// How much of it there is.
    pub state: State,
    /// What is lost without it.
    pub cost: String,
    /// What to do, most often options of the kernel's configuration.
    pub remedy: String,
}

/// What is wanted of a device: a table's row.
struct Want {
    name: &'static str,
    /// Without it nothing is built or run.
    is_needed: bool,
    /// Asks a question that changes nothing.
    is_there: fn() -> bool,
    cost: &'static str,
    remedy: &'static str,
}

impl Want {
    fn look(&self) -> Finding {
        let state = match ((self.is_there)(), self.is_needed) {
            (true, _) => State::There,
            (false, true) => State::Missing,
            (false, false) => State::Limited,
        };
        Finding { name: self.name, state, cost: self.cost.into(), remedy: self.remedy.into() }
    }
}

/// Looks at everything; what is needed comes first. `session` may be what kept the store from being
/// opened.
pub fn examine(session: &Result<Session, Error>) -> Vec<Finding> {
    let mut found: Vec<Finding> = kernel::WANTS.iter().map(Want::look).collect();
    found.push(store(session));
    found.extend(session.as_ref().ok().map(driver));
    found.extend(limits::look());
    #[cfg(feature = "net")]
    found.extend(kernel::NET.iter().map(Want::look));
    found.sort_by_key(|finding| finding.state == State::There);
    found
}

fn store(session: &Result<Session, Error>) -> Finding {
    let (state, cost, remedy) = match session {
        Ok(_) => (State::There, String::new(), String::new()),
        Err(error) => {
            let remedy = match error.hints() {
                [] => "choose another place with --root or LATH_ROOT".to_owned(),
                hints => hints.join("; "),
            };
            (State::Missing, error.text().to_owned(), remedy)
        }
    };
    Finding { name: "store", state, cost, remedy }
}

fn driver(session: &Session) -> Finding {
    let choice = session.store.driver();
    let state = match choice.driver {
        Driver::Overlay => State::There,
        Driver::Copy => State::Limited,
    };
    Finding {
        name: "overlayfs",
        state,
        cost: format!("each step begins with a copy of its image: {}", choice.why),
        remedy: "CONFIG_OVERLAY_FS, and the store on ext4, xfs, btrfs or f2fs".into(),
    }
}
