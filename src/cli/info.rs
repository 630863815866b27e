//! `lath info`: the store, the machine, and what its kernel lacks.

use std::io::Write as _;

use argh::FromArgs;

use super::normalize::{Opt, Shape};
use super::template::Template;
use super::{Globals, Output, exit, safe};
use crate::error::Result;
use crate::image::json::Value;
use crate::session::Session;
use crate::sys::kernel::processors;
use crate::sys::kernel::Kernel;

/// Show facts about the store and this machine
#[derive(FromArgs)]
#[argh(subcommand, name = "info")]
pub struct Args {
    /// print by a template, e.g. "{{.Driver}}", or "json"
    #[argh(option, short = 'f', arg_name = "template")]
    format: Option<String>,
}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape { options: &[Opt::value("format", Some('f'))], ..Shape::PLAIN };

/// docker's labels and the fields beside them.
const LABELS: &[(&str, &str)] = &[
    ("Images", "Images"),
    ("Server Version", "ServerVersion"),
    ("Storage Driver", "Driver"),
    ("Driver Reason", "DriverReason"),
    ("Kernel Version", "KernelVersion"),
    ("OSType", "OSType"),
    ("Architecture", "Architecture"),
    ("CPUs", "NCPU"),
    ("Total Memory", "MemTotal"),
    ("Name", "Name"),
    ("Docker Root Dir", "DockerRootDir"),
    ("Store Limit", "StoreLimit"),
    ("Read-only Stores", "ReadOnlyStores"),
];

/// Prints the facts; what is missing goes to standard error.
pub fn run(args: Args, _: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    let template = args.format.as_deref().map(Template::parse).transpose()?;
    let facts = facts(&globals.open()?)?;
    if let Some(template) = template {
        writeln!(out, "{}", template.render(&facts)?)?;
        return Ok(exit::SUCCESS);
    }
    out.write_all(b"Server:\n")?;
    for (label, field) in LABELS {
        let text = match facts.get(field) {
            Some(Value::String(text)) => safe::text(text).into_owned(),
            Some(Value::Number(digits)) if *field == "MemTotal" => {
                memory(digits.parse().unwrap_or(0))
            }
            Some(Value::Number(digits)) => digits.clone(),
            _ => continue,
        };
        writeln!(out, " {label}: {text}")?;
    }
    out.flush()?;
    let warnings = facts.get("Warnings").map(Value::to_strings).unwrap_or_default();
    let mut err = std::io::stderr();
    for warning in warnings {
        // With standard error gone there is nobody to warn.
        let _ = writeln!(err, "{warning}");
    }
    Ok(exit::SUCCESS)
}

/// docker's fields.
fn facts(session: &Session) -> Result<Value> {
    let kernel = &session.kernel;
    let cpus = processors();
    let images = session.store.images()?.len();
    let root = session.store.path().display().to_string();
    let mut facts = Value::default();
    facts.set("Images", Some(Value::number(images as u64)));
    let choice = session.store.driver();
    facts.set("Driver", Some(Value::string(choice.driver.name())));
    facts.set("DriverReason", Some(Value::string(choice.why)));
    facts.set("DockerRootDir", Some(Value::string(root)));
    // `<no value>` in a template, and no line, when there is none.
    let limit = session.store.limit().map(|bytes| Value::string(super::size::human(bytes)));
    facts.set("StoreLimit", limit);
    let below = session.store.below().map(|store| Value::string(store.paths()));
    facts.set("ReadOnlyStores", below);
    facts.set("ServerVersion", Some(Value::string(env!("CARGO_PKG_VERSION"))));
    facts.set("KernelVersion", Some(Value::string(&kernel.release)));
    facts.set("OSType", Some(Value::string("linux")));
    facts.set("Architecture", Some(Value::string(&kernel.machine)));
    facts.set("NCPU", Some(Value::number(cpus as u64)));
    facts.set("MemTotal", Some(Value::number(kernel.memory_bytes)));
    facts.set("Name", Some(Value::string(&kernel.hostname)));
    facts.set("Warnings", Some(Value::strings(warnings(kernel))));
    Ok(facts)
}

/// What a user of this kernel will miss, a line each.
fn warnings(kernel: &Kernel) -> Vec<&'static str> {
    [
        (
            kernel.has_overlay,
            "WARNING: No overlay file system (CONFIG_OVERLAY_FS): layers are copied",
        ),
        (
            kernel.has_seccomp,
            "WARNING: No seccomp support (CONFIG_SECCOMP_FILTER): programs are not filtered",
        ),
        (kernel.has_cgroups, "WARNING: No cgroup support: resources cannot be limited"),
        (
            kernel.has_cgroup_namespace,
            "WARNING: No cgroup namespaces (CONFIG_CGROUPS): the host's cgroups are visible",
        ),
    ]
    .into_iter()
    .filter_map(|(is_there, warning)| (!is_there).then_some(warning))
    .collect()
}

/// `7.656GiB`: powers of 1024 and four digits, as docker shows memory.
fn memory(bytes: u64) -> String {
    let mut unit: u64 = 1;
    let mut name = "B";
    for next in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if bytes / unit < 1024 {
            break;
        }
        unit = unit.saturating_mul(1024);
        name = next;
    }
    let decimals = match bytes / unit {
        0..=9 => 3,
        10..=99 => 2,
        100..=999 => 1,
        _ => 0,
    };
    let scale = 10_u128.pow(decimals);
    let scaled = (u128::from(bytes) * scale + u128::from(unit / 2)) / u128::from(unit);
    let (whole, part) = (scaled / scale, scaled % scale);
    let part = format!("{part:0width$}", width = decimals as usize);
    match part.trim_end_matches('0') {
        "" => format!("{whole}{name}"),
        part => format!("{whole}.{part}{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_has_four_digits() {
        for (bytes, text) in [
            (0, "0B"),
            (512, "512B"),
            (1024, "1KiB"),
            (512 << 20, "512MiB"),
            (8_220_540_928, "7.656GiB"),
            (33_567_932_416, "31.26GiB"),
            (1_048_575, "1024KiB"),
        ] {
            assert_eq!(memory(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn each_thing_that_is_missing_is_one_line() {
        let mut kernel = Kernel {
            release: "6.1".into(),
            machine: "armv7l".into(),
            hostname: "box".into(),
            memory_bytes: 0,
            has_overlay: true,
            has_cgroups: true,
            has_cgroup_namespace: true,
            has_seccomp: true,
        };
        assert_eq!(warnings(&kernel), Vec::<&str>::new());
        kernel.has_overlay = false;
        kernel.has_seccomp = false;
        let lines = warnings(&kernel);
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| line.starts_with("WARNING: No ")));
    }
}
