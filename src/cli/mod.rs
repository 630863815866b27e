//! The command line: words to one call of the floor below, its answer to text.
//!
//! One file a command (copy `version.rs`) and one line in the table below. Nothing here decides
//! what a build or a container does, and nothing below prints.

pub mod arguments;
pub mod bounds;
#[cfg(feature = "containers")]
pub mod each;
pub mod exit;
pub mod findings;
pub mod listing;
pub mod normalize;
pub mod priority;
pub mod progress;
pub mod report;
pub mod safe;
pub mod size;
pub mod suggest;
pub mod table;
pub mod template;
pub mod whole_file;

mod output;

use crate::sys::flow::Outflow;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;

pub use output::Output;

use crate::error::{Error, Result};
use crate::session::{Session, Settings};
use normalize::{Front, Shape};

/// What holds for every command; written before the command's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Globals {
    /// `--root DIR`: where the store is.
    pub root: Option<String>,
    /// `--driver NAME`: the snapshot driver.
    pub driver: Option<String>,
    /// `--registry-mirror [REGISTRY=]URL`: where images are too.
    #[cfg(feature = "net")]
    pub mirrors: Vec<String>,
    /// `-D`: diagnosis on standard error.
    pub debug: bool,
}

impl Globals {
    fn set(&mut self, long: &str, value: Option<String>) {
        match long {
            "root" => self.root = value,
            "driver" => self.driver = value,
            #[cfg(feature = "net")]
            "registry-mirror" => self.mirrors.extend(value),
            "debug" => self.debug = value.as_deref() == Some("true"),
            _ => {}
        }
    }

    /// Opens what all commands but the very simple ones work with.
    fn open(&self) -> Result<Session> {
        Session::open(&self.settings())
    }

    /// The same for a command that can do without.
    #[cfg(feature = "lint")]
    fn find(&self) -> Option<Session> {
        Session::find(&self.settings())
    }

    /// The network of a command whose words say none.
    fn network(&self, command: &str) -> Result<Option<String>> {
        crate::session::default_network(&self.settings(), command)
    }

    fn settings(&self) -> Settings {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let root = self.root.clone().map(OsString::from).or_else(|| variable("LATH_ROOT"));
        let word = |name| variable(name).map(|text| text.to_string_lossy().into_owned());
        let driver = self.driver.clone().or_else(|| word("LATH_DRIVER"));
        let limit = word("LATH_STORE_LIMIT");
        Settings {
            root: root.map(PathBuf::from),
            driver,
            limit,
            stores: variable("LATH_STORES"),
            #[cfg(feature = "net")]
            mirrors: self.mirrors.clone(),
        }
    }
}

/// One row of the table of commands.
pub struct Command {
    info: &'static argh::CommandInfo,
    /// How its options are written.
    pub shape: &'static Shape,
    call: Call,
}

/// A command with its words still to be read: what argh reads, and the raw tail.
type Call = fn(&[&str], Vec<String>, &Globals, &mut Output) -> Result<i32, Stop>;

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Command {
    /// Its name.
    pub fn name(&self) -> &'static str {
        self.info.name
    }
}

/// Why a command ended before its end.
enum Stop {
    /// argh has something to say: help, or what is wrong with the words.
    Early(argh::EarlyExit),
    Failed(Error),
}

/// Declares the commands: their modules and the table `COMMANDS`, in the order of the help.
///
/// A command's module has `Args` (argh, `#[argh(subcommand, name = "..")]`), `SHAPE` and
/// `run(args, tail, globals, out)`, whose number is the exit code.
macro_rules! commands {
    ($($(#[$cfg:meta])? $module:ident),* $(,)?) => {
        $($(#[$cfg])? mod $module;)*
        static COMMANDS: &[Command] = &[$($(#[$cfg])? row!($module)),*];
    };
}

macro_rules! row {
    ($module:ident) => {
        Command {
            info: <$module::Args as argh::SubCommand>::COMMAND,
            shape: &$module::SHAPE,
            call: |argv, tail, globals, out| {
                let name = <$module::Args as argh::SubCommand>::COMMAND.name;
                let args = <$module::Args as argh::FromArgs>::from_args(&["lath", name], argv)
                    .map_err(Stop::Early)?;
                $module::run(args, tail, globals, out).map_err(Stop::Failed)
            },
        }
    };
}

commands! {
    build,
    run,
    #[cfg(feature = "containers")]
    create,
    #[cfg(feature = "containers")]
    start,
    #[cfg(feature = "containers")]
    attach,
    #[cfg(feature = "containers")]
    stop,
    #[cfg(feature = "containers")]
    restart,
    #[cfg(feature = "containers")]
    kill,
    #[cfg(feature = "containers")]
    exec,
    #[cfg(feature = "containers")]
    logs,
    #[cfg(feature = "containers")]
    cp,
    #[cfg(feature = "containers")]
    diff,
    #[cfg(feature = "containers")]
    export,
    #[cfg(feature = "containers")]
    commit,
    #[cfg(feature = "containers")]
    top,
    #[cfg(feature = "containers")]
    stats,
    #[cfg(feature = "containers")]
    ps,
    #[cfg(feature = "containers")]
    wait,
    #[cfg(feature = "containers")]
    health,
    #[cfg(feature = "containers")]
    rename,
    #[cfg(feature = "containers")]
    rm,
    #[cfg(feature = "containers")]
    volume,
    #[cfg(feature = "bridge")]
    network,
    #[cfg(feature = "bridge")]
    port,
    images,
    history,
    inspect,
    tag,
    rmi,
    #[cfg(feature = "net")]
    pull,
    #[cfg(feature = "net")]
    push,
    #[cfg(feature = "net")]
    manifest,
    load,
    save,
    import,
    #[cfg(feature = "net")]
    login,
    #[cfg(feature = "net")]
    logout,
    #[cfg(feature = "prune")]
    prune,
    #[cfg(feature = "prune")]
    df,
    #[cfg(feature = "prune")]
    gc,
    info,
    #[cfg(feature = "doctor")]
    doctor,
    #[cfg(feature = "fsck")]
    fsck,
    version,
}

/// Does what the words of the command line say, those behind the program's name, and gives the exit
/// code. Called `docker`, lath is the same.
pub fn main(words: impl Iterator<Item = OsString>) -> i32 {
    let mut out = Output::stdout();
    let mut err = std::io::stderr();
    start(words, COMMANDS, &mut out, &mut err)
}

fn start(
    words: impl Iterator<Item = OsString>,
    commands: &'static [Command],
    out: &mut Output,
    err: &mut dyn Outflow,
) -> i32 {
    let mut runs_program = false;
    let done = dispatch(words, commands, &mut runs_program, out);
    let done = match (done, out.flush()) {
        // Who reads no further has got what they wanted: `lath images | head -1`.
        (Err(_), _) if out.is_closed() => Ok(exit::SUCCESS),
        (Ok(exit::SUCCESS), Err(error)) if !out.is_closed() => {
            // Without the hint about the store's disk, which this may not be.
            let error = Error::from(error);
            Err(Error::new(error.kind(), error.text()).during("write to standard output"))
        }
        (done, _) => done,
    };
    done.unwrap_or_else(|error| {
        // With standard error gone, the exit code is all that can still be told.
        let _ = report::error(err, &error);
        exit::of_error(&error, runs_program)
    })
}

fn dispatch(
    words: impl Iterator<Item = OsString>,
    commands: &'static [Command],
    runs_program: &mut bool,
    out: &mut Output,
) -> Result<i32> {
    let words = words
        .map(|word| {
            word.into_string().map_err(|word| Error::usage(format!("{word:?} is not UTF-8")))
        })
        .collect::<Result<Vec<String>>>()?;
    let mut globals = Globals::default();
    let (command, words) = match normalize::front(&words, commands, &mut globals)? {
        Front::Help(None) => return help(commands, out),
        Front::Help(Some(command)) => (command, vec!["--help".to_owned()]),
        Front::Version => {
            writeln!(out, "lath version {}", env!("CARGO_PKG_VERSION"))?;
            return Ok(exit::SUCCESS);
        }
        Front::Command(command, words) => (command, words),
    };
    *runs_program = command.shape.runs_program;
    let line = normalize::line(command, &words, &mut globals)?;
    let level = std::env::var("LATH_LOG").ok();
    crate::logging::start(level.as_deref().or(globals.debug.then_some("debug")));
    let (argv, tail) = match line {
        Some(line) => (line.argv, line.tail),
        None => (vec!["--help".to_owned()], Vec::new()),
    };
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    match (command.call)(&argv, tail, &globals, out) {
        Ok(code) => Ok(code),
        Err(Stop::Failed(error)) => Err(error),
        Err(Stop::Early(early)) => early_exit(early, command, out),
    }
}

/// argh's help goes to standard output with code 0; what it says of wrong words becomes an error.
fn early_exit(early: argh::EarlyExit, command: &Command, out: &mut Output) -> Result<i32> {
    if early.status.is_ok() {
        out.write_all(early.output.as_bytes())?;
        if !early.output.ends_with('\n') {
            out.write_all(b"\n")?;
        }
        return Ok(exit::SUCCESS);
    }
    let text = early.output.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    let text: String = first.into_iter().chain(letters).collect();
    Err(Error::usage(text).hint(format!("see 'lath help {}'", command.name())))
}

fn help(commands: &[Command], out: &mut Output) -> Result<i32> {
    out.write_all(
        b"Usage: lath [--root DIR] [--driver overlay|copy] [-D] COMMAND [ARGUMENTS]\n\n\
          Builds and runs container images on this device.\n\nCommands:\n",
    )?;
    let width = commands.iter().map(|command| command.name().len()).max().unwrap_or_default();
    for command in commands {
        let description = command.info.description.split_whitespace().collect::<Vec<_>>().join(" ");
        writeln!(out, "  {:width$}  {description}", command.name())?;
    }
    out.write_all(b"\n'lath help COMMAND' tells more about a command.\n")?;
    Ok(exit::SUCCESS)
}

#[cfg(test)]
mod tests;
