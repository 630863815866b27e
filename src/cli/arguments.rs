//! How many arguments a command takes, said as docker says it.

use crate::error::{Error, Result};

/// Exactly so many as the names in the pattern of the result.
pub fn exactly<const N: usize>(command: &str, given: Vec<String>) -> Result<[String; N]> {
    given.try_into().map_err(|_| wrong(command, "exactly", N))
}

/// At least `least`.
pub fn at_least(command: &str, given: &[String], least: usize) -> Result<()> {
    if given.len() < least {
        return Err(wrong(command, "at least", least));
    }
    Ok(())
}

/// One or none.
pub fn one_at_most(command: &str, given: Vec<String>) -> Result<Option<String>> {
    if given.len() > 1 {
        return Err(wrong(command, "at most", 1));
    }
    Ok(given.into_iter().next())
}

/// Refuses an option that was given and that is not for the verb of a command such as `volume`.
#[cfg(feature = "containers")]
pub fn for_verb(command: &str, verb: &str, options: &[(bool, &str, &[&str])]) -> Result<()> {
    match options.iter().find(|(is_given, _, verbs)| *is_given && !verbs.contains(&verb)) {
        Some((_, option, verbs)) => {
            Err(Error::usage(format!("--{option} is for {command} {}", verbs.join(", "))))
        }
        None => Ok(()),
    }
}

/// A signal by its name or number.
pub fn signal(word: &str) -> Result<i32> {
    crate::container::signal_number(word).ok_or_else(|| {
        Error::usage(format!("invalid signal: {word}")).hint("name one as SIGTERM or 15")
    })
}

/// A time in seconds.
pub fn seconds(word: &str) -> Result<u64> {
    word.parse().map_err(|_| Error::usage(format!("{word:?} is not a number of seconds")))
}

fn wrong(command: &str, bound: &str, count: usize) -> Error {
    let plural = if count == 1 { "" } else { "s" };
    Error::usage(format!("\"lath {command}\" requires {bound} {count} argument{plural}"))
        .hint(format!("see 'lath help {command}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_number_is_told_as_docker_tells_it() {
        let words = |count: usize| vec!["x".to_owned(); count];
        assert!(exactly::<2>("tag", words(2)).is_ok());
        assert_eq!(
            exactly::<2>("tag", words(3)).unwrap_err().text(),
            "\"lath tag\" requires exactly 2 arguments"
        );
        assert_eq!(
            at_least("rmi", &words(0), 1).unwrap_err().text(),
            "\"lath rmi\" requires at least 1 argument"
        );
        assert!(one_at_most("images", words(0)).unwrap().is_none());
        assert!(one_at_most("images", words(2)).is_err());
    }
}
