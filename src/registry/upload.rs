//! One blob on its way to a registry, over connections that break: the next one asks how far it
//! came and goes on there (distribution-spec, "Pushing a blob in chunks"), or begins anew where
//! the registry does not know.

use std::io::{self, Write};

use super::remote::{Remote, is_busy, is_passing, pause};
use crate::error::{Error, Result};
use crate::http::{Fill, Request, Response, Url, encoded};
use crate::image::digest::Digest;
use crate::layer::verify::HashingWriter;
use crate::sys::flow::Outflow;

/// How often a blob is sent on without a byte more before it is given up.
const TRIES: u32 = 5;

/// How an attempt has ended otherwise.
enum Failure {
    Answer(Box<Response>),
    Error(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Error(error)
    }
}

/// An upload that was begun: where it goes on, and how much is there.
struct Upload {
    url: Url,
    has_bytes: u64,
}

/// Sends a blob, which `fill` writes, the same each time. Gives what it was.
pub fn send(remote: &Remote, fill: &mut Fill<'_>) -> Result<(Digest, u64)> {
    let mut tries = 0;
    let mut upload = None;
    let mut most = 0;
    loop {
        tries += 1;
        let went_on = upload.is_some();
        let failure = match attempt(remote, &mut upload, fill) {
            Ok(sent) => return Ok(sent),
            Err(failure) => failure,
        };
        match failure {
            _ if tries >= TRIES => return Err(told(remote, failure)),
            // A token that has become too old: the next one is good for the same.
            Failure::Answer(answer) if answer.status == 401 => {
                if !remote.learns(&answer)? {
                    return Err(told(remote, Failure::Answer(answer)));
                }
            }
            Failure::Answer(answer) if is_busy(answer.status) => pause(tries, None)?,
            Failure::Error(error) if is_passing(&error) => {
                log::info!("{error}");
                pause(tries, None)?;
            }
            // It does not take the rest alone.
            Failure::Answer(_) if went_on => upload = None,
            failure => return Err(told(remote, failure)),
        }
        upload = upload.and_then(|upload| whereabouts(remote, &upload));
        let has_bytes = upload.as_ref().map_or(0, |upload| upload.has_bytes);
        if has_bytes > most {
            (most, tries) = (has_bytes, 0);
        }
    }
}

fn told(remote: &Remote, failure: Failure) -> Error {
    match failure {
        Failure::Answer(answer) => remote.refusal(&answer, "the upload"),
        Failure::Error(error) => error,
    }
}

/// What a registry has of an upload. `None`: it does not know it any more.
fn whereabouts(remote: &Remote, upload: &Upload) -> Option<Upload> {
    let answer = remote.send(&Request::get(upload.url.clone())).ok()?;
    if answer.status != 204 {
        log::info!("the upload begins anew: {}", answer.status);
        return None;
    }
    // `0-N`, N being the last byte; docker's has the same for one byte and none.
    let last = answer.headers.get("range")?.strip_prefix("0-")?.parse::<u64>().ok()?;
    let has_bytes = if last == 0 { 0 } else { last.checked_add(1)? };
    (has_bytes > 0).then_some(Upload { url: location(&answer).ok()?, has_bytes })
}

/// Begins an upload, or goes on with one, sends the bytes, and says what they are.
fn attempt(
    remote: &Remote,
    upload: &mut Option<Upload>,
    fill: &mut Fill<'_>,
) -> Result<(Digest, u64), Failure> {
    let here = match upload.take() {
        Some(upload) => upload,
        None => {
            let begun = remote.send(&Request::new("POST", remote.url("blobs/uploads/")?))?;
            if begun.status != 202 {
                return Err(Failure::Answer(Box::new(begun)));
            }
            Upload { url: location(&begun)?, has_bytes: 0 }
        }
    };
    let (url, has_bytes) = (here.url.clone(), here.has_bytes);
    *upload = Some(here);
    let mut sent = None;
    let request = Request::new("PATCH", url).header("Content-Type", "application/octet-stream");
    let answer = remote.stream(&request, &mut |out| {
        let mut rest = Rest { out, left: has_bytes };
        let mut hashing = HashingWriter::new(&mut rest);
        fill(&mut hashing)?;
        sent = Some(hashing.finish());
        Ok(())
    })?;
    let (202 | 204, Some((digest, size))) = (answer.status, sent) else {
        return Err(Failure::Answer(Box::new(answer)));
    };
    let url = location(&answer)?;
    let mark = if url.target.contains('?') { '&' } else { '?' };
    let target = format!("{}{mark}digest={}", url.target, encoded(&digest.to_string()));
    *upload = Some(Upload { url: url.clone(), has_bytes: size });
    let ended = remote.send(&Request::new("PUT", Url { target, ..url }))?;
    match ended.status {
        201 | 204 => Ok((digest, size)),
        _ => Err(Failure::Answer(Box::new(ended))),
    }
}

/// Where an upload goes on.
fn location(answer: &Response) -> Result<Url> {
    let location = answer.headers.get("location");
    let location = location.ok_or_else(|| Error::input("the registry does not say where to"))?;
    answer.url.join(location)
}

/// Passes over what the registry has already.
struct Rest<'a> {
    out: &'a mut dyn Outflow,
    left: u64,
}

impl Write for Rest<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let passed = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        if passed > 0 {
            self.left -= passed as u64;
            return Ok(passed);
        }
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
