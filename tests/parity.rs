//! Dockerfiles a little out of the ordinary, and what docker makes of them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken assumption of a test is a failed test"
)]

mod harness;

use harness::{Lath, Need, needs};
use std::fs;

const HERE: &[Need] = &[Need::Root, Need::Busybox];

/// A context whose `.dockerignore` leaves out all but a few names.
fn with_files() -> Lath {
    let lath = Lath::with_busybox();
    for name in ["a", "b", "d/x", "d/e/y", ".hidden", "-dash", "sp ace", "[br].t", "#h"] {
        lath.write(&format!("c/{name}"), name);
    }
    let ignore = "*\n!a\n!b\n!d\n!-dash\n!sp ace\n!\\[br].t\n!#h\nd/e\n";
    lath.write("c/.dockerignore", ignore);
    lath
}

/// Statements, a script that looks at what they did, and what it says after docker's own build
/// (20.10 with BuildKit).
const CASES: &[(&str, &str, &str)] = &[
    ("COPY d a /z", "cd /z; ls", "a\nx\n"),
    ("COPY d d/e/.. /z", "cd /z; ls", "x\n"),
    ("COPY d* a /z", "cd /z; ls", "a\nx\n"),
    ("ADD d a /z", "cd /z; ls", "a\nx\n"),
    ("FROM busybox AS scratch\nFROM scratch", "echo it is the stage", "it is the stage\n"),
    ("COPY -dash ./-dash /x/", "ls -A /x", "-dash\n"),
    ("COPY -- -dash /x/", "ls -A /x", "-dash\n"),
    ("COPY [\"sp ace\", \"#h\", \"/x y/\"]", "ls -A '/x y'", "#h\nsp ace\n"),
    ("COPY [[]br].t /x/", "ls -A /x", "[br].t\n"),
    ("COPY .h* a /x/", "ls -A /x", "a\n"),
    ("WORKDIR /w\nCOPY a $NOPE", "ls /w", "a\n"),
    ("WORKDIR /w/v\nCOPY a ..\nCOPY b ../c", "cd /w; find . -type f | sort", "./a\n./c\n"),
    ("ENV D=\"/q r/\"\nCOPY b ${D}\nADD a \"$D\"", "ls '/q r'", "a\nb\n"),
    ("COPY a d /z/", "cd /z; find . -type f | sort", "./a\n./x\n"),
    (
        "RUN mkdir /r && ln -s r /l\nCOPY a /l\nCOPY b /l/",
        "ls -d /l/* /r/*",
        "/l/a\n/l/b\n/r/a\n/r/b\n",
    ),
    ("RUN echo o > /f && ln -s f /l\nCOPY a /l", "readlink /l; cat /f", "f\na"),
    ("WORKDIR /w\nWORKDIR $NOPE\nRUN pwd > /pwd", "cat /pwd", "/w\n"),
    ("WORKDIR ~/x\nRUN pwd > /pwd", "cat /pwd", "/~/x\n"),
    (
        "WORKDIR /s\nRUN --mount=target=. find . -type f | sort > /f",
        "cat /f",
        "./#h\n./-dash\n./[br].t\n./a\n./b\n./d/x\n./sp ace\n",
    ),
    ("RUN --mount=type=bind,source=./d/,target=/m ls /m > /f", "cat /f", "x\n"),
    ("RUN --mount=type=bind,source=d/../a,target=/m/f cat /m/f > /f", "cat /f", "a"),
    ("ENV A= B=${A:-${C:-deep}}\nENV A=1 B=$A$B\nENV C=$B", "echo $A $B $C", "1 deep deep\n"),
    (
        "ENV A=\"a b\" \\\n\tB=c \\\n # comment\n\n C=d'e f'\"g h\"",
        "echo \"$A|$B|$C\"",
        "a b|c|de fg h\n",
    ),
    (
        "ARG A='$x' B=\"\\$y\" C=$$ D=a$\nENV E=$A F=$B G=$C H=$D I=$1 J=${1:-x}",
        "env | grep \"^[E-J]=\" | sort",
        "E=$x\nF=$y\nG=\nH=a$\nI=\nJ=x\n",
    ),
    ("ENV A=env\nARG A=arg\nENV B=$A", "echo $A $B", "arg arg\n"),
    ("ARG A=arg\nENV A=${A:-env}\nARG A=again", "echo $A", "again\n"),
    ("ENV A=a#b B=#c C=\"d # e\"", "echo $A $B \"$C\"", "a#b #c d # e\n"),
    ("LABEL a=\"1\\\n2\" b='3\\n4'\nENV A=\"1\\\n2\" B='3\\n4'", "echo \"$A|$B\"", "12|3\\n4\n"),
    (
        "RUN echo a \\\n# comment\n  # indented\n\n   \n  b \\   \n  && echo \"c # d\" > /f",
        "cat /f",
        "c # d\n",
    ),
    (
        "USER 4321\nRUN id -u > /tmp/f; id -g >> /tmp/f; echo $HOME >> /tmp/f; umask >> /tmp/f",
        "cat /tmp/f",
        "4321\n0\n/\n0022\n",
    ),
    ("USER 4321:99\nRUN id -u > /tmp/f; id -g >> /tmp/f", "cat /tmp/f", "4321\n99\n"),
    ("SHELL [\"/bin/sh\", \"-eo\", \"pipefail\", \"-c\"]\nRUN echo $- > /f", "cat /f", "ce\n"),
    ("RUN [\"sh\", \"-c\", \"echo $0 \\\"$HOME\\\" > /f\"]", "cat /f", "sh /root\n"),
    (
        "ARG U=1234\nCOPY --chown=${U} a x/\nCOPY --chown=$U:50 b x/\nCOPY --chown=:50 d/x x/",
        "ls -n x | tail -n +2 | awk '{print $3, $4, $9}'",
        "1234 1234 a\n1234 50 b\n0 50 x\n",
    ),
];

#[test]
fn statements_do_what_they_do_with_docker() {
    if !needs(HERE) {
        return;
    }
    let lath = with_files();
    for (lines, script, wanted) in CASES {
        let file = format!("FROM busybox\n{lines}\nUSER root\nRUN cd /; ( {script} ) > /o\n");
        lath.build_in("c", "x", &file, &[]).success();
        assert_eq!(&lath.shell("x", "cat /o"), wanted, "{lines}");
    }
}

/// `FROM scratch AS extra` keeps a place for `--build-context extra=DIR`.
#[test]
fn an_empty_stage_gives_nothing_and_a_named_directory_its_files() {
    if !needs(HERE) {
        return;
    }
    let lath = with_files();
    let file = "FROM scratch AS extra\nFROM busybox\nCOPY --from=extra / /x/\n\
                RUN --mount=from=extra,target=/m ls -A /m > /o\n\
                RUN --mount=from=extra,target=/m,rw touch /m/new && ls /x >> /o\n\
                RUN --mount=type=cache,id=k,from=extra,target=/k ls -A /k >> /o\n";
    lath.build_in("c", "x", file, &["--no-cache"]).success();
    assert_eq!(lath.shell("x", "cat /o; ls -A /x"), "");
    lath.write("named/f", "named");
    let context = format!("extra={}", lath.text("named"));
    let file = file.replace("id=k", "id=k2");
    let more = ["--build-context", context.as_str()];
    lath.build_in("c", "x", &file, &more).success();
    assert_eq!(lath.shell("x", "cat /o"), "f\nf\nf\n");
    assert_eq!(fs::read_dir(lath.path("named")).unwrap().count(), 1, "nothing is written there");
    lath.write("named/f2", "");
    let again = lath.build_in("c", "x", &file, &more).success();
    assert_eq!(again.cached(), Vec::<String>::new(), "another file is another key");
    let missing = file.replace("from=extra,target", "from=extra,source=no,target");
    assert!(lath.build_in("c", "x", &missing, &[]).failure(1).contains("\"no\": not found"));
}

/// Since frontend 1.11.
#[test]
fn a_trigger_may_take_files_of_a_stage() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.build(
        "parent",
        "FROM busybox\nONBUILD COPY --from=st /f /g\n\
         ONBUILD RUN --mount=from=1,target=/m cp /m/h /h\n",
    );
    let stages = "FROM busybox AS st\nRUN echo st > /f\nFROM busybox\nRUN echo one > /h\n";
    lath.build("x", &format!("{stages}FROM parent\n"));
    assert_eq!(lath.shell("x", "cat /g /h"), "st\none\n");
    let own = format!("{stages}FROM busybox AS mid\nONBUILD COPY --from=st /f /g\nFROM mid\n");
    lath.build("y", &own);
    assert_eq!(lath.shell("y", "cat /g"), "st\n");
    let missing = lath.build_in("c", "z", "FROM parent\n", &[]).failure(1);
    assert!(missing.contains("st: No such image"), "{missing}");
}

#[test]
fn what_is_wrong_with_a_source_is_told() {
    if !needs(HERE) {
        return;
    }
    let lath = with_files();
    std::os::unix::fs::symlink("nowhere", lath.path("c/a-link")).unwrap();
    lath.write("c/.dockerignore", "b\n");
    for (lines, line, words) in [
        ("COPY b /", 2, "hint: it is there, but .dockerignore leaves it out"),
        ("RUN --mount=source=b,target=/m true", 2, "but .dockerignore leaves it out"),
        ("COPY a-link /", 2, "hint: it is a symbolic link to \"nowhere\", which is not there"),
        // Not an image whose id begins with this letter.
        ("COPY --from=b /f /", 2, "b: No such image"),
        ("COPY --from=late /f /\nFROM busybox AS late", 2, "defined before current stage \"0\""),
        ("FROM busybox AS b\nCOPY --from=b /f /", 3, "circular dependency detected on stage: b"),
        ("FROM busybox AS a\nFROM busybox AS a\nCOPY --from=a /f /", 4, "circular dependency"),
        ("COPY --from=0 /f /", 2, "there is no earlier stage 0"),
    ] {
        let said = lath.build_in("c", "x", &format!("FROM busybox\n{lines}\n"), &[]).failure(1);
        assert!(said.contains(&format!("Dockerfile:{line}")), "{lines}: {said}");
        assert!(said.contains(words), "{lines}: {said}");
    }
}
