//! What variables hold where a statement stands.

use super::Scope;
use crate::dockerfile::Expander;
use crate::error::{Error, Result};

/// The whole environment may not be larger: Linux would start no program with it, and doubling
/// values would otherwise fill the memory.
const MAX_ENV: usize = 2 << 20;

/// They are looked up one by one, so their number is bounded.
const MAX_VARIABLES: usize = 16_384;

/// Arguments that need no ARG; each is given in lower and in upper case.
const PROXIES: &[&str] = &["http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"];

/// Arguments that speak to the builder and are never in the environment.
const SILENT: &[&str] = &["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

impl Scope {
    /// The value of a variable: the last ARG or ENV that set it.
    pub fn variable(&self, name: &str) -> Option<String> {
        let argument = self.args.iter().find(|(own, _)| own == name);
        match argument {
            Some((_, Some(value))) => Some(value.clone()),
            _ => self.config.env_value(name).map(str::to_owned),
        }
    }

    /// The value of an ARG in front of the first FROM, or of a predefined one.
    pub fn global(&self, name: &str) -> Option<String> {
        let declared = self.global_args.iter().rev().filter(|(own, _)| own == name);
        let value = declared.filter_map(|(_, value)| value.clone()).next();
        value.or_else(|| self.predefined(name))
    }

    /// A word with the variables in force.
    pub fn word(&self, text: &str) -> Result<String> {
        let before = self.unknown.borrow().len();
        Expander::new(self.escape_char(), &|name| self.noted(name, before)).word(text)
    }

    /// The words that a text has once the variables are put in.
    pub fn words(&self, text: &str) -> Result<Vec<String>> {
        Expander::new(self.escape_char(), &|name| self.variable(name)).words(text)
    }

    /// A here-document with the variables in force.
    pub fn heredoc(&self, text: &str) -> Result<String> {
        let before = self.unknown.borrow().len();
        Expander::new('\\', &|name| self.noted(name, before)).heredoc(text)
    }

    /// A word of FROM or of an ARG in front of it.
    pub fn global_word(&self, text: &str) -> Result<String> {
        Expander::new(self.escape_char(), &|name| self.global(name)).word(text)
    }

    /// The environment of a RUN, and which names in it do not belong to the step's key.
    pub fn environment(&self) -> (Vec<String>, Vec<String>) {
        let mut all = self.config.env.clone();
        for (name, value) in &self.args {
            if let Some(value) = value {
                set(&mut all, name, value);
            }
        }
        let mut unkeyed = Vec::new();
        for (name, value) in self.build_args.iter() {
            let lower = name.to_ascii_lowercase();
            if value.is_empty() || !PROXIES.contains(&lower.as_str()) {
                continue;
            }
            for name in [lower.to_ascii_uppercase(), lower] {
                if !all.iter().any(|entry| entry.split('=').next() == Some(&name)) {
                    all.push(format!("{name}={value}"));
                    unkeyed.push(name);
                }
            }
        }
        (all, unkeyed)
    }

    /// The value of a variable. One that is neither set nor declared is noted, unless it was since
    /// there were so many.
    fn noted(&self, name: &str, before: usize) -> Option<String> {
        let value = self.variable(name);
        if value.is_none() && !self.args.iter().any(|(own, _)| own == name) {
            let mut unknown = self.unknown.borrow_mut();
            if !unknown.iter().skip(before).any(|noted| noted == name) {
                unknown.push(name.to_owned());
            }
        }
        value
    }

    /// An ARG is declared; without a value the variable stays what it is.
    pub(super) fn declare(&mut self, name: &str, value: Option<String>) -> Result<()> {
        let value = value.filter(|_| !SILENT.contains(&name));
        let size = name.len() + value.as_ref().map_or(0, String::len);
        match self.args.iter_mut().find(|(own, _)| own == name) {
            Some((_, old)) if value.is_some() => *old = value,
            Some(_) => {}
            None => self.args.push((name.to_owned(), value)),
        }
        self.check_size(size)
    }

    /// An ARG in front of the first FROM is declared.
    pub(super) fn declare_global(&mut self, name: &str, value: Option<String>) -> Result<()> {
        if self.global_args.len() >= MAX_VARIABLES {
            return Err(too_many());
        }
        self.global_args.push((name.to_owned(), value));
        Ok(())
    }

    /// An ENV sets a variable; an ARG of the same name has its value from now on.
    pub(super) fn set_env(&mut self, name: &str, value: &str) -> Result<()> {
        self.config.set_env(name, value);
        if let Some((_, old)) = self.args.iter_mut().find(|(own, _)| own == name) {
            *old = Some(value.to_owned());
        }
        self.check_size(name.len() + 2 * value.len() + 1)
    }

    /// After so many bytes more at most.
    fn check_size(&mut self, more: usize) -> Result<()> {
        if self.config.env.len() + self.args.len() > MAX_VARIABLES {
            return Err(too_many());
        }
        // They are counted when they can be too large, and not for each that is set.
        if let Some(room) = self.room.checked_sub(more) {
            self.room = room;
            return Ok(());
        }
        let config: usize = self.config.env.iter().map(String::len).sum();
        let values = self.args.iter().filter_map(|(_, value)| value.as_ref());
        let room = MAX_ENV.checked_sub(config + values.map(String::len).sum::<usize>());
        self.room =
            room.ok_or_else(|| Error::input("all variables together are larger than 2 MiB"))?;
        Ok(())
    }

    /// The arguments that are there without being declared in front of FROM.
    fn predefined(&self, name: &str) -> Option<String> {
        let (build, target) = (&self.build_platform, &self.target_platform);
        let value = match name {
            "BUILDPLATFORM" => build.to_string(),
            "BUILDOS" => build.os.clone(),
            "BUILDARCH" => build.architecture.clone(),
            "BUILDVARIANT" => build.variant.clone(),
            "TARGETPLATFORM" => target.to_string(),
            "TARGETOS" => target.os.clone(),
            "TARGETARCH" => target.architecture.clone(),
            "TARGETVARIANT" => target.variant.clone(),
            "BUILDOSVERSION" | "TARGETOSVERSION" => String::new(),
            "TARGETSTAGE" if self.stage_name.is_empty() => "default".to_owned(),
            "TARGETSTAGE" => self.stage_name.clone(),
            _ => return None,
        };
        Some(self.build_args.get(name).cloned().unwrap_or(value))
    }

    /// A scope that nobody told of a directive has the usual character.
    fn escape_char(&self) -> char {
        if self.escape == '\0' { '\\' } else { self.escape }
    }
}

fn too_many() -> Error {
    Error::input(format!("more than {MAX_VARIABLES} variables are set"))
}

fn set(all: &mut Vec<String>, name: &str, value: &str) {
    let entry = format!("{name}={value}");
    match all.iter_mut().find(|old| old.split('=').next() == Some(name)) {
        Some(old) => *old = entry,
        None => all.push(entry),
    }
}

#[cfg(test)]
mod tests {
    use crate::instruction::table::tests::{lower, scope};

    #[test]
    fn the_later_of_arg_and_env_is_in_force() {
        for (text, cli, in_force, in_config) in [
            ("ENV A=env\nARG A=arg", None, "arg", Some("env")),
            ("ENV A=env\nARG A=arg", Some("cli"), "cli", Some("env")),
            ("ARG A=arg\nENV A=env", Some("cli"), "env", Some("env")),
            ("ENV A=env\nARG A", None, "env", Some("env")),
            ("ARG A=1\nARG A", None, "1", None),
            ("ARG A=1\nARG A=2", None, "2", None),
        ] {
            let mut scope = scope();
            scope.build_args.extend(cli.map(|value| ("A".to_owned(), value.to_owned())));
            lower(text, &mut scope).unwrap();
            assert_eq!(scope.variable("A").as_deref(), Some(in_force), "{text}");
            assert_eq!(scope.config.env_value("A"), in_config, "{text}");
            assert!(scope.environment().0.contains(&format!("A={in_force}")), "{text}");
        }
    }

    #[test]
    fn proxies_are_given_in_both_cases_and_not_keyed() {
        let mut scope = scope();
        scope.build_args.insert("HTTP_PROXY".to_owned(), "http://p:1".to_owned());
        scope.build_args.insert("OTHER".to_owned(), "x".to_owned());
        let (env, unkeyed) = scope.environment();
        assert_eq!(env, ["PATH=/bin", "HTTP_PROXY=http://p:1", "http_proxy=http://p:1"]);
        assert_eq!(unkeyed, ["HTTP_PROXY", "http_proxy"]);
        lower("ARG HTTP_PROXY", &mut scope).unwrap();
        assert_eq!(scope.environment().1, ["http_proxy"]);
    }

    #[test]
    fn predefined_arguments_follow_the_platforms() {
        let mut scope = scope();
        scope.target_platform = crate::image::platform::Platform::normal("linux", "arm", "v7");
        for (name, value) in [
            ("TARGETPLATFORM", "linux/arm/v7"),
            ("TARGETARCH", "arm"),
            ("TARGETVARIANT", "v7"),
            ("TARGETSTAGE", "default"),
        ] {
            assert_eq!(scope.global(name).as_deref(), Some(value));
            assert_eq!(scope.variable(name), None);
        }
        scope.build_args.insert("TARGETARCH".to_owned(), "fake".to_owned());
        lower("ARG TARGETARCH\nARG TARGETVARIANT", &mut scope).unwrap();
        assert_eq!(scope.variable("TARGETARCH").as_deref(), Some("fake"));
        assert_eq!(scope.variable("TARGETVARIANT").as_deref(), Some("v7"));
    }

    #[test]
    fn doubling_a_value_ends_in_an_error() {
        let text = "ENV A=0123456789\n".to_owned() + &"ENV A=$A$A$A$A\n".repeat(30);
        let message = lower(&text, &mut scope()).unwrap_err();
        assert!(message.contains("MiB"), "{message}");
    }
}
