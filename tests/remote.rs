//! What is fetched over the network: ADD of addresses, against servers that do as they should and
//! against servers that do not. Expected results are BuildKit's.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken assumption of a test is a failed test"
)]

mod harness;

use harness::{Authority, Lath, Listing, Need, Web, needs, ok, redirect, status};
use sha2::{Digest, Sha256};
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

const HERE: &[Need] = &[Need::Root, Need::Busybox];

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a build of `FROM scratch` and one ADD says; it must fail and leave nothing behind.
fn refused(lath: &Lath, web: &Web, path: &str) -> String {
    let dockerfile = format!("FROM scratch\nADD {} /f\n", web.url(path));
    let error = lath.build_in("refused", "x", &dockerfile, &[]).failure(1);
    let urls = lath.store().join("urls");
    assert!(!urls.exists() || std::fs::read_dir(urls).unwrap().count() == 0, "{error}");
    error
}

#[test]
fn a_file_is_fetched_with_its_name_mode_and_time() {
    if !needs(HERE) {
        return;
    }
    let web = Web::start(|asked| match asked.target() {
        "/d/f.txt?q=1" => ok("Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n", "hello\n"),
        "/chunks" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                       6;x=y\r\nhello \r\n6\r\nworld\n\r\n0\r\nT: x\r\n\r\n"
            .to_vec(),
        "/until/close" => b"HTTP/1.0 200 OK\r\n\r\nto the end\n".to_vec(),
        "/" => ok("Content-Disposition: attachment; filename=\"../../evil\"\r\n", "nameless\n"),
        _ => status(404),
    });
    let lath = Lath::with_busybox();
    let [named, chunks, close, bare] =
        ["/d/f.txt?q=1", "/chunks", "/until/close", ""].map(|path| web.url(path));
    let dockerfile = format!(
        "FROM busybox\nADD {named} /a/\nADD {chunks} /a/other\nADD --chmod=754 --chown=1000:50 \
         {close} {bare} /b/\n"
    );
    lath.build("x", &dockerfile);
    // A server that tells no time: 1970, as BuildKit has it.
    let seen = lath.shell("x", "cd / && stat -c '%n %a %u:%g %Y' a/* b/* && cat a/* b/*");
    let wanted = "a/f.txt 600 0:0 784111777\na/other 600 0:0 0\nb/__unnamed__ 754 1000:50 0\n\
                  b/close 754 1000:50 0\nhello\nhello world\nnameless\nto the end\n";
    assert_eq!(seen, wanted);
    let asked = web.take();
    assert_eq!(asked.len(), 4, "{asked:?}");
    let agent = asked[0].header("user-agent").unwrap();
    assert!(agent.starts_with("lath/"), "{agent}");
    assert_eq!(asked[0].header("host").unwrap(), format!("127.0.0.1:{}", web.port()));
    assert_eq!(asked[0].header("authorization"), None);
}

#[test]
fn with_a_checksum_a_cached_step_asks_nobody() {
    if !needs(HERE) {
        return;
    }
    let web = Web::of(&[("/f", "hello\n")]);
    let lath = Lath::with_busybox();
    let add = |sum: &str| format!("FROM busybox\nADD --checksum={sum} {} /f\n", web.url("/f"));
    let right = add(&format!("sha256:{}", sha256(b"hello\n")));
    lath.build("x", &right);
    assert_eq!(web.take().len(), 1);
    let store = Listing::of(&lath.store());
    assert_eq!(lath.build("x", &right).cached().len(), 1);
    assert_eq!(web.take().len(), 0);
    store.assert_same(&Listing::of(&lath.store()));

    let zeros = "0".repeat(64);
    let error = lath.build_in("c", "x", &add(&format!("sha256:{zeros}")), &[]).failure(1);
    assert!(error.contains(&zeros) && error.contains(&sha256(b"hello\n")), "{error}");
    web.take();
    for bad in ["sha256:12", "md5:d41d8cd98f00b204e9800998ecf8427e", "hello"] {
        lath.build_in("c", "x", &add(bad), &[]).failure(1);
    }
    assert_eq!(web.take().len(), 0);
}

#[test]
fn without_a_checksum_the_server_is_asked_what_has_changed() {
    if !needs(HERE) {
        return;
    }
    static VERSION: AtomicUsize = AtomicUsize::new(1);
    const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    let web = Web::start(|asked| {
        let version = VERSION.load(Ordering::Relaxed);
        let tag = format!("W/\"v{version}\"");
        let text = format!("version {version}\n");
        match asked.target() {
            "/tag" if asked.header("if-none-match") == Some(&tag) => status(304),
            // Knows tags, but does not compare them.
            "/tag" | "/deaf" => ok(&format!("ETag: {tag}\r\n"), &text),
            "/time" if asked.header("if-modified-since") == Some(OLD) => status(304),
            "/time" => ok(&format!("Last-Modified: {OLD}\r\nDate: {OLD_NOW}\r\n"), &text),
            // So fresh that it may change once more within the same second.
            "/young" => ok(&format!("Last-Modified: {OLD}\r\nDate: {OLD}\r\n"), &text),
            _ => ok("", &text),
        }
    });
    const OLD_NOW: &str = "Sun, 06 Nov 1994 08:50:37 GMT";
    let lath = Lath::with_busybox();
    let build = |path: &str| lath.build("x", &format!("FROM busybox\nADD {} /f\n", web.url(path)));
    let paths = ["/tag", "/deaf", "/time", "/young", "/none"];
    for path in paths {
        assert_eq!(build(path).cached(), [""; 0], "{path}");
    }
    web.take();
    for path in paths {
        assert_eq!(build(path).cached().len(), 1, "{path}");
        let asked = web.take();
        let conditions = ["if-none-match", "if-modified-since"].map(|name| asked[0].header(name));
        let wanted = match path {
            "/tag" | "/deaf" => [Some("W/\"v1\""), None],
            "/time" => [None, Some(OLD)],
            _ => [None, None],
        };
        assert_eq!((asked.len(), conditions), (1, wanted), "{path}");
    }
    VERSION.store(2, Ordering::Relaxed);
    for path in ["/tag", "/deaf", "/none", "/young"] {
        assert_eq!(build(path).cached(), [""; 0], "{path}");
        assert_eq!(lath.shell("x", "cat /f"), "version 2\n", "{path}");
    }
    web.take();
    let dockerfile = format!("FROM busybox\nADD {} /f\n", web.url("/tag"));
    lath.build_in("c", "x", &dockerfile, &["--no-cache"]).success();
    assert_eq!(web.take()[0].header("if-none-match"), None);
}

#[test]
fn a_file_is_gone_along_redirects_and_no_further_than_http() {
    if !needs(HERE) {
        return;
    }
    let other = Web::of(&[("/there", "far\n")]);
    let there = other.url("/there");
    let web = Web::start(move |asked| match asked.target() {
        "/a/one" => redirect(301, "../b/two?x#y"),
        "/b/two?x" => redirect(307, "/three"),
        "/three" => redirect(302, &there),
        "/round" => redirect(308, "/round"),
        "/file" => redirect(302, "file:///etc/passwd"),
        "/ftp" => redirect(302, "ftp://127.0.0.1/x"),
        "/bare" => status(302),
        _ => status(404),
    });
    let lath = Lath::with_busybox();
    let address = web.url("/a/one").replace("://", "://me:pass%21@");
    let built = lath.build("x", &format!("FROM busybox\nADD {address} /d/\n"));
    // The name is that of the address that was asked for.
    assert_eq!(lath.shell("x", "cat /d/one"), "far\n");
    let asked = web.take();
    assert_eq!(asked.len(), 3);
    for asked in &asked {
        // "me:pass!", by base64(1).
        assert_eq!(asked.header("authorization"), Some("Basic bWU6cGFzcyE="), "{asked:?}");
    }
    assert_eq!(other.take()[0].header("authorization"), None);
    let history = lath.ok(&["history", "--no-trunc", "x"]);
    assert!(!history.contains("pass%21") && history.contains("xxxxx:xxxxx@127.0.0.1"), "{history}");
    drop(built);

    for (path, wanted) in [
        ("/round", "stopped after 10 redirects"),
        ("/file", "only http and https"),
        ("/ftp", "only http and https"),
        ("/bare", "invalid response status 302"),
    ] {
        let error = refused(&lath, &web, path);
        assert!(error.contains(wanted), "{path}: {error}");
    }
}

#[test]
fn what_a_server_does_wrong_is_said_and_leaves_nothing() {
    if !needs(HERE) {
        return;
    }
    let web = Web::start(|asked| {
        let answer = |text: &str| format!("HTTP/1.1 200 OK\r\n{text}").into_bytes();
        match asked.target() {
            "/short" => answer("ETag: \"x\"\r\nContent-Length: 100\r\n\r\nabc"),
            "/chunk" => answer("Transfer-Encoding: chunked\r\n\r\nff\r\nabc"),
            "/both" => answer("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc"),
            "/two" => answer("Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
            "/endless" => answer(&"X: y\r\n".repeat(100_000)),
            "/long" => answer(&format!("X: {}\r\n\r\n", "y".repeat(1_000_000))),
            "/nothing" => Vec::new(),
            "/ssh" => b"SSH-2.0-OpenSSH_9\r\n".to_vec(),
            "/500" => status(500),
            "/secret?token=hunter2" => status(403),
            _ => status(404),
        }
    });
    let lath = Lath::with_busybox();
    for (path, wanted) in [
        ("/short", "ended after 3 of 100 bytes"),
        ("/chunk", "ended in the middle"),
        ("/both", "not clear how long"),
        ("/two", "not clear how long"),
        ("/endless", "more than 200 headers"),
        ("/long", "longer than 64 KiB"),
        ("/nothing", "closed before the answer was complete"),
        ("/ssh", "it is no HTTP"),
        ("/500", "invalid response status 500"),
        ("/404", "invalid response status 404"),
        ("/secret?token=hunter2", "/secret?...: invalid response status 403"),
    ] {
        let error = refused(&lath, &web, path);
        assert!(error.contains(wanted), "{path}: {error}");
        let (first, _) = error.split_once('\n').unwrap();
        assert!(!first.contains("hunter2"), "{error}");
    }
    // A port of its own that was just closed may be another test's by now.
    let dockerfile = "FROM scratch\nADD http://127.0.0.1:1/f /f\n";
    let error = lath.build_in("c", "x", dockerfile, &[]).failure(1);
    assert!(error.contains("refused"), "{error}");
    for bad in ["http://", "http://:80/", "http://a:99999/", "http://[::1/"] {
        let dockerfile = format!("FROM scratch\nADD {bad} /f\n");
        let error = lath.build_in("c", "x", &dockerfile, &[]).failure(1);
        assert!(error.contains("invalid URL"), "{bad}: {error}");
    }
}

#[test]
fn a_proxy_is_asked_in_the_servers_place() {
    if !needs(HERE) {
        return;
    }
    let proxy = Web::start(|asked| match asked.target() {
        "http://example.invalid:8080/f" => ok("", "through\n"),
        _ => status(502),
    });
    let lath = Lath::with_busybox();
    lath.write("p/Dockerfile", "FROM busybox\nADD http://example.invalid:8080/f /f\n");
    let mut command = lath.command(&["build", "-t", "x", "p"]);
    command.env("http_proxy", format!("http://me:pw@127.0.0.1:{}", proxy.port()));
    harness::finish(&mut command, &[]).success();
    assert_eq!(lath.shell("x", "cat /f"), "through\n");
    let asked = proxy.take();
    // "me:pw", by base64(1).
    assert_eq!(asked[0].header("proxy-authorization"), Some("Basic bWU6cHc="));
    assert_eq!(asked[0].header("host"), Some("example.invalid:8080"));
    command.env("NO_PROXY", "example.invalid").arg("--no-cache");
    let error = harness::finish(&mut command, &[]).failure(1);
    assert!(error.contains("cannot be found"), "{error}");
    assert_eq!(proxy.take().len(), 0);
}

#[test]
fn a_coded_body_is_decoded_and_an_archive_unpacked_when_asked() {
    if !needs(HERE) {
        return;
    }
    // `printf 'hello\n' | gzip -n | xxd -p`
    let gzip = vec![
        0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0xcb, 0x48, 0xcd, 0xc9, 0xc9,
        0xe7, 0x02, 0x00, 0x20, 0x30, 0x3a, 0x36, 0x06, 0x00, 0x00, 0x00,
    ];
    let tar = harness::tar_of(&[harness::Member::File("in/f", "in a tar\n")]);
    let web = Web::start(move |asked| {
        let (headers, body) = match asked.target() {
            "/coded" => ("Content-Encoding: gzip\r\n", &gzip),
            "/plain.gz" => ("Content-Type: application/gzip\r\n", &gzip),
            _ => ("", &tar),
        };
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {length}\r\n\r\n");
        let mut all = head.into_bytes();
        all.extend(body);
        all
    });
    let lath = Lath::with_busybox();
    let [coded, plain, tar] = ["/coded", "/plain.gz", "/a.tar"].map(|path| web.url(path));
    lath.build(
        "x",
        &format!("FROM busybox\nADD {coded} {plain} {tar} /d/\nADD --unpack {tar} /u/\n"),
    );
    let seen = lath.shell("x", "cat /d/coded && gunzip -c /d/plain.gz && ls /d && cat /u/in/f");
    assert_eq!(seen, "hello\nhello\na.tar\ncoded\nplain.gz\nin a tar\n");
}

#[test]
fn a_context_comes_from_an_address_or_a_file() {
    if !needs(HERE) {
        return;
    }
    use harness::Member::File;
    let dockerfile = "FROM busybox\nCOPY in /out\n";
    let tar = harness::tar_of(&[File("Dockerfile", dockerfile), File("in", "from the tar\n")]);
    let lath = Lath::with_busybox();
    let file = lath.write("context.tar", &tar);
    harness::host("gzip", &["-k", file.to_str().unwrap()]);
    let packed = std::fs::read(lath.path("context.tar.gz")).unwrap();
    let web = Web::start(move |asked| match asked.target() {
        "/context.tar.gz" => {
            let length = packed.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            [head.as_bytes(), &packed].concat()
        }
        "/Dockerfile" => ok("", "FROM busybox\nRUN echo alone > /out\n"),
        "/other" => ok("", "FROM busybox\nCOPY in /other\n"),
        "/evil.tar" => ok("", "FROM busybox\nCOPY in /out\n"),
        _ => status(404),
    });
    for (context, wanted) in [
        (web.url("/context.tar.gz"), "from the tar\n"),
        (web.url("/Dockerfile"), "alone\n"),
        (lath.text("context.tar"), "from the tar\n"),
        (lath.text("context.tar.gz"), "from the tar\n"),
    ] {
        lath.run(&["build", "-t", "x", &context]).success();
        assert_eq!(lath.shell("x", "cat /out"), wanted, "{context}");
    }
    lath.write("c/in", "beside\n");
    lath.run(&["build", "-t", "x", "-f", &web.url("/other"), "c"]).success();
    assert_eq!(lath.shell("x", "cat /other"), "beside\n");
    // A Dockerfile alone has no files.
    let error = lath.fails(&["build", &web.url("/evil.tar")]);
    assert!(error.contains("no build context"), "{error}");
    let error = lath.fails(&["build", &web.url("/none")]);
    assert!(error.contains("invalid response status 404"), "{error}");
    lath.write("text", "no tar\n");
    let error = lath.fails(&["build", "text"]);
    assert!(error.contains("neither a directory nor a tar"), "{error}");
}

#[test]
fn a_named_context_is_a_directory_or_a_tar_in_every_place() {
    if !needs(HERE) {
        return;
    }
    let tar = harness::tar_of(&[harness::Member::File("in", "far\n")]);
    let text = String::from_utf8(tar).unwrap();
    let web = Web::of(&[("/n.tar", &text)]);
    let lath = Lath::with_busybox();
    lath.write("dir/in", "near\n");
    lath.write("dir/left-out", "x");
    lath.write("dir/.dockerignore", "left-out\n");
    let dockerfile = "FROM busybox AS tool\n\
                      RUN --mount=type=bind,from=n,target=/m cat /m/in > /bound; ls /m >> /bound\n\
                      FROM n\nCOPY --from=tool /bound /bound\nCOPY --from=n in /copied\n\
                      COPY --from=busybox /bin /bin\n";
    let wanted = |word: &str| format!("{word}\n{word}\n{word}\n");
    for (value, word) in [("dir".to_owned(), "near"), (web.url("/n.tar"), "far")] {
        let named = format!("n={value}");
        lath.build_in("c", "x", dockerfile, &["--build-context", &named]).success();
        assert_eq!(lath.shell("x", "cat /in /copied; head -1 /bound"), wanted(word), "{value}");
        let script = "! grep left-out /bound && ! test -e /left-out && echo none";
        assert_eq!(lath.shell("x", script), "none\n", "{value}");
        assert_eq!(lath.config("x", "Cmd"), "null");
    }
    assert_eq!(web.take().len(), 1, "two stages take it");
    let again = lath.build_in("c", "x", dockerfile, &["--build-context", "n=dir"]).success();
    assert_eq!(again.cached().len(), 5, "{again}");
    lath.write("dir/in", "other\n");
    lath.build_in("c", "x", dockerfile, &["--build-context", "n=dir"]).success();
    assert_eq!(lath.shell("x", "cat /in /copied; head -1 /bound"), wanted("other"));
}

#[test]
fn what_several_steps_name_is_fetched_once() {
    if !needs(HERE) {
        return;
    }
    let web = Web::of(&[("/f", "far\n"), ("/g", "g\n")]);
    let lath = Lath::with_busybox();
    let (f, g) = (web.url("/f"), web.url("/g"));
    let sum = format!("sha256:{}", sha256(b"far\n"));
    let file = format!(
        "FROM busybox AS a\nARG AT={f}\nADD {f} /a1\nADD $AT /a2/\n\
         FROM busybox\nADD {f} /b1\nADD {g} /b2\nCOPY --from=a /a1 /a2/f /a/\n\
         ADD --checksum={sum} {f} /b3\nRUN echo a\nADD --checksum={sum} {f} /b4\n"
    );
    let asked = |words: &[&str]| {
        let said = lath.build_in("c", "x", &file, words).success();
        let mut asked: Vec<String> = web.take().iter().map(|a| a.target().to_owned()).collect();
        asked.sort();
        (asked, said.cached().len())
    };
    // One that is promised does not stand for one that is not.
    let once = ["/f", "/f", "/g"].map(str::to_owned).to_vec();
    assert_eq!(asked(&["--jobs=1"]), (once.clone(), 0));
    assert_eq!(asked(&["--no-cache", "--jobs=4"]), (once, 0));
    let seen = lath.shell("x", "cat /a/a1 /a/f /b1 /b2 /b3 /b4");
    assert_eq!(seen, "far\nfar\nfar\ng\nfar\nfar\n");
    assert_eq!(asked(&[]), (["/f", "/g"].map(str::to_owned).to_vec(), 9));
    assert_eq!(fs::read_dir(lath.store().join("tmp")).unwrap().count(), 0);
}

/// A time for a certificate, days from now, as openssl takes it.
fn in_days(days: &str) -> String {
    harness::host("date", &["-u", "-d", days, "+%y%m%d%H%M%SZ"]).trim().to_owned()
}

#[test]
fn https_is_trusted_for_what_the_authorities_say() {
    if !needs(HERE) || !needs(&[Need::Program("openssl"), Need::Program("python3")]) {
        return;
    }
    let lath = Lath::with_busybox();
    let authority = Authority::new(&lath.path("authority"));
    let stranger = Authority::new(&lath.path("stranger"));
    let [before, yesterday, tomorrow, after] =
        ["-2 days", "-1 day", "+1 day", "+2 days"].map(in_days);
    let now = (yesterday.as_str(), tomorrow.as_str());
    lath.write("c/Dockerfile", "FROM busybox\nARG U\nADD $U /f\n");
    let add = |url: &str, trusted: &Authority| {
        let argument = format!("U={url}");
        let words = ["build", "--no-cache", "-t", "x", "--build-arg", &argument, "c"];
        let mut command = lath.command(&words);
        command.env("SSL_CERT_FILE", trusted.file());
        harness::finish(&mut command, &[])
    };
    for (name, host, key, most) in [
        ("DNS:localhost", "localhost", "ec", "1.3"),
        ("IP:127.0.0.1", "127.0.0.1", "rsa", "1.3"),
        ("DNS:localhost", "localhost", "ec", "1.2"),
        ("DNS:localhost", "localhost", "rsa", "1.2"),
    ] {
        let web = authority.server(name, now, key, most);
        let built = add(&format!("https://{host}:{}/f", web.port), &authority);
        assert_eq!(built.code, 0, "{name} {key} {most}: {built}");
        assert_eq!(lath.shell("x", "cat /f"), "safe\n");
    }
    let web = authority.server("DNS:localhost", now, "ec", "1.3");
    for (name, times, trusted, wanted) in [
        ("DNS:localhost", now, &stranger, "authority that this system does not know"),
        ("DNS:elsewhere", now, &authority, "is for another name"),
        ("DNS:localhost", (before.as_str(), yesterday.as_str()), &authority, "has expired"),
        ("DNS:localhost", (tomorrow.as_str(), after.as_str()), &authority, "is not valid yet"),
    ] {
        let web = authority.server(name, times, "ec", "1.3");
        let error = add(&format!("https://localhost:{}/f", web.port), trusted).failure(1);
        assert!(error.contains(wanted), "{wanted}: {error}");
    }
    let plain = Web::of(&[("/f", "plain\n")]);
    let error = add(&plain.url("/f").replace("http:", "https:"), &authority).failure(1);
    assert!(error.contains("https server"), "{error}");
    let down = format!("https://localhost:{}/down?{}", web.port, plain.url("/f"));
    let built = add(&down, &authority).success();
    assert!(built.all().contains("came over plain http"), "{built}");
    lath.write("none.pem", "no certificate in here\n");
    let mut command =
        lath.command(&["build", "--no-cache", "--build-arg", "U=https://localhost:1/", "c"]);
    command.env("SSL_CERT_FILE", lath.path("none.pem"));
    let error = harness::finish(&mut command, &[]).failure(1);
    assert!(error.contains("ca-certificates"), "{error}");
}

#[test]
fn https_goes_through_a_tunnel_of_the_proxy() {
    if !needs(HERE) || !needs(&[Need::Program("openssl"), Need::Program("python3")]) {
        return;
    }
    let lath = Lath::with_busybox();
    let authority = Authority::new(&lath.path("authority"));
    let [from, to] = ["-1 day", "+1 day"].map(in_days);
    let web = authority.server("DNS:example.invalid", (&from, &to), "ec", "1.3");
    let (proxy, asked) = harness::tunnel_to(web.port);
    lath.write("c/Dockerfile", "FROM busybox\nADD https://example.invalid/f /f\n");
    let mut command = lath.command(&["build", "-t", "x", "c"]);
    command.env("SSL_CERT_FILE", authority.file());
    command.env("HTTPS_PROXY", format!("http://me:pw@127.0.0.1:{proxy}"));
    harness::finish(&mut command, &[]).success();
    assert_eq!(lath.shell("x", "cat /f"), "safe\n");
    let asked = asked.recv().unwrap();
    assert_eq!(asked.line, "CONNECT example.invalid:443 HTTP/1.1");
    // "me:pw", by base64(1).
    assert_eq!(asked.header("proxy-authorization"), Some("Basic bWU6cHc="));

    let refusing = Web::start(|_| status(407));
    command.env("HTTPS_PROXY", refusing.url("")).arg("--no-cache");
    let error = harness::finish(&mut command, &[]).failure(1);
    assert!(error.contains("gives no way to example.invalid:443: status 407"), "{error}");
}

#[test]
fn proxies_of_socks_and_over_tls_lead_there_too() {
    if !needs(HERE) || !needs(&[Need::Program("openssl"), Need::Program("python3")]) {
        return;
    }
    let lath = Lath::with_busybox();
    let authority = Authority::new(&lath.path("authority"));
    let [from, to] = ["-1 day", "+1 day"].map(in_days);
    let safe = authority.server("DNS:example.invalid", (&from, &to), "ec", "1.3");
    let plain = Web::start(|asked| match asked.target().ends_with("/f") {
        true => harness::ok("", "plain\n"),
        false => status(404),
    });
    let add = |scheme: &str, proxy: &str| {
        lath.write("c/Dockerfile", format!("FROM busybox\nADD {scheme}://example.invalid/f /f\n"));
        let mut command = lath.command(&["build", "--no-cache", "-t", "x", "c"]);
        command.env("SSL_CERT_FILE", authority.file());
        command.env(format!("{}_PROXY", scheme.to_uppercase()), proxy);
        harness::finish(&mut command, &[])
    };
    for (scheme, port, wanted) in
        [("http", plain.port(), "plain\n"), ("https", safe.port, "safe\n")]
    {
        for (wants, given) in [(None, ""), (Some("me:p@w"), "me:p%40w@")] {
            let (proxy, asked) = harness::socks_to(port, wants);
            add(scheme, &format!("socks5://{given}127.0.0.1:{proxy}")).success();
            assert_eq!(lath.shell("x", "cat /f"), wanted);
            let default = if scheme == "http" { 80 } else { 443 };
            assert_eq!(asked.recv().unwrap(), format!("example.invalid:{default}"));
        }
    }
    for (given, wanted) in [("", "wants to know who asks"), ("me:no@", "does not take this name")] {
        let (proxy, _asked) = harness::socks_to(plain.port(), Some("me:p@w"));
        let error = add("http", &format!("socks5://{given}127.0.0.1:{proxy}")).failure(1);
        assert!(error.contains(wanted), "{error}");
    }
    let error = add("http", &format!("socks5://127.0.0.1:{}", plain.port())).failure(1);
    assert!(error.contains("127.0.0.1"), "{error}");
    // A proxy that is spoken to over TLS: a server in its place, and a way through it.
    let relay = authority.relay("DNS:localhost", (&from, &to), plain.port());
    add("http", &format!("https://localhost:{}", relay.port)).success();
    assert_eq!(lath.shell("x", "cat /f"), "plain\n");
    let line = plain.take().pop().unwrap().line;
    assert_eq!(line, "GET http://example.invalid/f HTTP/1.1");
    let (tunnel, asked) = harness::tunnel_to(safe.port);
    let relay = authority.relay("DNS:localhost", (&from, &to), tunnel);
    add("https", &format!("https://localhost:{}", relay.port)).success();
    assert_eq!(lath.shell("x", "cat /f"), "safe\n");
    assert_eq!(asked.recv().unwrap().line, "CONNECT example.invalid:443 HTTP/1.1");
}
