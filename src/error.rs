//! The one error type. It knows no other room: rooms make errors, they add what they know
//! (context, place, hint) on the way up, and `cli::report` prints them.

use std::fmt;
use std::io;

/// A result with lath's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Who must act. It decides the exit code, nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The command line is wrong: exit code 2.
    Usage,
    /// A Dockerfile, an archive or a name that the user gave is wrong.
    Input,
    /// An image, a file or a stage does not exist.
    NotFound,
    /// A step of a build ended with this exit code.
    StepFailed(i32),
    /// Somebody else uses it.
    Conflict,
    /// The disk or a quota is full.
    NoSpace,
    /// The kernel says no.
    Denied,
    /// This kernel or this build of lath lacks it.
    Unsupported,
    /// What is in the store is not what was put there.
    Corrupt,
    /// A signal with this number ended the work: exit code 128+n.
    Interrupted(i32),
    /// Anything else that a system call said.
    System,
}

/// Where in a text the error is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file as the user named it.
    pub file: String,
    /// First line of the statement, from 1.
    pub line: usize,
    /// The text of that line, to be shown.
    pub text: String,
}

#[derive(Clone, Debug)]
struct Inner {
    kind: Kind,
    text: String,
    place: Option<Place>,
    hints: Vec<String>,
}

/// What happened, where, and what to do. One word large, so that results stay small.
#[derive(Clone, Debug)]
pub struct Error(Box<Inner>);

impl Error {
    /// An error of a kind; `text` starts lower-case and has no full stop.
    pub fn new(kind: Kind, text: impl Into<String>) -> Self {
        Error(Box::new(Inner { kind, text: text.into(), place: None, hints: Vec::new() }))
    }

    /// The command line is wrong.
    pub fn usage(text: impl Into<String>) -> Self {
        Self::new(Kind::Usage, text)
    }

    /// Something that the user handed in is wrong.
    pub fn input(text: impl Into<String>) -> Self {
        Self::new(Kind::Input, text)
    }

    /// Something does not exist.
    pub fn not_found(text: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, text)
    }

    /// The store or an archive does not hold what it promises.
    pub fn corrupt(text: impl Into<String>) -> Self {
        Self::new(Kind::Corrupt, text)
    }

    /// The kernel or this build of lath lacks something.
    pub fn unsupported(text: impl Into<String>) -> Self {
        Self::new(Kind::Unsupported, text)
    }

    /// A feature that this binary was built without.
    pub fn built_without(feature: &str) -> Self {
        Self::unsupported(format!("this lath was built without {feature}"))
            .hint("take a lath that has this feature")
    }

    /// Adds what to do about it; shown on a line of its own.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hints.push(hint.into());
        self
    }

    /// Says where it is, unless something below has said so already.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        if self.0.place.is_none() {
            self.0.place = Some(place);
        }
        self
    }

    /// Puts what was being done in front of the text.
    #[must_use]
    pub fn during(mut self, doing: impl fmt::Display) -> Self {
        self.0.text = format!("{doing}: {}", self.0.text);
        self
    }

    /// The same error as another kind.
    #[must_use]
    pub fn of_kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }

    /// Who must act.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What happened.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Where it happened.
    pub fn place(&self) -> Option<&Place> {
        self.0.place.as_ref()
    }

    /// What to do about it.
    pub fn hints(&self) -> &[String] {
        &self.0.hints
    }

    /// The exit code of a process that ends with this error.
    pub fn exit_code(&self) -> i32 {
        match self.0.kind {
            Kind::Usage => 2,
            Kind::Interrupted(signal) => 128 + signal,
            _ => 1,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.0.place {
            write!(f, "{}:{}: ", place.file, place.line)?;
        }
        f.write_str(&self.0.text)
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(cause: io::Error) -> Self {
        // Readers of lath's own carry its error through std's traits; it comes out unchanged.
        let cause = match cause.downcast::<Error>() {
            Ok(own) => return own,
            Err(cause) => cause,
        };
        match rustix::io::Errno::from_io_error(&cause) {
            Some(errno) => errno.into(),
            None => {
                let kind = match cause.kind() {
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => Kind::Corrupt,
                    _ => Kind::System,
                };
                Error::new(kind, cause.to_string())
            }
        }
    }
}

impl From<Error> for io::Error {
    fn from(own: Error) -> Self {
        io::Error::other(own)
    }
}

impl From<rustix::io::Errno> for Error {
    fn from(errno: rustix::io::Errno) -> Self {
        use rustix::io::Errno;
        let kind = match errno {
            Errno::NOSPC | Errno::DQUOT => Kind::NoSpace,
            Errno::ACCESS | Errno::PERM | Errno::ROFS => Kind::Denied,
            Errno::NOENT => Kind::NotFound,
            // The medium, or a file system by its own checksums.
            Errno::IO | Errno::UCLEAN | Errno::BADMSG => Kind::Corrupt,
            Errno::NOSYS | Errno::OPNOTSUPP => Kind::Unsupported,
            _ => Kind::System,
        };
        // std's text for an errno ends in "(os error 2)", which tells a user nothing.
        let text = io::Error::from(errno).to_string();
        let text = text.split(" (os error").next().unwrap_or_default().to_owned();
        let error = Error::new(kind, text);
        match kind {
            Kind::NoSpace => error.hint("free some space: lath rmi IMAGE removes images"),
            _ => error,
        }
    }
}

/// Adds what was being done to a failed result.
pub trait Context<T> {
    /// `doing` is put in front of the error's text: "open \"x\"": No such file or directory.
    fn context<D: fmt::Display>(self, doing: impl FnOnce() -> D) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context<D: fmt::Display>(self, doing: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|cause| cause.into().during(doing()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_is_put_in_front_and_the_kind_is_kept() {
        let failed: std::result::Result<(), _> = Err(rustix::io::Errno::NOSPC);
        let error = failed.context(|| "write \"a\"").unwrap_err();
        assert_eq!(error.kind(), Kind::NoSpace);
        assert_eq!(error.text(), "write \"a\": No space left on device");
    }

    #[test]
    fn an_error_survives_the_way_through_std_io() {
        let through: Error = io::Error::from(Error::input("bad tar")).into();
        assert_eq!((through.kind(), through.text()), (Kind::Input, "bad tar"));
    }

    #[test]
    fn exit_codes_follow_the_kind() {
        assert_eq!(Error::usage("x").exit_code(), 2);
        assert_eq!(Error::new(Kind::Interrupted(2), "x").exit_code(), 130);
        assert_eq!(Error::input("x").exit_code(), 1);
    }
}
