//! A web server in the test's own process that says exactly what a test wants, right or wrong.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;

/// What was asked, as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `GET /x HTTP/1.1`
    pub line: String,
    /// The headers, a line each.
    pub headers: Vec<String>,
    /// What came along, as text.
    pub body: String,
    /// The same as it came.
    pub bytes: Vec<u8>,
    /// Over which connection, by a number of its own.
    pub connection: usize,
}

impl Asked {
    /// The address in the first line.
    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| {
            let (known, value) = line.split_once(": ")?;
            known.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// Answers until it is dropped.
pub struct Web {
    port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    is_over: Arc<AtomicBool>,
}

impl Web {
    /// Starts it; `answer` gives all bytes that go back. The connection is closed after an answer
    /// that is not complete, or says so.
    pub fn start(answer: impl Fn(&Asked) -> Vec<u8> + Send + Sync + 'static) -> Web {
        // Who hangs up early has heard enough.
        Web::serve(move |asked, stream| {
            let answer = answer(asked);
            stream.write_all(&answer).is_ok() && is_complete(asked, &answer)
        })
    }

    /// Starts it; `answer` writes what goes back, as slowly as it likes; several at once. Then the
    /// connection is closed.
    pub fn stream(answer: impl Fn(&Asked, &mut TcpStream) + Send + Sync + 'static) -> Web {
        Web::serve(move |asked, stream| {
            answer(asked, stream);
            false
        })
    }

    /// `answer` says whether the connection is kept.
    fn serve(answer: impl Fn(&Asked, &mut TcpStream) -> bool + Send + Sync + 'static) -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let is_over = Arc::new(AtomicBool::new(false));
        let (log, over) = (asked.clone(), is_over.clone());
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let (log, answer, mut stream) = (log.clone(), answer.clone(), stream.unwrap());
                thread::spawn(move || {
                    let number = NEXT.fetch_add(1, Ordering::Relaxed);
                    while let Some(mut asked) = read(&stream) {
                        asked.connection = number;
                        log.lock().unwrap().push(asked.clone());
                        if !answer(&asked, &mut stream) {
                            return;
                        }
                    }
                });
            }
        });
        Web { port, asked, is_over }
    }

    /// One that has these files, and nothing else.
    pub fn of(files: &[(&str, &str)]) -> Web {
        let files: Vec<_> =
            files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        Web::start(move |asked| {
            let found = files.iter().find(|(path, _)| path == asked.target());
            found.map_or(status(404), |(_, text)| ok("", text))
        })
    }

    /// `http://127.0.0.1:PORT` and a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What was asked so far; forgotten with that.
    pub fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // Wakes it.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

fn read(stream: &TcpStream) -> Option<Asked> {
    let mut input = BufReader::new(stream.try_clone().unwrap());
    let lines = input.by_ref().lines();
    let mut lines = lines.map_while(Result::ok).take_while(|line| !line.is_empty());
    let line = lines.next()?;
    let headers = lines.collect();
    let mut asked = Asked { line, headers, body: String::new(), bytes: Vec::new(), connection: 0 };
    let mut body = Vec::new();
    if asked.header("transfer-encoding").is_some() {
        while read_chunk(&mut input, &mut body)? > 0 {}
    }
    let length = asked.header("content-length").map_or(0, |length| length.parse().unwrap());
    input.take(length).read_to_end(&mut body).ok()?;
    asked.body = String::from_utf8_lossy(&body).into_owned();
    asked.bytes = body;
    Some(asked)
}

/// Reads a chunk and the end of its line; gives its size.
fn read_chunk(input: &mut impl BufRead, body: &mut Vec<u8>) -> Option<usize> {
    let mut line = String::new();
    input.read_line(&mut line).ok()?;
    let size = usize::from_str_radix(line.trim_end(), 16).ok()?;
    let start = body.len();
    body.resize(start + size + 2, 0);
    input.read_exact(&mut body[start..]).ok()?;
    body.truncate(start + size);
    Some(size)
}

/// Whether an answer's end can be told from its head, and has come, so that another may follow.
fn is_complete(asked: &Asked, answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let is_whole = match length.map(str::parse::<usize>) {
        Some(Ok(length)) => asked.line.starts_with("HEAD ") || end + 4 + length == answer.len(),
        _ => false,
    };
    is_whole && head.starts_with("http/1.1 ") && !head.contains("connection: close")
}

/// A proxy for one connection: whatever CONNECT wants, it leads to this port. Gives its own port,
/// and what was asked.
pub fn tunnel_to(port: u16) -> (u16, Receiver<Asked>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        sender.send(read(&client).unwrap()).unwrap();
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
        relay(client, port);
    });
    (own, receiver)
}

/// A SOCKS proxy for one connection, which wants a name and a password when they are given.
/// Whatever it is asked for, it leads to this port. Gives its own port, and what it was asked for.
pub fn socks_to(port: u16, wants: Option<&'static str>) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let take = |client: &mut TcpStream, count: usize| {
            let mut bytes = vec![0; count];
            client.read_exact(&mut bytes).unwrap();
            bytes
        };
        let text = |client: &mut TcpStream| {
            let length = take(client, 1)[0];
            String::from_utf8(take(client, length.into())).unwrap()
        };
        let methods = take(&mut client, 2)[1];
        let methods = take(&mut client, methods.into());
        match wants {
            None => client.write_all(&[5, 0]).unwrap(),
            Some(_) if !methods.contains(&2) => return client.write_all(&[5, 0xff]).unwrap(),
            Some(wanted) => {
                client.write_all(&[5, 2]).unwrap();
                assert_eq!(take(&mut client, 1), [1]);
                let given = [text(&mut client), text(&mut client)].join(":");
                client.write_all(&[1, u8::from(given != wanted)]).unwrap();
                if given != wanted {
                    return;
                }
            }
        }
        assert_eq!(take(&mut client, 4), [5, 1, 0, 3]);
        let host = text(&mut client);
        let place = take(&mut client, 2);
        sender.send(format!("{host}:{}", u16::from_be_bytes([place[0], place[1]]))).unwrap();
        client.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 80]).unwrap();
        relay(client, port);
    });
    (own, receiver)
}

/// A link that breaks: the first `cuts` connections to `port` that carry so many bytes of the client end
/// with them.
pub struct Cutting {
    /// Where it is.
    pub port: u16,
    /// What the clients have sent, and how many connections were cut.
    pub sent: Arc<AtomicUsize>,
    pub cut: Arc<AtomicUsize>,
}

impl Cutting {
    /// Starts it.
    pub fn start(port: u16, most: usize, cuts: usize) -> Cutting {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().port();
        let (sent, cut) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (bytes, count) = (sent.clone(), cut.clone());
        thread::spawn(move || {
            for client in listener.incoming() {
                let (mut client, bytes, count) = (client.unwrap(), bytes.clone(), count.clone());
                let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)) else { return };
                let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                thread::spawn(move || {
                    drop(io::copy(&mut from, &mut to));
                    drop(to.shutdown(std::net::Shutdown::Both));
                });
                thread::spawn(move || {
                    let (mut passed, mut buffer) = (0, vec![0; 16 << 10]);
                    while let Ok(read @ 1..) = client.read(&mut buffer) {
                        bytes.fetch_add(read, Ordering::Relaxed);
                        passed += read;
                        let is_cut = passed >= most && count.load(Ordering::Relaxed) < cuts;
                        if server.write_all(&buffer[..read]).is_err() || is_cut {
                            count.fetch_add(usize::from(is_cut), Ordering::Relaxed);
                            break;
                        }
                    }
                    for side in [&server, &client] {
                        drop(side.shutdown(std::net::Shutdown::Both));
                    }
                });
            }
        });
        Cutting { port: own, sent, cut }
    }
}

/// Leads a connection to a port until both sides have ended.
fn relay(mut client: TcpStream, port: u16) {
    let mut server = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || drop(io::copy(&mut from, &mut to)));
    drop(io::copy(&mut server, &mut client));
}

/// 200 with a length; `headers` each end in CRLF.
pub fn ok(headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// A status alone.
pub fn status(status: u16) -> Vec<u8> {
    format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n").into_bytes()
}

/// A redirect.
pub fn redirect(status: u16, to: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} x\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").into_bytes()
}
