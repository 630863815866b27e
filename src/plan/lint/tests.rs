//! The rules as a whole: a text, and what is found in it; the words of each rule once.

use super::*;
use crate::dockerfile;
use crate::image::config::ContainerConfig;

/// A way to look at a Dockerfile; the default is `--check` with an unknown base image.
#[derive(Default)]
struct Look<'a> {
    build_args: &'a [(&'a str, &'a str)],
    base: Option<ImageConfig>,
    ignored: &'a [&'a str],
    only_needed: bool,
}

impl Look<'_> {
    fn at(&self, text: &str) -> Outcome {
        let document = dockerfile::parse(text.as_bytes()).expect(text);
        let pairs = self.build_args.iter();
        let build_args = pairs.map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let target_platform = Platform::parse("linux/amd64").unwrap();
        let scope = Scope { build_args, target_platform, ..Scope::default() };
        let plan = Plan::new(&document, scope.clone(), None).expect(text);
        let subject = Subject {
            document: &document,
            plan: &plan,
            rules: &document.directives.check,
            scope,
            every_stage: !self.only_needed,
            base: &|_| self.base.clone(),
            ignored: &|path| self.ignored.contains(&path),
        };
        check(&subject, &mut |_, _| {})
    }

    /// Line, name and text of each finding.
    fn told(&self, text: &str) -> Vec<(usize, &'static str, String)> {
        let findings = self.at(text).findings.into_iter();
        findings.map(|found| (found.lines.0, found.rule, found.message)).collect()
    }
}

fn told(text: &str) -> Vec<(usize, &'static str, String)> {
    Look::default().told(text)
}

#[test]
fn each_rule_finds_its_case_and_says_so_in_its_words() {
    let json = "JSON arguments recommended for CMD to prevent unintended behavior related to OS \
                signals";
    let multiple = "Multiple CMD instructions should not be used in the same stage because only \
                    the last one will be used";
    for (text, line, rule, message) in [
        ("FROM x AS Up", 1, "StageNameCasing", "Stage name 'Up' should be lowercase"),
        ("FROM x as a", 1, "FromAsCasing", "'as' and 'FROM' keywords' casing do not match"),
        ("from x As a", 1, "FromAsCasing", "'As' and 'from' keywords' casing do not match"),
        ("FROM x\nRUN a \\\n\n b", 4, "NoEmptyContinuation", "Empty continuation line"),
        (
            "FROM x\nrun a\nRUN b",
            2,
            "ConsistentInstructionCasing",
            "Command 'run' should match the case of the command majority (uppercase)",
        ),
        (
            "from x\nrun a\nRun b",
            3,
            "ConsistentInstructionCasing",
            "Command 'Run' should match the case of the command majority (lowercase)",
        ),
        (
            "FROM x AS a\nFROM y AS a",
            2,
            "DuplicateStageName",
            "Duplicate stage name \"a\", stage names should be unique",
        ),
        (
            "FROM x AS context",
            1,
            "ReservedStageName",
            "Stage name should not use the same name as reserved stage \"context\"",
        ),
        ("FROM x\nCMD a b", 2, "JSONArgsRecommended", json),
        (
            "FROM x\nMAINTAINER m",
            2,
            "MaintainerDeprecated",
            "Maintainer instruction is deprecated in favor of using label",
        ),
        (
            "ARG TAG=1\nFROM x:${TAGS:-1}",
            2,
            "UndefinedArgInFrom",
            "FROM argument 'TAGS' is not declared (did you mean TAG?)",
        ),
        (
            "FROM --platform=${TARGETPLATFROM:-linux/arm64} x",
            1,
            "UndefinedArgInFrom",
            "FROM argument 'TARGETPLATFROM' is not declared (did you mean TARGETPLATFORM?)",
        ),
        (
            "FROM x\nENV D=w\nWORKDIR $D/x",
            3,
            "WorkdirRelativePath",
            "Relative workdir \"w/x\" can have unexpected results if the base image changes",
        ),
        (
            "FROM x\nENV A=$PAHT",
            2,
            "UndefinedVar",
            "Usage of undefined variable '$PAHT' (did you mean $PATH?)",
        ),
        ("FROM x\nCOPY <<E /e\n$Q\nE", 2, "UndefinedVar", "Usage of undefined variable '$Q'"),
        ("FROM x\nCMD [\"a\"]\nRUN b\nCMD [\"c\"]", 2, "MultipleInstructionsDisallowed", multiple),
        (
            "FROM x\nLABEL a b",
            2,
            "LegacyKeyValueFormat",
            "\"LABEL key=value\" should be used instead of legacy \"LABEL key value\" format",
        ),
        (
            "FROM --platform=${TARGETPLATFORM} x",
            1,
            "RedundantTargetPlatform",
            "Setting platform to predefined ${TARGETPLATFORM} in FROM is redundant as this is \
             the default behavior",
        ),
        (
            "FROM x\nARG A=1 MY_Token_2",
            2,
            "SecretsUsedInArgOrEnv",
            "Do not use ARG or ENV instructions for sensitive data (ARG \"MY_Token_2\")",
        ),
        (
            "FROM --platform=linux/arm64 x AS a",
            1,
            "FromPlatformFlagConstDisallowed",
            "FROM --platform flag should not use constant value \"linux/arm64\"",
        ),
        (
            "# check=experimental=all\nFROM x\n# word\nARG A B",
            4,
            "InvalidDefinitionDescription",
            "Comment for ARG should follow the format: `# <arg_key> <description>`",
        ),
        (
            "# check=experimental=InvalidDefinitionDescription\n# word\nFROM x AS a",
            3,
            "InvalidDefinitionDescription",
            "Comment for FROM should follow the format: `# a <description>`",
        ),
        (
            "FROM x\nEXPOSE 80 53/Udp",
            2,
            "ExposeProtoCasing",
            "Defined protocol '53/Udp' in EXPOSE instruction should be lowercase",
        ),
        (
            "FROM x\nENV P=1:2\nEXPOSE $P 3",
            3,
            "ExposeInvalidFormat",
            "EXPOSE instruction should not define an IP address or host-port mapping, found '1:2'",
        ),
    ] {
        assert_eq!(told(text), [(line, rule, message.to_owned())], "{text}");
    }
}

#[test]
fn what_is_meant_is_not_found() {
    for text in [
        "FROM x AS a\nFROM a AS b",
        "from x as a\nrun b",
        "arg A=1\nFROM x",
        "FROM x\nSHELL [\"/bin/sh\"]\nCMD a b",
        "FROM x\nRUN echo $NOPE\nCMD [\"$NOPE\"]",
        "FROM x\nARG A\nENV B=$A$PATH",
        "ARG A\nFROM x${A}",
        "FROM x AS a\nWORKDIR /a\nFROM a\nWORKDIR b",
        "FROM x AS a\nCMD [\"a\"]\nFROM a\nCMD [\"b\"]",
        "FROM --platform=$BUILDPLATFORM x",
        "FROM --platform=linux/arm64 x AS build-arm64",
        "ARG SECRET\nFROM x\nENV PUBLIC_KEY=a TOKEN_FILE=b TOKENS=c",
        "FROM x\nEXPOSE 80-90/tcp 53/udp :81",
        "# word\nFROM x AS a",
        "# check=experimental=all\n\n# word\n\nFROM x AS a\n# A is b\n# check=skip=X\nARG A",
        "# check=experimental=all\n# word\nFROM x",
    ] {
        let found = told(text);
        assert!(found.is_empty(), "{text}: {found:?}");
    }
}

#[test]
fn directives_and_comments_switch_rules_off() {
    let body = "FROM x AS Up\nMAINTAINER m";
    for (top, rules) in [
        ("", &["StageNameCasing", "MaintainerDeprecated"][..]),
        ("# check=skip=all\n", &[]),
        ("# check=skip=StageNameCasing;error=true\n", &["MaintainerDeprecated"]),
        ("# check=error=true\n# word\n# check = skip=StageNameCasing\n", &["MaintainerDeprecated"]),
        (
            "# word\n# check=skip=MaintainerDeprecated\n",
            &["StageNameCasing", "MaintainerDeprecated"],
        ),
    ] {
        let found = told(&format!("{top}{body}"));
        let found: Vec<&str> = found.iter().map(|(_, rule, _)| *rule).collect();
        assert_eq!(found, rules, "{top:?}");
    }
}

#[test]
fn defaults_of_arguments_make_a_name_by_themselves() {
    let look = Look { build_args: &[("T", "1")], ..Look::default() };
    let message = "Default value for ARG x:$T results in empty or invalid base image name";
    let wanted = [(2, "InvalidDefaultArgInFrom", message.to_owned())];
    assert_eq!(look.told("ARG T\nFROM x:$T"), wanted);
    assert_eq!(look.told("ARG T=0\nFROM x:$T"), []);
}

#[test]
fn a_base_image_is_asked_for_its_platform_its_variables_and_its_triggers() {
    let env = vec!["HOME_OF=/x".to_owned()];
    let on_build = vec!["ENV LATER=$NOPE".to_owned()];
    let config = ContainerConfig { env, on_build, ..ContainerConfig::default() };
    let platform = Platform::parse("linux/arm64").unwrap();
    let look = Look {
        base: Some(ImageConfig { config, platform, ..ImageConfig::default() }),
        ..Look::default()
    };
    let platform = "Base image x was pulled with platform \"linux/arm64\", expected \
                    \"linux/amd64\" for current build";
    let variable = "Usage of undefined variable '$NOPE'";
    let wanted = [
        (1, "InvalidBaseImagePlatform", platform.to_owned()),
        (1, "UndefinedVar", variable.to_owned()),
    ];
    assert_eq!(look.told("FROM x\nENV A=$HOME_OF B=$LATER"), wanted);
}

#[test]
fn each_word_tells_a_variable_once() {
    let found = told("FROM x\nENV A=$X$X B=$X\nCOPY a $Y");
    let lines: Vec<usize> = found.iter().map(|(line, _, _)| *line).collect();
    assert_eq!(lines, [2, 2, 3]);
}

#[test]
fn ignored_files_are_found_by_their_clean_paths() {
    let look = Look { ignored: &["d/a.log"], ..Look::default() };
    let message =
        |verb| format!("Attempting to {verb} file \"d/a.log\" that is excluded by .dockerignore");
    let text = "FROM x AS a\nCOPY ./d/a.log b /x/\nADD --link d//a.log http://d/a.log /y/\n\
                COPY --parents d/./a.log /z/\nCOPY --from=other d/a.log /";
    let (copy, add) = (message("Copy"), message("Add"));
    let rule = "CopyIgnoredFile";
    assert_eq!(look.told(text), [(2, rule, copy.clone()), (3, rule, add), (4, rule, copy)]);
}

#[test]
fn a_build_looks_at_the_stages_that_it_needs() {
    let text = "FROM x AS Up\nMAINTAINER m\nENV A=$NOPE\nEXPOSE no\nFROM x\nENV B=$NONE";
    let rules = |outcome: &Outcome| {
        outcome.findings.iter().map(|found| (found.lines.0, found.rule)).collect::<Vec<_>>()
    };
    let all = Look::default().at(text);
    let texts = [(1, "StageNameCasing"), (2, "MaintainerDeprecated")];
    assert_eq!(rules(&all)[..2], texts);
    assert_eq!(rules(&all)[2..], [(3, "UndefinedVar"), (6, "UndefinedVar")]);
    assert_eq!(all.fault.unwrap().line, 4);
    let needed = Look { only_needed: true, ..Look::default() }.at(text);
    assert_eq!(rules(&needed)[..2], texts);
    assert_eq!(rules(&needed)[2..], [(6, "UndefinedVar")]);
    assert!(needed.fault.is_none());
}

#[test]
fn findings_are_bounded() {
    let text = "FROM x\n".to_owned() + &"MAINTAINER m\n".repeat(3 * MAX_FINDINGS);
    assert_eq!(told(&text).len(), MAX_FINDINGS);
}

#[test]
fn every_rule_has_a_name_of_its_own() {
    for (at, rule) in RULES.iter().enumerate() {
        assert!(RULES.iter().skip(at + 1).all(|other| other.name != rule.name), "{}", rule.name);
    }
}
