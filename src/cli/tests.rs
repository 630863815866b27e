//! The whole way of the words, with small commands in the table.

use std::cell::RefCell;
use std::rc::Rc;

use super::normalize::{Opt, Tail};
use super::*;

mod demo {
    use super::*;

    /// Build an image
    #[derive(argh::FromArgs, Debug)]
    #[argh(subcommand, name = "build")]
    pub struct Args {
        /// name of the image
        #[argh(option, short = 't')]
        tag: Vec<String>,
        /// the Dockerfile
        #[argh(option, short = 'f')]
        file: Option<String>,
        /// say only the id
        #[argh(switch, short = 'q')]
        quiet: bool,
        /// use no cache
        #[argh(switch)]
        no_cache: bool,
        /// remove containers
        #[argh(option)]
        rm: Option<bool>,
        /// the context
        #[argh(positional)]
        context: String,
    }

    pub const SHAPE: Shape = Shape {
        options: &[
            Opt::values("tag", Some('t')),
            Opt::value("file", Some('f')),
            Opt::switch("quiet", Some('q')),
            Opt::switch("no-cache", None),
            Opt::truth("rm", None),
        ],
        settled: &[normalize::Settled {
            opt: Opt::switch("pull", None),
            values: &["false"],
            hint: "load it",
        }],
        planned: &["memory", "m"],
        ..Shape::PLAIN
    };

    pub fn run(args: Args, tail: Vec<String>, globals: &Globals, out: &mut Output) -> Result<i32> {
        let Args { tag, file, quiet, no_cache, rm, context } = args;
        writeln!(out, "{tag:?} {file:?} {quiet} {no_cache} {rm:?} {context:?}")?;
        assert!(tail.is_empty());
        if let Some(root) = &globals.root {
            writeln!(out, "root {root} debug {}", globals.debug)?;
        }
        Ok(0)
    }
}

mod demo_run {
    use super::*;

    /// Run a program
    #[derive(argh::FromArgs, Debug)]
    #[argh(subcommand, name = "run")]
    pub struct Args {
        /// keep the input open
        #[argh(switch, short = 'i')]
        interactive: bool,
        /// a terminal
        #[argh(switch, short = 't')]
        tty: bool,
        /// remove it at the end
        #[argh(switch)]
        rm: bool,
        /// ports
        #[argh(option, short = 'p')]
        publish: Vec<String>,
        /// name of the host
        #[argh(option, short = 'h')]
        hostname: Option<String>,
        /// the image
        #[argh(positional)]
        image: String,
    }

    pub const SHAPE: Shape = Shape {
        options: &[
            Opt::switch("interactive", Some('i')),
            Opt::switch("tty", Some('t')),
            Opt::switch("rm", None),
            Opt::values("publish", Some('p')),
            Opt::value("hostname", Some('h')),
        ],
        planned: &["memory", "m"],
        tail: Tail::After(1),
        runs_program: true,
        ..Shape::PLAIN
    };

    pub fn run(args: Args, tail: Vec<String>, _: &Globals, out: &mut Output) -> Result<i32> {
        let Args { interactive, tty, rm, publish, hostname, image } = args;
        writeln!(out, "{interactive} {tty} {rm} {publish:?} {hostname:?} {image} {tail:?}")?;
        Ok(7)
    }
}

static DEMO: &[Command] = &[row!(demo), row!(demo_run), row!(version)];

#[derive(Clone, Default)]
struct Kept(Rc<RefCell<Vec<u8>>>);

impl std::io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Exit code, standard output, standard error.
fn lath(words: &str) -> (i32, String, String) {
    let kept = Kept::default();
    let mut out = Output::to(Box::new(kept.clone()));
    let mut err = Vec::new();
    let words = words.split_whitespace().map(|word| match word {
        "''" => OsString::new(),
        word => OsString::from(word),
    });
    let code = start(words, DEMO, &mut out, &mut err);
    drop(out);
    let text = String::from_utf8(kept.0.borrow().clone()).unwrap();
    (code, text, String::from_utf8(err).unwrap())
}

#[test]
fn dockers_ways_to_write_options_all_work() {
    for (words, said) in [
        ("build .", r#"[] None false false None ".""#),
        (
            "build -t a -t b --tag=c -td -t=e .",
            r#"["a", "b", "c", "d", "e"] None false false None ".""#,
        ),
        ("build . -f x", r#"[] Some("x") false false None ".""#),
        ("build -f=a --file b .", r#"[] Some("b") false false None ".""#),
        ("build -f - .", r#"[] Some("-") false false None ".""#),
        ("build -", r#"[] None false false None "-""#),
        ("build -qt x -", r#"["x"] None true false None "-""#),
        ("build -q --quiet=false --no-cache=true .", r#"[] None false true None ".""#),
        ("build -q=0 .", r#"[] None false false None ".""#),
        ("build --rm=false .", r#"[] None false false Some(false) ".""#),
        ("build --rm .", r#"[] None false false Some(true) ".""#),
        ("build --file --tag .", r#"[] Some("--tag") false false None ".""#),
        ("build --file= .", r#"[] Some("") false false None ".""#),
        ("build -- -q", r#"[] None false false None "-q""#),
        ("build help", r#"[] None false false None "help""#),
        ("image build .", r#"[] None false false None ".""#),
        ("buildx build -q .", r#"[] None true false None ".""#),
        ("builder build .", r#"[] None false false None ".""#),
    ] {
        assert_eq!(lath(words), (0, format!("{said}\n"), String::new()), "{words}");
    }
}

#[test]
fn what_follows_the_image_is_handed_on_raw() {
    for (words, said) in [
        ("run -it alpine", "true true false [] None alpine []"),
        (
            "run --rm -p80:80 -p 1:1 a sh -c x",
            r#"false false true ["80:80", "1:1"] None a ["sh", "-c", "x"]"#,
        ),
        (
            "run a --rm -- -x --help -",
            r#"false false false [] None a ["--rm", "--", "-x", "--help", "-"]"#,
        ),
        ("run -- a -- b", r#"false false false [] None a ["--", "b"]"#),
        ("run -h box a", r#"false false false [] Some("box") a []"#),
        ("container run a", "false false false [] None a []"),
        ("run a --root x ''", r#"false false false [] None a ["--root", "x", ""]"#),
    ] {
        assert_eq!(lath(words), (7, format!("{said}\n"), String::new()), "{words}");
    }
}

#[test]
fn global_options_stand_before_the_command_and_long_ones_after_it_too() {
    let line = "[] None false false None \".\"\nroot /x debug true\n";
    for words in [
        "--root /x -D build --pull=false .",
        "--root=/x --debug build .",
        "build --root /x . --debug=true",
    ] {
        assert_eq!(lath(words), (0, line.to_owned(), String::new()), "{words}");
    }
}

#[test]
fn wrong_words_are_named_with_a_way_out() {
    for (words, code, said) in [
        (
            "buidl .",
            2,
            "lath: 'buidl' is not a lath command, did you mean build?\n  hint: see 'lath help'\n",
        ),
        ("image lss", 2, "lath: 'image lss' is not a lath command, did you mean ls?\n"),
        ("container ls", 2, "lath: container ls is not supported yet\n"),
        (
            "build --fiel x .",
            2,
            "lath: unknown flag: --fiel (did you mean --file?)\n  hint: see 'lath help build'\n",
        ),
        ("build --xyzzy", 2, "lath: unknown flag: --xyzzy\n"),
        ("build -x .", 2, "lath: unknown shorthand flag: 'x' in -x\n"),
        ("build -qx .", 2, "lath: unknown shorthand flag: 'x' in -qx\n"),
        (
            "build -quiet .",
            2,
            "lath: unknown shorthand flag: 'u' in -quiet (did you mean --quiet?)\n",
        ),
        ("build --file", 2, "lath: flag needs an argument: --file\n"),
        ("build -qf", 2, "lath: flag needs an argument: 'f' in -qf\n"),
        (
            "build --quiet=maybe .",
            2,
            "lath: invalid argument \"maybe\" for \"--quiet\" flag: true or false\n",
        ),
        ("build --pull .", 2, "lath: --pull=true is not supported yet\n  hint: load it\n"),
        (
            "build --pull=x .",
            2,
            "lath: invalid argument \"x\" for \"--pull\" flag: true or false\n",
        ),
        ("build --memory=1g .", 2, "lath: --memory is not supported yet\n"),
        ("build -m 1g .", 2, "lath: -m is not supported yet\n"),
        ("build", 2, "lath: required positional arguments not provided: context\n"),
        ("build a b", 2, "lath: unrecognized argument: b\n"),
        ("--config x build .", 2, "lath: --config is not supported yet\n"),
        ("run --memroy 1 a", 125, "lath: unknown flag: --memroy\n"),
        ("run -m 1 a", 125, "lath: -m is not supported yet\n"),
        ("run", 125, "lath: required positional arguments not provided: image\n"),
    ] {
        let (got, out, err) = lath(words);
        assert_eq!((got, out.as_str()), (code, ""), "{words}");
        assert!(err.starts_with(said), "{words}: {err}");
    }
}

#[test]
fn help_goes_to_standard_output_with_code_0() {
    for words in ["", "help", "--help", "-h", "-D --help", "image --help", "help image -h"] {
        let (code, out, err) = lath(words);
        assert_eq!((code, err.as_str()), (0, ""), "{words}");
        assert!(out.contains("  build    Build an image\n"), "{words}: {out}");
    }
    for words in
        ["help build", "build --help", "build -t x --help", "build -h", "image build --help"]
    {
        let (code, out, err) = lath(words);
        assert_eq!((code, err.as_str()), (0, ""), "{words}");
        assert!(out.starts_with("Usage: lath build "), "{words}: {out}");
        assert!(out.contains("--no-cache"), "{words}: {out}");
    }
}

#[test]
fn the_version_is_told_in_three_ways() {
    let own = env!("CARGO_PKG_VERSION");
    for words in ["--version", "-v", "version", "version --format={{.Client.Version}}"] {
        let (code, out, _) = lath(words);
        assert_eq!(code, 0, "{words}");
        assert!(out.contains(own), "{words}: {out}");
    }
}

#[test]
fn a_closed_reader_is_a_quiet_success_and_a_full_disk_is_not() {
    struct Broken(std::io::ErrorKind);
    impl std::io::Write for Broken {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    for (kind, code) in [(std::io::ErrorKind::BrokenPipe, 0), (std::io::ErrorKind::StorageFull, 1)]
    {
        let mut out = Output::to(Box::new(Broken(kind)));
        let mut err = Vec::new();
        assert_eq!(start(["help".into()].into_iter(), DEMO, &mut out, &mut err), code);
        assert_eq!(err.is_empty(), code == 0);
    }
}

/// What argh knows of the options, from its help: short and long name, whether a value follows,
/// and whether it may be given many times.
fn of_argh(command: &Command) -> Vec<(Option<char>, String, bool, bool)> {
    let mut out = Output::to(Box::new(std::io::sink()));
    let stop = (command.call)(&["--help"], Vec::new(), &Globals::default(), &mut out);
    let Err(Stop::Early(early)) = stop else { panic!("no help of {command:?}") };
    let usage = early.output.lines().next().unwrap();
    early
        .output
        .lines()
        .filter_map(|line| line.strip_prefix("  -").map(|_| line.trim_start()))
        .filter(|line| !line.starts_with("--help"))
        .map(|line| {
            let mut names = line.split_whitespace();
            let first = names.next().unwrap();
            let short = first.strip_prefix('-').and_then(|name| name.strip_suffix(','));
            let long = if short.is_some() { names.next().unwrap() } else { first };
            let shown = short.map_or(long.to_owned(), |letter| format!("-{letter}"));
            let after = usage
                .split(['[', ']'])
                .find(|part| part.split_whitespace().next() == Some(shown.as_str()))
                .unwrap_or_else(|| panic!("no {shown} in {usage}"));
            let long = long.trim_start_matches('-').to_owned();
            let short = short.and_then(|letter| letter.chars().next());
            (short, long, after.contains('<'), after.contains("...>"))
        })
        .collect()
}

#[test]
fn each_commands_shape_is_that_of_its_argh_struct() {
    use super::normalize::Takes;
    for command in COMMANDS.iter().chain(DEMO) {
        let mut of_shape: Vec<_> = command
            .shape
            .options
            .iter()
            .map(|opt| {
                let takes_value = opt.takes != Takes::Nothing;
                (opt.short, opt.long.to_owned(), takes_value, opt.takes == Takes::Values)
            })
            .collect();
        let mut of_argh = of_argh(command);
        of_shape.sort_unstable();
        of_argh.sort_unstable();
        assert_eq!(of_shape, of_argh, "SHAPE (left) and Args (right) of {}", command.name());
        for planned in command.shape.planned {
            let options = command.shape.options.iter().map(|opt| opt.long);
            let mut there = options.chain(command.shape.settled.iter().map(|own| own.opt.long));
            assert!(!there.any(|long| long == *planned), "--{planned} of {}", command.name());
        }
    }
}

#[test]
fn words_that_docker_groups_lead_to_options_that_exist() {
    for (group, subs, target) in normalize::ALIASES {
        let Some((name, extra)) = target.split_first() else { continue };
        let Some(command) = COMMANDS.iter().find(|command| command.name() == *name) else {
            continue;
        };
        for word in extra {
            let long = word.trim_start_matches('-').split('=').next().unwrap();
            let is_there = command.shape.options.iter().any(|opt| opt.long == long);
            assert!(is_there, "{group} {subs:?} needs --{long} of {name}");
        }
    }
}
