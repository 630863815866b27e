//! `lath exec`: one more program in a container that runs.

use argh::FromArgs;

use super::normalize::{Opt, Shape, Tail};
use super::{Globals, Output, exit, report, run};
use crate::container::control::find;
use crate::container::exec::{Request, exec, exec_detached};
use crate::error::{Error, Kind, Result};

/// Run a program in a container that runs
#[derive(FromArgs)]
#[argh(subcommand, name = "exec")]
pub struct Args {
    /// in the background
    #[argh(switch, short = 'd')]
    detach: bool,
    /// a variable of the environment; a name alone hands the caller's on
    #[argh(option, short = 'e', arg_name = "name=value")]
    env: Vec<String>,
    /// keep standard input open
    #[argh(switch, short = 'i')]
    interactive: bool,
    /// all capabilities and system calls
    #[argh(switch)]
    privileged: bool,
    /// a terminal of its own
    #[argh(switch, short = 't')]
    tty: bool,
    /// user or number, perhaps with :group
    #[argh(option, short = 'u', arg_name = "user")]
    user: Option<String>,
    /// where the program starts
    #[argh(option, short = 'w', arg_name = "dir")]
    workdir: Option<String>,
    /// the container; what follows is the program and its words
    #[argh(positional, arg_name = "container")]
    containers: Vec<String>,
}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape {
    options: &[
        Opt::switch("detach", Some('d')),
        Opt::values("env", Some('e')),
        Opt::switch("interactive", Some('i')),
        Opt::switch("privileged", None),
        Opt::switch("tty", Some('t')),
        Opt::value("user", Some('u')),
        Opt::value("workdir", Some('w')),
    ],
    planned: &["detach-keys", "env-file"],
    tail: Tail::After(1),
    runs_program: true,
    ..Shape::PLAIN
};

/// Runs the program and ends with its exit code.
pub fn run(args: Args, tail: Vec<String>, globals: &Globals, _: &mut Output) -> Result<i32> {
    let Some(name) = args.containers.first().filter(|_| !tail.is_empty()) else {
        return Err(Error::usage("\"lath exec\" requires at least 2 arguments")
            .hint("see 'lath help exec'"));
    };
    let session = globals.open()?;
    let container = match find(&session, name) {
        Err(error) if error.kind() == Kind::NotFound => return failed(&error),
        other => other?,
    };
    let request = Request {
        argv: tail,
        env: args.env,
        workdir: args.workdir,
        user: args.user,
        interactive: args.interactive,
        tty: args.tty,
        privileged: args.privileged,
    };
    let ended = match args.detach {
        true => exec_detached(&container, &request).map(|_| exit::SUCCESS),
        false => exec(&container, &request),
    };
    match run::started(ended) {
        // docker's code for a container that cannot be entered.
        Err(error) if error.kind() == Kind::Conflict => failed(&error),
        other => other,
    }
}

/// Tells what the program's own codes are kept apart from.
fn failed(error: &Error) -> Result<i32> {
    // With standard error gone, the exit code is all that can still be told.
    let _ = report::error(&mut std::io::stderr(), error);
    Ok(exit::FAILED)
}
