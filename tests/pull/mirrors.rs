//! Mirrors: asked first, believed in nothing, told nothing.

use super::harness::{Asked, Lath, Need, Shelf, Web, finish, needs, status};
use super::{HERE, LATEST, digest, id, is_empty, large, name};
use std::io::{Read, Write};
use std::net::TcpListener;

/// A store that knows these mirrors of a registry; more words may follow an address.
fn with_mirrors(registry: &Web, mirrors: &[String]) -> Lath {
    let lath = Lath::new();
    lath.ok(&["images"]);
    let lines = mirrors.iter().map(|m| format!("127.0.0.1:{} {m}\n", registry.port()));
    std::fs::write(lath.store().join("registries"), lines.collect::<String>()).unwrap();
    lath
}

fn blobs(asked: &[Asked]) -> usize {
    asked.iter().filter(|asked| asked.target().contains("/blobs/")).count()
}

#[test]
fn a_mirror_is_asked_first_and_for_tags_only_when_it_may_say_them() {
    if !needs(HERE) {
        return;
    }
    let shelf = Shelf::of(&[large()]);
    let (mirror, registry) = (shelf.clone().serve(), shelf.clone().serve());
    let by_digest = format!("{}@{}", name(&registry), digest(shelf.bytes(LATEST).unwrap()));
    for (words, reference, of_mirror, of_registry) in
        [("", name(&registry), 0, 1), (" tags", name(&registry), 1, 0), ("", by_digest, 1, 0)]
    {
        let lath = with_mirrors(&registry, &[format!("{}{words}", mirror.url(""))]);
        lath.ok(&["pull", &reference]);
        assert_eq!(lath.id(&reference), id(&shelf));
        let (mirrored, own) = (mirror.take(), registry.take());
        let manifests = |asked: &[Asked]| {
            asked.iter().filter(|asked| asked.target().contains("/manifests/")).count()
        };
        assert_eq!((manifests(&mirrored), manifests(&own)), (of_mirror, of_registry));
        assert_eq!((blobs(&mirrored), blobs(&own)), (2, 0));
    }
}

#[test]
fn the_hub_has_the_mirrors_of_the_command_line() {
    if !needs(HERE) {
        return;
    }
    let shelf = Shelf::of(&[large()]);
    let mirror = shelf.clone().serve();
    let lath = Lath::new();
    lath.ok(&["--registry-mirror", &mirror.url("/"), "pull", "hub/x"]);
    assert_eq!(lath.id("hub/x"), id(&shelf));
    lath.ok(&["rmi", "hub/x"]);
    let given = format!("--registry-mirror=reg.invalid={}", mirror.url(""));
    let error = lath.fails(&["pull", &given, "reg.invalid/hub/x"]);
    assert!(error.contains("reg.invalid"), "the registry itself says what a tag means: {error}");
    let by_digest = format!("reg.invalid/hub/x@{}", digest(shelf.bytes(LATEST).unwrap()));
    lath.build_in("c", "y", &format!("FROM {by_digest}\nENV A=b\n"), &[&given]).success();
    for bad in ["cache:5000", "ftp://x"] {
        let error = lath.fails(&["--registry-mirror", bad, "pull", "hub/x"]);
        assert!(error.contains("--registry-mirror"), "{error}");
    }
}

#[test]
fn a_mirror_that_is_down_or_wrong_is_passed_over() {
    if !needs(HERE) {
        return;
    }
    let shelf = Shelf::of(&[large()]);
    let (layer, config) = (shelf.largest(), format!("/v2/hub/x/blobs/{}", id(&shelf)));
    let by_digest = format!("/v2/hub/x/manifests/{}", digest(shelf.bytes(LATEST).unwrap()));
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let bent = |path: &str| {
        let path = path.to_owned();
        shelf.clone().serve_but(move |shelf, asked| {
            let mut answer = shelf.answer(asked);
            let last = answer.len() - 9;
            answer[last] ^= 4;
            (asked.target() == path).then_some(answer)
        })
    };
    let says = |code| Web::start(move |_| status(code));
    let wrong = [bent(&layer), bent(&config), bent(&by_digest), says(404), says(500), says(429)];
    let good = shelf.clone().serve();
    for second in [None, Some(&good)] {
        for (number, web) in wrong.iter().enumerate() {
            let registry = shelf.clone().serve();
            let mut all = vec![format!("http://127.0.0.1:{closed}"), web.url("")];
            all.extend(second.map(|web| web.url("")));
            let lath = with_mirrors(&registry, &all);
            let reference = format!("{}@{}", name(&registry), digest(shelf.bytes(LATEST).unwrap()));
            lath.ok(&["pull", &reference]);
            assert_eq!(lath.id(&reference), id(&shelf), "{number}");
            assert!(is_empty(&lath, "partial"));
            assert_eq!(registry.take().is_empty(), second.is_some(), "{number}");
        }
    }
    // What the registry itself says is told in the end.
    let registry =
        shelf.serve_but(|_, asked| asked.target().contains("/manifests/").then(|| status(404)));
    let mirror = says(404);
    let lath = with_mirrors(&registry, &[format!("{} tags", mirror.url(""))]);
    let error = lath.fails(&["pull", &name(&registry)]);
    assert!(error.contains("is not in 127.0.0.1"), "{error}");
}

#[test]
fn a_blob_goes_on_at_the_next_place() {
    if !needs(HERE) {
        return;
    }
    let shelf = Shelf::of(&[large()]);
    let (layer, size) = (shelf.largest(), shelf.bytes(&shelf.largest()).unwrap().len());
    let mirror = shelf.clone().serve_but(move |shelf, asked| {
        let mut answer = shelf.answer(asked);
        (asked.target() == layer).then(|| {
            answer.truncate(answer.len() - 100_000);
            answer
        })
    });
    let registry = shelf.clone().serve();
    let lath = with_mirrors(&registry, &[mirror.url("")]);
    lath.ok(&["pull", &name(&registry)]);
    assert_eq!(lath.id(&name(&registry)), id(&shelf));
    let asked = registry.take();
    let ranges: Vec<_> = asked.iter().filter_map(|asked| asked.header("range")).collect();
    assert_eq!(ranges, [format!("bytes={}-{}", size - 100_000, size - 1)]);
}

#[test]
fn a_mirror_that_drips_or_stops_is_left_for_the_next_place() {
    if !needs(HERE) {
        return;
    }
    let shelf = Shelf::of(&[large()]);
    let layer = shelf.largest();
    for drips in [true, false] {
        let (shelf, layer) = (shelf.clone(), layer.clone());
        let own = shelf.clone();
        let mirror = Web::stream(move |asked, stream| {
            let answer = own.answer(asked);
            if asked.target() != layer {
                drop(stream.write_all(&answer));
                return;
            }
            let (start, rest) = answer.split_at(100_000);
            drop(stream.write_all(start));
            for part in rest.chunks(100) {
                // Until the other side has gone.
                if drips && stream.write_all(part).is_err() {
                    return;
                }
                if !drips {
                    drop(stream.read(&mut [0]));
                    return;
                }
                std::thread::sleep(std::time::Duration::from_millis(250));
            }
        });
        let registry = shelf.clone().serve();
        let lath = with_mirrors(&registry, &[mirror.url("")]);
        lath.ok(&["pull", &name(&registry)]);
        assert_eq!(lath.id(&name(&registry)), id(&shelf));
        let asked = registry.take();
        let ranges = asked.iter().filter(|asked| asked.header("range").is_some());
        assert_eq!(ranges.count(), 1, "it goes on where the mirror was, drips: {drips}");
    }
}

#[test]
fn the_device_has_a_file_of_mirrors_too() {
    if !needs(HERE) || !needs(&[Need::Program("unshare")]) {
        return;
    }
    let shelf = Shelf::of(&[large()]);
    let (mirror, registry) = (shelf.clone().serve(), shelf.clone().serve());
    let lath = Lath::new();
    let line = format!("127.0.0.1:{} {} tags\n", registry.port(), mirror.url(""));
    let files = [("lath/registries", line.as_str())];
    let mut command = super::with_etc(&lath, &["pull", &name(&registry)], &files);
    finish(&mut command, b"").success();
    assert_eq!(lath.id(&name(&registry)), id(&shelf));
    assert_eq!((blobs(&mirror.take()), registry.take().len()), (2, 0));
    // The store's own come first.
    let other = shelf.clone().serve();
    let lath = with_mirrors(&registry, &[format!("{} tags", other.url(""))]);
    let mut command = super::with_etc(&lath, &["pull", &name(&registry)], &files);
    finish(&mut command, b"").success();
    assert_eq!((blobs(&other.take()), blobs(&mirror.take())), (2, 0));
}

#[test]
fn a_mirror_hears_no_password_of_the_registry() {
    if !needs(HERE) {
        return;
    }
    let shelf = Shelf::of(&[large()]);
    let asks = "HTTP/1.1 401 x\r\nWWW-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n";
    let guarded = |shelf: Shelf| {
        shelf.serve_but(move |_, asked| {
            let is_right = asked.header("authorization") == Some("Basic am9lOmh1bnRlcjI=");
            (!is_right).then(|| asks.as_bytes().to_vec())
        })
    };
    let (mirror, registry) = (guarded(shelf.clone()), guarded(shelf.clone()));
    let lath = with_mirrors(&registry, &[format!("{} tags", mirror.url(""))]);
    let auth = r#"{"auths":{"127.0.0.1:PORT":{"auth":"am9lOmh1bnRlcjI="}}}"#;
    let auth = auth.replace("PORT", &registry.port().to_string());
    let config = lath.write("docker/config.json", auth);
    let mut command = lath.command(&["pull", &name(&registry)]);
    finish(command.env("DOCKER_CONFIG", config.parent().unwrap()), b"").success();
    assert_eq!(lath.id(&name(&registry)), id(&shelf));
    let asked = mirror.take();
    assert!(!asked.is_empty());
    assert!(asked.iter().all(|asked| asked.header("authorization").is_none()), "{asked:?}");
}

#[test]
fn a_line_that_is_none_is_named() {
    if !needs(HERE) {
        return;
    }
    let registry = Shelf::of(&[large()]).serve();
    let lath = with_mirrors(&registry, &["cache:5000".into()]);
    let error = lath.fails(&["pull", &name(&registry)]);
    assert!(error.contains("registries\", line 1: invalid URL"), "{error}");
}
