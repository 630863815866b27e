//! Health checks: a program that is run in a container again and again, and says whether that is
//! well. The keeper of a container in the background runs them; what it finds out is in the state.
//! A container that stays as well as it was writes nothing.
//!
//! Source: moby daemon/health.go; HEALTHCHECK in docker's Dockerfile reference.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use super::{Container, State, exec};
use crate::error::{Context, Error, Result};
use crate::image::config::{ContainerConfig, Healthcheck};
use crate::sandbox::{self, Streams};
use crate::sys::fs::now;
use crate::sys::process;

/// What of its words is kept.
const MAX_OUTPUT: usize = 4096;
/// A failed check in a row so often makes a container unhealthy, if nothing else is said.
const RETRIES: u64 = 3;
/// docker's, where nothing is said.
const INTERVAL: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
/// How often somebody looks at a check that runs.
const STEP: Duration = Duration::from_millis(100);

/// How a container is, by its last checks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// `starting`, `healthy` or `unhealthy`; empty when nobody looks.
    pub status: String,
    /// So many checks in a row have failed.
    pub failing: u64,
    /// The last check that has changed anything: its beginning and end, its exit code (-1: it was
    /// killed or could not be run), what it said.
    pub last: Option<Last>,
}

/// One check that is over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Last {
    /// Seconds since 1970 and nanoseconds.
    pub start: (i64, u32),
    /// The same.
    pub end: (i64, u32),
    /// Its exit code.
    pub code: i32,
    /// The beginning of its output.
    pub output: String,
}

/// The check of a container: what `run` says over what the image says, nothing for none.
pub fn of(own: &Healthcheck, none: bool, config: &ContainerConfig) -> Option<Healthcheck> {
    let mut check = config.healthcheck.clone().unwrap_or_default();
    if !own.test.is_empty() {
        check.test.clone_from(&own.test);
    }
    for (mine, given) in [
        (&mut check.interval_ns, own.interval_ns),
        (&mut check.timeout_ns, own.timeout_ns),
        (&mut check.start_period_ns, own.start_period_ns),
        (&mut check.start_interval_ns, own.start_interval_ns),
        (&mut check.retries, own.retries),
    ] {
        if given > 0 {
            *mine = given;
        }
    }
    // The image's shell is not needed any more when the container runs.
    if let [kind, command] = check.test.as_slice()
        && kind == "CMD-SHELL"
    {
        let shell = config.shell.clone().unwrap_or_else(|| vec!["/bin/sh".into(), "-c".into()]);
        let words = shell.into_iter().chain([command.clone()]);
        check.test = [String::from("CMD")].into_iter().chain(words).collect();
    }
    let is_one = check.test.first().is_some_and(|kind| kind == "CMD") && check.test.len() > 1;
    (is_one && !none).then_some(check)
}

/// Runs the checks of a container that runs.
pub struct Prober {
    check: Healthcheck,
    began: Instant,
    next: Instant,
    running: Option<Check>,
}

/// A check that runs.
struct Check {
    pid: Pid,
    start: (i64, u32),
    until: Instant,
    was_killed: bool,
    from: OwnedFd,
    output: Vec<u8>,
}

impl Prober {
    /// For a container that has just been started; nothing when it has no check.
    pub fn new(container: &Container, state: &mut State) -> Option<Prober> {
        let check = container.record.health.clone()?;
        state.health = Health { status: "starting".to_owned(), ..Health::default() };
        let began = Instant::now();
        let mut prober = Prober { check, began, next: began, running: None };
        prober.next = began + prober.pause(&state.health);
        Some(prober)
    }

    /// How long nothing has to be done.
    pub fn idle(&self) -> Duration {
        match self.running {
            Some(_) => STEP,
            None => self.next.saturating_duration_since(Instant::now()),
        }
    }

    /// Does what is due, and says whether how it is has changed.
    pub fn tick(&mut self, container: &Container, state: &mut State) -> bool {
        let Some(check) = &mut self.running else {
            if Instant::now() < self.next {
                return false;
            }
            return match self.begin(container) {
                Ok(check) => {
                    self.running = Some(check);
                    false
                }
                Err(error) => {
                    let output = error.text().to_owned();
                    let last = Last { start: now(), end: now(), code: -1, output };
                    self.over(last, state)
                }
            };
        };
        check.listen();
        match process::ended(check.pid) {
            Ok(None) => {
                if Instant::now() >= check.until {
                    check.was_killed = true;
                    process::kill(check.pid, libc::SIGKILL);
                }
                false
            }
            ended => {
                check.listen();
                let code = ended.ok().flatten().filter(|_| !check.was_killed).unwrap_or(-1);
                let mut output = String::from_utf8_lossy(&check.output).into_owned();
                if check.was_killed {
                    let time = self.check.timeout().as_millis();
                    output = format!("Health check exceeded timeout ({time}ms): {output}");
                }
                let last = Last { start: check.start, end: now(), code, output };
                self.over(last, state)
            }
        }
    }

    fn begin(&self, container: &Container) -> Result<Check> {
        let null = sandbox::null()?;
        let (from, inside) = pipe_with(PipeFlags::CLOEXEC).context(|| "pipe")?;
        fcntl_setfl(&from, OFlags::NONBLOCK).context(|| "pipe")?;
        let argv = self.check.test.get(1..).unwrap_or_default().to_vec();
        let request = exec::Request { argv, ..exec::Request::default() };
        let streams = Streams::Files([null.as_fd(), inside.as_fd(), inside.as_fd()]);
        let pid = exec::start(container, &request, streams)?;
        let until = Instant::now() + self.check.timeout();
        Ok(Check { pid, start: now(), until, was_killed: false, from, output: Vec::new() })
    }

    fn over(&mut self, last: Last, state: &mut State) -> bool {
        self.running = None;
        let is_start = self.is_starting(&state.health);
        let health = &mut state.health;
        let before =
            (health.status.clone(), health.failing, health.last.as_ref().map(|last| last.code));
        let code = last.code;
        if code == 0 {
            (health.status, health.failing) = ("healthy".to_owned(), 0);
        } else if !is_start {
            health.failing = health.failing.saturating_add(1);
            if health.failing >= self.check.retries() {
                health.status = "unhealthy".to_owned();
            }
        }
        self.next = Instant::now() + self.pause(&state.health);
        let has_changed = before != (state.health.status.clone(), state.health.failing, Some(code));
        if has_changed {
            state.health.last = Some(last);
        }
        has_changed
    }

    /// Whether failures do not count yet.
    fn is_starting(&self, health: &Health) -> bool {
        health.status == "starting" && self.began.elapsed() < self.check.start_period()
    }

    fn pause(&self, health: &Health) -> Duration {
        if self.is_starting(health) { self.check.start_interval() } else { self.check.interval() }
    }
}

impl Check {
    /// Takes what it has said; what is too much is dropped.
    fn listen(&mut self) {
        let mut buffer = [0u8; 4096];
        while let Ok(count) = rustix::io::read(&self.from, &mut buffer[..])
            && count > 0
        {
            let room = MAX_OUTPUT.saturating_sub(self.output.len()).min(count);
            self.output.extend_from_slice(buffer.get(..room).unwrap_or_default());
        }
    }
}

/// A time, or another where nothing is said.
fn or(ns: u64, other: Duration) -> Duration {
    if ns == 0 { other } else { Duration::from_nanos(ns) }
}

impl Healthcheck {
    fn interval(&self) -> Duration {
        or(self.interval_ns, INTERVAL)
    }

    fn timeout(&self) -> Duration {
        or(self.timeout_ns, INTERVAL)
    }

    fn start_period(&self) -> Duration {
        Duration::from_nanos(self.start_period_ns)
    }

    fn start_interval(&self) -> Duration {
        or(self.start_interval_ns, START_INTERVAL)
    }

    fn retries(&self) -> u64 {
        if self.retries == 0 { RETRIES } else { self.retries }
    }
}

impl Container {
    /// How it is, in docker's word: `none` when nobody looks, or it does not run.
    pub fn health(&self) -> Result<(bool, Health)> {
        let (is_running, state) = self.state()?;
        let mut health = state.health;
        if !is_running || health.status.is_empty() {
            "none".clone_into(&mut health.status);
        }
        Ok((is_running, health))
    }
}

/// `--health-cmd` and such, as they are written.
pub fn parse(
    command: Option<&str>,
    [interval, timeout, start_period, start_interval]: [Option<&str>; 4],
    retries: Option<&str>,
) -> Result<Healthcheck> {
    let time = |name: &str, text: Option<&str>| match text.map(crate::instruction::duration) {
        None | Some(Some((_, 0))) => Ok(0),
        Some(Some((false, ns))) if ns >= 1_000_000 => Ok(ns),
        _ => Err(Error::usage(format!("--health-{name} must be a time of at least 1ms"))
            .hint("write, for example, 30s or 1m30s")),
    };
    let retries = retries.unwrap_or("0").parse();
    Ok(Healthcheck {
        test: command
            .map_or(Vec::new(), |command| vec!["CMD-SHELL".to_owned(), command.to_owned()]),
        interval_ns: time("interval", interval)?,
        timeout_ns: time("timeout", timeout)?,
        start_period_ns: time("start-period", start_period)?,
        start_interval_ns: time("start-interval", start_interval)?,
        retries: retries.map_err(|_| Error::usage("--health-retries must be a number"))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_run_says_is_put_over_what_the_image_says() {
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let image = |test: &[&str]| ContainerConfig {
            healthcheck: Some(Healthcheck {
                test: words(test),
                interval_ns: 7,
                retries: 2,
                ..Healthcheck::default()
            }),
            ..ContainerConfig::default()
        };
        let none = Healthcheck::default();
        let found = of(&none, false, &image(&["CMD", "a", "b"])).unwrap();
        assert_eq!((found.test, found.interval_ns), (words(&["CMD", "a", "b"]), 7));
        let found = of(&none, false, &image(&["CMD-SHELL", "a b"])).unwrap();
        assert_eq!(found.test, words(&["CMD", "/bin/sh", "-c", "a b"]));
        assert_eq!(of(&none, true, &image(&["CMD", "a"])), None);
        assert_eq!(of(&none, false, &image(&["NONE"])), None);
        assert_eq!(of(&none, false, &ContainerConfig::default()), None);
        let own = parse(Some("x"), [Some("1s"), None, Some("0"), None], Some("5")).unwrap();
        let found = of(&own, false, &image(&["NONE"])).unwrap();
        assert_eq!(found.test, words(&["CMD", "/bin/sh", "-c", "x"]));
        assert_eq!((found.interval_ns, found.retries), (1_000_000_000, 5));
        for (interval, retries) in [("1us", "1"), ("-1s", "1"), ("soon", "1"), ("1s", "-1")] {
            assert!(parse(Some("x"), [Some(interval), None, None, None], Some(retries)).is_err());
        }
    }

    #[test]
    fn failures_count_after_the_start_and_one_success_is_enough() {
        let check = Healthcheck { retries: 2, ..Healthcheck::default() };
        let began = Instant::now();
        let mut prober = Prober { check, began, next: began, running: None };
        let mut state = State::default();
        state.health.status = "starting".to_owned();
        let mut over = |prober: &mut Prober, code| {
            let changed = prober.over(Last { code, ..Last::default() }, &mut state);
            (changed, state.health.status.clone(), state.health.failing)
        };
        assert_eq!(over(&mut prober, 1), (true, "starting".to_owned(), 1));
        assert_eq!(over(&mut prober, 1), (true, "unhealthy".to_owned(), 2));
        assert_eq!(over(&mut prober, 0), (true, "healthy".to_owned(), 0));
        assert_eq!(over(&mut prober, 0), (false, "healthy".to_owned(), 0));
        assert_eq!(over(&mut prober, -1), (true, "healthy".to_owned(), 1));
        // In the start period they do not count.
        prober.check.start_period_ns = u64::MAX / 2;
        let mut state = State::default();
        state.health.status = "starting".to_owned();
        prober.over(Last { code: 1, ..Last::default() }, &mut state);
        assert_eq!((state.health.status.as_str(), state.health.failing), ("starting", 0));
    }
}
