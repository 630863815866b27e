//! `--change`: single statements of a Dockerfile that change only the config of an image.
//!
//! Source: docker's `import` and `commit` (builder/dockerfile, BuildFromConfig).

use crate::dockerfile;
use crate::error::{Error, Result};
use crate::image::config::ContainerConfig;
use crate::image::platform::Platform;
use crate::instruction::{self, Scope};

/// The instructions that may be changes.
const ALLOWED: &[&str] = &[
    "CMD",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "ONBUILD",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Applies changes to a config, in order.
pub fn apply(changes: &[String], config: ContainerConfig) -> Result<ContainerConfig> {
    let host = Platform::host();
    let mut scope = Scope {
        config,
        target_platform: host.clone(),
        build_platform: host,
        escape: '\\',
        ..Scope::default()
    };
    for change in changes {
        one(change, &mut scope).map_err(|error| error.during(format!("the change {change:?}")))?;
    }
    Ok(scope.config)
}

fn one(change: &str, scope: &mut Scope) -> Result<()> {
    let first = |faults: Vec<dockerfile::Fault>| {
        let message = faults.into_iter().next().map(|fault| fault.message);
        Error::input(message.unwrap_or_default())
    };
    let document = dockerfile::parse(change.as_bytes()).map_err(first)?;
    for statement in document.statements() {
        if !ALLOWED.contains(&statement.keyword().as_ref()) {
            let text = format!("{} is not a valid change command", statement.keyword_written());
            return Err(Error::input(text).hint(format!("use {}", ALLOWED.join(", "))));
        }
        let parsed = instruction::parse(&statement, document.directives.escape)
            .map_err(|fault| first(vec![fault]))?;
        parsed.lower(scope)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_end_up_in_the_config() {
        let changes = ["CMD [\"sh\"]", "env A=1 B=2", "LABEL x=y", "WORKDIR /w", "WORKDIR d"];
        let changes: Vec<String> = changes.iter().map(|change| (*change).to_owned()).collect();
        let config = apply(&changes, ContainerConfig::default()).unwrap();
        assert_eq!(config.cmd.unwrap(), ["sh"]);
        assert_eq!(config.env, ["A=1", "B=2"]);
        assert_eq!(config.labels.get("x").map(String::as_str), Some("y"));
        assert_eq!(config.working_dir, "/w/d");
    }

    #[test]
    fn what_does_more_than_that_is_refused() {
        for (change, text) in [
            ("RUN true", "the change \"RUN true\": RUN is not a valid change command"),
            ("bogus", "the change \"bogus\": bogus is not a valid change command"),
        ] {
            let error = apply(&[change.to_owned()], ContainerConfig::default()).unwrap_err();
            assert_eq!(error.text(), text);
        }
        assert!(apply(&["ENV".to_owned()], ContainerConfig::default()).is_err());
    }
}
