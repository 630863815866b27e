//! The rules: a row with the name, the text and what is looked at, and a function each.
//!
//! Names and texts are BuildKit's, since people search for them and switch them off by name.

use std::cell::RefCell;

use super::{Here, Opening, Say};
use crate::dockerfile::{Check, Expander, Form, Statement, nearest};
use crate::image::platform::Platform;
use crate::image::reference::Reference;
use crate::instruction::{CopyFrom, Effect, Instruction, Scope, Source};

/// One rule.
pub(super) struct Rule {
    /// Its name.
    pub(super) name: &'static str,
    /// What is said, `%` for each word of the case.
    pub(super) text: &'static str,
    /// It is only checked when it is asked for.
    pub(super) is_experimental: bool,
    pub(super) scan: Scan,
}

/// What a rule looks at.
#[derive(Clone, Copy)]
pub(super) enum Scan {
    /// Each statement by itself.
    Statement(fn(&Statement<'_>, &Instruction, &mut Say<'_>)),
    /// The name of each statement from the first FROM on, beside those of all.
    Keyword(fn(&Statement<'_>, &Casing, &mut Say<'_>)),
    /// Each FROM.
    From(fn(&Opening<'_>, &mut Say<'_>)),
    /// Each statement of a stage that is looked at.
    Step(for<'a> fn(&Here<'a>, &mut Say<'a>)),
}

const fn rule(name: &'static str, text: &'static str, scan: Scan) -> Rule {
    Rule { name, text, is_experimental: false, scan }
}

/// All rules.
pub(super) static RULES: &[Rule] = &[
    rule(
        "StageNameCasing",
        "Stage name '%' should be lowercase",
        Scan::Statement(stage_name_casing),
    ),
    rule(
        "FromAsCasing",
        "'%' and '%' keywords' casing do not match",
        Scan::Statement(from_as_casing),
    ),
    rule("NoEmptyContinuation", "Empty continuation line", Scan::Statement(empty_continuation)),
    rule(
        "ConsistentInstructionCasing",
        "Command '%' should match the case of the command majority (%)",
        Scan::Keyword(instruction_casing),
    ),
    rule(
        "DuplicateStageName",
        "Duplicate stage name %, stage names should be unique",
        Scan::From(duplicate_stage_name),
    ),
    rule(
        "ReservedStageName",
        "Stage name should not use the same name as reserved stage %",
        Scan::From(reserved_stage_name),
    ),
    rule(
        "JSONArgsRecommended",
        "JSON arguments recommended for % to prevent unintended behavior related to OS signals",
        Scan::Step(json_args),
    ),
    rule(
        "MaintainerDeprecated",
        "Maintainer instruction is deprecated in favor of using label",
        Scan::Statement(maintainer),
    ),
    rule(
        "UndefinedArgInFrom",
        "FROM argument '%' is not declared%",
        Scan::From(undefined_arg_in_from),
    ),
    rule(
        "WorkdirRelativePath",
        "Relative workdir % can have unexpected results if the base image changes",
        Scan::Step(workdir_relative),
    ),
    rule("UndefinedVar", "Usage of undefined variable '$%'%", Scan::Step(undefined_var)),
    rule(
        "MultipleInstructionsDisallowed",
        "Multiple % instructions should not be used in the same stage because only the last one \
         will be used",
        Scan::Step(multiple_instructions),
    ),
    rule(
        "LegacyKeyValueFormat",
        "\"% key=value\" should be used instead of legacy \"% key value\" format",
        Scan::Step(legacy_key_value),
    ),
    rule(
        "InvalidBaseImagePlatform",
        "Base image % was pulled with platform %, expected % for current build",
        Scan::From(base_image_platform),
    ),
    rule(
        "RedundantTargetPlatform",
        "Setting platform to predefined % in FROM is redundant as this is the default behavior",
        Scan::From(redundant_target_platform),
    ),
    rule(
        "SecretsUsedInArgOrEnv",
        "Do not use ARG or ENV instructions for sensitive data (% %)",
        Scan::Step(secrets),
    ),
    rule(
        "InvalidDefaultArgInFrom",
        "Default value for ARG % results in empty or invalid base image name",
        Scan::From(invalid_default_arg),
    ),
    rule(
        "FromPlatformFlagConstDisallowed",
        "FROM --platform flag should not use constant value %",
        Scan::From(constant_platform),
    ),
    rule(
        "CopyIgnoredFile",
        "Attempting to % file % that is excluded by .dockerignore",
        Scan::Step(copy_ignored_file),
    ),
    Rule {
        is_experimental: true,
        ..rule(
            "InvalidDefinitionDescription",
            "Comment for % should follow the format: `# % <description>`",
            Scan::Statement(definition_description),
        )
    },
    rule(
        "ExposeProtoCasing",
        "Defined protocol '%' in EXPOSE instruction should be lowercase",
        Scan::Step(expose_proto_casing),
    ),
    rule(
        "ExposeInvalidFormat",
        "EXPOSE instruction should not define an IP address or host-port mapping, found '%'",
        Scan::Step(expose_invalid_format),
    ),
];

/// `ARG`s that need no declaration in front of FROM and are often misspelt.
#[rustfmt::skip]
const PLATFORM_ARGS: &[&str] = &[
    "TARGETPLATFORM", "TARGETOS", "TARGETARCH", "TARGETVARIANT", "BUILDPLATFORM", "BUILDOS",
    "BUILDARCH", "BUILDVARIANT",
];

/// Words of a variable's name that make it look like a secret, and those that take it back.
#[rustfmt::skip]
const SECRETS: &[&str] = &[
    "apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret",
    "token",
];
const NO_SECRETS: &[&str] = &["public", "file", "version"];

fn stage_name_casing(_: &Statement<'_>, instruction: &Instruction, say: &mut Say<'_>) {
    if let Instruction::From(from) = instruction
        && let Some(name) = &from.name_written
        && from.name.as_ref() != Some(name)
    {
        say.say(&[name]);
    }
}

/// A FROM in mixed case is another rule's.
fn from_as_casing(statement: &Statement<'_>, instruction: &Instruction, say: &mut Say<'_>) {
    let Instruction::From(from) = instruction else { return };
    let (Some(word), Some(is_lower)) = (&from.as_written, case(statement.keyword_written())) else {
        return;
    };
    if case(word) != Some(is_lower) {
        say.say(&[word, statement.keyword_written()]);
    }
}

fn empty_continuation(statement: &Statement<'_>, _: &Instruction, say: &mut Say<'_>) {
    if let Some(line) = statement.empty_continuation {
        say.lines = (line, line);
        say.statement = None;
        say.say(&[]);
    }
}

/// How the names of instructions are written.
pub(super) struct Casing {
    most_are_lower: bool,
}

impl Casing {
    /// What the statements from the first FROM on have. Upper case when there is no majority.
    pub(super) fn of<'a>(statements: impl Iterator<Item = Statement<'a>>) -> Casing {
        let is_from = |statement: &Statement<'_>| statement.keyword() == "FROM";
        let (mut lower, mut upper) = (0, 0);
        for statement in statements.skip_while(|statement| !is_from(statement)) {
            match case(statement.keyword_written()) {
                Some(true) => lower += 1,
                Some(false) => upper += 1,
                None => {}
            }
        }
        Casing { most_are_lower: lower > upper }
    }
}

fn instruction_casing(statement: &Statement<'_>, casing: &Casing, say: &mut Say<'_>) {
    if case(statement.keyword_written()) != Some(casing.most_are_lower) {
        let wanted = if casing.most_are_lower { "lowercase" } else { "uppercase" };
        say.say(&[statement.keyword_written(), wanted]);
    }
}

fn duplicate_stage_name(opening: &Opening<'_>, say: &mut Say<'_>) {
    if let Some(name) = opening.from.name.as_deref().filter(|name| opening.names.contains(name)) {
        say.say(&[&quoted(name)]);
    }
}

fn reserved_stage_name(opening: &Opening<'_>, say: &mut Say<'_>) {
    if let Some(name @ ("context" | "scratch")) = opening.from.name.as_deref() {
        say.say(&[&quoted(name)]);
    }
}

fn json_args(here: &Here<'_>, say: &mut Say<'_>) {
    let command = match here.instruction {
        Instruction::Cmd(cmd) => &cmd.command,
        Instruction::Entrypoint(entrypoint) => &entrypoint.command,
        _ => return,
    };
    // Who chose a shell wants it.
    let has_shell = here.scope.config.shell.as_ref().is_some_and(|shell| !shell.is_empty());
    if command.shell && !has_shell {
        say.say(&[here.statement.keyword_written()]);
    }
}

fn maintainer(_: &Statement<'_>, instruction: &Instruction, say: &mut Say<'_>) {
    if matches!(instruction, Instruction::Maintainer(_)) {
        say.say(&[]);
    }
}

fn undefined_arg_in_from(opening: &Opening<'_>, say: &mut Say<'_>) {
    let from = opening.from;
    let declared = || opening.scope.global_args.iter().map(|(name, _)| name.as_str());
    for word in [Some(&from.image_written), from.platform_written.as_ref()].into_iter().flatten() {
        for name in &Expanded::new(word, opening.scope).unknown {
            if !declared().any(|known| known == name) {
                let known = declared().chain(PLATFORM_ARGS.iter().copied());
                say.say(&[name, &meant(name, "", &mut { known })]);
            }
        }
    }
}

fn workdir_relative(here: &Here<'_>, say: &mut Say<'_>) {
    if let Instruction::Workdir(workdir) = here.instruction
        && !here.has_workdir
        && let Ok(path) = here.scope.word(&workdir.path)
        && !path.starts_with('/')
    {
        say.say(&[&quoted(&path)]);
    }
}

fn undefined_var(here: &Here<'_>, say: &mut Say<'_>) {
    for name in here.unknown {
        if say.is_done() {
            return;
        }
        let env = here.scope.config.env.iter().filter_map(|entry| entry.split('=').next());
        let args = here.scope.args.iter().filter(|(_, value)| value.is_some());
        let mut known = env.chain(args.map(|(name, _)| name.as_str()));
        say.say(&[name, &meant(name, "$", &mut known)]);
    }
}

/// The last one counts, so the one before it is told.
fn multiple_instructions<'a>(here: &Here<'a>, say: &mut Say<'a>) {
    if let Some(earlier) = here.earlier {
        say.about(earlier);
        say.say(&[here.statement.keyword_written()]);
    }
}

fn legacy_key_value(here: &Here<'_>, say: &mut Say<'_>) {
    let form = match here.instruction {
        Instruction::Env(env) => env.form,
        Instruction::Label(label) => label.form,
        _ => return,
    };
    if form == Form::Legacy {
        let keyword = here.statement.keyword_written();
        say.say(&[keyword, keyword]);
    }
}

fn base_image_platform(opening: &Opening<'_>, say: &mut Say<'_>) {
    if let Some((is, wanted)) = opening.platforms
        && (is.os != wanted.os || is.architecture != wanted.architecture)
        && let Ok(image) = opening.from.image(opening.scope)
    {
        say.say(&[&image, &quoted(&is.to_string()), &quoted(&wanted.to_string())]);
    }
}

fn redundant_target_platform(opening: &Opening<'_>, say: &mut Say<'_>) {
    const NAME: &str = "TARGETPLATFORM";
    let Some(written) = &opening.from.platform_written else { return };
    let expanded = Expanded::new(written, opening.scope);
    let is_alone = expanded.unknown.is_empty() && expanded.known == [NAME];
    if is_alone && expanded.text == opening.scope.global(NAME) {
        say.say(&[written]);
    }
}

fn secrets(here: &Here<'_>, say: &mut Say<'_>) {
    let pairs = match here.instruction {
        Instruction::Env(env) => &env.pairs,
        Instruction::Arg(arg) => &arg.pairs,
        _ => return,
    };
    for pair in pairs {
        let has = |words: &[&str]| {
            let mut parts = pair.name.split('_');
            parts.any(|part| words.iter().any(|word| part.eq_ignore_ascii_case(word)))
        };
        if has(SECRETS) && !has(NO_SECRETS) {
            say.say(&[here.instruction.keyword(), &quoted(&pair.name)]);
        }
    }
}

fn invalid_default_arg(opening: &Opening<'_>, say: &mut Say<'_>) {
    let written = &opening.from.image_written;
    if let Some(bare) = opening.bare
        && let Ok(image) = bare.global_word(written)
        && Reference::parse(&image).is_err()
    {
        say.say(&[written]);
    }
}

/// A stage that is named after its platform is meant to be for that one only.
fn constant_platform(opening: &Opening<'_>, say: &mut Say<'_>) {
    let Some(written) = &opening.from.platform_written else { return };
    let expanded = Expanded::new(written, opening.scope);
    let Some(text) = expanded.text.filter(|_| expanded.known.is_empty()) else { return };
    let Some(platform) = Platform::parse(&text).ok().filter(|_| expanded.unknown.is_empty()) else {
        return;
    };
    let name = opening.from.name.as_deref().unwrap_or_default();
    if !name.contains(&platform.os) && !name.contains(&platform.architecture) {
        say.say(&[&quoted(&text)]);
    }
}

fn copy_ignored_file(here: &Here<'_>, say: &mut Say<'_>) {
    let Effect::Copy(copy) = here.effect else { return };
    if copy.from != CopyFrom::Context {
        return;
    }
    let verb = if copy.is_add { "Add" } else { "Copy" };
    for source in &copy.sources {
        if let Source::Path(path) = source {
            let path = path.replace("/./", "/");
            if (here.ignored)(&path) {
                say.say(&[verb, &quoted(&path)]);
            }
        }
    }
}

fn definition_description(statement: &Statement<'_>, instruction: &Instruction, say: &mut Say<'_>) {
    let mut comments = statement.comments().rev();
    let comment = comments.find(|text| Check::of_comment(text).is_none());
    let Some(comment) = comment else { return };
    let described = comment.split(' ').next().unwrap_or_default();
    let names: Vec<&str> = match instruction {
        Instruction::Arg(arg) => arg.pairs.iter().map(|pair| pair.name.as_str()).collect(),
        Instruction::From(from) => from.name.iter().map(String::as_str).collect(),
        _ => return,
    };
    match names.as_slice() {
        [] => {}
        names if names.contains(&described) => {}
        [name] => say.say(&[instruction.keyword(), name]),
        _ => say.say(&[instruction.keyword(), "<arg_key>"]),
    }
}

fn expose_proto_casing(here: &Here<'_>, say: &mut Say<'_>) {
    for port in ports(here) {
        let protocol = port.rsplit_once('/').map(|(_, protocol)| protocol).unwrap_or_default();
        if protocol.bytes().any(|letter| letter.is_ascii_uppercase()) {
            say.say(&[&port]);
        }
    }
}

fn expose_invalid_format(here: &Here<'_>, say: &mut Say<'_>) {
    for port in ports(here) {
        let before = port.rsplit_once(':').map(|(before, _)| before).unwrap_or_default();
        if !before.is_empty() && before != ":" {
            say.say(&[&port]);
        }
    }
}

fn ports(here: &Here<'_>) -> Vec<String> {
    let Instruction::Expose(expose) = here.instruction else { return Vec::new() };
    let mut ports = Vec::new();
    for written in &expose.ports {
        ports.extend(here.scope.words(written).unwrap_or_default());
    }
    ports
}

/// A word of FROM, and the variables that it asked for.
struct Expanded {
    text: Option<String>,
    known: Vec<String>,
    unknown: Vec<String>,
}

impl Expanded {
    fn new(word: &str, scope: &Scope) -> Expanded {
        let (known, unknown) = (RefCell::default(), RefCell::default());
        let lookup = |name: &str| {
            let value = scope.global(name);
            let names: &RefCell<Vec<String>> = if value.is_some() { &known } else { &unknown };
            let mut names = names.borrow_mut();
            if !names.iter().any(|noted| noted == name) {
                names.push(name.to_owned());
            }
            value
        };
        let text = Expander::new(scope.escape, &lookup).word(word).ok();
        Expanded { text, known: known.into_inner(), unknown: unknown.into_inner() }
    }
}

/// Whether a word is in lower case, or else in upper case; nothing when it is in both.
fn case(word: &str) -> Option<bool> {
    let is_lower = !word.bytes().any(|letter| letter.is_ascii_uppercase());
    let is_upper = !word.bytes().any(|letter| letter.is_ascii_lowercase());
    (is_lower || is_upper).then_some(is_lower)
}

fn meant(name: &str, sign: &str, known: &mut dyn Iterator<Item = &str>) -> String {
    match nearest(name, known) {
        Some(known) => format!(" (did you mean {sign}{known}?)"),
        None => String::new(),
    }
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}
