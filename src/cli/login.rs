//! `lath login`: who the user is for a registry.

use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};

use argh::FromArgs;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::normalize::{Opt, Shape};
use super::{Globals, Output, arguments, exit};
use crate::catalog::push;
use crate::error::{Context as _, Error, Result};

/// Log in to a registry
#[derive(FromArgs)]
#[argh(subcommand, name = "login")]
pub struct Args {
    /// the name
    #[argh(option, short = 'u', arg_name = "name")]
    username: Option<String>,
    /// the password; others can see it in the list of processes
    #[argh(option, short = 'p', arg_name = "password")]
    password: Option<String>,
    /// read the password from standard input
    #[argh(switch)]
    password_stdin: bool,
    /// false: without TLS, or with a certificate that nobody vouches for
    #[argh(option, arg_name = "bool")]
    tls_verify: Option<bool>,
    /// the registry (default: docker.io)
    #[argh(positional, arg_name = "server")]
    servers: Vec<String>,
}

/// The options, for the normaliser.
pub const SHAPE: Shape = Shape {
    options: &[
        Opt::value("username", Some('u')),
        Opt::value("password", Some('p')),
        Opt::switch("password-stdin", None),
        Opt::truth("tls-verify", None),
    ],
    ..Shape::PLAIN
};

/// Longer ones are none.
const MAX_BYTES: u64 = 64 << 10;

/// Tries the name and the password, and keeps them.
pub fn run(args: Args, _: Vec<String>, _: &Globals, out: &mut Output) -> Result<i32> {
    let server = arguments::one_at_most("login", args.servers)?;
    let registry = registry_of(server.as_deref().unwrap_or_default());
    if args.password.is_some() && args.password_stdin {
        return Err(Error::usage("--password and --password-stdin are mutually exclusive"));
    }
    if args.password_stdin && args.username.is_none() {
        return Err(Error::usage("Must provide --username with --password-stdin"));
    }
    let is_terminal = std::io::stdin().is_terminal();
    let user = match args.username {
        Some(user) => user,
        None if is_terminal => ask("Username: ", true)?,
        None => return Err(Error::usage("there is no terminal to ask for a name")
            .hint("give it with -u, and the password with --password-stdin")),
    };
    let password = match args.password {
        Some(password) => {
            // As docker warns.
            let _ = writeln!(
                std::io::stderr(),
                "WARNING! Using --password via the CLI is insecure. Use --password-stdin."
            );
            password
        }
        None if args.password_stdin || !is_terminal => {
            let mut text = String::new();
            std::io::stdin().take(MAX_BYTES).read_to_string(&mut text).context(|| "standard input")?;
            text.trim_end_matches(['\r', '\n']).to_owned()
        }
        None => ask("Password: ", false)?,
    };
    if user.is_empty() || password.is_empty() {
        return Err(Error::usage("a name and a password are needed"));
    }
    let kept = push::login(&registry, &user, &password, args.tls_verify == Some(false))?;
    if let Some(path) = kept {
        let path = path.display();
        writeln!(std::io::stderr(), "WARNING! The password is kept unencrypted in {path}.")?;
    }
    out.write_all(b"Login Succeeded\n")?;
    Ok(exit::SUCCESS)
}

/// The registry that a word means; docker takes whole addresses too.
pub(super) fn registry_of(word: &str) -> String {
    let word = word.strip_prefix("https://").or_else(|| word.strip_prefix("http://")).unwrap_or(word);
    match word.split('/').next().unwrap_or_default() {
        "" | "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        host => host.to_owned(),
    }
}

/// Asks on the terminal; a password is not shown.
fn ask(question: &str, is_shown: bool) -> Result<String> {
    let (stdin, mut err) = (std::io::stdin(), std::io::stderr());
    err.write_all(question.as_bytes())?;
    let before = tcgetattr(&stdin).context(|| "ask the terminal")?;
    let set = |modes: &Termios| tcsetattr(&stdin, OptionalActions::Flush, modes);
    if !is_shown {
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        set(&silent).context(|| "ask the terminal")?;
    }
    let mut line = String::new();
    let read = stdin.lock().take(MAX_BYTES).read_line(&mut line);
    if !is_shown {
        let _ = set(&before);
        err.write_all(b"\n")?;
    }
    read.context(|| "read the terminal")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_registry_by_any_of_its_names() {
        for (word, registry) in [
            ("", "docker.io"),
            ("docker.io", "docker.io"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("localhost:5000", "localhost:5000"),
            ("https://reg.example/v2/", "reg.example"),
        ] {
            assert_eq!(registry_of(word), registry);
        }
    }
}
