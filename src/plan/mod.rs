//! From statements to stages and steps: which stages a target needs, and the cache key of a step.

pub mod key;
