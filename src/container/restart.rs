//! `--restart`: what happens when a container's program has ended.

#[cfg(feature = "containers")]
use std::time::Duration;

use crate::error::{Error, Result};

/// A restart policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// Nothing.
    #[default]
    No,
    /// It is started again.
    Always,
    /// The same, but not at boot when somebody has stopped it.
    UnlessStopped,
    /// It is started again when it has failed, so many times at most.
    OnFailure(Option<u32>),
}

impl Restart {
    /// Reads docker's words.
    pub fn parse(text: &str) -> Result<Restart> {
        match text {
            "" | "no" => Ok(Restart::No),
            "always" => Ok(Restart::Always),
            "unless-stopped" => Ok(Restart::UnlessStopped),
            "on-failure" => Ok(Restart::OnFailure(None)),
            text => {
                let count = text.strip_prefix("on-failure:").and_then(|count| count.parse().ok());
                let bad = || {
                    Error::usage(format!("invalid restart policy {text:?}"))
                        .hint("no, always, unless-stopped, on-failure or on-failure:TIMES")
                };
                count
                    .map(|count: u32| Restart::OnFailure(Some(count).filter(|count| *count > 0)))
                    .ok_or_else(bad)
            }
        }
    }

    /// docker's words again.
    pub fn to_text(self) -> String {
        match self {
            Restart::No => "no".to_owned(),
            Restart::Always => "always".to_owned(),
            Restart::UnlessStopped => "unless-stopped".to_owned(),
            Restart::OnFailure(None) => "on-failure".to_owned(),
            Restart::OnFailure(Some(count)) => format!("on-failure:{count}"),
        }
    }

    /// Whether a program that has ended with this code, after so many restarts, begins again.
    pub fn again(self, code: i32, restarts: u32) -> bool {
        match self {
            Restart::No => false,
            Restart::Always | Restart::UnlessStopped => true,
            Restart::OnFailure(most) => code != 0 && most.is_none_or(|most| restarts < most),
        }
    }
}

/// How long to wait before the next start, as docker does: from a tenth of a second, twice as long
/// each time, a minute at most; from the beginning when it has run for ten seconds.
#[cfg(feature = "containers")]
pub fn pause(last: Duration, ran: Duration) -> Duration {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(60);
    const WELL: Duration = Duration::from_secs(10);
    if ran >= WELL || last.is_zero() { FIRST } else { (last * 2).min(LONGEST) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_dockers() {
        for text in ["no", "always", "unless-stopped", "on-failure", "on-failure:3"] {
            assert_eq!(Restart::parse(text).unwrap().to_text(), text);
        }
        assert_eq!(Restart::parse("on-failure:0").unwrap(), Restart::OnFailure(None));
        for text in ["never", "on-failure:", "on-failure:x", "on-failure:-1", "always:3"] {
            assert!(Restart::parse(text).is_err(), "{text}");
        }
        let few = Restart::OnFailure(Some(2));
        assert!(few.again(1, 0) && few.again(1, 1) && !few.again(1, 2) && !few.again(0, 0));
        assert!(Restart::Always.again(0, 1000) && !Restart::No.again(1, 0));
    }

    #[cfg(feature = "containers")]
    #[test]
    fn pauses_double_up_to_a_minute() {
        let (mut last, mut all) = (Duration::ZERO, Vec::new());
        for _ in 0..12 {
            last = pause(last, Duration::from_secs(1));
            all.push(last.as_millis());
        }
        assert_eq!(all, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000]);
        assert_eq!(pause(last, Duration::from_secs(10)).as_millis(), 100);
    }
}
