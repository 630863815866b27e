//! From docker's command line to the one form that argh reads.
//!
//! argh knows no `--opt=value`, `-ovalue`, `-it`, a bare `-` or options in any place; docker's
//! users write all of them. So each command has a table of its options (`Shape`), and what comes
//! out is: options in the form `--long value`, then `--`, then the arguments. What a program
//! inside a container gets (`run`'s tail) never passes through argh. The rules are those of Go's
//! pflag, which docker uses; so are the words of the errors.

use super::suggest::nearest;
use super::{Command, Globals};
use crate::error::{Error, Result};

/// How an option is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing: an argh `switch`. `--x=false` takes an earlier `--x` back.
    Nothing,
    /// True or false; a bare `--x` is true. An argh `option` of type `Option<bool>`, for what is
    /// on unless `--x=false` is given.
    Truth,
    /// A value; the last one counts. An argh `option` of type `Option<..>` or with a default.
    Value,
    /// A value each time: an argh `option` of type `Vec<..>`.
    Values,
}

/// One option of a command.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    /// The name without the dashes.
    pub long: &'static str,
    /// The letter, if it has one.
    pub short: Option<char>,
    /// What follows it.
    pub takes: Takes,
}

impl Opt {
    /// An option without a value.
    pub const fn switch(long: &'static str, short: Option<char>) -> Opt {
        Opt { long, short, takes: Takes::Nothing }
    }

    /// An option that is on unless `=false` is written.
    pub const fn truth(long: &'static str, short: Option<char>) -> Opt {
        Opt { long, short, takes: Takes::Truth }
    }

    /// An option with a value.
    pub const fn value(long: &'static str, short: Option<char>) -> Opt {
        Opt { long, short, takes: Takes::Value }
    }

    /// An option that may be given many times.
    pub const fn values(long: &'static str, short: Option<char>) -> Opt {
        Opt { long, short, takes: Takes::Values }
    }
}

/// An option of docker's that can only say what is so here anyway.
#[derive(Debug)]
pub struct Settled {
    /// How it is written.
    pub opt: Opt,
    /// What it may say; every other value is refused.
    pub values: &'static [&'static str],
    /// What to do instead of the others.
    pub hint: &'static str,
}

/// Where the words begin that are handed on as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Nowhere: options may stand anywhere.
    None,
    /// After this many arguments (`run`: 1, the image). No option is looked for from there on.
    After(usize),
}

/// What the normaliser must know of a command.
#[derive(Debug)]
pub struct Shape {
    /// The options, as in the argh struct.
    pub options: &'static [Opt],
    /// Those that change nothing; argh does not know them.
    pub settled: &'static [Settled],
    /// What docker has and lath does not have yet, without dashes; one letter is a short option.
    pub planned: &'static [&'static str],
    /// What this binary was built without: the feature, and its options as in `planned`.
    pub lacking: (&'static str, &'static [&'static str]),
    /// Where its raw tail begins.
    pub tail: Tail,
    /// Whether its exit code is that of a program (`run`, `exec`).
    pub runs_program: bool,
}

impl Shape {
    /// A command with no options and no tail; the rest of a const is filled from it.
    pub const PLAIN: Shape = Shape {
        options: &[],
        settled: &[],
        planned: &[],
        lacking: ("", &[]),
        tail: Tail::None,
        runs_program: false,
    };
}

/// What stands before the command's own words.
#[derive(Debug)]
pub enum Front {
    /// Help: of all, or of a command.
    Help(Option<&'static Command>),
    /// `lath --version`.
    Version,
    /// A command and its words.
    Command(&'static Command, Vec<String>),
}

/// A command's words, sorted.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// What argh reads.
    pub argv: Vec<String>,
    /// What is handed on as it is.
    pub tail: Vec<String>,
}

const GLOBALS: Shape = Shape {
    options: &[
        Opt::value("root", None),
        Opt::value("driver", None),
        #[cfg(feature = "net")]
        Opt::values("registry-mirror", None),
        Opt::switch("debug", Some('D')),
        Opt::switch("version", Some('v')),
        Opt::switch("help", Some('h')),
    ],
    planned: &[
        "config",
        "context",
        "c",
        "host",
        "H",
        "log-level",
        "l",
        "tls",
        "tlscacert",
        "tlscert",
        "tlskey",
        "tlsverify",
    ],
    ..Shape::PLAIN
};

/// docker's word for signatures, where they would be checked.
pub const CONTENT_TRUST: Settled = Settled {
    opt: Opt::switch("disable-content-trust", None),
    values: &["true"],
    hint: "docker's content trust is not there",
};

/// docker's management commands: group, word, and the plain words that mean the same.
pub(super) const ALIASES: &[(&str, &[&str], &[&str])] = &[
    ("image", &["ls", "list"], &["images"]),
    ("image", &["rm", "remove"], &["rmi"]),
    ("image", &["inspect"], &["inspect", "--type=image"]),
    ("image", &["prune"], &["prune", "--kind=image"]),
    ("image", &["build", "history", "tag", "save", "load", "import", "pull", "push"], &[]),
    ("container", &["ls", "list", "ps"], &["ps"]),
    ("container", &["rm", "remove"], &["rm"]),
    ("container", &["inspect"], &["inspect", "--type=container"]),
    ("container", &["prune"], &["prune", "--kind=container"]),
    (
        "container",
        &[
            "run", "create", "start", "stop", "restart", "kill", "exec", "logs", "wait", "attach",
            "cp", "commit", "diff", "export", "port", "rename", "stats", "top", "pause", "unpause",
            "update",
        ],
        &[],
    ),
    ("builder", &["build"], &["build"]),
    ("builder", &["prune"], &["prune", "--kind=cache"]),
    ("buildx", &["build", "b"], &["build"]),
    ("buildx", &["prune"], &["prune", "--kind=cache"]),
    ("buildx", &["du"], &["df"]),
    ("system", &["prune"], &["prune"]),
    ("system", &["info", "df", "events"], &[]),
];

/// Reads the words before the command, and which command it is. `words` is without the name of
/// the program.
pub fn front(
    words: &[String],
    commands: &'static [Command],
    globals: &mut Globals,
) -> Result<Front> {
    let mut words = Words { rest: words };
    while let Some(word) = words.next() {
        if word == "--" || !word.starts_with('-') || word == "-" {
            let word = if word == "--" { words.next() } else { Some(word) };
            let Some(word) = word else { break };
            return command(word, words.rest, commands, globals);
        }
        let mut found = Vec::new();
        options(word, &mut words, &GLOBALS, &mut found)
            .map_err(|error| error.hint("see 'lath help'"))?;
        for option in found {
            match (option.long, option.value) {
                ("version", Some(value)) if value == "true" => return Ok(Front::Version),
                ("help", Some(value)) if value == "true" => return Ok(Front::Help(None)),
                (long, value) => globals.set(long, value),
            }
        }
    }
    Ok(Front::Help(None))
}

fn command(
    word: &str,
    rest: &[String],
    commands: &'static [Command],
    globals: &mut Globals,
) -> Result<Front> {
    if word == "help" {
        return match front(rest, commands, globals)? {
            Front::Command(command, _) => Ok(Front::Help(Some(command))),
            other => Ok(other),
        };
    }
    if let Some(found) = commands.iter().find(|command| command.name() == word) {
        return Ok(Front::Command(found, rest.to_vec()));
    }
    if cfg!(not(feature = "net")) && ["login", "logout", "manifest", "pull", "push"].contains(&word)
    {
        return Err(Error::built_without("net"));
    }
    let in_group: Vec<&str> = ALIASES
        .iter()
        .filter(|(group, _, _)| *group == word)
        .flat_map(|(_, subs, _)| subs.iter().copied())
        .collect();
    if in_group.is_empty() {
        let names = commands.iter().map(Command::name);
        let meant = nearest(word, names.chain(["help"]))
            .map_or(String::new(), |name| format!(", did you mean {name}?"));
        let text = format!("'{}' is not a lath command{meant}", super::safe::text(word));
        return Err(Error::usage(text).hint("see 'lath help'"));
    }
    group(word, &in_group, rest, commands)
}

/// `image ls` and the like.
fn group(
    name: &str,
    in_group: &[&str],
    rest: &[String],
    commands: &'static [Command],
) -> Result<Front> {
    let known = format!("'lath {name}' takes one of: {}", in_group.join(", "));
    let (sub, rest) = match rest.split_first() {
        Some((sub, rest)) if sub != "--help" && sub != "-h" => (sub.as_str(), rest),
        Some(_) => return Ok(Front::Help(None)),
        None => return Err(Error::usage(known)),
    };
    let target = ALIASES
        .iter()
        .find(|(group, subs, _)| *group == name && subs.contains(&sub))
        .map(|(_, _, target)| *target);
    let (word, extra) = match target {
        // An empty target: the word means itself.
        Some([]) => (sub, &[] as &[&str]),
        Some([word, extra @ ..]) => (*word, extra),
        None => {
            let meant = nearest(sub, in_group.iter().copied())
                .map_or(String::new(), |name| format!(", did you mean {name}?"));
            let sub = super::safe::text(sub);
            let text = format!("'{name} {sub}' is not a lath command{meant}");
            return Err(Error::usage(text).hint(known));
        }
    };
    let found = commands.iter().find(|command| command.name() == word);
    let Some(found) = found else {
        return Err(Error::usage(format!("{name} {sub} is not supported yet")));
    };
    let words = extra.iter().map(|&word| word.to_owned()).chain(rest.iter().cloned());
    Ok(Front::Command(found, words.collect()))
}

/// Sorts a command's words by its table. `None`: help was asked for.
pub fn line(command: &Command, words: &[String], globals: &mut Globals) -> Result<Option<Line>> {
    let shape = command.shape;
    let mut words = Words { rest: words };
    let mut found: Vec<Found> = Vec::new();
    let mut arguments: Vec<String> = Vec::new();
    let mut options_ended = false;
    loop {
        if shape.tail == Tail::After(arguments.len()) {
            break;
        }
        let Some(word) = words.next() else { break };
        if options_ended || word == "-" || !word.starts_with('-') {
            arguments.push(word.to_owned());
        } else if word == "--" {
            options_ended = true;
        } else if is_help(word, shape) {
            return Ok(None);
        } else if let Some(global) = global_of(word, shape) {
            let mut one = Vec::new();
            take_long(global, word, &mut words, &mut one)?;
            one.into_iter().for_each(|option| globals.set(option.long, option.value));
        } else {
            options(word, &mut words, shape, &mut found)
                .map_err(|error| error.hint(format!("see 'lath help {}'", command.name())))?;
        }
    }
    let mut argv = in_argh_form(found);
    // After this argh takes everything as an argument, a bare `-` and the word `help` too.
    argv.push("--".to_owned());
    argv.append(&mut arguments);
    Ok(Some(Line { argv, tail: words.rest.to_vec() }))
}

fn is_help(word: &str, shape: &Shape) -> bool {
    // `-h` is `run`'s short form of --hostname.
    word == "--help" || (word == "-h" && !shape.options.iter().any(|opt| opt.short == Some('h')))
}

/// lath's own long options may stand after the command too, where they mean nothing else.
fn global_of(word: &str, shape: &Shape) -> Option<&'static Opt> {
    let name = word.strip_prefix("--")?.split('=').next()?;
    let global = GLOBALS.options.iter().find(|opt| opt.long == name)?;
    let is_own = matches!(name, "root" | "driver" | "debug" | "registry-mirror");
    let is_taken = shape.options.iter().any(|opt| opt.long == name);
    (is_own && !is_taken && !shape.planned.contains(&name)).then_some(global)
}

/// The words that are left.
struct Words<'a> {
    rest: &'a [String],
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }
}

/// An option as it was found; switches have the values `true` and `false`.
struct Found {
    long: &'static str,
    takes: Takes,
    value: Option<String>,
}

fn options(word: &str, words: &mut Words, shape: &Shape, found: &mut Vec<Found>) -> Result<()> {
    let Some(name) = word.strip_prefix("--") else {
        return short_options(word, words, shape, found);
    };
    let name = name.split('=').next().unwrap_or_default();
    if let Some(opt) = shape.options.iter().find(|opt| opt.long == name) {
        return take_long(opt, word, words, found);
    }
    let settled = shape.settled.iter().find(|settled| settled.opt.long == name);
    let Some(Settled { opt, values, hint }) = settled else {
        return Err(unknown_long(name, shape));
    };
    take_long(opt, word, words, found)?;
    let value = found.pop().and_then(|found| found.value).unwrap_or_default();
    if values.contains(&value.as_str()) {
        return Ok(());
    }
    let value = super::safe::text(&value);
    Err(Error::usage(format!("--{name}={value} is not supported yet")).hint(*hint))
}

fn take_long(opt: &Opt, word: &str, words: &mut Words, found: &mut Vec<Found>) -> Result<()> {
    let written = word.split_once('=').map(|(_, value)| value);
    let value = match (opt.takes, written) {
        (Takes::Nothing | Takes::Truth, None) => "true",
        (Takes::Nothing | Takes::Truth, Some(value)) => truth(opt.long, value)?,
        (Takes::Value | Takes::Values, Some(value)) => value,
        (Takes::Value | Takes::Values, None) => words
            .next()
            .ok_or_else(|| Error::usage(format!("flag needs an argument: --{}", opt.long)))?,
    };
    found.push(Found { long: opt.long, takes: opt.takes, value: Some(value.to_owned()) });
    Ok(())
}

/// `-it`, `-tNAME`, `-t=NAME`, `-t NAME`.
fn short_options(
    word: &str,
    words: &mut Words,
    shape: &Shape,
    found: &mut Vec<Found>,
) -> Result<()> {
    let mut letters = word.strip_prefix('-').unwrap_or(word).chars();
    while let Some(letter) = letters.next() {
        let Some(opt) = shape.options.iter().find(|opt| opt.short == Some(letter)) else {
            return Err(unknown_short(letter, word, shape));
        };
        let rest = letters.as_str();
        let value = match opt.takes {
            Takes::Nothing | Takes::Truth => match rest.strip_prefix('=') {
                Some(value) => {
                    letters = "".chars();
                    truth(opt.long, value)?
                }
                None => "true",
            },
            Takes::Value | Takes::Values => {
                letters = "".chars();
                match rest.strip_prefix('=') {
                    Some(value) => value,
                    None if !rest.is_empty() => rest,
                    None => words.next().ok_or_else(|| {
                        let word = super::safe::text(word);
                        Error::usage(format!("flag needs an argument: '{letter}' in {word}"))
                    })?,
                }
            }
        };
        found.push(Found { long: opt.long, takes: opt.takes, value: Some(value.to_owned()) });
    }
    Ok(())
}

/// What Go's strconv.ParseBool takes.
fn truth(long: &str, value: &str) -> Result<&'static str> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok("true"),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok("false"),
        _ => {
            let text = format!("invalid argument {value:?} for \"--{long}\" flag: true or false");
            Err(Error::usage(text))
        }
    }
}

fn unknown_long(name: &str, shape: &Shape) -> Error {
    let (feature, lacking) = shape.lacking;
    if lacking.contains(&name) {
        return Error::built_without(feature);
    }
    if shape.planned.contains(&name) {
        return Error::usage(format!("--{name} is not supported yet"));
    }
    let meant = nearest(name, shape.options.iter().map(|opt| opt.long).chain(["help"]))
        .map_or(String::new(), |name| format!(" (did you mean --{name}?)"));
    Error::usage(format!("unknown flag: --{}{meant}", super::safe::text(name)))
}

fn unknown_short(letter: char, word: &str, shape: &Shape) -> Error {
    let is_one = |name: &&str| name.chars().eq([letter]);
    let (feature, lacking) = shape.lacking;
    if lacking.iter().any(is_one) {
        return Error::built_without(feature);
    }
    if shape.planned.iter().any(is_one) {
        return Error::usage(format!("-{letter} is not supported yet"));
    }
    // `-file x` is a long option with a dash too few.
    let name = word.strip_prefix('-').unwrap_or(word).split('=').next().unwrap_or_default();
    let is_long = shape.options.iter().any(|opt| opt.long == name);
    let meant = if is_long { format!(" (did you mean --{name}?)") } else { String::new() };
    let (letter, word) = (super::safe::text(letter.encode_utf8(&mut [0; 4])).into_owned(), word);
    let word = super::safe::text(word);
    Error::usage(format!("unknown shorthand flag: '{letter}' in {word}{meant}"))
}

fn in_argh_form(found: Vec<Found>) -> Vec<String> {
    let mut argv = Vec::new();
    let longs: Vec<&str> = found.iter().map(|option| option.long).collect();
    for (at, option) in found.into_iter().enumerate() {
        let is_last = !longs.iter().skip(at + 1).any(|later| *later == option.long);
        // argh refuses a second value where docker lets the last one count.
        if !is_last && option.takes != Takes::Values {
            continue;
        }
        let is_off = option.value.as_deref() == Some("false");
        match option.takes {
            Takes::Nothing if is_off => {}
            Takes::Nothing => argv.push(format!("--{}", option.long)),
            _ => {
                argv.push(format!("--{}", option.long));
                argv.extend(option.value);
            }
        }
    }
    argv
}
