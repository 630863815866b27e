//! Live lines on a terminal: the running step with its seconds, its last lines below it.
//!
//! Finished steps become one line each and scroll away. Only what every terminal and serial
//! console since the VT100 knows is used; one write a picture, ten pictures a second at most.

use std::fmt::Write as _;
use std::io::Write;
use std::time::{Duration, Instant};

use super::quiet::shown;
use super::screen::{LastLines, fit};
use super::tail::Tail;
use super::{Progress, Terminals};
use crate::cli::{findings, safe, size};
use crate::error::Error;
use crate::event::{Event, Listener};
use crate::sys::flow::Outflow;

const PAUSE: Duration = Duration::from_millis(100);
const LINES: usize = 4;
const KEPT: usize = 256 << 10;

struct Step {
    /// `[2/3] RUN apk add redis`
    title: String,
    began: Duration,
    is_cached: bool,
}

struct Moved {
    what: String,
    done_bytes: u64,
    total_bytes: Option<u64>,
}

/// Draws on standard error.
pub struct Tty<'a> {
    err: &'a mut dyn Outflow,
    terminals: Terminals,
    clock: Instant,
    step: Option<Step>,
    moved: Option<Moved>,
    last: LastLines,
    tail: Tail,
    /// Lines that stay, not yet written.
    waiting: String,
    /// How many lines of the picture are below the lines that stay.
    drawn: usize,
    drawn_at: Option<Duration>,
    /// The step before came from the cache, so that this one is likely to as well.
    was_cached: bool,
}

impl<'a> Tty<'a> {
    /// A picture that begins where the cursor is.
    pub fn new(err: &'a mut dyn Outflow, terminals: Terminals) -> Self {
        Tty {
            err,
            terminals,
            clock: Instant::now(),
            step: None,
            moved: None,
            last: LastLines::new(LINES),
            tail: Tail::new(KEPT),
            waiting: String::new(),
            drawn: 0,
            drawn_at: None,
            was_cached: false,
        }
    }

    fn columns(&self) -> usize {
        // The last column stays free: some consoles wrap as soon as it is written.
        (self.terminals.size)().0.saturating_sub(1).max(10)
    }

    fn event_at(&mut self, event: &Event<'_>, now: Duration) {
        match event {
            Event::Step { number, total, text } => {
                self.end_step(now, None);
                let title = format!("[{number}/{total}] {}", safe::text(text));
                self.step = Some(Step { title, began: now, is_cached: false });
                // A cached build draws now and then; what may take long is shown at once.
                if !self.was_cached {
                    return self.draw(now);
                }
            }
            Event::Cached => {
                if let Some(step) = &mut self.step {
                    step.is_cached = true;
                }
            }
            Event::Running { .. } => return self.draw(now),
            Event::Output { stream, bytes } => {
                self.tail.push(bytes);
                self.last.push(*stream, bytes);
            }
            Event::Removed { .. } | Event::Triggers { .. } => {}
            Event::StepDone { .. } => self.end_step(now, None),
            Event::Moved { what, done_bytes, total_bytes } => {
                let what = safe::text(what).into_owned();
                let (done_bytes, total_bytes) = (*done_bytes, *total_bytes);
                self.moved = Some(Moved { what, done_bytes, total_bytes });
            }
            Event::Pulling { name } => self.stay(&format!("Pulling {}", safe::text(name)), ""),
            Event::NotCached { why } => {
                self.stay(&format!("  not cached: {}", safe::text(why)), "2");
            }
            Event::Warning { text } => self.stay(&format!("warning: {}", safe::text(text)), "33"),
            Event::Findings { list } => {
                for line in findings::list(list).lines() {
                    self.stay(line, "33");
                }
            }
            Event::Built { image } => {
                self.end_step(now, None);
                self.stay(&format!("Successfully built {}", image.short()), "");
            }
            Event::Tagged { name } => {
                self.stay(&format!("Successfully tagged {}", safe::text(name)), "");
            }
        }
        self.draw_if_due(now);
    }

    /// The step becomes one line that stays.
    fn end_step(&mut self, now: Duration, failed: Option<&str>) {
        let Some(step) = self.step.take() else { return };
        self.was_cached = step.is_cached;
        let end = match failed {
            Some(word) => format!("{word} {}", seconds(now.saturating_sub(step.began))),
            None if step.is_cached => "CACHED".to_owned(),
            None => seconds(now.saturating_sub(step.began)),
        };
        let line = title_line(&step.title, &end, self.columns());
        self.stay(&line, if failed.is_some() { "31" } else { "" });
        self.last.clear();
        self.moved = None;
        if failed.is_none() {
            self.tail.clear();
        }
    }

    fn stay(&mut self, line: &str, colour: &str) {
        paint(&mut self.waiting, line, if self.terminals.colours { colour } else { "" });
    }

    fn draw_if_due(&mut self, now: Duration) {
        if self.drawn_at.is_none_or(|at| now.saturating_sub(at) >= PAUSE) {
            self.draw(now);
        }
    }

    /// Lines that stay, then the picture, in one write.
    fn draw(&mut self, now: Duration) {
        self.drawn_at = Some(now);
        let mut page = self.erasing();
        page.push_str(&std::mem::take(&mut self.waiting));
        let lines = self.picture(now);
        self.drawn = lines.len();
        for (at, line) in lines.iter().enumerate() {
            // The step's own output is fainter than the step.
            let colour = if at > 0 && self.terminals.colours { "2" } else { "" };
            paint(&mut page, line, colour);
        }
        self.write(page.as_bytes());
    }

    /// What takes the picture away, line by line: some terminals keep a screen that is erased
    /// whole in their history.
    fn erasing(&mut self) -> String {
        "\r\x1b[A\x1b[2K".repeat(std::mem::take(&mut self.drawn))
    }

    fn picture(&self, now: Duration) -> Vec<String> {
        let (columns, rows) = (self.columns(), (self.terminals.size)().1);
        let mut lines = Vec::new();
        if let Some(step) = &self.step {
            let passed = seconds(now.saturating_sub(step.began));
            lines.push(title_line(&step.title, &passed, columns));
        }
        if let Some(moved) = &self.moved {
            lines.push(bar_line(moved, columns));
        }
        for line in self.last.lines() {
            lines.push(fit(&format!("  | {line}"), columns));
        }
        // A picture that is higher than the screen could not be taken away again.
        lines.truncate(rows.saturating_sub(1).max(1));
        lines
    }

    fn write(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            let _ = self.err.write_all(bytes).and_then(|()| self.err.flush());
        }
    }

    fn finish_at(&mut self, failed: Option<&Error>, now: Duration) {
        let has_failed = failed.is_some() && self.step.is_some();
        self.end_step(now, failed.map(|_| "ERROR"));
        let mut page = self.erasing().into_bytes();
        page.extend_from_slice(std::mem::take(&mut self.waiting).as_bytes());
        if has_failed {
            page.extend_from_slice(&shown(&mut self.tail, true, self.terminals.colours));
        }
        self.tail.clear();
        self.moved = None;
        self.write(&page);
    }
}

/// A line in a colour (an SGR number), with its end.
fn paint(page: &mut String, line: &str, colour: &str) {
    // Writing to a String cannot fail.
    let _ = match colour {
        "" => writeln!(page, "{line}"),
        colour => writeln!(page, "\x1b[{colour}m{line}\x1b[0m"),
    };
}

/// The title cut so that its end (seconds, CACHED) is seen.
fn title_line(title: &str, end: &str, columns: usize) -> String {
    let left = columns.saturating_sub(end.len() + 3);
    format!("{}   {end}", fit(title, left))
}

fn bar_line(moved: &Moved, columns: usize) -> String {
    const CELLS: u64 = 20;
    let done = size::human(moved.done_bytes);
    let Some(total_bytes) = moved.total_bytes.filter(|total| *total > 0) else {
        return title_line(&format!("  {}", moved.what), &done, columns);
    };
    let total = size::human(total_bytes);
    // In 128 bits, since the bytes of a disk times twenty are more than 64 have.
    let share = u128::from(moved.done_bytes) * u128::from(CELLS) / u128::from(total_bytes);
    let full = usize::try_from(share.min(CELLS.into())).unwrap_or_default();
    let empty = (CELLS as usize).saturating_sub(full);
    let end = format!("[{}{}] {done}/{total}", "=".repeat(full), " ".repeat(empty));
    fit(&title_line(&format!("  {}", moved.what), &end, columns), columns)
}

/// `3.4s`, `2m05s`, `1h02m`.
fn seconds(passed: Duration) -> String {
    let whole = passed.as_secs();
    match whole {
        0..=59 => format!("{whole}.{}s", passed.subsec_millis() / 100),
        60..=3599 => format!("{}m{:02}s", whole / 60, whole % 60),
        _ => format!("{}h{:02}m", whole / 3600, whole / 60 % 60),
    }
}

impl Listener for Tty<'_> {
    fn event(&mut self, event: &Event<'_>) {
        let now = self.clock.elapsed();
        self.event_at(event, now);
    }
}

impl Progress for Tty<'_> {
    fn tick(&mut self) {
        self.draw_if_due(self.clock.elapsed());
    }

    fn finish(&mut self, failed: Option<&Error>) {
        let now = self.clock.elapsed();
        self.finish_at(failed, now);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Kept, NONE, build};
    use super::*;
    use crate::event::Stream;
    use crate::image::digest::Digest;

    const TERMINAL: Terminals = Terminals { err: true, colours: false, ..NONE };

    /// What a terminal shows after these bytes: lines, cursor up, line erased.
    fn screen(bytes: &str) -> Vec<String> {
        let mut lines: Vec<String> = vec![String::new()];
        let mut rest = bytes;
        while let Some(c) = rest.chars().next() {
            rest = rest.split_at(c.len_utf8()).1;
            match c {
                '\n' => lines.push(String::new()),
                '\r' => {}
                '\x1b' => {
                    let end = rest.find(|c: char| c.is_alphabetic()).unwrap();
                    let (sequence, after) = rest.split_at(end + 1);
                    rest = after;
                    if let Some(up) = sequence.strip_suffix('A') {
                        assert_eq!((up, lines.pop().unwrap().as_str()), ("[", ""));
                        lines.pop().unwrap();
                        lines.push(String::new());
                    }
                }
                c => lines.last_mut().unwrap().push(c),
            }
        }
        assert_eq!(lines.pop().unwrap(), "");
        lines
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn with(terminals: Terminals, play: impl FnOnce(&mut Tty<'_>)) -> Kept {
        let err = Kept::default();
        let mut writer = err.clone();
        play(&mut Tty::new(&mut writer, terminals));
        err
    }

    #[test]
    fn finished_steps_are_one_line_each() {
        let err = with(TERMINAL, |tty| {
            build(tty);
            tty.finish(None);
        });
        assert_eq!(
            screen(&err.text()),
            [
                "[1/3] FROM alpine   0.0s",
                "[2/3] RUN apk add redis   0.0s",
                "[3/3] CMD [\"redis-server\"]   CACHED",
                "Successfully built e3b0c44298fc",
                "Successfully tagged hub/redis:latest",
            ]
        );
    }

    #[test]
    fn a_running_step_shows_seconds_and_its_last_lines() {
        let err = with(TERMINAL, |tty| {
            let text = "RUN make a very long line that is cut to the width of the terminal";
            tty.event_at(&Event::Step { number: 2, total: 3, text }, ms(0));
            tty.event_at(&Event::Running { id: "x" }, ms(0));
            let bytes = b"1\n2\n3\x1b[2J\n4\n5\n".as_slice();
            tty.event_at(&Event::Output { stream: Stream::Out, bytes }, ms(3400));
            let moved =
                Event::Moved { what: "base", done_bytes: 5_000_000, total_bytes: Some(20_000_000) };
            tty.event_at(&moved, ms(65_000));
        });
        assert_eq!(
            screen(&err.text()),
            [
                "[2/3] RUN make a very long line that is cut to th..   1m05s",
                "  base   [=====               ] 5MB/20MB",
                "  | 2",
                "  | 3",
                "  | 4",
                "  | 5",
            ]
        );
    }

    #[test]
    fn pictures_are_at_most_ten_a_second() {
        let err = with(TERMINAL, |tty| {
            tty.event_at(&Event::Step { number: 1, total: 1, text: "RUN x" }, ms(0));
            for at in 0..1000 {
                tty.event_at(&Event::Output { stream: Stream::Out, bytes: b"x\n" }, ms(at));
            }
        });
        assert_eq!(err.writes(), 10);
    }

    #[test]
    fn a_cached_build_draws_few_pictures() {
        let err = with(TERMINAL, |tty| {
            let image = Digest::of(b"");
            for number in 1..=50 {
                tty.event_at(&Event::Step { number, total: 50, text: "RUN x" }, ms(1));
                tty.event_at(&Event::Cached, ms(1));
                tty.event_at(&Event::StepDone { image: &image }, ms(1));
            }
            tty.finish_at(None, ms(2));
        });
        assert_eq!((err.writes(), screen(&err.text()).len()), (2, 50));
    }

    #[test]
    fn a_failed_step_leaves_its_whole_output() {
        let err = with(TERMINAL, |tty| {
            tty.event_at(&Event::Step { number: 1, total: 2, text: "RUN a" }, ms(0));
            tty.event_at(&Event::Output { stream: Stream::Out, bytes: b"of the first\n" }, ms(0));
            tty.event_at(&Event::StepDone { image: &Digest::of(b"") }, ms(200));
            tty.event_at(&Event::Step { number: 2, total: 2, text: "RUN b" }, ms(200));
            for number in 0..10 {
                let line = format!("line {number}\n");
                tty.event_at(
                    &Event::Output { stream: Stream::Err, bytes: line.as_bytes() },
                    ms(300),
                );
            }
            tty.finish_at(Some(&Error::input("x")), ms(1500));
        });
        let shown = screen(&err.text());
        assert_eq!(shown[..3], ["[1/2] RUN a   0.2s", "[2/2] RUN b   ERROR 1.3s", "line 0"]);
        assert_eq!((shown.len(), shown[11].as_str()), (12, "line 9"));
    }

    #[test]
    fn a_small_screen_gets_a_small_picture() {
        let tiny = Terminals { size: || (20, 3), ..TERMINAL };
        let err = with(tiny, |tty| {
            tty.event_at(&Event::Step { number: 1, total: 1, text: "RUN something long" }, ms(0));
            tty.event_at(&Event::Output { stream: Stream::Out, bytes: b"1\n2\n3\n" }, ms(500));
        });
        assert_eq!(screen(&err.text()), ["[1/1] RUN ..   0.5s", "  | 1"]);
    }

    #[test]
    fn there_is_no_colour_without_colours() {
        for (colours, has) in [(false, false), (true, true)] {
            let err = with(Terminals { colours, ..TERMINAL }, |tty| {
                tty.event_at(&Event::Warning { text: "no seccomp" }, ms(0));
                tty.event_at(&Event::Step { number: 1, total: 1, text: "RUN x" }, ms(200));
                let bytes = b"\x1b[32mgreen\x1b[0m\n".as_slice();
                tty.event_at(&Event::Output { stream: Stream::Out, bytes }, ms(400));
                tty.finish_at(Some(&Error::input("x")), ms(500));
            });
            assert_eq!(err.text().contains("\x1b[32m"), has);
            assert_eq!(err.text().contains("\x1b[0m"), has);
        }
    }
}
