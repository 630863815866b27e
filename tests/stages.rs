//! Stages side by side: at once, with the log and the result of one after the other.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken assumption of a test is a failed test"
)]

mod harness;

use harness::{Lath, Need, gone, needs, pids_of};
use rustix::process::Signal;

const HERE: &[Need] = &[Need::Root, Need::Busybox];

/// Waits in a cache that both share until the other is there too.
const MEET: &str = "RUN --mount=type=cache,id=meet,target=/m touch /m/$ME; \
    for n in $(seq 300); do test -e /m/$OTHER && exit 0; sleep 0.1; done; exit 9";

#[test]
fn stages_without_need_of_each_other_run_at_once() {
    if !needs(HERE) {
        return;
    }
    let text = format!(
        "FROM busybox AS a\nENV ME=a OTHER=b\n{MEET}\nRUN echo a > /x\n\
         FROM busybox AS b\nENV ME=b OTHER=a\n{MEET}\nRUN echo b > /y\n\
         FROM busybox\nCOPY --from=a /x /\nCOPY --from=b /y /\n"
    );
    let lath = Lath::with_busybox();
    lath.build_in("c", "both", &text, &["--jobs", "2"]).success();
    assert_eq!(lath.shell("both", "cat /x /y"), "a\nb\n");
}

/// Stages that need each other in all ways, and one that only begins like another.
const KNIT: &str = "ARG BASE=busybox\n\
    FROM $BASE AS tools\nRUN echo tool > /tool; seq 20000\n\
    FROM $BASE AS left\nCOPY --from=tools /tool /a\nRUN seq 20000 >&2; cat /a > /left\n\
    FROM $BASE AS right\nRUN --mount=type=bind,from=tools,target=/t cat /t/tool > /right\n\
    FROM tools AS more\nRUN echo more >> /tool\n\
    FROM left\nCOPY --from=right /right /\nCOPY --from=more /tool /\nRUN cat /left /right /tool > /all\n";

#[test]
fn digests_and_log_are_those_of_one_after_the_other() {
    if !needs(HERE) {
        return;
    }
    let (mut ids, mut logs) = (Vec::new(), Vec::new());
    let lath = Lath::with_busybox();
    for jobs in ["1", "2", "8"] {
        let more = ["--jobs", jobs, "--build-arg", "SOURCE_DATE_EPOCH=1", "--label", "a=b"];
        let fresh = [&more[..], &["--no-cache"]].concat();
        let output = lath.build_in("c", "knit", KNIT, &fresh).success();
        ids.push(lath.id("knit"));
        let is_id = |word: &str| word.len() == 12 && word.bytes().all(|b| b.is_ascii_hexdigit());
        let words = |line: &str| -> String {
            let is_named = line.starts_with(" ---> Running in") || line.starts_with("Removing");
            line.split(' ').filter(|word| !is_named || !is_id(word)).collect()
        };
        let log: Vec<String> = output.stdout.lines().map(words).collect();
        logs.push((log, output.stderr.clone()));
        let again = lath.build_in("c", "knit", KNIT, &more).success();
        assert_eq!(again.cached().len(), output.steps().len() - 6, "{again}");
        assert_eq!(lath.id("knit"), ids[0], "--jobs {jobs}, from the cache");
    }
    assert!(logs[0].0.len() > 20000);
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    for (log, errors) in &logs {
        let differs = log.iter().zip(&logs[0].0).find(|(one, other)| one != other);
        assert_eq!(differs, None);
        assert!(log.len() == logs[0].0.len() && *errors == logs[0].1);
    }
}

#[test]
fn what_two_stages_begin_with_is_done_once() {
    if !needs(HERE) {
        return;
    }
    let dice = "RUN cat /proc/sys/kernel/random/uuid > /dice\nRUN cat /proc/sys/kernel/random/uuid >> /dice\n";
    let text = format!(
        "FROM busybox AS a\n{dice}RUN echo a\nFROM busybox AS b\n{dice}RUN echo b\n\
         FROM busybox\nCOPY --from=a /dice /a\nCOPY --from=b /dice /b\nRUN cmp /a /b\n"
    );
    for jobs in ["1", "2"] {
        let lath = Lath::with_busybox();
        let output = lath.build_in("c", "x", &text, &["--jobs", jobs]).success();
        assert_eq!(output.cached().len(), 2, "--jobs {jobs}: {output}");
        // Not from the cache, and still once.
        let again = lath.build_in("c", "x", &text, &["--jobs", jobs, "--no-cache"]).success();
        assert_eq!(again.cached().len(), 2, "--jobs {jobs}: {again}");
    }
}

#[test]
fn the_stage_that_fails_ends_the_others_and_has_the_last_word() {
    if !needs(HERE) {
        return;
    }
    let text = format!(
        "FROM busybox AS long\nENV ME=long OTHER=short\n{MEET}\nRUN echo begun; sleep 1000\n\
         FROM busybox AS short\nENV ME=short OTHER=long\n{MEET}\nRUN echo because; exit 3\n\
         FROM busybox AS later\nRUN --mount=type=cache,id=meet,target=/m touch /m/later\n\
         FROM busybox\nCOPY --from=long /x /\nCOPY --from=short /x /\nCOPY --from=later /x /\n"
    );
    let lath = Lath::with_busybox();
    let output = lath.build_in("c", "x", &text, &["--jobs", "2"]);
    let (log, said) = (output.stdout.clone(), output.failure(1));
    assert!(said.contains("returned a non-zero code: 3"), "{said}");
    assert!(said.contains("Dockerfile:8"), "{said}");
    assert!(log.trim_end().ends_with("because"), "{log}");
    assert!(!log.contains("later"), "{log}");
}

#[test]
fn ctrl_c_ends_all_stages_and_leaves_nothing() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    // The third waits for a cache that another holds.
    let held = "RUN --mount=type=cache,id=held,target=/h,sharing=locked";
    let text = format!(
        "FROM busybox AS a\n{held} sleep 86461\nFROM busybox AS b\nRUN sleep 86462\n\
         FROM busybox AS c\n{held} sleep 86463\n\
         FROM busybox\nCOPY --from=a /x /\nCOPY --from=b /x /\nCOPY --from=c /x /\n"
    );
    lath.write("c/Dockerfile", text);
    let both = || !pids_of("sleep 86462").is_empty() && is_one_of("sleep 86461", "sleep 86463");
    let building = lath.start(&["build", "--jobs", "3", "c"]).until("the steps", both);
    building.signal(Signal::INT);
    let output = building.wait();
    assert_eq!(output.code, 130, "{output}");
    for command in ["sleep 86461", "sleep 86462", "sleep 86463"] {
        gone(command);
    }
    let left = std::fs::read_dir(lath.store().join("tmp")).unwrap().count();
    assert_eq!(left, 0, "unfinished work is left");
}

fn is_one_of(one: &str, other: &str) -> bool {
    pids_of(one).is_empty() != pids_of(other).is_empty()
}

#[test]
fn locked_caches_are_taken_in_one_order_and_each_once() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let mount =
        |id: &str, at: &str| format!("--mount=type=cache,id={id},target=/{at},sharing=locked");
    let (mut text, mut last) = (String::new(), "FROM busybox\n".to_owned());
    for stage in 0..6 {
        let (one, other) = if stage % 2 == 0 { ("x", "y") } else { ("y", "x") };
        text.push_str(&format!("FROM busybox AS s{stage}\n"));
        for step in 0..4 {
            let (one, other) = (mount(one, "one"), mount(other, "other"));
            text.push_str(&format!(
                "RUN {one} {other} echo {step} >> /one/log; echo {stage} > /f\n"
            ));
        }
        last.push_str(&format!("COPY --from=s{stage} /f /f{stage}\n"));
    }
    // One cache at two places is the same at both.
    let twice = format!(
        "RUN {} {} echo twice > /p/t && cat /q/t > /twice\n",
        mount("z", "p"),
        mount("z", "q")
    );
    let text = [text, last, twice].concat();
    lath.build_in("c", "x", &text, &["--jobs", "4"]).success();
    assert_eq!(lath.shell("x", "cat /f* /twice"), "0\n1\n2\n3\n4\n5\ntwice\n");
}

#[test]
fn no_jobs_is_no_build() {
    let lath = Lath::new();
    let said = lath.run(&["build", "--jobs", "0", "."]).failure(2);
    assert!(said.contains("--jobs 0"), "{said}");
}
