//! Containers that outlive the command that has made them: in the background, with names and logs,
//! stopped, started again, entered, removed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a broken assumption of a test is a failed test"
)]

mod harness;

use harness::{Lath, Need, needs, parent_of, pids_of, pss, until};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::thread::sleep;
use std::time::Duration;

const HERE: &[Need] = &[Need::Root, Need::Busybox];

/// One field of a container.
fn field(lath: &Lath, name: &str, template: &str) -> String {
    lath.ok(&["inspect", "-f", template, name]).trim().to_owned()
}

fn status(lath: &Lath, name: &str) -> String {
    field(lath, name, "{{.State.Status}}")
}

/// The process on the host of a container's program.
fn pid(lath: &Lath, name: &str) -> i32 {
    field(lath, name, "{{.State.Pid}}").parse().unwrap()
}

fn names(lath: &Lath, more: &[&str]) -> Vec<String> {
    let words = [&["ps", "--format", "{{.Names}}"], more].concat();
    let mut names: Vec<String> = lath.ok(&words).lines().map(str::to_owned).collect();
    names.sort();
    names
}

#[test]
fn a_container_in_the_background_runs_speaks_stops_and_starts_again() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let script =
        "trap 'echo bye; exit 5' TERM; echo out; echo err >&2; while :; do sleep 0.1; done";
    let id = lath.ok(&["run", "-d", "--name", "web", "busybox", "sh", "-c", script]);
    let id = id.trim();
    assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    until("it speaks", || lath.run(&["logs", "web"]).success().all().lines().count() == 2);
    let said = lath.run(&["logs", "web"]).success();
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("out\n", "err\n"));
    assert_eq!(
        (names(&lath, &[]), status(&lath, "web")),
        (vec!["web".to_owned()], "running".into())
    );
    assert_eq!(lath.ok(&["ps", "-q"]).trim(), &id[..12]);
    // Whoever looks after it takes less than a megabyte.
    let keeper = parent_of(pid(&lath, "web")).unwrap();
    until("its keeper is small", || pss(keeper) < 1024);
    let taken = lath.run(&["run", "-d", "--name", "web", "busybox", "true"]).failure(125);
    assert!(taken.contains("is already in use by container"), "{taken}");
    let refused = lath.fails(&["rm", "web"]);
    assert!(refused.contains("container is running"), "{refused}");
    let refused = lath.fails(&["start", "nobody"]);
    assert!(refused.contains("No such container: nobody"), "{refused}");

    assert_eq!(lath.ok(&["stop", "web"]), "web\n");
    assert_eq!((status(&lath, "web"), names(&lath, &[])), ("exited".into(), vec![]));
    assert_eq!(field(&lath, "web", "{{.State.ExitCode}}"), "5");
    assert!(lath.ok(&["logs", "web"]).ends_with("bye\n"));
    assert_eq!(lath.ok(&["logs", "-n", "1", "web"]), "bye\n");
    assert_eq!(lath.ok(&["wait", "web"]), "5\n");

    assert_eq!(lath.ok(&["start", &id[..6]]), format!("{}\n", &id[..6]));
    until("it runs again", || status(&lath, "web") == "running");
    lath.ok(&["kill", "web"]);
    assert_eq!(lath.ok(&["wait", "web"]), "137\n");
    lath.ok(&["rename", "web", "other"]);
    assert_eq!(names(&lath, &["-a"]), ["other"]);
    lath.ok(&["rm", "other"]);
    assert_eq!(names(&lath, &["-a"]), Vec::<String>::new());
}

#[test]
fn what_a_container_has_changed_stays_until_it_is_removed() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    for driver in ["overlay", "copy"] {
        let ok = |words: &[&str]| lath.ok(&[&["--driver", driver], words].concat());
        let script = "echo x >> /count; cat /count | wc -l; exit 3";
        let first =
            lath.run(&["--driver", driver, "run", "--name", "c1", "busybox", "sh", "-c", script]);
        assert_eq!((first.code, first.stdout.trim()), (3, "1"), "{driver}");
        ok(&["start", "c1"]);
        ok(&["wait", "c1"]);
        assert_eq!(ok(&["logs", "c1"]).trim(), "2", "{driver}");
        ok(&["rm", "c1"]);
        let gone =
            lath.run(&["--driver", driver, "run", "--rm", "--name", "c2", "busybox", "true"]);
        assert_eq!(gone.code, 0);
        assert_eq!(names(&lath, &["-a"]), Vec::<String>::new(), "{driver}");
    }
    assert_eq!(fs::read_dir(lath.store().join("containers")).unwrap().count(), 0);
}

#[test]
fn a_program_that_cannot_be_executed_is_told_at_once() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    for (program, code, text) in [
        ("nosuch", 127, "executable file not found in $PATH"),
        ("/etc/passwd", 126, "permission denied"),
    ] {
        let out = lath.run(&["run", "-d", "--name", "bad", "busybox", program]);
        assert_eq!(out.code, code);
        assert!(out.stderr.contains(text), "{}", out.stderr);
        assert_eq!(status(&lath, "bad"), "created");
        lath.ok(&["rm", "bad"]);
        assert_eq!(lath.run(&["run", "-d", "--rm", "busybox", program]).code, code);
        assert_eq!(names(&lath, &["-a"]), Vec::<String>::new());
    }
}

#[test]
fn a_program_is_started_again_as_its_policy_says() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let again = ["run", "-d", "--name", "few", "--restart", "on-failure:2", "busybox"];
    lath.ok(&[&again[..], &["sh", "-c", "echo try; exit 4"]].concat());
    lath.ok(&["wait", "few"]);
    assert_eq!(lath.ok(&["logs", "few"]), "try\ntry\ntry\n");
    assert_eq!(field(&lath, "few", "{{.RestartCount}} {{.State.ExitCode}}"), "2 4");
    let always = ["run", "-d", "--name", "always", "--restart", "always", "busybox"];
    lath.ok(&[&always[..], &["sh", "-c", "echo on; sleep 0.1"]].concat());
    until("it has begun anew", || lath.ok(&["logs", "always"]).lines().count() > 2);
    lath.ok(&["stop", "-t", "0", "always"]);
    assert_eq!(status(&lath, "always"), "exited");
    // After a power cut: nobody runs any more, and an init script has those started that shall run.
    let stays = ["run", "-d", "--name", "stays", "--restart", "unless-stopped", "busybox"];
    lath.ok(&[&stays[..], &["sleep", "1234"]].concat());
    let keeper = parent_of(pid(&lath, "stays")).unwrap();
    kill_process(Pid::from_raw(keeper).unwrap(), Signal::KILL).unwrap();
    until("it has gone with its keeper", || pids_of("sleep 1234").is_empty());
    assert_eq!(
        (status(&lath, "stays"), field(&lath, "stays", "{{.State.ExitCode}}")),
        ("exited".into(), "255".into())
    );
    // Also when the power went in the middle of what was said of it.
    let id = field(&lath, "stays", "{{.Id}}");
    let state = lath.store().join("containers").join(id).join("state");
    let text = fs::read(&state).unwrap();
    fs::write(&state, &text[..text.len() / 2]).unwrap();
    lath.ok(&["start", "--all"]);
    until("it is back", || status(&lath, "stays") == "running");
    for name in ["always", "few"] {
        assert!(["running", "restarting"].contains(&status(&lath, name).as_str()), "{name}");
    }
    lath.ok(&["rm", "-f", "stays", "always", "few"]);
}

#[test]
fn another_program_runs_in_a_container_that_runs() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.ok(&[
        "run",
        "-d",
        "--name",
        "box",
        "-e",
        "A=1",
        "--network",
        "none",
        "busybox",
        "sleep",
        "1000",
    ]);
    let exec = |words: &[&str]| lath.ok(&[&["exec"], words].concat());
    assert_eq!(exec(&["box", "sh", "-c", "echo $A $HOME; pwd; id -u"]), "1 /root\n/\n0\n");
    let words =
        ["-e", "B=2", "-w", "/tmp", "-u", "app", "box", "sh", "-c", "echo $A$B; pwd; id -un"];
    assert_eq!(exec(&words), "12\n/tmp\napp\n");
    assert!(exec(&["box", "ps"]).contains("sleep 1000"));
    // The same world, and as little power.
    let own = exec(&["box", "sh", "-c", "cat /proc/self/status; ls /sys/class/net"]);
    for line in ["CapEff:\t00000000a80425fb", "Seccomp:\t2", "NoNewPrivs:\t0"] {
        assert!(own.contains(line), "{line} is not in {own}");
    }
    assert!(own.trim_end().ends_with("lo"), "{own}");
    assert_eq!(exec(&["box", "ls", "/proc/self/fd"]).trim(), "0\n1\n2\n3");
    assert_eq!(lath.run(&["exec", "box", "sh", "-c", "exit 9"]).code, 9);
    assert_eq!(lath.run(&["exec", "box", "nosuch"]).code, 127);
    let given = lath.give(&["exec", "-i", "box", "cat"], b"through\n").success();
    assert_eq!(given.stdout, "through\n");
    // From a directory as a stream `..` would lead up to the host's root.
    let mut command = lath.command(&["exec", "-i", "box", "cat"]);
    let refused = command.stdin(fs::File::open("/").unwrap()).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("standard stream is a directory"), "{said}");
    lath.ok(&["stop", "-t", "0", "box"]);
    let refused = lath.run(&["exec", "box", "true"]);
    assert!(refused.stderr.contains("container box is not running"), "{}", refused.stderr);
    assert_eq!(refused.code, 1);
    lath.ok(&["rm", "box"]);
}

#[test]
fn a_log_never_takes_more_than_its_share() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let script = "yes 0123456789abcdefghijklmnopqrstuvwxyz | head -c 20000000; echo; echo last";
    let id = lath.ok(&["run", "-d", "--name", "loud", "busybox", "sh", "-c", script]);
    lath.ok(&["wait", "loud"]);
    let folder = lath.store().join("containers").join(id.trim());
    let size = |name: &str| fs::metadata(folder.join(name)).map_or(0, |data| data.len());
    let (new, old) = (size("log"), size("log.1"));
    assert!(new <= 2 << 20 && old <= 2 << 20 && new + old > 2 << 20, "{new} {old}");
    assert_eq!(lath.ok(&["logs", "--tail", "2", "loud"]).lines().last(), Some("last"));
    assert_eq!(lath.ok(&["logs", "--tail", "0", "loud"]), "");
    lath.ok(&["rm", "loud"]);
}

#[test]
fn a_log_is_followed_to_the_end() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let script = "for i in 1 2 3 4 5; do echo $i; sleep 0.1; done; printf end";
    lath.ok(&["run", "-d", "--name", "slow", "busybox", "sh", "-c", script]);
    assert_eq!(lath.ok(&["logs", "-f", "slow"]), "1\n2\n3\n4\n5\nend");
    let timed = lath.ok(&["logs", "-t", "slow"]);
    let first = timed.lines().next().unwrap();
    // 2026-12-01T03:21:27.586064155Z, without zeros at its end.
    assert!(first.ends_with("Z 1") && first.contains("T") && first.contains('.'), "{first}");
    assert_eq!(lath.ok(&["logs", "--until", "2000-01-01", "slow"]), "");
    lath.ok(&["rm", "slow"]);
}

#[test]
fn an_image_and_its_layers_stay_for_their_containers() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.build("own", "FROM busybox\nRUN echo kept > /kept\nCMD [\"cat\", \"/kept\"]\n");
    lath.ok(&["create", "--name", "reader", "own"]);
    assert_eq!(status(&lath, "reader"), "created");
    let refused = lath.fails(&["rmi", "own"]);
    assert!(refused.contains("must be forced") && refused.contains("is using it"), "{refused}");
    lath.ok(&["rmi", "-f", "own"]);
    lath.run(&["builder", "prune", "-af"]);
    lath.ok(&["start", "reader"]);
    lath.ok(&["wait", "reader"]);
    assert_eq!(lath.ok(&["logs", "reader"]), "kept\n");
    lath.ok(&["rm", "reader"]);
}

#[test]
fn what_is_asked_of_the_sandbox_holds() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let run = |options: &[&str], script: &str| {
        let words = [&["run", "--rm"], options, &["busybox", "sh", "-c", script]].concat();
        let out = lath.run(&words);
        (out.code, out.stdout.trim().to_owned())
    };
    let caps = "grep CapEff /proc/self/status | cut -f2";
    assert_eq!(run(&["--cap-drop", "ALL"], caps).1, "0000000000000000");
    assert_eq!(run(&["--cap-drop", "all", "--cap-add", "CAP_CHOWN"], caps).1, "0000000000000001");
    assert_eq!(run(&["--cap-add", "SYS_TIME"], caps).1, "00000000aa0425fb");
    assert_eq!(run(&[], "unshare -m true 2>/dev/null"), (1, String::new()));
    assert_eq!(run(&["--privileged"], "unshare -m true; echo $?").1, "0");
    assert_eq!(run(&["--cap-add", "SYS_ADMIN"], "unshare -m true; echo $?").1, "0");
    let nnp = "grep NoNewPrivs /proc/self/status | cut -f2";
    assert_eq!(run(&["--security-opt", "no-new-privileges"], nnp).1, "1");
    let filter = "grep Seccomp: /proc/self/status | cut -f2";
    assert_eq!(run(&["--security-opt", "seccomp=unconfined"], filter).1, "0");
    assert_eq!(
        run(&["--read-only"], "touch /x 2>/dev/null; echo $?; touch /dev/shm/y; echo $?").1,
        "1\n0"
    );
    assert_eq!(run(&["--add-host", "db:10.0.0.7"], "grep db /etc/hosts").1, "10.0.0.7\tdb");
    assert_eq!(run(&["--label", "a=b"], "echo ok").1, "ok");
    for wrong in [
        &["--cap-add", "NOSUCH"][..],
        &["--restart", "never"],
        &["--restart", "always"],
        &["--name", "../../x"],
        &["--name", "-"],
        &["--stop-signal", "NOPE"],
    ] {
        assert_eq!(run(wrong, "true").0, 125, "{wrong:?}");
    }
    assert_eq!(names(&lath, &["-a"]), Vec::<String>::new());
}

#[test]
fn lists_and_prunes_take_what_their_filters_say() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    for (name, label) in [("one", "kind=a"), ("two", "kind=b"), ("three", "kind=a")] {
        lath.ok(&["run", "--name", name, "--label", label, "busybox", "true"]);
    }
    lath.ok(&["run", "-d", "--name", "live", "busybox", "sleep", "1000"]);
    assert_eq!(names(&lath, &[]), ["live"]);
    assert_eq!(names(&lath, &["-a", "-f", "label=kind=a"]), ["one", "three"]);
    assert_eq!(names(&lath, &["-f", "status=exited"]), ["one", "three", "two"]);
    assert_eq!(names(&lath, &["-a", "-f", "name=t"]), ["three", "two"]);
    assert_eq!(names(&lath, &["-l"]), ["live"]);
    let df = lath.ok(&["df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}}"]);
    assert!(df.contains("Containers 4 1\n"), "{df}");
    let pruned = lath.ok(&["container", "prune", "-f", "--filter", "label=kind=b"]);
    assert!(pruned.starts_with("Deleted Containers:\n"), "{pruned}");
    assert_eq!(names(&lath, &["-a"]), ["live", "one", "three"]);
    lath.ok(&["system", "prune", "-f"]);
    assert_eq!(names(&lath, &["-a"]), ["live"]);
    lath.ok(&["rm", "-f", "live"]);
}

#[test]
fn a_folder_that_was_never_a_container_is_swept() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.ok(&["run", "--name", "real", "busybox", "true"]);
    let all = lath.store().join("containers");
    let half = all.join("ab".repeat(32));
    fs::create_dir_all(half.join("diff/x")).unwrap();
    fs::write(half.join("uses"), "").unwrap();
    let brief = all.join("cd".repeat(32));
    fs::create_dir_all(brief.join("diff")).unwrap();
    for file in ["brief", "config", "state"] {
        fs::write(brief.join(file), "").unwrap();
    }
    assert_eq!(names(&lath, &["-a"]), ["real"]);
    assert!(!half.exists() && !brief.exists());
    // A damaged record is one container's, and named.
    let id = field(&lath, "real", "{{.Id}}");
    lath.ok(&["run", "--name", "other", "busybox", "true"]);
    fs::write(all.join(&id).join("config"), "sum 0\nid x\n").unwrap();
    let list = lath.run(&["ps", "-a", "--format", "{{.Names}}"]).success();
    assert_eq!(list.stdout, "other\n");
    assert!(list.stderr.contains(&id), "{}", list.stderr);
    lath.ok(&["rm", "-f", &id, "other"]);
    assert_eq!(fs::read_dir(all).unwrap().count(), 0);
}

/// The folders of a container's cgroups, wherever controllers are.
fn cgroups(id: &str) -> Vec<std::path::PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let trees = mounts.lines().filter(|line| line.contains(" - cgroup"));
    let folders = trees.filter_map(|line| line.split(' ').nth(4)).map(|tree| {
        let tree: &std::path::Path = tree.as_ref();
        tree.join("lath").join(id)
    });
    folders.filter(|folder| folder.exists()).collect()
}

#[test]
fn limits_hold_for_a_container_as_a_whole() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let controllers = fs::read_to_string("/proc/cgroups").unwrap_or_default();
    let has =
        |name: &str| controllers.lines().any(|line| line.starts_with(name) && line.ends_with('1'));
    if !(has("memory") && has("cpu") && has("pids")) {
        let said = lath
            .run(&[
                "run",
                "--rm",
                "-m",
                "16m",
                "--cpus",
                "1",
                "--pids-limit",
                "9",
                "busybox",
                "true",
            ])
            .failure(125);
        assert!(said.contains("controller for cgroups"), "{said}");
        return;
    }
    let fill = "dd if=/dev/zero of=/dev/shm/x bs=1M count=40 2>/dev/null; echo $?";
    let out = lath.run(&["run", "--rm", "-m", "16m", "busybox", "sh", "-c", fill]);
    assert_eq!(out.stdout.trim(), "137", "{}", out.stderr);
    assert!(out.stderr.contains("was killed: it may use 16777216 bytes"), "{}", out.stderr);
    let out = lath.run(&["run", "--rm", "-m", "64m", "busybox", "sh", "-c", fill]).success();
    assert_eq!((out.stdout.trim(), out.stderr.as_str()), ("0", ""));
    let many = "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done 2>&1; echo end";
    let out = lath.run(&["run", "--rm", "--pids-limit", "5", "busybox", "sh", "-c", many]);
    assert!(out.all().contains("can't fork"), "{}", out.all());

    let words =
        ["run", "-d", "--name", "held", "--cpus", "0.25", "-m", "32m", "busybox", "sleep", "1000"];
    let id = lath.ok(&words);
    let folders = cgroups(id.trim());
    let read = |file: &str| {
        folders
            .iter()
            .find_map(|folder| fs::read_to_string(folder.join(file)).ok())
            .unwrap_or_default()
    };
    let quota = read("cpu.cfs_quota_us") + &read("cpu.max");
    assert!(quota.starts_with("25000"), "{quota}");
    let memory = read("memory.limit_in_bytes") + &read("memory.max");
    assert_eq!(memory.trim(), (32 << 20).to_string());
    // Whoever comes in later is held too.
    lath.ok(&["exec", "held", "sh", "-c", "sleep 0.1; true"]);
    let own = lath.ok(&["exec", "held", "cat", "/proc/self/cgroup"]);
    assert!(own.contains(id.trim()), "{own}");
    lath.ok(&["rm", "-f", "held"]);
    assert_eq!(cgroups(id.trim()), Vec::<std::path::PathBuf>::new());
    for wrong in [&["-m", "1m"][..], &["--cpus", "x"], &["--memory-swap", "1g"]] {
        let words = [&["run", "--rm"], wrong, &["busybox", "true"]].concat();
        assert_eq!(lath.run(&words).code, 125, "{wrong:?}");
    }
}

#[test]
fn a_health_check_runs_and_says_how_a_container_is() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let text = "FROM busybox\nHEALTHCHECK --interval=100ms --retries=2 CMD test -e /well || { echo 'it is ill'; false; }\n\
                CMD [\"sleep\", \"1000\"]\n";
    lath.build("watched", text).success();
    let health = |name: &str| {
        let out = lath.run(&["health", name]);
        (out.stdout.trim().to_owned(), out.code)
    };
    lath.ok(&["run", "-d", "--name", "web", "watched"]);
    until("it is ill", || health("web") == ("unhealthy".to_owned(), 1));
    assert_eq!(field(&lath, "web", "{{(index .State.Health.Log 0).Output}}"), "it is ill");
    assert!(lath.ok(&["ps"]).contains("(unhealthy)"));
    assert_eq!(names(&lath, &["--filter", "health=unhealthy"]), ["web"]);
    assert!(names(&lath, &["--filter", "health=healthy"]).is_empty());
    lath.ok(&["exec", "web", "touch", "/well"]);
    until("it is well", || health("web") == ("healthy".to_owned(), 0));
    assert_eq!(field(&lath, "web", "{{.State.Health.FailingStreak}}"), "0");
    // One that is as well as it was writes nothing.
    let id = field(&lath, "web", "{{.Id}}");
    let state = lath.store().join("containers").join(id).join("state");
    let before = fs::metadata(&state).unwrap().modified().unwrap();
    sleep(Duration::from_millis(500));
    assert_eq!(fs::metadata(&state).unwrap().modified().unwrap(), before);
    lath.ok(&["stop", "-t", "0", "web"]);
    assert_eq!(health("web"), ("none".to_owned(), 1), "it does not run");
    // A check that hangs is killed; one that is not there fails; none is none.
    for (name, words, status) in [
        (
            "slow",
            &["--health-cmd", "sleep 1000", "--health-timeout", "200ms", "--health-retries", "1"][..],
            "unhealthy",
        ),
        ("lost", &["--health-cmd", "exec nothing-there", "--health-retries", "1"], "unhealthy"),
        (
            "early",
            &[
                "--health-cmd",
                "false",
                "--health-start-period",
                "1h",
                "--health-start-interval",
                "50ms",
            ],
            "starting",
        ),
        ("none", &["--no-healthcheck"], "none"),
    ] {
        let words =
            [&["run", "-d", "--name", name, "--health-interval", "100ms"], words, &["watched"]]
                .concat();
        let words: Vec<&str> = match name {
            "none" => words
                .into_iter()
                .filter(|word| !matches!(*word, "--health-interval" | "100ms"))
                .collect(),
            _ => words,
        };
        lath.ok(&words);
        until(name, || health(name).0 == status);
    }
    let output = field(&lath, "slow", "{{(index .State.Health.Log 0).Output}}");
    assert!(output.starts_with("Health check exceeded timeout"), "{output}");
    sleep(Duration::from_millis(300));
    assert_eq!(health("early"), ("starting".to_owned(), 3));
    assert_eq!(health("none"), ("none".to_owned(), 4));
    // Several have been killed by now; one may run.
    sleep(Duration::from_millis(700));
    let sleeping = lath.run(&["exec", "slow", "pidof", "sleep"]).success().stdout;
    assert!(sleeping.split_whitespace().count() <= 2, "{sleeping}");
    for words in [
        &["--health-interval", "soon"][..],
        &["--health-retries", "x"],
        &["--no-healthcheck", "--health-cmd", "x"],
    ] {
        let words = [&["run", "--rm"], words, &["watched", "true"]].concat();
        lath.run(&words).failure(125);
    }
    let all = names(&lath, &[]);
    lath.ok(&[&["rm", "-f"], &all.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat());
}
