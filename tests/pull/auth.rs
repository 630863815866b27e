//! Who the user is: told to whom it concerns, and to nobody else.

use super::harness::{
    Asked, Authority, Lath, Need, Output, Shelf, Web, needs, ok, redirect, status,
};
use super::{HERE, LATEST, id, large, name, pull, refused, small};
use crate::harness::finish;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};

/// `joe:hunter2` in base64.
const JOE: &str = "am9lOmh1bnRlcjI=";

/// A realm that gives a token to whoever asks: `tick-1`, then `tick-2`, ...
fn realm() -> Web {
    let count = AtomicUsize::new(0);
    Web::start(move |_| {
        let number = count.fetch_add(1, Ordering::Relaxed) + 1;
        ok("", &format!("{{\"token\":\"tick-{number}\",\"expires_in\":60}}"))
    })
}

/// 401 and where a token can be had.
fn ask_at(realm: &str) -> Vec<u8> {
    let head = "HTTP/1.1 401 x\r\nContent-Length: 0\r\nWWW-Authenticate:";
    let scope = "scope=\"repository:hub/x:pull,push\"";
    format!("{head} Bearer realm=\"{realm}\",service=\"the registry\",{scope}\r\n\r\n").into_bytes()
}

/// 401 and that it wants a password.
fn ask_for_password() -> Vec<u8> {
    b"HTTP/1.1 401 x\r\nContent-Length: 0\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\r\n".to_vec()
}

/// A registry that gives its things for this authorization alone.
fn guarded(shelf: Shelf, wanted: &'static str, refusal: Vec<u8>) -> Web {
    shelf.serve_but(move |_, asked| {
        let is_right = asked.header("authorization") == Some(wanted);
        (!is_right).then(|| refusal.clone())
    })
}

/// Writes docker's config.json; `AT` in it becomes the address of the registry.
fn configure(lath: &Lath, web: &Web, config: &str) {
    lath.write("docker/config.json", config.replace("AT", &format!("127.0.0.1:{}", web.port())));
}

/// Pulls with that config and with `bin` in the search path; nothing secret may be said.
fn pull_as(lath: &Lath, web: &Web) -> Output {
    let mut command = lath.command(&["pull", &name(web)]);
    command.env("LATH_LOG", "debug").env("DOCKER_CONFIG", lath.path("docker"));
    command.env("PATH", format!("{}:/usr/bin:/bin", lath.text("bin")));
    let output = finish(&mut command, &[]);
    for secret in ["hunter2", JOE, "tick-", "refresh-me"] {
        assert!(!output.all().contains(secret), "{secret}: {output}");
    }
    output
}

fn authorizations(asked: &[Asked]) -> Vec<&str> {
    // Each, should one request have two.
    let lines = asked.iter().flat_map(|asked| &asked.headers);
    lines.filter_map(|line| line.strip_prefix("Authorization: ")).collect()
}

#[test]
fn a_token_is_asked_for_once_and_shown_to_the_registry() {
    if !needs(HERE) {
        return;
    }
    let realm = realm();
    let shelf = Shelf::of(&[small()]);
    let wanted = id(&shelf);
    let web = guarded(shelf, "Bearer tick-1", ask_at(&realm.url("/token?x=y")));
    let lath = Lath::new();
    pull(&lath, &[&name(&web)]).success();
    assert_eq!(lath.id(&name(&web)), wanted);
    let asked = realm.take();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0].header("authorization"), None);
    let target = asked[0].target().to_owned();
    assert!(target.starts_with("/token?x=y&"), "{target}");
    for field in ["scope=repository%3Ahub%2Fx%3Apull", "service=the%20registry"] {
        assert!(target.split(['?', '&']).any(|known| known == field), "{target}");
    }
    assert_eq!(authorizations(&web.take()), ["Bearer tick-1"; 3]);
}

#[test]
fn the_user_of_dockers_config_is_told_to_the_realm_alone() {
    if !needs(HERE) {
        return;
    }
    for config in [
        r#"{"auths":{"AT":{"auth":"am9lOmh1bnRlcjI="}}}"#,
        r#"{"auths":{"other":{"auth":"eA=="},"AT":{"username":"joe","password":"hunter2"}}}"#,
        r#"{"auths":{"http://AT/v2/":{"auth":"am9lOmh1bnRlcjI="}}}"#,
        r#"{"auths":{"https://AT":{"auth":"am9lOmh1bnRlcjI="}},"credsStore":""}"#,
    ] {
        let realm = realm();
        let refusal = ask_at(&realm.url("/token"));
        let web = guarded(Shelf::of(&[small()]), "Bearer tick-1", refusal);
        let lath = Lath::new();
        configure(&lath, &web, config);
        pull_as(&lath, &web).success();
        assert_eq!(authorizations(&realm.take()), [format!("Basic {JOE}")], "{config}");
        assert_eq!(authorizations(&web.take()), ["Bearer tick-1"; 3]);
    }
    // Another registry's user is nobody here.
    let realm = realm();
    let web = guarded(Shelf::of(&[small()]), "Bearer tick-1", ask_at(&realm.url("/token")));
    let lath = Lath::new();
    configure(&lath, &web, r#"{"auths":{"127.0.0.1":{"auth":"am9lOmh1bnRlcjI="}}}"#);
    pull_as(&lath, &web).success();
    assert!(authorizations(&realm.take()).is_empty());
}

#[test]
fn an_identity_token_is_changed_for_another() {
    if !needs(HERE) {
        return;
    }
    let realm = realm();
    let web = guarded(Shelf::of(&[small()]), "Bearer tick-1", ask_at(&realm.url("/token")));
    let lath = Lath::new();
    configure(
        &lath,
        &web,
        r#"{"auths":{"AT":{"auth":"am9lOg==","identitytoken":"refresh-me&x"}}}"#,
    );
    pull_as(&lath, &web).success();
    let asked = realm.take();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0].line, "POST /token HTTP/1.1");
    let form: Vec<_> = asked[0].body.split('&').collect();
    for field in [
        "grant_type=refresh_token",
        "refresh_token=refresh-me%26x",
        "service=the%20registry",
        "scope=repository%3Ahub%2Fx%3Apull",
    ] {
        assert!(form.contains(&field), "{form:?}");
    }
}

#[test]
fn a_password_does_not_follow_a_redirect() {
    if !needs(HERE) {
        return;
    }
    let shelf = Shelf::of(&[small()]);
    let store = shelf.clone().serve();
    let elsewhere = store.url("").replace("http://", "http://jim:hunter2@");
    let web = shelf.serve_but(move |_, asked| {
        match asked.header("authorization") == Some(&format!("Basic {JOE}")) {
            false => Some(ask_for_password()),
            true if asked.target().contains("/blobs/") => {
                Some(redirect(307, &format!("{elsewhere}{}?sig=hunter2", asked.target())))
            }
            true => None,
        }
    });
    let lath = Lath::new();
    configure(&lath, &web, r#"{"auths":{"AT":{"auth":"am9lOmh1bnRlcjI="}}}"#);
    // That store has nothing under such an address; what it was asked is the matter here.
    let log = pull_as(&lath, &web).failure(1);
    assert!(log.contains(&format!("leads to {}", store.url("/"))), "{log}");
    let asked = store.take();
    assert!(!asked.is_empty());
    let theirs = "Basic amltOmh1bnRlcjI=";
    assert!(authorizations(&asked).iter().all(|value| *value == theirs), "{asked:?}");
}

#[test]
fn a_blob_from_elsewhere_comes_without_a_password() {
    if !needs(HERE) {
        return;
    }
    let realm = realm();
    let shelf = Shelf::of(&[small()]);
    let store = shelf.clone().serve();
    let (elsewhere, refusal) = (store.url(""), ask_at(&realm.url("/token")));
    let web = shelf.serve_but(move |_, asked| {
        match asked.header("authorization") == Some("Bearer tick-1") {
            false => Some(refusal.clone()),
            true if asked.target().contains("/blobs/") => {
                Some(redirect(307, &format!("{elsewhere}{}", asked.target())))
            }
            true => None,
        }
    });
    let lath = Lath::new();
    pull_as(&lath, &web).success();
    let asked = store.take();
    assert_eq!(asked.len(), 2);
    assert!(authorizations(&asked).is_empty(), "{asked:?}");
}

#[test]
fn another_host_that_asks_who_it_is_hears_nothing() {
    if !needs(HERE) {
        return;
    }
    for wants_password in [true, false] {
        let evil = realm();
        let refusal = if wants_password { ask_for_password() } else { ask_at(&evil.url("/token")) };
        let other = Web::start(move |_| refusal.clone());
        let elsewhere = other.url("/");
        let web = Shelf::of(&[small()]).serve_but(move |_, asked| {
            if asked.target().contains("/blobs/") {
                return Some(redirect(302, &elsewhere));
            }
            let is_joe = asked.header("authorization") == Some(&format!("Basic {JOE}"));
            (!is_joe).then(ask_for_password)
        });
        let lath = Lath::new();
        configure(&lath, &web, r#"{"auths":{"AT":{"auth":"am9lOmh1bnRlcjI="}}}"#);
        let error = pull_as(&lath, &web).failure(1);
        assert!(error.contains("denied"), "{error}");
        let asked = other.take();
        assert!(!asked.is_empty() && authorizations(&asked).is_empty(), "{asked:?}");
        assert!(evil.take().is_empty());
        super::has_nothing(&lath);
    }
}

#[test]
fn a_realm_that_is_plain_is_not_told_over_tls() {
    if !needs(&[Need::Root, Need::Program("openssl"), Need::Program("python3")]) {
        return;
    }
    let lath = Lath::new();
    let authority = Authority::new(&lath.path("authority"));
    let times = ("200101000000Z", "491231235959Z");
    let safe = authority.server("IP:127.0.0.1", times, "ec", "1.3");
    let mut command = lath.command(&["pull", &format!("127.0.0.1:{}/hub/x", safe.port)]);
    command.env("SSL_CERT_FILE", authority.file());
    let error = finish(&mut command, &[]).failure(1);
    assert!(error.contains("http://192.0.2.1/token is plain http"), "{error}");
    // Without TLS the registry is not one that a name may stand for.
    let mut command = lath.command(&["pull", &format!("127.0.0.1:{}/hub/x", safe.port)]);
    command.env("SSL_CERT_FILE", "/dev/null");
    finish(&mut command, &[]).failure(1);
}

#[test]
fn a_token_that_expires_in_the_middle_is_asked_for_anew() {
    if !needs(HERE) {
        return;
    }
    let realm = realm();
    let shelf = Shelf::of(&[large()]);
    let (wanted, layer) = (id(&shelf), shelf.largest());
    let (refusal, count) = (ask_at(&realm.url("/token")), AtomicUsize::new(0));
    let web = shelf.serve_but(move |shelf, asked| {
        let right =
            if count.load(Ordering::Relaxed) == 0 { "Bearer tick-1" } else { "Bearer tick-2" };
        if asked.header("authorization") != Some(right) {
            return Some(refusal.clone());
        }
        let is_first = asked.target() == layer && count.fetch_add(1, Ordering::Relaxed) == 0;
        is_first.then(|| {
            let mut answer = shelf.answer(asked);
            answer.truncate(answer.len() / 2);
            answer
        })
    });
    let lath = Lath::new();
    pull_as(&lath, &web).success();
    assert_eq!(lath.id(&name(&web)), wanted);
    assert_eq!(realm.take().len(), 2);
}

/// A helper that notes what it was asked, and says this.
fn helper(lath: &Lath, says: &str) {
    let asked = lath.text("asked");
    let script = format!("#!/bin/sh\n{{ echo \"$1\"; cat; }} > {asked}\necho '{says}'\n");
    let path = lath.write("bin/docker-credential-test", script);
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_credential_helper_is_asked() {
    if !needs(HERE) {
        return;
    }
    for config in [r#"{"credHelpers":{"AT":"test"}}"#, r#"{"credsStore":"test","auths":{"AT":{}}}"#]
    {
        let web = guarded(Shelf::of(&[small()]), "Basic am9lOmh1bnRlcjI=", ask_for_password());
        let lath = Lath::new();
        configure(&lath, &web, config);
        helper(&lath, r#"{"ServerURL":"x","Username":"joe","Secret":"hunter2"}"#);
        pull_as(&lath, &web).success();
        let asked = fs::read_to_string(lath.path("asked")).unwrap();
        assert_eq!(asked, format!("get\n127.0.0.1:{}", web.port()));
    }
    // A token in the place of a password.
    let realm = realm();
    let web = guarded(Shelf::of(&[small()]), "Bearer tick-1", ask_at(&realm.url("/token")));
    let lath = Lath::new();
    configure(&lath, &web, r#"{"credsStore":"test"}"#);
    helper(&lath, r#"{"Username":"<token>","Secret":"refresh-me"}"#);
    pull_as(&lath, &web).success();
    assert!(realm.take()[0].body.contains("refresh_token=refresh-me"));
    // One that knows nothing of it, after which the file is asked.
    let web = guarded(Shelf::of(&[small()]), "Basic am9lOmh1bnRlcjI=", ask_for_password());
    let config = r#"{"credsStore":"test","auths":{"AT":{"auth":"am9lOmh1bnRlcjI="}}}"#;
    configure(&lath, &web, config);
    helper(&lath, "credentials not found in native keychain'; exit 1; echo '");
    pull_as(&lath, &web).success();
    // One that is not there, and one that would be any program.
    for (helper, wanted) in
        [("nope", "docker-credential-nope, which is not there"), ("../../bin/sh", "has a slash")]
    {
        configure(&lath, &web, &format!("{{\"credHelpers\":{{\"AT\":\"{helper}\"}}}}"));
        lath.run(&["rmi", "-f", &name(&web)]);
        let error = pull_as(&lath, &web).failure(1);
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn who_is_not_known_is_told_where_that_is_looked_up() {
    if !needs(HERE) {
        return;
    }
    let error = refused(
        &Web::start(|asked| match asked.target() {
            "/v2/" => ok("", "{}"),
            _ => ask_for_password(),
        }),
        "access to hub/x denied",
    );
    assert!(error.contains("config.json"), "{error}");
    // A wrong password, and a realm that gives nothing, are not tried for ever.
    let web = guarded(Shelf::of(&[small()]), "Basic right", ask_for_password());
    let lath = Lath::new();
    configure(&lath, &web, r#"{"auths":{"AT":{"auth":"am9lOmh1bnRlcjI="}}}"#);
    let error = pull_as(&lath, &web).failure(1);
    assert!(error.contains("denied"), "{error}");
    assert_eq!(web.take().len(), 3);
    let answers = [
        (status(401), "status 401"),
        (status(403), "status 403"),
        (ok("", "{}"), "has no token"),
        (ok("", "{\"token\":\"\"}"), "has no token"),
        (ok("", "<html>"), "ask for a token"),
        (ok("", "{\"token\":\"a\\r\\nX: hunter2\"}"), "control character"),
    ];
    for (answer, wanted) in answers {
        let realm = Web::start(move |_| answer.clone());
        let web = guarded(Shelf::of(&[small()]), "Bearer x", ask_at(&realm.url("/token")));
        configure(&lath, &web, r#"{"auths":{"AT":{"auth":"am9lOmh1bnRlcjI="}}}"#);
        let error = pull_as(&lath, &web).failure(1);
        assert!(error.contains(wanted), "{error}");
        assert!(web.take().iter().filter(|asked| asked.target() == LATEST).count() <= 4);
    }
    // A config.json that is none.
    configure(&lath, &web, "{\"auths\":");
    let error = pull_as(&lath, &web).failure(1);
    assert!(error.contains("config.json"), "{error}");
}

#[test]
fn a_realm_that_only_this_device_can_ask_is_not_asked() {
    if !needs(HERE) {
        return;
    }
    for realm in ["http://169.254.169.254/latest/api/token", "http://[fe80::1]/token"] {
        let web = guarded(Shelf::of(&[small()]), "x", ask_at(realm));
        let error = refused(&web, "is a place that only this device can ask");
        assert!(error.contains("ask for a token"), "{error}");
    }
}

#[test]
fn a_realm_does_not_lead_to_this_device_by_a_name_or_a_redirect() {
    if !needs(HERE) || !needs(&[Need::Program("unshare")]) {
        return;
    }
    let hosts = "127.0.0.1 registry.test other.test\n169.254.169.254 cloud.test\n";
    let call = |registry: &str, realm: &str| {
        let web = guarded(Shelf::of(&[small()]), "x", ask_at(realm));
        let lath = Lath::new();
        let name = format!("{registry}:{}/hub/x", web.port());
        let words = ["pull", "--tls-verify=false", &name];
        let error = finish(&mut super::with_etc(&lath, &words, &[("hosts", hosts)]), &[]);
        super::has_nothing(&lath);
        error.failure(1)
    };
    let own = realm();
    let away = |to: &str| {
        let to = to.to_owned();
        Web::start(move |_| redirect(302, &to))
    };
    let (cloud, here) = (away("http://169.254.169.254/x"), away(&own.url("/token")));
    let by_name = |web: &Web, host: &str| web.url("/token").replace("127.0.0.1", host);
    let cases = [
        // A name for the address, and a way there.
        ("127.0.0.1", "http://cloud.test/token".to_owned()),
        ("127.0.0.1", cloud.url("/token")),
        // A registry elsewhere has nothing to ask of this device itself.
        ("registry.test", own.url("/token")),
        ("registry.test", by_name(&own, "other.test")),
        ("registry.test", by_name(&here, "registry.test")),
    ];
    for (registry, realm) in cases {
        let error = call(registry, &realm);
        assert!(error.contains("is a place that only this device can ask"), "{realm}: {error}");
        assert!(own.take().is_empty(), "{realm}");
    }
    // Its own host is one that it may name: it gives a token, which is not the one wanted here.
    let error = call("registry.test", &by_name(&own, "registry.test"));
    assert!(error.contains("denied"), "{error}");
    assert_eq!(own.take().len(), 1);
}

#[test]
fn a_config_that_others_can_read_is_told() {
    if !needs(HERE) {
        return;
    }
    let web = Shelf::of(&[small()]).serve();
    for (config, mode, is_told) in [
        (r#"{"auths":{"x":{"auth":"am9lOmh1bnRlcjI="}}}"#, 0o644, true),
        (r#"{"auths":{"x":{"auth":"am9lOmh1bnRlcjI="}}}"#, 0o640, true),
        (r#"{"auths":{"x":{"auth":"am9lOmh1bnRlcjI="}}}"#, 0o600, false),
        (r#"{"auths":{"x":{}},"credsStore":""}"#, 0o644, false),
    ] {
        let lath = Lath::new();
        configure(&lath, &web, config);
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(lath.path("docker/config.json"), mode).unwrap();
        let output = pull_as(&lath, &web).success();
        assert_eq!(output.all().contains("passwords that others can read"), is_told, "{output}");
    }
}

#[test]
fn a_layer_with_an_address_of_its_own_comes_from_the_registry() {
    if !needs(HERE) {
        return;
    }
    let other = Web::start(|_| ask_for_password());
    let url = other.url("/layer");
    let shelf = super::edited(|text| {
        let at = text.rfind("\"size\":").unwrap();
        format!("{}\"urls\":[\"{url}\"],{}", &text[..at], &text[at..])
    });
    let wanted = id(&shelf);
    let web = shelf.serve();
    super::pulled(&web, &wanted);
    assert_eq!(other.take().len(), 0);
}

#[test]
fn a_tag_that_moves_meanwhile_is_asked_for_once() {
    if !needs(HERE) {
        return;
    }
    let (first, second) = (Shelf::of(&[small()]), Shelf::of(&[large()]));
    let wanted = id(&first);
    let count = AtomicUsize::new(0);
    let web = first.serve_but(move |_, asked| {
        let has_moved = asked.target() == LATEST && count.fetch_add(1, Ordering::Relaxed) > 0;
        has_moved.then(|| second.answer(asked))
    });
    super::pulled(&web, &wanted);
    assert_eq!(web.take().iter().filter(|asked| asked.target() == LATEST).count(), 1);
}
