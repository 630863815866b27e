//! Every instruction in its usual forms, seen in what `inspect` says and in what a container of
//! the image does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken assumption of a test is a failed test"
)]

mod harness;

use harness::{Lath, Member, Need, busybox_tar, needs, tar_of};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

const HERE: &[Need] = &[Need::Root, Need::Busybox];

#[test]
fn each_instruction_for_the_config_sets_its_field() {
    if !needs(HERE) {
        return;
    }
    let cases: &[(&str, &str, &str)] = &[
        (
            "LABEL a=b \"c d\"='e f'\nLABEL g=h \\\n  i=j",
            "Labels",
            r#"{"a":"b","c d":"e f","g":"h","i":"j"}"#,
        ),
        (
            "EXPOSE 80 53/udp 7000-7001/tcp",
            "ExposedPorts",
            r#"{"53/udp":{},"7000/tcp":{},"7001/tcp":{},"80/tcp":{}}"#,
        ),
        ("VOLUME /a /b\nVOLUME [\"/c d\"]", "Volumes", r#"{"/a":{},"/b":{},"/c d":{}}"#),
        ("USER app:staff", "User", r#""app:staff""#),
        ("WORKDIR /a\nWORKDIR b/../c", "WorkingDir", r#""/a/c""#),
        ("STOPSIGNAL SIGUSR1", "StopSignal", r#""SIGUSR1""#),
        ("SHELL [\"/bin/sh\", \"-ec\"]", "Shell", r#"["/bin/sh","-ec"]"#),
        ("SHELL [\"/bin/sh\", \"-ec\"]\nCMD echo a", "Cmd", r#"["/bin/sh","-ec","echo a"]"#),
        ("CMD [\"a\", \"b c\"]", "Cmd", r#"["a","b c"]"#),
        ("CMD echo $HOME 'a b'", "Cmd", r#"["/bin/sh","-c","echo $HOME 'a b'"]"#),
        ("CMD [\"a\"]\nCMD [\"b\"]", "Cmd", r#"["b"]"#),
        ("ENTRYPOINT [\"a\", \"b\"]", "Entrypoint", r#"["a","b"]"#),
        ("ENTRYPOINT exec top -b", "Entrypoint", r#"["/bin/sh","-c","exec top -b"]"#),
        ("HEALTHCHECK NONE", "Healthcheck", r#"{"Test":["NONE"]}"#),
        (
            "HEALTHCHECK --interval=5s --timeout=3s --start-period=1m --retries=2 CMD cat /x",
            "Healthcheck",
            r#"{"Interval":5000000000,"Retries":2,"StartPeriod":60000000000,"Test":["CMD-SHELL","cat /x"],"Timeout":3000000000}"#,
        ),
        ("HEALTHCHECK CMD [\"cat\", \"/x\"]", "Healthcheck", r#"{"Test":["CMD","cat","/x"]}"#),
        ("ONBUILD RUN echo a\nONBUILD COPY . /x", "OnBuild", r#"["RUN echo a","COPY . /x"]"#),
    ];
    let lath = Lath::with_busybox();
    for (lines, field, wanted) in cases {
        lath.build("x", &format!("FROM busybox\n{lines}\n"));
        assert_eq!(&lath.config("x", field), wanted, "{field} after {lines}");
    }
    lath.build("x", "FROM busybox\nMAINTAINER Joe <joe@example.org>\n");
    let author = lath.inspect("x");
    let author = author.get("Author").and_then(|author| author.as_str());
    assert_eq!(author, Some("Joe <joe@example.org>"));
}

#[test]
fn env_has_two_forms_and_reaches_steps_and_containers() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.build(
        "x",
        "FROM busybox\nENV A=1 B=\"two words\" C=x\\ y\nENV D legacy  form\nENV A=2 E=$A-${B}\n\
         RUN echo \"$A|$B|$C|$D|$E\" > /env\n",
    );
    let env = ["A=2", "B=two words", "C=x y", "D=legacy  form", "E=1-two words"];
    assert_eq!(lath.env("x"), env);
    assert_eq!(lath.shell("x", "cat /env"), "2|two words|x y|legacy  form|1-two words\n");
    assert_eq!(lath.shell("x", "echo \"$A|$E\""), "2|1-two words\n");
    assert_eq!(lath.ok(&["run", "--rm", "-e", "A=3", "x", "sh", "-c", "echo $A"]), "3\n");
}

#[test]
fn variables_are_expanded_where_docker_expands_them() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.write("c/from-a", "content");
    let file = "FROM busybox\nENV A=a EMPTY=\nENV B=${A:-d} C=${NONE:-d} D=${A:+x} E=${NONE:+x} F=\\$A G=${EMPTY-d}\n\
                LABEL $A=${A}b\nWORKDIR /dir-$A\nCOPY from-$A to-${A}\nEXPOSE 8${NONE:-0}\nUSER ${A}pp\n\
                STOPSIGNAL SIG${NONE:-HUP}\nVOLUME /v$A\n";
    lath.build_in("c", "x", file, &[]).success();
    assert_eq!(lath.env("x"), ["A=a", "EMPTY=", "B=a", "C=d", "D=x", "E=", "F=$A", "G="]);
    assert_eq!(lath.config("x", "Labels"), r#"{"a":"ab"}"#);
    assert_eq!(lath.config("x", "ExposedPorts"), r#"{"80/tcp":{}}"#);
    assert_eq!(lath.config("x", "User"), r#""app""#);
    assert_eq!(lath.config("x", "StopSignal"), r#""SIGHUP""#);
    assert_eq!(lath.config("x", "Volumes"), r#"{"/va":{}}"#);
    assert_eq!(lath.shell("x", "pwd; cat to-a"), "/dir-a\ncontent");
}

#[test]
fn cmd_and_entrypoint_make_the_command_together() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let run = |more: &[&str]| {
        let mut args = vec!["run", "--rm"];
        args.extend(more);
        lath.ok(&args)
    };
    lath.build("cmd", "FROM busybox\nCMD echo from $0\n");
    assert_eq!(run(&["cmd"]), "from /bin/sh\n");
    assert_eq!(run(&["cmd", "echo", "-n", "mine"]), "mine");
    lath.build("both", "FROM busybox\nENTRYPOINT [\"echo\", \"e\"]\nCMD [\"c\"]\n");
    assert_eq!(run(&["both"]), "e c\n");
    assert_eq!(run(&["both", "mine", "--rm"]), "e mine --rm\n");
    assert_eq!(run(&["--entrypoint", "printf", "both", "%s,%s", "a", "b"]), "a,b");
    assert_eq!(run(&["--entrypoint=pwd", "both"]), "/\n");
    lath.build("shell", "FROM busybox\nENTRYPOINT echo alone\nCMD [\"c\"]\n");
    assert_eq!(run(&["shell"]), "alone\n");
    lath.build("child", "FROM both\nENTRYPOINT [\"echo\", \"new\"]\n");
    assert_eq!(run(&["child"]), "new\n", "a new entrypoint forgets the command from below");
}

#[test]
fn run_takes_a_line_a_list_and_a_heredoc() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.build(
        "x",
        "FROM busybox\n\
         RUN echo a >> /log && \\\n    # a comment between\n    echo b >> /log\n\
         RUN [\"sh\", \"-c\", \"echo $0 'c d' >> /log\", \"zero\"]\n\
         RUN <<EOF\necho e >> /log\necho f >> /log\nEOF\n\
         RUN <<EOF cat >> /log\ng\nEOF\n\
         SHELL [\"/bin/sh\", \"-c\", \"echo shell: $0 >> /log; eval $0\"]\n\
         RUN echo h >> /log\n\
         run echo lower >> /log\n",
    );
    let log = "a\nb\nzero c d\ne\nf\ng\nshell: echo h\nh\nshell: echo lower\nlower\n";
    let got = lath.shell("x", "cat /log");
    assert_eq!(got.replace(" >> /log", ""), log);
}

#[test]
fn copy_puts_files_where_docker_puts_them() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    for name in ["one", "two.txt", "three.txt", "d/in", "d/sub/deep", "d/.dot", "sp ace"] {
        lath.write(&format!("c/{name}"), name);
    }
    let script = lath.write("c/script", "#!/bin/sh\necho it runs\n");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    symlink("in", lath.path("c/d/link")).unwrap();
    let file = "FROM busybox\nWORKDIR /w\n\
                COPY one /file\nCOPY one /new/dir/\nCOPY one relative\n\
                COPY *.txt /glob/\nCOPY d /tree\nCOPY one two.txt d /many/\nCOPY [\"sp ace\", \"/sp ace\"]\n\
                COPY script /bin/\nCOPY ./d/../one /clean\nCOPY . /all/\n\
                COPY --chown=app:staff one /named\nCOPY --chown=7:8 d /numbered\nCOPY --chmod=640 one /mode\n";
    lath.build_in("c", "x", file, &[]).success();
    let cases = [
        ("cat /file; cat /new/dir/one; cat /w/relative", "oneoneone"),
        ("ls /glob", "three.txt\ntwo.txt\n"),
        ("cd /tree; find . | sort", ".\n./.dot\n./in\n./link\n./sub\n./sub/deep\n"),
        ("readlink /tree/link", "in\n"),
        (
            "cd /many; find . | sort",
            ".\n./.dot\n./in\n./link\n./one\n./sub\n./sub/deep\n./two.txt\n",
        ),
        ("cat '/sp ace' /clean", "sp aceone"),
        ("script", "it runs\n"),
        ("ls /all", "Dockerfile\nd\none\nscript\nsp ace\nthree.txt\ntwo.txt\n"),
        ("stat -c %u:%g /named", "1000:50\n"),
        ("stat -c %u:%g /numbered /numbered/sub/deep", "7:8\n7:8\n"),
        ("stat -c %a:%u:%g /mode /bin/script", "640:0:0\n755:0:0\n"),
    ];
    for (script, wanted) in cases {
        assert_eq!(lath.shell("x", script), wanted, "{script}");
    }
}

#[test]
fn copy_takes_heredocs() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.build(
        "x",
        "FROM busybox\nENV A=a\nCOPY <<one <<'two' /d/\n1 $A\none\n2 $A\ntwo\nCOPY <<EOF /file\ntext\nEOF\n",
    );
    assert_eq!(lath.shell("x", "cat /d/one /d/two /file"), "1 a\n2 $A\ntext\n");
}

#[test]
fn stages_give_files_to_later_ones_and_only_needed_stages_are_built() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.build("other", "FROM busybox\nRUN echo other > /other\n");
    let file = "FROM busybox AS make\nRUN mkdir /out && echo made > /out/a && ln -s a /out/l && chown 5:6 /out/a\n\
                FROM busybox AS broken\nRUN exit 9\n\
                FROM make AS more\nRUN echo more >> /out/a\n\
                FROM busybox\nCOPY --from=make /out /named\nCOPY --from=0 /out/a /numbered\n\
                COPY --from=more /out/a /more\nCOPY --from=other /other /image\n";
    lath.build("x", file);
    let script = "cat /named/a /numbered /more /image; readlink /named/l; stat -c %u:%g /named/a";
    assert_eq!(
        lath.shell("x", script),
        "made\nmade\nmade\nmore\nother\na\n0:0\n".replace("0:0", "5:6")
    );
    let target = lath.build_in("t", "y", file, &["--target", "make"]).success();
    assert!(!target.stdout.contains("broken"), "{target}");
    assert_eq!(lath.shell("y", "cat /out/a"), "made\n");
    let broken = lath.build_in("t", "z", file, &["--target", "broken"]);
    assert!(broken.failure(1).contains('9'));
    let missing = lath.build_in("t", "z", file, &["--target", "nothing"]).failure(1);
    assert!(missing.contains("nothing"), "{missing}");
}

#[test]
fn add_unpacks_tars_and_copies_the_rest() {
    if !needs(&[Need::Root, Need::Busybox, Need::Program("gzip")]) {
        return;
    }
    let lath = Lath::with_busybox();
    let members = [Member::Folder("d"), Member::File("d/a", "in tar"), Member::Soft("l", "d/a")];
    lath.write("c/a.tar", tar_of(&members));
    harness::host("gzip", &["-k", &lath.text("c/a.tar")]);
    lath.write("c/plain", "plain");
    let file = "FROM busybox\nADD a.tar /tar\nADD a.tar.gz /gz/\nADD plain /plain\nCOPY a.tar.gz /kept.gz\nADD plain a.tar /both/\n";
    lath.build_in("c", "x", file, &[]).success();
    let script = "cat /tar/l /gz/d/a /plain /both/plain /both/d/a; test -f /kept.gz && echo kept";
    assert_eq!(lath.shell("x", script), "in tarin tarplainplainin tarkept\n");
}

#[test]
fn dockerignore_hides_files_from_copy() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    for name in ["a.log", "b.log", "keep.log", "d/x.tmp", "d/e/y.tmp", "d/z", "secret/key", "top"] {
        lath.write(&format!("c/{name}"), name);
    }
    let ignore =
        "# comment\n\n*.log\n!keep.log\n**/*.tmp\nsecret\n/top\nDockerfile\n.dockerignore\n";
    lath.write("c/.dockerignore", ignore);
    let file = "FROM busybox\nCOPY . /x/\n";
    lath.build_in("c", "x", file, &[]).success();
    assert_eq!(lath.shell("x", "cd /x; find . -type f | sort"), "./d/z\n./keep.log\n");
    let hidden = lath.build_in("c", "y", "FROM busybox\nCOPY secret/key /k\n", &[]).failure(1);
    assert!(hidden.contains("secret/key"), "{hidden}");
    // What is hidden is no part of the key.
    lath.write("c/a.log", "changed");
    assert_eq!(lath.build_in("c", "x", file, &[]).success().cached(), ["COPY . /x/"]);
}

#[test]
fn onbuild_waits_for_the_next_build_and_only_for_that() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.build("parent", "FROM busybox\nONBUILD RUN echo trigger >> /log\nONBUILD ENV A=b\n");
    assert_eq!(
        lath.shell("parent", "ls /log 2>&1 || true"),
        "ls: /log: No such file or directory\n"
    );
    lath.build("child", "FROM parent\nRUN echo own $A >> /log\n");
    assert_eq!(lath.shell("child", "cat /log"), "trigger\nown b\n");
    assert_eq!(lath.config("child", "OnBuild"), "null");
    lath.build("grandchild", "FROM child\nRUN true\n");
    assert_eq!(lath.shell("grandchild", "cat /log"), "trigger\nown b\n");
}

#[test]
fn arg_is_there_while_building_and_gone_afterwards() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let file = "ARG BASE=busybox\nFROM $BASE\nARG A=default\nARG B\nRUN echo \"$A|$B|$BASE\" > /args\nENV KEPT=$A\n";
    let build = |more: &[&str]| lath.build_in("c", "x", file, more).success();
    build(&[]);
    assert_eq!(lath.shell("x", "cat /args; echo $A-$KEPT"), "default||\n-default\n");
    let again = ["--build-arg", "A=mine", "--build-arg=B=b c"];
    let is_run = |words: &String| words.starts_with("RUN");
    assert!(!build(&again).cached().iter().any(is_run), "a used argument is part of the key");
    assert_eq!(lath.shell("x", "cat /args; echo $KEPT"), "mine|b c|\nmine\n");
    assert!(build(&again).cached().iter().any(is_run));
    lath.build("based", "FROM busybox\nRUN echo based > /based\n");
    build(&["--build-arg", "BASE=based"]);
    assert_eq!(lath.shell("x", "cat /based"), "based\n");
    let unused = build(&["--build-arg", "NOBODY=x"]);
    assert!(unused.all().contains("NOBODY"), "an argument that nothing takes is told: {unused}");
}

#[test]
fn user_and_workdir_are_in_force_for_steps_and_containers() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.build(
        "x",
        "FROM busybox\nWORKDIR /w\nRUN chown app /w\nUSER app\nRUN id -u > who && id -G >> who\nWORKDIR sub\nUSER 7:8\n",
    );
    assert_eq!(
        lath.shell("x", "cat /w/who; stat -c %u /w/who; pwd; id -u; id -g"),
        "1000\n1000 50\n1000\n/w/sub\n7\n8\n"
    );
    let run = |flag: &str, value: &str, script: &str| {
        lath.ok(&["run", "--rm", flag, value, "x", "sh", "-c", script])
    };
    assert_eq!(run("-u", "app", "id -un"), "app\n");
    assert_eq!(run("--user", "0", "id -u"), "0\n");
    assert_eq!(run("-w", "/tmp", "pwd"), "/tmp\n");
    let unknown = lath.build_in("c", "y", "FROM busybox\nUSER nosuch\nRUN true\n", &[]).failure(1);
    assert!(unknown.contains("nosuch"), "{unknown}");
}

#[test]
fn labels_of_the_command_line_are_added() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let more = ["--label", "a=line", "--label=c=d e"];
    lath.build_in("c", "x", "FROM busybox\nLABEL a=file b=file\n", &more).success();
    assert_eq!(lath.config("x", "Labels"), r#"{"a":"line","b":"file","c":"d e"}"#);
}

#[test]
fn scratch_takes_a_static_program() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::new();
    let busybox = harness::host("sh", &["-c", "command -v busybox"]);
    fs::create_dir_all(lath.path("c")).unwrap();
    fs::copy(busybox.trim(), lath.path("c/busybox")).unwrap();
    let file = "FROM scratch\nCOPY busybox /busybox\nCMD [\"/busybox\", \"echo\", \"hi\"]\n";
    lath.build_in("c", "x", file, &[]).success();
    assert_eq!(lath.ok(&["run", "--rm", "x"]), "hi\n");
    assert_eq!(lath.ok(&["run", "--rm", "x", "/busybox", "ls", "/busybox"]), "/busybox\n");
}

#[test]
fn removed_files_and_replaced_folders_stay_so() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.build(
        "x",
        "FROM busybox\nRUN mkdir -p /d/e /f && touch /d/a /d/b /d/e/c /f/old && ln /d/a /d/hard\n\
         RUN rm /d/b && rm -r /d/e && rm -r /f && mkdir /f && touch /f/new && rm /etc/group\n\
         RUN mkdir /d/e && touch /d/b && rm /d/a\n",
    );
    let script = "find /d /f /etc | sort";
    let wanted = "/d\n/d/b\n/d/e\n/d/hard\n/etc\n/etc/passwd\n/f\n/f/new\n";
    let found = lath.shell("x", script);
    let runtime = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/mtab"];
    let found: String =
        found.lines().filter(|l| !runtime.contains(l)).map(|l| format!("{l}\n")).collect();
    assert_eq!(found, wanted);
}

#[test]
fn a_step_leaves_only_what_it_wrote() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.build("x", "FROM busybox\nRUN touch /one\n");
    let layers = |image: &str| {
        let inspected = lath.inspect(image);
        inspected.get("RootFS").and_then(|root| root.get("Layers")).unwrap().to_strings()
    };
    assert_eq!(layers("x").len(), layers("busybox").len() + 1);
    lath.ok(&["save", "-o", &lath.text("x.tar"), "x"]);
    let names = harness::host(
        "sh",
        &[
            "-c",
            "cd \"$0\" && mkdir s && tar -xf x.tar -C s && for f in $(find s -type f); do \
                 tar -tf $f 2>/dev/null; done | grep -v -e blobs -e layer.tar | sort -u",
            &lath.text(""),
        ],
    );
    assert!(names.lines().any(|name| name == "one"), "{names}");
    for path in ["dev/null", "proc/", "sys/", "etc/resolv.conf", "etc/hosts", "etc/hostname"] {
        assert!(!names.lines().any(|name| name == path), "{path} is in a layer:\n{names}");
    }
}

#[test]
fn the_dockerfile_and_the_context_may_be_elsewhere() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.write("c/a", "context");
    let other = "FROM busybox\nCOPY a /a\n";
    lath.write("other/File", other);
    lath.ok(&["build", "-t", "f", "-f", "other/File", "c"]);
    assert_eq!(lath.shell("f", "cat /a"), "context");
    lath.give(&["build", "-t", "stdin", "-f", "-", "c"], other.as_bytes()).success();
    assert_eq!(lath.shell("stdin", "cat /a"), "context");
    lath.give(&["build", "-t", "alone", "-"], b"FROM busybox\nRUN echo alone > /a\n").success();
    assert_eq!(lath.shell("alone", "cat /a"), "alone\n");
}

#[test]
fn the_context_may_be_a_tar_on_standard_input() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let other = "FROM busybox\nCOPY a /a\n";
    let context = tar_of(&[Member::File("Dockerfile", other), Member::File("a", "in a tar")]);
    lath.give(&["build", "-t", "tar", "-"], &context).success();
    assert_eq!(lath.shell("tar", "cat /a"), "in a tar");
}

#[test]
fn mounts_of_a_step_are_there_and_leave_nothing() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.write("c/bound", "bound");
    lath.write("secret", "not-for-the-store");
    let secret = format!("id=s,src={}", lath.text("secret"));
    let file = "FROM busybox\n\
                RUN --mount=type=cache,target=/cache echo kept >> /cache/f; cat /cache/f > /count\n\
                RUN --mount=type=tmpfs,target=/scratch echo x > /scratch/x && grep ' /scratch tmpfs' /proc/mounts\n\
                RUN --mount=type=bind,source=bound,target=/b cat /b > /was-bound\n\
                RUN --mount=type=secret,id=s cat /run/secrets/s | wc -c > /length\n";
    let more = ["--secret", secret.as_str()];
    let build = || lath.build_in("c", "x", file, &[&more[..], &["--no-cache"]].concat()).success();
    build();
    build();
    let script = "cat /count /was-bound /length; ls /cache /scratch 2>/dev/null; ls /run/secrets 2>/dev/null; true";
    let shown = lath.shell("x", script);
    assert!(shown.starts_with("kept\nkept\nbound17\n"), "{shown}");
    assert!(!shown.contains("\nf\n") && !shown.contains("\nx\n"), "{shown}");
    let found = harness::host(
        "sh",
        &["-c", "grep -rl not-for-the-store \"$0\" || true", lath.store().to_str().unwrap()],
    );
    assert_eq!(found, "", "the secret is nowhere in the store");
}

#[test]
fn a_base_from_import_is_what_was_imported() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::new();
    lath.write("root.tar", busybox_tar());
    lath.ok(&["import", &lath.text("root.tar"), "mine:1"]);
    assert_eq!(lath.shell("mine:1", "stat -c %a /tmp /root"), "1777\n700\n");
}
