//! The backend of the `log` crate: diagnosis for developers, to standard error.
//!
//! What a user must see is never a log line: results and errors go through events and
//! `cli::report`. `LATH_LOG=error|warn|info|debug` sets the level; without it nothing is logged.

use std::io::Write;

struct Backend;

impl log::Log for Backend {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            // A diagnosis that cannot be written has nobody to tell.
            let _ = writeln!(
                std::io::stderr(),
                "lath[{}] {}: {}",
                record.level(),
                record.target(),
                record.args()
            );
        }
    }

    fn flush(&self) {}
}

static BACKEND: Backend = Backend;

/// Starts logging at the level named (`LATH_LOG`); unknown words mean no logging.
pub fn start(level: Option<&str>) {
    let level = level.and_then(|word| word.parse().ok()).unwrap_or(log::LevelFilter::Off);
    // Fails only when there is a logger already: then that one stays.
    if level != log::LevelFilter::Off && log::set_logger(&BACKEND).is_ok() {
        log::set_max_level(level);
    }
}
