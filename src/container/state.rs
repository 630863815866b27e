//! How a container is doing, as its keeper wrote it down last.

#[cfg(feature = "containers")]
use crate::container::health::Health;
use crate::container::record::{line, time_text};
#[cfg(feature = "containers")]
use crate::container::record::{lines, parse_time};

/// What the keeper knows. Whether it still runs is for the folder's lock to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The program's process, in the pid namespace of whoever wrote it; 0 when there is none.
    pub pid: i32,
    /// When that process began, in ticks after boot (proc(5), stat): no other has the same pid and
    /// the same beginning.
    pub began: u64,
    /// Its last start, seconds since 1970 and nanoseconds; 0 before the first.
    pub started: (i64, u32),
    /// Its last end; 0 while it runs.
    pub finished: (i64, u32),
    /// The exit code of its last end.
    pub code: i32,
    /// Why it could not be started.
    pub error: String,
    /// The kernel has killed a process of it for want of memory.
    pub was_short_of_memory: bool,
    /// How often it was started again.
    pub restarts: u32,
    /// Which descriptor of whoever looks after it is its terminal, or where its standard input comes
    /// from; 0 when nobody can type anything.
    #[cfg(feature = "containers")]
    pub input: i32,
    /// How it is by its health check.
    #[cfg(feature = "containers")]
    pub health: Health,
    /// Its published ports, with those that were chosen at its start.
    #[cfg(feature = "bridge")]
    pub ports: Vec<crate::network::Port>,
}

impl State {
    /// As it is written.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        let mut add = |name: &str, value: String| line(&mut out, name, &value);
        add("pid", self.pid.to_string());
        add("began", self.began.to_string());
        add("started", time_text(self.started));
        add("finished", time_text(self.finished));
        add("code", self.code.to_string());
        add("restarts", self.restarts.to_string());
        #[cfg(feature = "containers")]
        if self.input > 0 {
            add("input", self.input.to_string());
        }
        if self.was_short_of_memory {
            add("short-of-memory", "1".to_owned());
        }
        #[cfg(feature = "bridge")]
        self.ports.iter().for_each(|port| add("port", port.to_string()));
        if !self.error.is_empty() {
            add("error", self.error.clone());
        }
        #[cfg(feature = "containers")]
        if !self.health.status.is_empty() {
            add("health", self.health.status.clone());
            add("failing", self.health.failing.to_string());
            if let Some(last) = &self.health.last {
                add("check-start", time_text(last.start));
                add("check-end", time_text(last.end));
                add("check-code", last.code.to_string());
                add("check-output", last.output.clone());
            }
        }
        out
    }

    /// Reads it; what is not there is zero.
    #[cfg(feature = "containers")]
    pub fn parse(text: &str) -> State {
        let mut state = State::default();
        for (name, value) in lines(text) {
            match name {
                "pid" => state.pid = value.parse().unwrap_or(0),
                "began" => state.began = value.parse().unwrap_or(0),
                "started" => state.started = parse_time(&value),
                "finished" => state.finished = parse_time(&value),
                "code" => state.code = value.parse().unwrap_or(0),
                "restarts" => state.restarts = value.parse().unwrap_or(0),
                "input" => state.input = value.parse().unwrap_or(0),
                "short-of-memory" => state.was_short_of_memory = true,
                "error" => state.error = value,
                "health" => state.health.status = value,
                #[cfg(feature = "bridge")]
                "port" => state.ports.extend(crate::network::Port::parse(&value)),
                "failing" => state.health.failing = value.parse().unwrap_or(0),
                _ => {
                    let Some(name) = name.strip_prefix("check-") else { continue };
                    let last = state.health.last.get_or_insert_default();
                    match name {
                        "start" => last.start = parse_time(&value),
                        "end" => last.end = parse_time(&value),
                        "code" => last.code = value.parse().unwrap_or(-1),
                        "output" => last.output = value,
                        _ => {}
                    }
                }
            }
        }
        state
    }
}

#[cfg(all(test, feature = "containers"))]
mod tests {
    use super::*;
    use crate::container::health::Last;

    #[test]
    fn a_state_comes_back_as_it_was_written() {
        let state = State {
            pid: 12,
            began: 99,
            started: (5, 6),
            finished: (-7, 8),
            code: 137,
            error: "a\nb".to_owned(),
            restarts: 3,
            was_short_of_memory: true,
            input: 9,
            #[cfg(feature = "bridge")]
            ports: crate::network::Port::parse("80 8080 tcp").into_iter().collect(),
            health: Health {
                status: "unhealthy".to_owned(),
                failing: 4,
                last: Some(Last {
                    start: (1, 2),
                    end: (3, 4),
                    code: -1,
                    output: "a\n b".to_owned(),
                }),
            },
        };
        assert_eq!(State::parse(&state.to_text()), state);
        assert_eq!(State::parse(""), State::default());
    }
}
