//! `RUN --mount=`: what is put into the world of one command.
//!
//! A comma-separated list of `key=value`, as Go's CSV reader takes it. Values may hold variables,
//! so all is checked twice: what has none with the form, the rest when the step is lowered.

use super::form::parse_bool;
use super::paths::{absolute, source};
use super::{RunMount, Scope};
use crate::dockerfile::nearest;
use crate::error::{Error, Result};

const KEYS: &[&str] = &[
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "src",
    "dst",
    "destination",
    "ro",
    "rw",
    "readwrite",
    "env",
];

const KINDS: &[&str] = &["bind", "cache", "tmpfs", "secret", "ssh"];

/// The flag as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MountFlag {
    fields: Vec<String>,
    from: Option<String>,
}

/// What the keys say, before the defaults.
#[derive(Default)]
struct Read {
    mount: RunMount,
    readonly: Option<bool>,
    uid: Option<u32>,
    gid: Option<u32>,
    source: Option<String>,
    target: Option<String>,
    id: Option<String>,
    /// A value holds a variable that is not known yet.
    open: bool,
}

impl MountFlag {
    /// Checks what can be checked without variables.
    pub(super) fn parse(text: &str) -> Result<MountFlag> {
        let fields = csv_fields(text)
            .ok_or_else(|| Error::input(format!("failed to parse csv mounts: {text:?}")))?;
        let read = read(&fields, None)?;
        if !read.open {
            check(&read)?;
        }
        Ok(MountFlag { fields, from: read.mount.from })
    }

    /// The stage, image or context that it takes files from.
    pub(super) fn from(&self) -> Option<&str> {
        self.from.as_deref()
    }

    /// The mount with its variables put in and its defaults.
    pub(super) fn lower(&self, scope: &Scope, cwd: &str) -> Result<RunMount> {
        let mut read = read(&self.fields, Some(scope))?;
        check(&read)?;
        let mut mount = std::mem::take(&mut read.mount);
        mount.uid = read.uid.unwrap_or_default();
        mount.gid = read.gid.unwrap_or_default();
        let target = read.target.filter(|target| !target.is_empty());
        let id = read.id.filter(|id| !id.is_empty());
        match mount.kind.as_str() {
            "secret" => {
                let named = read.source.or(id).filter(|id| !id.is_empty());
                let of_target = || target.as_deref().map(last_part).unwrap_or_default();
                mount.id = named.unwrap_or_else(of_target);
                mount.target = match target {
                    Some(target) => absolute(cwd, &target),
                    None if mount.env.is_some() => String::new(),
                    None => format!("/run/secrets/{}", last_part(&mount.id)),
                };
                mount.readonly = true;
                return Ok(mount);
            }
            "ssh" => {
                mount.id = id.unwrap_or_else(|| "default".to_owned());
                mount.target = target.map(|target| absolute(cwd, &target)).unwrap_or_default();
                mount.readonly = true;
                return Ok(mount);
            }
            _ => {}
        }
        mount.target = absolute(cwd, target.as_deref().unwrap_or("/"));
        if mount.target == "/" {
            return Err(Error::input(format!("invalid mount target {:?}", mount.target))
                .hint("say where with target=/PATH"));
        }
        mount.readonly = read.readonly.unwrap_or(mount.kind == "bind");
        mount.source = source(read.source.as_deref().unwrap_or("/"));
        if mount.kind == "cache" {
            mount.id = id.unwrap_or_else(|| mount.target.clone());
            if mount.sharing.is_empty() {
                mount.sharing = "shared".to_owned();
            }
        }
        Ok(mount)
    }
}

/// Reads the keys. Without a scope, values with a variable are passed over.
fn read(fields: &[String], scope: Option<&Scope>) -> Result<Read> {
    let mut read = Read::default();
    read.mount.kind = "bind".to_owned();
    for field in fields {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_ascii_lowercase(), Some(value)),
            None => (field.to_ascii_lowercase(), None),
        };
        let value = match value {
            None => {
                bare(&mut read, &key, field)?;
                continue;
            }
            Some(value) if key == "from" => {
                if value.contains('$') {
                    return Err(Error::input(
                        "'from' doesn't support variable expansion, define alias stage instead",
                    ));
                }
                value.to_owned()
            }
            Some(value) => match scope {
                Some(scope) => scope.word(value)?,
                None if value.contains(['$', '\\', '`']) && KEYS.contains(&key.as_str()) => {
                    read.open = true;
                    continue;
                }
                None => value.to_owned(),
            },
        };
        set(&mut read, &key, value, field)?;
    }
    Ok(read)
}

/// A key without a value.
fn bare(read: &mut Read, key: &str, field: &str) -> Result<()> {
    match key {
        "readonly" | "ro" => read.readonly = Some(true),
        "readwrite" | "rw" => read.readonly = Some(false),
        "required" => {
            only_for(read, key, &["secret", "ssh"])?;
            read.mount.required = true;
        }
        _ => {
            let message = format!("invalid field '{field}' must be a key=value pair");
            return Err(Error::input(message));
        }
    }
    Ok(())
}

fn set(read: &mut Read, key: &str, value: String, field: &str) -> Result<()> {
    let invalid = || Error::input(format!("invalid value for {key}: {value}"));
    // A sign in front is none of theirs.
    let number = |radix| {
        let number = u32::from_str_radix(&value, radix).ok().filter(|_| !value.starts_with('+'));
        number.ok_or_else(|| Error::input(format!("invalid value {value} for {key}")))
    };
    match key {
        "type" => {
            let kind = value.to_ascii_lowercase();
            if !KINDS.contains(&kind.as_str()) {
                let mut message = format!("unsupported mount type {value:?}");
                if let Some(meant) = nearest(&value, &mut KINDS.iter().copied()) {
                    message.push_str(&format!(" (did you mean {meant}?)"));
                }
                return Err(
                    Error::input(message).hint(format!("it is one of {}", KINDS.join(", ")))
                );
            }
            read.mount.kind = kind;
        }
        "from" => read.mount.from = Some(value).filter(|from| !from.is_empty()),
        "source" | "src" => read.source = Some(value),
        "target" | "dst" | "destination" => read.target = Some(value),
        "readonly" | "ro" => read.readonly = Some(parse_bool(&value).ok_or_else(invalid)?),
        "readwrite" | "rw" => read.readonly = Some(!parse_bool(&value).ok_or_else(invalid)?),
        "required" => {
            only_for(read, key, &["secret", "ssh"])?;
            read.mount.required = parse_bool(&value).ok_or_else(invalid)?;
        }
        "id" => read.id = Some(value),
        "env" => read.mount.env = Some(value).filter(|env| !env.is_empty()),
        "sharing" => {
            let sharing = value.to_ascii_lowercase();
            if !matches!(sharing.as_str(), "shared" | "private" | "locked") {
                return Err(Error::input(format!("unsupported sharing value {value:?}"))
                    .hint("it is shared, private or locked"));
            }
            read.mount.sharing = sharing;
        }
        "size" => {
            only_for(read, key, &["tmpfs"])?;
            read.mount.size_bytes = parse_size(&value).ok_or_else(invalid)?;
        }
        "mode" => read.mount.mode = Some(number(8)?),
        "uid" => read.uid = Some(number(10)?),
        "gid" => read.gid = Some(number(10)?),
        _ => {
            let mut message = format!("unexpected key '{key}' in '{field}'");
            if let Some(meant) = nearest(key, &mut KEYS.iter().copied()) {
                message.push_str(&format!(" (did you mean {meant}?)"));
            }
            return Err(Error::input(message));
        }
    }
    Ok(())
}

/// A key that some types do not have. The type counts that stands before it, as in docker.
fn only_for(read: &Read, key: &str, kinds: &[&str]) -> Result<()> {
    let kind = &read.mount.kind;
    if read.open || kinds.contains(&kind.as_str()) {
        return Ok(());
    }
    Err(Error::input(format!("unexpected key '{key}' for mount type '{kind}'"))
        .hint(format!("{key} is for {}; type= stands in front of it", kinds.join(" and "))))
}

/// What does not go together.
fn check(read: &Read) -> Result<()> {
    let kind = read.mount.kind.as_str();
    let given = [
        ("mode", read.mount.mode.is_some()),
        ("uid", read.uid.is_some()),
        ("gid", read.gid.is_some()),
    ];
    let has_owner = matches!(kind, "secret" | "ssh" | "cache");
    if let Some((key, _)) = given.iter().find(|(_, given)| *given && !has_owner) {
        return Err(Error::input(format!("{key} not allowed for {kind:?} type mounts")));
    }
    if !read.mount.sharing.is_empty() && kind != "cache" {
        return Err(Error::input(format!("invalid cache sharing set for {kind} mount")));
    }
    let is_given = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    if kind == "secret" {
        if read.mount.from.is_some() {
            return Err(Error::input("secret mount should not have a from"));
        }
        if !is_given(&read.source) && !is_given(&read.target) && !is_given(&read.id) {
            return Err(Error::input("invalid secret mount. one of source, target required")
                .hint("name the secret with id=NAME"));
        }
        if is_given(&read.source) && is_given(&read.id) {
            return Err(Error::input("both source and id can't be set"));
        }
    }
    if kind == "ssh" && is_given(&read.source) {
        return Err(Error::input("ssh does not support source"));
    }
    Ok(())
}

/// The fields of a line of comma-separated values (RFC 4180); nothing when its quotes are wrong.
pub fn csv_fields(text: &str) -> Option<Vec<String>> {
    let line = text.lines().next().unwrap_or_default();
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let Some(quoted) = rest.strip_prefix('"') else {
            let (field, after) = match rest.split_once(',') {
                Some((field, after)) => (field, Some(after)),
                None => (rest, None),
            };
            if field.contains('"') {
                return None;
            }
            fields.push(field.to_owned());
            match after {
                Some(after) => rest = after,
                None => return Some(fields).filter(|fields| fields.iter().any(|f| !f.is_empty())),
            }
            continue;
        };
        let mut field = String::new();
        let mut inside = quoted;
        let after = loop {
            let (part, after) = inside.split_once('"')?;
            field.push_str(part);
            match after.strip_prefix('"') {
                Some(more) => {
                    field.push('"');
                    inside = more;
                }
                None => break after,
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None => return after.is_empty().then_some(fields),
        }
    }
}

/// A size as docker reads it: `64m`, `1.5g`, `1024`, all in steps of 1024.
pub fn parse_size(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let unit = unit.trim_start().to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let unit = unit.strip_suffix('i').unwrap_or(unit);
    let factor: u64 = match unit {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1 << 40,
        "p" => 1 << 50,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().ok()?;
    let mut total = whole.checked_mul(factor)?;
    let mut worth = factor;
    for digit in fraction.chars() {
        worth /= 10;
        total = total.checked_add(u64::from(digit.to_digit(10)?) * worth)?;
    }
    Some(total)
}

fn last_part(path: &str) -> String {
    path.rsplit('/').find(|part| !part.is_empty()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instruction::table::tests::{lower, scope};
    use crate::instruction::{Effect, Lowered};

    fn mount(text: &str) -> RunMount {
        let mut scope = scope();
        scope.args.push(("T".into(), Some("/t".into())));
        scope.config.working_dir = "/w".into();
        match lower(&format!("RUN --mount={text} true"), &mut scope).expect(text) {
            Lowered { effect: Effect::Run(mut run), .. } => run.mounts.remove(0),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn defaults_follow_the_type() {
        let base = RunMount { kind: "bind".into(), source: ".".into(), ..RunMount::default() };
        let cache = RunMount { kind: "cache".into(), sharing: "shared".into(), ..base.clone() };
        let secret = RunMount { kind: "secret".into(), readonly: true, ..RunMount::default() };
        for (text, wanted) in [
            ("target=/src", RunMount { target: "/src".into(), readonly: true, ..base.clone() }),
            (
                "type=bind,from=s,source=/o/,dst=sub,rw",
                RunMount {
                    target: "/w/sub".into(),
                    from: Some("s".into()),
                    source: "o".into(),
                    ..base.clone()
                },
            ),
            (
                "type=cache,target=$T",
                RunMount { target: "/t".into(), id: "/t".into(), ..cache.clone() },
            ),
            (
                "type=cache,id=x,target=/c,mode=0711,uid=1000,gid=50,sharing=locked,ro=true",
                RunMount {
                    target: "/c".into(),
                    id: "x".into(),
                    mode: Some(0o711),
                    uid: 1000,
                    gid: 50,
                    sharing: "locked".into(),
                    readonly: true,
                    ..cache.clone()
                },
            ),
            (
                "type=tmpfs,target=/t,size=1m",
                RunMount {
                    kind: "tmpfs".into(),
                    target: "/t".into(),
                    size_bytes: 1 << 20,
                    ..base.clone()
                },
            ),
            (
                "type=secret,id=tok",
                RunMount { id: "tok".into(), target: "/run/secrets/tok".into(), ..secret.clone() },
            ),
            (
                "type=secret,id=tok,env=TOKEN,required",
                RunMount {
                    id: "tok".into(),
                    env: Some("TOKEN".into()),
                    required: true,
                    ..secret.clone()
                },
            ),
            (
                "type=secret,target=/etc/tok,mode=0440",
                RunMount {
                    id: "tok".into(),
                    target: "/etc/tok".into(),
                    mode: Some(0o440),
                    ..secret.clone()
                },
            ),
            ("type=ssh", RunMount { kind: "ssh".into(), id: "default".into(), ..secret.clone() }),
            ("type=$K,target=/x", RunMount { target: "/x".into(), readonly: true, ..base.clone() }),
        ] {
            let text = text.replace("$K", "${K:-bind}");
            assert_eq!(mount(&text), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_the_words_of_docker() {
        for (text, message) in [
            ("type=cache,target=/x,bogus=1", "unexpected key 'bogus' in 'bogus=1'"),
            ("type=bogus,target=/x", "unsupported mount type \"bogus\""),
            ("type=cahce,target=/x", "unsupported mount type \"cahce\" (did you mean cache?)"),
            ("type=cache", "invalid mount target \"/\""),
            ("type=cache,target=/c,sharing=bogus", "unsupported sharing value \"bogus\""),
            (
                "from=$S,target=/x",
                "'from' doesn't support variable expansion, define alias stage instead",
            ),
            (
                "type=bind,target=/x,required=true",
                "unexpected key 'required' for mount type 'bind'",
            ),
            ("type=secret", "invalid secret mount. one of source, target required"),
            ("type=secret,id=a,src=b", "both source and id can't be set"),
            ("target=/x,mode=0755", "mode not allowed for \"bind\" type mounts"),
            ("target=/x,sharing=shared", "invalid cache sharing set for bind mount"),
            ("target=/x,size=1m", "unexpected key 'size' for mount type 'bind'"),
            ("target=/x,ro=maybe", "invalid value for ro: maybe"),
            ("target", "invalid field 'target' must be a key=value pair"),
            ("type=cache,target=/x,uid=-1", "invalid value -1 for uid"),
            ("type=cache,target=/x,mode=+755", "invalid value +755 for mode"),
        ] {
            let failed = lower(&format!("RUN --mount={text} true"), &mut scope());
            assert_eq!(failed.unwrap_err(), message, "{text}");
        }
    }

    #[test]
    fn fields_are_cut_as_csv() {
        for (text, wanted) in [
            ("a=b,c", Some(&["a=b", "c"][..])),
            ("\"a=b,c\",d", Some(&["a=b,c", "d"])),
            ("\"a=\"\"b\"\"\"", Some(&["a=\"b\""])),
            ("a=\"b\"", None),
            ("\"a", None),
            ("\"a\"b", None),
            ("", None),
        ] {
            let cut = csv_fields(text);
            assert_eq!(
                cut.as_deref().map(|f| f.iter().map(String::as_str).collect::<Vec<_>>()),
                wanted.map(<[&str]>::to_vec),
                "{text}"
            );
        }
    }

    #[test]
    fn sizes_are_read() {
        for (text, wanted) in [
            ("1024", Some(1024)),
            ("1k", Some(1 << 10)),
            ("64MiB", Some(64 << 20)),
            ("1.5g", Some((1 << 30) + (1 << 29) - 4)),
            ("x", None),
            ("", None),
            ("1x", None),
            ("99999999999p", None),
        ] {
            match (parse_size(text), wanted) {
                (Some(read), Some(wanted)) => assert!(read.abs_diff(wanted) < 16, "{text} {read}"),
                (read, wanted) => assert_eq!(read, wanted, "{text}"),
            }
        }
    }
}
