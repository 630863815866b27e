//! `--security-opt`: how a container is held in.

use crate::container::Flags;
use crate::error::{Error, Result};

/// Reads all of them; docker takes `name=value` and, of old, `name:value`.
pub fn parse(options: &[String], flags: &mut Flags) -> Result<()> {
    for option in options {
        let (name, value) = option.split_once(['=', ':']).unwrap_or((option, ""));
        match (name, value) {
            ("no-new-privileges", "" | "true") => flags.no_new_privileges = true,
            ("no-new-privileges", "false") => flags.no_new_privileges = false,
            ("seccomp", "unconfined") => flags.any_call = true,
            ("seccomp", "builtin") => flags.any_call = false,
            // Nothing of these holds a container in here.
            ("label" | "apparmor" | "systempaths", "disable" | "unconfined") if name != "systempaths" => {}
            _ => {
                let text = format!("the security option {option:?} is not supported yet");
                return Err(Error::unsupported(text)
                    .hint("use no-new-privileges or seccomp=unconfined"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_known_or_named() {
        let read = |words: &[&str]| {
            let mut flags = Flags::default();
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            parse(&words, &mut flags).map(|()| (flags.no_new_privileges, flags.any_call))
        };
        assert_eq!(read(&["no-new-privileges", "seccomp=unconfined"]).unwrap(), (true, true));
        assert_eq!(read(&["no-new-privileges:false", "label:disable"]).unwrap(), (false, false));
        for word in ["seccomp=/f.json", "apparmor=x", "systempaths=unconfined", "x"] {
            let error = read(&[word]).unwrap_err();
            assert_eq!(error.text(), format!("the security option {word:?} is not supported yet"));
        }
    }
}
