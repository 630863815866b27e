//! What a step's place in the cache depends on: the files below it, its effect and what it takes
//! in. Nothing else makes it run again, and nothing of that is forgotten.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken assumption of a test is a failed test"
)]

mod harness;

use harness::{Lath, Need, needs};

const HERE: &[Need] = &[Need::Root, Need::Busybox];

const DICE: &str = "RUN cat /proc/sys/kernel/random/uuid > /dice\n";

#[test]
fn what_a_step_does_not_see_does_not_make_it_run_again() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.write("c/f", "f");
    let text = format!("FROM busybox\nCOPY f /f\n{DICE}");
    lath.build_in("c", "first", &text, &[]).success();
    let dice = lath.shell("first", "cat /dice");
    for before in [
        "LABEL a=b\n",
        "CMD [\"x\"]\n",
        "EXPOSE 80\n",
        "VOLUME /v\n",
        "STOPSIGNAL SIGINT\n",
        "HEALTHCHECK CMD true\n",
        "MAINTAINER somebody\n",
        "ENTRYPOINT [\"y\"]\n",
        "ONBUILD RUN true\n",
    ] {
        let text = text.replace("COPY f", &format!("{before}COPY f"));
        let output = lath.build_in("c", "x", &text, &[]).success();
        assert_eq!(output.cached(), ["COPY f /f", DICE.trim_end()], "{before}");
        let script = ["run", "--rm", "--entrypoint", "cat", "x", "/dice"];
        assert_eq!(lath.ok(&script), dice, "{before}");
        assert_ne!(lath.id("x"), lath.id("first"), "{before}");
        // Now it is as if it had been made so: all from the cache, nothing written.
        let listing = lath.listing();
        let again = lath.build_in("c", "x", &text, &[]).success();
        assert_eq!(again.cached().len(), 3, "{before}: {again}");
        assert_eq!(lath.listing(), listing, "{before}");
    }
}

#[test]
fn every_image_on_the_way_is_there_and_goes_with_the_last() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    let text = format!("FROM busybox\n{DICE}RUN echo b > /b\n");
    lath.build_in("c", "one", &text, &[]).success();
    let labelled = text.replace("FROM busybox\n", "FROM busybox\nLABEL a=b\n");
    let output = lath.build_in("c", "two", &labelled, &[]).success();
    let steps = output.stdout.lines().filter_map(|line| line.strip_prefix(" ---> "));
    let ids: Vec<&str> = steps.filter(|id| id.len() == 12).collect();
    assert_eq!(ids.len(), 4, "{output}");
    for id in &ids[1..] {
        assert_eq!(lath.ok(&["inspect", "-f", "{{.Config.Labels.a}}", id]), "b\n");
    }
    assert_eq!(lath.ok(&["run", "--rm", ids[2], "ls", "/dice"]), "/dice\n");
    assert_eq!(lath.ok(&["history", "-q", "two"]).lines().count(), 4);
    // The one goes, the other stays whole and in the cache.
    lath.ok(&["rmi", "one"]);
    assert_eq!(lath.build_in("c", "two", &labelled, &[]).success().cached().len(), 3);
    lath.ok(&["run", "--rm", "two", "cat", "/dice", "/b"]);
    lath.ok(&["rmi", "two"]);
    assert!(lath.build_in("c", "two", &labelled, &[]).success().cached().is_empty());
}

#[test]
fn what_a_step_sees_makes_it_run_again() {
    if !needs(HERE) {
        return;
    }
    let lath = Lath::with_busybox();
    lath.write("c/f", "f");
    let text = format!("FROM busybox\nARG V\nCOPY f /f\n{DICE}RUN echo b > /b\n");
    let build = |text: &str, more: &[&str]| {
        lath.build_in("c", "x", text, more).success().cached().join("; ")
    };
    build(&text, &["--build-arg", "V=1"]);
    // docker: a miss upon the first use of an argument, and every RUN uses it.
    assert_eq!(build(&text, &["--build-arg", "V=2"]), "COPY f /f");
    assert_eq!(
        build(&text, &["--build-arg", "V=2", "--build-arg", "OTHER=1"]).matches(';').count(),
        3
    );
    for before in [
        "ENV A=1\n",
        "USER 0:1\n",
        "WORKDIR /w\n",
        "SHELL [\"/bin/sh\", \"-ec\"]\n",
        "RUN touch /t\n",
    ] {
        let text = text.replace(DICE, &format!("{before}{DICE}"));
        let cached = build(&text, &["--build-arg", "V=2"]);
        assert!(!cached.contains("dice"), "{before}: {cached}");
    }
    // Another order.
    let swapped = format!("FROM busybox\nARG V\nCOPY f /f\nRUN echo b > /b\n{DICE}");
    assert_eq!(build(&swapped, &["--build-arg", "V=2"]), "ARG V; COPY f /f");
    // Another base with the same words.
    lath.build("base", "FROM busybox\nRUN touch /other\n");
    assert_eq!(build(&text.replace("busybox", "base"), &["--build-arg", "V=2"]), "");
}
