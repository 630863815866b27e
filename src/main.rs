//! The only place where the process ends.

fn main() {}
