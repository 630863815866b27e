//! From statements to stages and steps: which stages a target needs, in which order, and the
//! cache key of a step. Pure: all errors of form appear here, before any work.

pub mod key;
#[cfg(feature = "lint")]
pub mod lint;
#[cfg(feature = "lint")]
pub mod outline;
mod stage;

pub use stage::{Base, Plan, Stage, Step, Steps};
