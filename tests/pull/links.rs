//! Connections that break, servers that are busy, and a process that is killed: the image comes
//! all the same, and nothing comes twice that need not.

use super::harness::{self, Asked, Lath, Member, Running, Shelf, Web, needs, status, tar_of};
use super::{HERE, id, is_empty, large, name, pull, pulled, small};
use rustix::process::Signal;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How the answers for the layer are made: by their number, from 0, of what was asked and of the
/// answer that a good registry would give.
fn links(
    layer_answer: impl Fn(usize, &Asked, Vec<u8>) -> Vec<u8> + Send + Sync + 'static,
) -> (Web, String, Arc<AtomicUsize>) {
    let shelf = Shelf::of(&[large()]);
    let (wanted, layer, served) = (id(&shelf), shelf.largest(), Arc::new(AtomicUsize::new(0)));
    let (count, bytes) = (AtomicUsize::new(0), served.clone());
    let web = shelf.serve_but(move |shelf, asked| {
        (asked.target() == layer).then(|| {
            let number = count.fetch_add(1, Ordering::Relaxed);
            let answer = layer_answer(number, asked, shelf.answer(asked));
            bytes.fetch_add(body(&answer), Ordering::Relaxed);
            answer
        })
    });
    (web, wanted, served)
}

/// How many bytes of an answer are its body.
fn body(answer: &[u8]) -> usize {
    answer.len() - head(answer)
}

fn head(answer: &[u8]) -> usize {
    answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4
}

/// The connection ends after so many bytes of the body.
fn cut(mut answer: Vec<u8>, bytes: usize) -> Vec<u8> {
    answer.truncate(head(&answer) + bytes);
    answer
}

/// The size of the layer as it is served.
fn size() -> usize {
    let shelf = Shelf::of(&[large()]);
    shelf.bytes(&shelf.largest()).unwrap().len()
}

#[test]
fn a_server_that_cuts_again_and_again_gives_all_in_the_end() {
    if !needs(HERE) {
        return;
    }
    let (web, wanted, served) = links(|_, _, answer| cut(answer, 20_000));
    pulled(&web, &wanted);
    let (size, served) = (size(), served.load(Ordering::Relaxed));
    assert!(size > 400_000 && served >= size && served * 100 <= size * 102, "{served} of {size}");
    let ranges = web.take();
    let ranges: Vec<_> = ranges.iter().filter_map(|asked| asked.header("range")).collect();
    assert_eq!(ranges[0], format!("bytes=20000-{}", size - 1));
    assert_eq!(ranges.len(), (size - 1) / 20_000);
}

#[test]
fn a_server_that_tells_no_length_and_ends_early_is_asked_for_the_rest() {
    if !needs(HERE) {
        return;
    }
    let (web, wanted, served) = links(|number, _, answer| match number {
        0 => {
            let start = head(&answer);
            [b"HTTP/1.1 200 OK\r\n\r\n", &answer[start..start + 200_000]].concat()
        }
        _ => answer,
    });
    pulled(&web, &wanted);
    assert_eq!(served.load(Ordering::Relaxed), size());
    let asked = web.take();
    let ranges: Vec<_> = asked.iter().filter_map(|asked| asked.header("range")).collect();
    assert_eq!(ranges, [format!("bytes=200000-{}", size() - 1)]);
}

#[test]
fn a_server_without_ranges_gives_it_from_the_start() {
    if !needs(HERE) {
        return;
    }
    let whole = |answer: &Asked| {
        let shelf = Shelf::of(&[large()]);
        let mut asked = answer.clone();
        asked.headers.clear();
        shelf.answer(&asked)
    };
    // It takes no notice.
    let (web, wanted, served) = links(move |number, asked, _| match number {
        0 => cut(whole(asked), 300_000),
        _ => whole(asked),
    });
    pulled(&web, &wanted);
    assert_eq!(served.load(Ordering::Relaxed), size() + 300_000);
    // It says that it cannot.
    let (web, wanted, served) = links(|number, asked, answer| match asked.header("range") {
        _ if number == 0 => cut(answer, 300_000),
        Some(_) => status(416),
        None => answer,
    });
    pulled(&web, &wanted);
    assert_eq!(served.load(Ordering::Relaxed), size() + 300_000);
    // It gives another part, or another size, than was asked for.
    for wrong in ["bytes 0-9/", "bytes 300001-", "octets 300000-", ""] {
        let (web, wanted, _) = links(move |number, asked, answer| match asked.header("range") {
            _ if number == 0 => cut(answer, 300_000),
            Some(_) => {
                let text = String::from_utf8_lossy(&answer[..head(&answer)])
                    .replace("Content-Range: bytes 300000-", &format!("Content-Range: {wrong}"));
                [text.as_bytes(), &vec![b'x'; body(&answer)]].concat()
            }
            None => answer,
        });
        pulled(&web, &wanted);
    }
}

#[test]
fn a_busy_server_is_left_alone_for_as_long_as_it_wants() {
    if !needs(HERE) {
        return;
    }
    let shelf = Shelf::of(&[large()]);
    let wanted = id(&shelf);
    let seen = std::sync::Mutex::new(Vec::new());
    let web = shelf.serve_but(move |_, asked| {
        let mut seen = seen.lock().unwrap();
        let target = asked.target().to_owned();
        if target == "/v2/" || seen.contains(&target) {
            return None;
        }
        seen.push(target);
        let busy = "HTTP/1.1 429 x\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
        Some(if seen.len() == 2 { status(503) } else { busy.as_bytes().to_vec() })
    });
    let begun = Instant::now();
    pulled(&web, &wanted);
    assert!(begun.elapsed() >= Duration::from_secs(2), "two times a second");
    assert_eq!(web.take().len(), 7);
}

#[test]
fn a_server_that_gives_nothing_any_more_is_given_up() {
    if !needs(HERE) {
        return;
    }
    let (web, ..) = links(|number, _, answer| cut(answer, if number == 0 { 9_000 } else { 0 }));
    let lath = Lath::new();
    let error = lath.fails(&["pull", &name(&web)]);
    assert!(error.contains("layer 1 of 1: ") && error.contains("after 0 of "), "{error}");
    super::has_nothing(&lath);
}

#[test]
fn what_is_small_is_asked_for_again_too() {
    if !needs(HERE) {
        return;
    }
    let shelf = Shelf::of(&[small()]);
    let wanted = id(&shelf);
    let seen = std::sync::Mutex::new(Vec::new());
    let web = shelf.serve_but(move |shelf, asked| {
        let mut seen = seen.lock().unwrap();
        let target = asked.target().to_owned();
        let is_first = target != "/v2/" && !seen.contains(&target);
        seen.push(target);
        is_first.then(|| cut(shelf.answer(asked), 30))
    });
    pulled(&web, &wanted);
    assert_eq!(web.take().len(), 7);
}

#[test]
fn layers_come_side_by_side() {
    if !needs(HERE) {
        return;
    }
    let layer = |name: &'static str| tar_of(&[Member::File(name, "text\n")]);
    let shelf = Shelf::of(&["a", "b", "c", "d", "e"].map(layer));
    let wanted = id(&shelf);
    let config = wanted.clone();
    // No layer comes before three have been asked for: all of the first three, then with each one
    // that is done another.
    let count = AtomicUsize::new(0);
    let web = Web::stream(move |asked, stream| {
        if asked.target().contains("/blobs/") && !asked.target().ends_with(&config) {
            count.fetch_add(1, Ordering::Relaxed);
            while count.load(Ordering::Relaxed) < 3 {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        drop(stream.write_all(&shelf.answer(asked)));
    });
    let lath = pulled(&web, &wanted);
    assert!(!fs::exists(lath.store().join("partial")).unwrap(), "nothing was written twice");
}

/// How many connections a web server has seen.
fn connections(web: &Web) -> usize {
    let mut numbers: Vec<_> = web.take().iter().map(|asked| asked.connection).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers.len()
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    if !needs(HERE) {
        return;
    }
    let shelf = Shelf::of(&[small()]);
    let wanted = id(&shelf);
    let web = shelf.clone().serve();
    pulled(&web, &wanted);
    assert_eq!(connections(&web), 1);
    // A server that says that it closes it, or closes it without a word, is asked over another.
    for says in [true, false] {
        let shelf = shelf.clone();
        let web = Web::stream(move |asked, stream| {
            let mut answer = shelf.answer(asked);
            if says {
                let line = answer.iter().position(|byte| *byte == b'\n').unwrap() + 1;
                answer.splice(line..line, *b"Connection: Keep-Alive, CLOSE\r\n");
            }
            drop(stream.write_all(&answer));
        });
        pulled(&web, &wanted);
        assert_eq!(connections(&web), 4);
    }
}

#[test]
fn a_server_that_drips_is_waited_for() {
    if !needs(HERE) {
        return;
    }
    let shelf = Shelf::of(&[large()]);
    let (wanted, layer) = (id(&shelf), shelf.largest());
    let web = Web::stream(move |asked, stream| {
        let answer = shelf.answer(asked);
        let size = if asked.target() == layer { 10_000 } else { answer.len() };
        for part in answer.chunks(size) {
            if stream.write_all(part).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    });
    pulled(&web, &wanted);
}

/// What is kept of the one download of a store.
fn partial(lath: &Lath) -> Option<PathBuf> {
    partials(lath).pop()
}

/// The same where it is in parts.
fn partials(lath: &Lath) -> Vec<PathBuf> {
    let entries = fs::read_dir(lath.store().join("partial")).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Where in its blob a kept part ends.
fn ends_at(file: &Path) -> usize {
    let start = file.to_str().unwrap().rsplit_once('-').unwrap().1;
    let length = fs::metadata(file).map_or(0, |file| file.len());
    start.parse::<usize>().unwrap() + usize::try_from(length).unwrap()
}

/// The connection ends when the other side has gone.
fn hold(stream: &mut TcpStream) {
    drop(stream.read(&mut [0]));
}

#[test]
fn a_killed_process_has_not_worked_for_nothing() {
    if !needs(HERE) {
        return;
    }
    let shelf = Shelf::of(&[large()]);
    let (wanted, layer, size) = (id(&shelf), shelf.largest(), size());
    let (count, served) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let (first, half, bytes) = (size / 100, size / 2, served.clone());
    let web = Web::stream(move |asked, stream| {
        let mut answer = shelf.answer(asked);
        if asked.target() == layer {
            let number = count.fetch_add(1, Ordering::Relaxed);
            answer = match number {
                0 => cut(answer, first),
                1 => cut(answer, half - first),
                _ => answer,
            };
            bytes.fetch_add(body(&answer), Ordering::Relaxed);
            drop(stream.write_all(&answer));
            if number == 1 {
                hold(stream);
            }
            return;
        }
        drop(stream.write_all(&answer));
    });
    let lath = Lath::new();
    let running = Running::start(&mut lath.command(&["pull", &name(&web)]));
    let running = running.until("half of it", || {
        partial(&lath).is_some_and(|file| {
            fs::metadata(file).is_ok_and(|file| file.len() == (half - first) as u64)
        })
    });
    running.signal(Signal::KILL);
    assert_eq!(running.wait().code, 137);
    super::has_nothing(&lath);
    lath.ok(&["pull", &name(&web)]);
    assert_eq!(lath.id(&name(&web)), wanted);
    assert!(is_empty(&lath, "partial"));
    let served = served.load(Ordering::Relaxed);
    assert!(served * 100 <= size * 102, "{served} of {size}");
}

#[test]
fn a_link_that_cuts_and_a_lath_that_is_killed_cost_two_hundredths() {
    if !needs(HERE) {
        return;
    }
    const CUT: usize = 200_000;
    let noise = harness::Random(7).text(48 << 20);
    let shelf = Shelf::of(&[tar_of(&[Member::File("big", &noise)])]);
    let (wanted, layer) = (id(&shelf), shelf.largest());
    let size = shelf.bytes(&layer).unwrap().len();
    // What was sent, how far it is, and where nothing more comes before lath is killed.
    let [served, reached, stop] = [0, 0, 0].map(|start| Arc::new(AtomicUsize::new(start)));
    let (count, far, end) = (served.clone(), reached.clone(), stop.clone());
    let web = Web::stream(move |asked, stream| {
        if asked.target() != layer {
            drop(stream.write_all(&shelf.answer(asked)));
            return;
        }
        let bytes = shelf.bytes(&layer).unwrap();
        let first = asked.header("range").map_or(0, |range| {
            let (first, _) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
            first.parse().unwrap()
        });
        let (status, range) = match first {
            0 => ("200 OK", String::new()),
            _ => ("206 x", format!("Content-Range: bytes {first}-{}/{size}\r\n", size - 1)),
        };
        let length = size - first;
        let head = format!("HTTP/1.1 {status}\r\n{range}Content-Length: {length}\r\n\r\n");
        let part = &bytes[first..size.min(first + CUT)];
        drop(stream.write_all(&[head.as_bytes(), part].concat()));
        count.fetch_add(part.len(), Ordering::Relaxed);
        far.store(first + part.len(), Ordering::Relaxed);
        if first + part.len() >= end.load(Ordering::Relaxed) {
            hold(stream);
        }
    });
    let lath = Lath::new();
    for kill in 1..=5 {
        stop.store(kill * size / 6, Ordering::Relaxed);
        let running = Running::start(&mut lath.command(&["pull", "-q", &name(&web)]));
        // All that came is kept.
        let so_far = || {
            let far = reached.load(Ordering::Relaxed);
            far >= kill * size / 6 && partials(&lath).iter().any(|file| ends_at(file) == far)
        };
        let running = running.until("some of it", so_far);
        running.signal(Signal::KILL);
        assert_eq!(running.wait().code, 137);
    }
    stop.store(usize::MAX, Ordering::Relaxed);
    lath.ok(&["pull", "-q", &name(&web)]);
    assert_eq!(lath.id(&name(&web)), wanted);
    let served = served.load(Ordering::Relaxed);
    assert!(size > 30 << 20 && served * 100 <= size * 102, "{served} of {size}");
}

#[test]
fn a_connection_that_nobody_reads_is_given_back() {
    if !needs(HERE) {
        return;
    }
    let noise = harness::Random(8).text(24 << 20);
    let shelf = Shelf::of(&[large(), tar_of(&[Member::File("noise", &noise)])]);
    let (wanted, above) = (id(&shelf), shelf.largest());
    let is_free = Arc::new(AtomicUsize::new(0));
    let free = is_free.clone();
    let web = Web::stream(move |asked, stream| {
        let answer = shelf.answer(asked);
        let is_layer = answer.len() > 100_000;
        if is_layer && asked.target() != above {
            // The lower one stops until the upper one's connection has been hung up.
            let (start, rest) = answer.split_at(answer.len() / 2);
            drop(stream.write_all(start));
            while free.load(Ordering::Relaxed) == 0 {
                std::thread::sleep(Duration::from_millis(50));
            }
            drop(stream.write_all(rest));
        } else if stream.write_all(&answer).is_err() {
            free.fetch_add(1, Ordering::Relaxed);
        }
    });
    pulled(&web, &wanted);
    let asked = web.take();
    let parts = asked.iter().filter(|asked| asked.header("range").is_some()).count();
    assert!(parts >= 1 && is_free.load(Ordering::Relaxed) >= 1, "it goes on in the middle");
}

/// A store where a pull has failed and left what it had: from the first hundredth to the half.
fn broken() -> (Lath, PathBuf) {
    let size = size();
    let (web, ..) = links(move |number, _, answer| match number {
        0 => cut(answer, size / 100),
        1 => cut(answer, size / 2 - size / 100),
        _ => status(404),
    });
    let lath = Lath::new();
    let error = lath.fails(&["pull", &name(&web)]);
    assert!(error.contains("is not in"), "{error}");
    let kept = partial(&lath).expect("what it had");
    assert_eq!(fs::metadata(&kept).unwrap().len(), (size / 2 - size / 100) as u64);
    (lath, kept)
}

/// Pulls into it from a good registry; gives how much that had to serve.
fn mend(lath: &Lath) -> usize {
    let (web, wanted, served) = links(|_, _, answer| answer);
    pull(lath, &[&name(&web)]).success();
    assert_eq!(lath.id(&name(&web)), wanted);
    assert!(is_empty(lath, "partial"), "{:?}", lath.listing().names());
    served.load(Ordering::Relaxed)
}

#[test]
fn what_was_kept_is_used_if_it_is_right_and_else_thrown_away() {
    if !needs(HERE) {
        return;
    }
    let size = size();
    let (lath, _) = broken();
    assert_eq!(mend(&lath), size - (size / 2 - size / 100));
    // One bit is wrong.
    let (lath, kept) = broken();
    let mut bytes = fs::read(&kept).unwrap();
    bytes[1000] ^= 4;
    fs::write(&kept, bytes).unwrap();
    assert!(mend(&lath) >= size);
    // All is there and more, of it or not.
    let shelf = Shelf::of(&[large()]);
    let layer = shelf.bytes(&shelf.largest()).unwrap();
    let (lath, kept) = broken();
    fs::write(&kept, [&layer[size / 100..], b"and more".as_slice()].concat()).unwrap();
    assert_eq!(mend(&lath), size / 100);
    let (lath, kept) = broken();
    fs::write(&kept, vec![7; size * 2]).unwrap();
    assert!(mend(&lath) >= size);
    // Nothing, and what begins behind the end.
    let (lath, kept) = broken();
    fs::write(&kept, "").unwrap();
    assert_eq!(mend(&lath), size);
    let (lath, kept) = broken();
    let behind = kept.to_str().unwrap().rsplit_once('-').unwrap().0.to_owned();
    fs::rename(&kept, format!("{behind}-{}", size + 5)).unwrap();
    assert_eq!(mend(&lath), size);
}

#[test]
fn an_empty_beginning_is_not_in_the_way_of_keeping() {
    if !needs(HERE) {
        return;
    }
    let (lath, kept) = broken();
    fs::write(&kept, "").unwrap();
    let (web, ..) = links(|number, _, answer| match number {
        0 => cut(answer, 100_000),
        1 => cut(answer, 50_000),
        _ => status(404),
    });
    lath.fails(&["pull", &name(&web)]);
    assert_eq!(fs::metadata(partial(&lath).unwrap()).unwrap().len(), 50_000);
}
