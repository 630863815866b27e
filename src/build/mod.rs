//! The walk of a plan: each needed step comes from the cache or is done.

mod chmod;
mod copy_tree;
