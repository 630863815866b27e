//! A web server in the test's own process that says exactly what a test wants, right or wrong.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// What came along.
    pub body: String,
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
    /// Starts it; `answer` gives all bytes that go back, then the connection is closed.
    pub fn start(answer: impl Fn(&Asked) -> Vec<u8> + Send + Sync + 'static) -> Web {
        // Who hangs up early has heard enough.
        Web::stream(move |asked, stream| drop(stream.write_all(&answer(asked))))
    }

    /// Starts it; `answer` writes what goes back, as slowly as it likes; several at once.
    pub fn stream(answer: impl Fn(&Asked, &mut TcpStream) + Send + Sync + 'static) -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let is_over = Arc::new(AtomicBool::new(false));
        let (log, over) = (asked.clone(), is_over.clone());
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let (log, answer, mut stream) = (log.clone(), answer.clone(), stream.unwrap());
                thread::spawn(move || {
                    let Some(asked) = read(&stream) else { return };
                    log.lock().unwrap().push(asked.clone());
                    answer(&asked, &mut stream);
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
    let mut asked = Asked { line, headers: lines.collect(), body: String::new() };
    let length = asked.header("content-length").map_or(0, |length| length.parse().unwrap());
    input.take(length).read_to_string(&mut asked.body).ok()?;
    Some(asked)
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
        let mut server = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || drop(io::copy(&mut from, &mut to)));
        drop(io::copy(&mut server, &mut client));
    });
    (own, receiver)
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
