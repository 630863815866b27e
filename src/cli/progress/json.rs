//! `--progress=json`: one object a line on standard output, for programs.
//!
//! Every object has `event`; the other fields are those of `crate::event::Event`. Output that is
//! no UTF-8 has U+FFFD in its place; a character cut by two pieces comes whole with the second.

use std::io::Write;
use std::time::{Duration, Instant};

use super::Progress;
use crate::error::Error;
use crate::event::{Event, Listener, Stream};
use crate::image::json::Value;
use crate::sys::flow::Outflow;

/// Bytes that moved are told at most so often.
const PAUSE: Duration = Duration::from_millis(100);

/// Writes the objects.
pub struct Json<'a> {
    out: &'a mut dyn Outflow,
    /// The begin of a character, for standard output and standard error.
    partial: [Vec<u8>; 2],
    moved_at: Option<Instant>,
}

impl<'a> Json<'a> {
    /// Objects on this stream.
    pub fn new(out: &'a mut dyn Outflow) -> Self {
        Json { out, partial: [Vec::new(), Vec::new()], moved_at: None }
    }

    fn say(&mut self, event: &str, fields: &[(&str, Value)]) {
        let mut object = Value::default();
        object.set("event", Some(Value::string(event)));
        for (name, value) in fields {
            object.set(name, Some(value.clone()));
        }
        let mut line = object.to_text();
        line.push('\n');
        let _ = self.out.write_all(line.as_bytes()).and_then(|()| self.out.flush());
    }

    fn output(&mut self, stream: Stream, bytes: &[u8], is_last: bool) {
        let [of_out, of_err] = &mut self.partial;
        let (partial, name) = match stream {
            Stream::Out => (of_out, "stdout"),
            Stream::Err => (of_err, "stderr"),
        };
        let mut whole = std::mem::take(partial);
        whole.extend_from_slice(bytes);
        let end = if is_last { whole.len() } else { whole_characters(&whole) };
        *partial = whole.split_off(end);
        if !whole.is_empty() {
            let text = Value::string(String::from_utf8_lossy(&whole));
            self.say("output", &[("stream", Value::string(name)), ("text", text)]);
        }
    }

    fn end_output(&mut self) {
        self.output(Stream::Out, b"", true);
        self.output(Stream::Err, b"", true);
    }

    fn moved(&mut self, what: &str, done_bytes: u64, total_bytes: Option<u64>) {
        let is_done = total_bytes == Some(done_bytes);
        if !is_done && self.moved_at.is_some_and(|at| at.elapsed() < PAUSE) {
            return;
        }
        self.moved_at = Some(Instant::now());
        let total = total_bytes.map_or(Value::Null, Value::number);
        self.say(
            "moved",
            &[
                ("what", Value::string(what)),
                ("done_bytes", Value::number(done_bytes)),
                ("total_bytes", total),
            ],
        );
    }
}

/// The length without a character that is only begun at the end.
fn whole_characters(bytes: &[u8]) -> usize {
    for (back, byte) in bytes.iter().rev().take(3).enumerate() {
        let length = match byte {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            0x80..=0xbf => continue,
            _ => return bytes.len(),
        };
        return bytes.len() - if back + 1 < length { back + 1 } else { 0 };
    }
    bytes.len()
}

impl Listener for Json<'_> {
    fn event(&mut self, event: &Event<'_>) {
        let text = |text: &str| Value::string(text);
        match event {
            Event::Step { number, total, text: statement } => {
                let fields = [
                    ("number", Value::number(*number as u64)),
                    ("total", Value::number(*total as u64)),
                    ("text", text(statement)),
                ];
                self.say("step", &fields);
            }
            Event::Triggers { count } => {
                self.say("triggers", &[("count", Value::number(*count as u64))]);
            }
            Event::Cached => self.say("cached", &[]),
            Event::NotCached { why } => self.say("not_cached", &[("why", text(why))]),
            Event::Running { id } => self.say("running", &[("id", text(id))]),
            Event::Output { stream, bytes } => self.output(*stream, bytes, false),
            Event::Removed { id } => {
                self.end_output();
                self.say("removed", &[("id", text(id))]);
            }
            Event::StepDone { image } => {
                self.end_output();
                self.say("step_done", &[("image", text(&image.to_string()))]);
            }
            Event::Moved { what, done_bytes, total_bytes } => {
                self.moved(what, *done_bytes, *total_bytes);
            }
            Event::Pulling { name } => self.say("pulling", &[("name", text(name))]),
            Event::Warning { text: sentence } => self.say("warning", &[("text", text(sentence))]),
            Event::Findings { list } => {
                for finding in *list {
                    let fields = [
                        ("rule", text(finding.rule)),
                        ("text", text(&finding.message)),
                        ("line", Value::number(finding.lines.0 as u64)),
                    ];
                    self.say("finding", &fields);
                }
            }
            Event::Built { image } => self.say("built", &[("image", text(&image.to_string()))]),
            Event::Tagged { name } => self.say("tagged", &[("name", text(name))]),
        }
    }
}

impl Progress for Json<'_> {
    fn finish(&mut self, failed: Option<&Error>) {
        self.end_output();
        let Some(error) = failed else { return };
        let mut fields = vec![("text", Value::string(error.text()))];
        if let Some(place) = error.place() {
            fields.push(("file", Value::string(place.file.as_str())));
            fields.push(("line", Value::number(place.line as u64)));
        }
        if !error.hints().is_empty() {
            fields.push(("hints", Value::strings(error.hints())));
        }
        self.say("error", &fields);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Kept, build, lint};
    use super::*;
    use crate::error::Place;

    #[test]
    fn each_event_is_one_object() {
        let out = Kept::default();
        let mut writer = out.clone();
        let mut json = Json::new(&mut writer);
        build(&mut json);
        let place = Place { file: "Dockerfile".into(), line: 3, text: String::new() };
        json.finish(Some(&Error::input("bad").at(place).hint("do")));
        let text = out.text();
        for line in text.lines() {
            assert!(Value::parse(line.as_bytes()).unwrap().get("event").is_some(), "{line}");
        }
        assert!(text.starts_with(
            "{\"event\":\"step\",\"number\":1,\"total\":3,\"text\":\"FROM alpine\"}\n"
        ));
        assert!(
            text.contains("{\"event\":\"output\",\"stream\":\"stderr\",\"text\":\"careful\\n\"}\n")
        );
        assert!(text.ends_with(
            "{\"event\":\"error\",\"text\":\"bad\",\"file\":\"Dockerfile\",\"line\":3,\"hints\":[\"do\"]}\n"
        ));
        assert_eq!(text.lines().count(), 15);
    }

    #[test]
    fn each_finding_is_one_object() {
        let out = Kept::default();
        let mut writer = out.clone();
        lint(&mut Json::new(&mut writer));
        assert_eq!(
            out.text(),
            "{\"event\":\"finding\",\"rule\":\"FromAsCasing\",\"text\":\"do not match\",\"line\":2}\n"
        );
    }

    #[test]
    fn characters_cut_by_pieces_come_whole_and_bad_bytes_are_replaced() {
        let out = Kept::default();
        let mut writer = out.clone();
        let mut json = Json::new(&mut writer);
        for piece in [b"a\xe6\xbc".as_slice(), b"\xa2b", b"\xff", b"\xe6"] {
            json.event(&Event::Output { stream: Stream::Out, bytes: piece });
        }
        json.finish(None);
        let texts: Vec<String> = out
            .text()
            .lines()
            .map(|line| Value::parse(line.as_bytes()).unwrap().get("text").unwrap().clone())
            .map(|text| text.as_str().unwrap().to_owned())
            .collect();
        assert_eq!(texts, ["a", "漢b", "\u{fffd}", "\u{fffd}"]);
    }

    #[test]
    fn moved_bytes_are_told_now_and_then_and_at_the_end() {
        let out = Kept::default();
        let mut writer = out.clone();
        let mut json = Json::new(&mut writer);
        for done_bytes in 0..=1000 {
            json.event(&Event::Moved { what: "blob", done_bytes, total_bytes: Some(1000) });
        }
        assert!((2..100).contains(&out.text().lines().count()));
        assert!(out.text().ends_with("\"done_bytes\":1000,\"total_bytes\":1000}\n"));
    }
}
