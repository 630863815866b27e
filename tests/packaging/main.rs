//! What packages bring besides the binary: completions that complete, scripts that start containers.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a broken assumption of a test is a failed test"
)]

#[path = "../harness/mod.rs"]
mod harness;

use harness::{Lath, Need, binary, finish, needs};
use std::os::unix::fs::symlink;
use std::process::Command;

const HERE: &[Need] = &[
    Need::Root,
    Need::Busybox,
    Need::Program("bash"),
    Need::Program("fish"),
    Need::Program("zsh"),
];
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging");

/// A store with two images and a container, and the binary on a path of its own.
fn prepared() -> Lath {
    let lath = Lath::with_busybox();
    lath.ok(&["tag", "busybox", "hub/app:1.0"]);
    lath.ok(&["create", "--name", "web", "busybox", "true"]);
    lath.ok(&["volume", "create", "data"]);
    lath.write("context/inside/file", "");
    lath.write("bin/keep", "");
    symlink(binary(), lath.path("bin/lath")).unwrap();
    lath
}

/// What a shell prints.
fn shell(lath: &Lath, words: &[&str]) -> Vec<String> {
    let mut command = Command::new(words[0]);
    let path = format!("{}:/usr/bin:/bin", lath.text("bin"));
    command.args(&words[1..]).env_clear().env("PATH", path).env("HOME", lath.text(""));
    command.env("LATH_ROOT", lath.store()).current_dir(lath.path("context"));
    let said = finish(&mut command, b"").success().stdout;
    said.lines().map(str::to_owned).collect()
}

/// What bash offers for this line, parted as bash parts it.
fn bash(lath: &Lath, line: &str) -> Vec<String> {
    let script = format!(
        "source {FOLDER}/completions/lath.bash\n\
         COMP_WORDS=() word=''\n\
         for ((i = 0; i < ${{#1}}; i++)); do c=${{1:i:1}}; case $c in\n\
         ' ') COMP_WORDS+=(\"$word\") word='' ;;\n\
         [:=]) [[ -z $word ]] || COMP_WORDS+=(\"$word\"); COMP_WORDS+=(\"$c\") word='' ;;\n\
         *) word+=$c ;; esac; done\n\
         [[ -z $word && $1 == *[:=] ]] || COMP_WORDS+=(\"$word\")\n\
         COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)) COMP_LINE=$1 COMP_POINT=${{#1}}\n\
         _lath; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    let mut found = shell(lath, &["bash", "--norc", "-c", &script, "bash", line]);
    found.retain(|word| !word.is_empty());
    found.sort();
    found
}

/// What fish offers, without what it tells of it.
fn fish(lath: &Lath, line: &str) -> Vec<String> {
    let script = format!("source {FOLDER}/completions/lath.fish; complete -C \"$argv[1]\"");
    let found = shell(lath, &["fish", "--no-config", "-c", &script, line]);
    let word = |line: &String| line.split('\t').next().unwrap_or_default().to_owned();
    let mut found: Vec<String> = found.iter().map(word).collect();
    found.sort();
    found
}

/// What zsh offers.
fn zsh(lath: &Lath, line: &str) -> Vec<String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/packaging/offers.zsh");
    let mut found = shell(lath, &["zsh", "-f", script, &format!("{FOLDER}/completions"), line]);
    found.sort();
    found
}

#[test]
fn completions_know_commands_options_and_names() {
    if !needs(HERE) {
        return;
    }
    let lath = prepared();
    for (line, expected) in [
        ("lath bu", &["build"][..]),
        ("lath re", &["rename", "restart"]),
        ("lath help do", &["doctor"]),
        ("lath build --no-c", &["--no-cache", "--no-cache-filter"]),
        ("lath run --na", &["--name"]),
        ("lath build --progress t", &["tty"]),
        ("lath run --pull ", &["always", "missing", "never"]),
        ("lath build -t x ", &["inside"]),
        ("lath rmi ", &["busybox:latest", "hub/app:1.0"]),
        ("lath run --name new h", &["hub/app:1.0"]),
        ("lath stop ", &["web"]),
        ("lath inspect ", &["busybox:latest", "hub/app:1.0", "web"]),
        ("lath volume ", &["create", "inspect", "ls", "prune", "rm"]),
    ] {
        assert_eq!(bash(&lath, line), expected, "bash: {line}");
        assert_eq!(zsh(&lath, line), expected, "zsh: {line}");
        if line != "lath volume " && line != "lath build -t x " {
            assert_eq!(fish(&lath, line), expected, "fish: {line}");
        }
    }
    // What stands before a colon or an equals sign is on the line already.
    assert_eq!(bash(&lath, "lath rmi hub/app:"), ["1.0"]);
    assert_eq!(bash(&lath, "lath rmi hub/app:1"), ["1.0"]);
    assert_eq!(bash(&lath, "lath build --progress=q"), ["quiet"]);
    assert_eq!(bash(&lath, "lath volume rm d"), ["data"]);
    assert_eq!(bash(&lath, "lath --driver "), ["copy", "overlay"]);
    assert!(fish(&lath, "lath build -t x ").contains(&"inside/".to_owned()));
    // Names are those of the store that stands on the line.
    let other = format!("lath --root {} rmi ", lath.text("empty"));
    assert_eq!(bash(&lath, &other), [""; 0]);
    assert_eq!(fish(&lath, &other), [""; 0]);
    assert_eq!(zsh(&lath, &other), [""; 0]);
}
