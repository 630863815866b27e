//! `lath fsck`: checks the store, and mends it.

use std::borrow::Cow;
use std::io::Write as _;

use argh::FromArgs;

use super::normalize::{Opt, Shape};
use super::progress::{self, Mode, Terminals};
use super::{Globals, Output, exit, load};
use crate::catalog::check::{self, Checked, Counts, Fault, From, Lost, Remedy, Source};
use crate::error::{Context as _, Error, Result};
use crate::image::reference::Reference;
use crate::session::Session;

/// What is before the name of an image in a registry.
const REGISTRY: &str = "docker://";

/// Check the store, and mend it
#[derive(FromArgs)]
#[argh(subcommand, name = "fsck")]
pub struct Args {
    /// take away what is bad, and nothing else
    #[argh(switch)]
    repair: bool,
    /// with --repair: an archive, or docker://NAME in a registry, to bring lost layers and images back from
    #[argh(option, arg_name = "archive")]
    from: Option<String>,
    /// false: the registry without TLS, or with a certificate that nobody vouches for
    #[argh(option, arg_name = "bool")]
    tls_verify: Option<bool>,
    /// do not read what is in layers
    #[argh(switch)]
    quick: bool,
    /// say nothing but faults
    #[argh(switch, short = 'q')]
    quiet: bool,
}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape {
    options: &[
        Opt::switch("repair", None),
        Opt::value("from", None),
        Opt::truth("tls-verify", None),
        Opt::switch("quick", None),
        Opt::switch("quiet", Some('q')),
    ],
    ..Shape::PLAIN
};

/// Prints a line for each fault.
pub fn run(args: Args, _: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
    if args.from.is_some() && !args.repair {
        return Err(Error::usage("--from needs --repair"));
    }
    let session = globals.open()?;
    let from = args.from.as_deref().map(|from| source(from, args.tls_verify == Some(false)));
    let from = from.transpose()?;
    let (mut none, mut err) = (std::io::sink(), std::io::stderr());
    let mut progress = progress::choose(
        if args.quiet { Mode::Quiet } else { Mode::Auto },
        &mut none,
        &mut err,
        Terminals::probe(),
    );
    let checked = check::check(&session, args.quick, &mut *progress);
    let repaired = match (&checked, args.repair) {
        (Ok(checked), true) if !checked.faults.is_empty() => {
            Some(check::repair(&session, checked, from, &mut *progress))
        }
        _ => None,
    };
    let failed = repaired.as_ref().and_then(|repaired| repaired.as_ref().err());
    progress.finish(checked.as_ref().err().or(failed));
    let checked = checked.context(|| "check the store")?;
    for fault in &checked.faults {
        let note = if fault.is_note() { "note: " } else { "" };
        write!(out, "{note}{}: expected {}, found {}", fault.object, fault.expected, fault.found)?;
        match args.repair && !is_left(fault) {
            true => writeln!(out)?,
            false => writeln!(out, "; mend: {}", mend(&session, &checked, fault)?)?,
        }
    }
    let count = checked.faults.iter().filter(|fault| !fault.is_note()).count();
    let Some(repaired) = repaired else {
        if count > 0 {
            writeln!(out, "{count} faults")?;
            return Ok(exit::FAILED);
        }
        if !args.quiet {
            let Counts { layers, images, steps, records } = checked.counts;
            writeln!(
                out,
                "clean: {images} images, {layers} layers, {steps} steps, {records} cache records"
            )?;
        }
        return Ok(exit::SUCCESS);
    };
    // What was found is told even when it could not be mended.
    out.flush()?;
    let repaired = repaired.context(|| "repair the store")?;
    for fault in &repaired.faults {
        let how = match fault.remedy {
            Remedy::Name(_) | Remedy::Command(_) => continue,
            Remedy::Write(_) | Remedy::Make => "Written anew",
            _ => "Removed",
        };
        writeln!(out, "{how}: {}", fault.object)?;
    }
    let [layers, images] = repaired.restored;
    let left = checked.faults.iter().filter(|fault| is_left(fault)).count();
    let mended = count.saturating_sub(left);
    writeln!(out, "{mended} faults mended; {layers} layers and {images} images restored")?;
    Ok(if left > 0 { exit::FAILED } else { exit::SUCCESS })
}

/// Whether it is not for `--repair` to mend.
fn is_left(fault: &Fault) -> bool {
    matches!(fault.remedy, Remedy::Command(_))
}

/// Where to bring back from.
fn source(from: &str, may_be_plain: bool) -> Result<From> {
    // As skopeo has it: a name without this is that of a file.
    match from.strip_prefix(REGISTRY) {
        Some(name) => Ok(From::Registry(Reference::parse(name)?, may_be_plain)),
        None => load::open(Some(from)).map(From::Archive),
    }
}

/// The command that mends a fault.
fn mend<'a>(session: &Session, checked: &Checked, fault: &'a Fault) -> Result<Cow<'a, str>> {
    Ok(match &fault.remedy {
        Remedy::Lose(lost) if *lost != Lost::Layer(None) => {
            match session.store.source(checked, lost)? {
                Source::Registry(name) => {
                    format!("lath fsck --repair --from {REGISTRY}{name}").into()
                }
                Source::Build(Some(name)) => {
                    format!("lath fsck --repair, then lath build -t {name} CONTEXT").into()
                }
                Source::Build(None) => "lath fsck --repair, then lath build CONTEXT".into(),
                Source::Archive => "lath fsck --repair --from ARCHIVE".into(),
            }
        }
        Remedy::Command(command) => command.as_str().into(),
        Remedy::Name(path) => format!("LATH_STORES={path}").into(),
        _ => "lath fsck --repair".into(),
    })
}
