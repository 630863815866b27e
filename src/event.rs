//! Progress as data: the only output of the floors below `cli`.

use crate::image::digest::ImageId;

/// Which of a step's two streams a piece of output came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// A linter's rule is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule's name, one of BuildKit's.
    pub rule: &'static str,
    /// What is wrong.
    pub message: String,
    /// First and last line, from 1.
    pub lines: (usize, usize),
}

impl Finding {
    /// Where the rule is explained.
    pub fn url(&self) -> String {
        let mut url = String::from("https://docs.docker.com/go/dockerfile/rule/");
        let mut before = '-';
        let mut rest = self.rule.chars();
        while let Some(letter) = rest.next() {
            // `JSONArgs` is two words: `json-args`.
            let is_last_capital = rest.clone().next().is_some_and(|next| next.is_ascii_lowercase());
            let begins =
                letter.is_ascii_uppercase() && (before.is_ascii_lowercase() || is_last_capital);
            if begins && before != '-' {
                url.push('-');
            }
            url.push(letter.to_ascii_lowercase());
            before = letter;
        }
        url.push('/');
        url
    }
}

/// Something that happened, in the order in which it happened.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// A step begins. `number` counts from 1 over all steps that this build needs.
    Step {
        /// Which one.
        number: usize,
        /// Of how many.
        total: usize,
        /// The statement, on one line, as written.
        text: &'a str,
    },
    /// The step is a FROM whose base has triggers (ONBUILD). Each comes as a step with the same
    /// number.
    Triggers {
        /// How many.
        count: usize,
    },
    /// The step's result was found in the cache.
    Cached,
    /// The step's result was not found in the cache, and the user wants to know why.
    NotCached {
        /// A few words.
        why: &'a str,
    },
    /// The step's temporary container exists; `id` has 12 hex digits.
    Running {
        /// The container's id.
        id: &'a str,
    },
    /// Bytes that the step wrote; none when it said nothing for a while.
    Output {
        /// To which stream.
        stream: Stream,
        /// The bytes as they came, not cut at lines.
        bytes: &'a [u8],
    },
    /// The step's temporary container is gone.
    Removed {
        /// The container's id.
        id: &'a str,
    },
    /// The step is done and this is the image so far.
    StepDone {
        /// Digest of the config of the image so far.
        image: &'a ImageId,
    },
    /// An image is asked for at its registry.
    Pulling {
        /// Its name.
        name: &'a str,
    },
    /// Bytes of a long copy, load or save went by.
    Moved {
        /// What is moved, for people.
        what: &'a str,
        /// Bytes so far.
        done_bytes: u64,
        /// Bytes in all, when known.
        total_bytes: Option<u64>,
    },
    /// Something that the user should know, and the build goes on.
    Warning {
        /// The sentence.
        text: &'a str,
    },
    /// What the linter says about the Dockerfile; comes once, at the end, and only when there is
    /// something.
    Findings {
        /// In the order of their lines.
        list: &'a [Finding],
    },
    /// The build is complete and durable.
    Built {
        /// The image.
        image: &'a ImageId,
    },
    /// The image has a name.
    Tagged {
        /// The name as the user wrote it, with its tag.
        name: &'a str,
    },
}

/// Takes events. Listeners of other threads get theirs through the thread that works.
pub trait Listener {
    /// Takes one event.
    fn event(&mut self, event: &Event<'_>);
}

/// Hears nothing.
pub struct Silent;

impl Listener for Silent {
    fn event(&mut self, _: &Event<'_>) {}
}

/// Tells how much of something long is done; every few megabytes is enough for people.
pub struct Progress<'a> {
    listener: &'a mut dyn Listener,
    what: &'a str,
    total_bytes: Option<u64>,
    done_bytes: u64,
    told_bytes: u64,
}

impl<'a> Progress<'a> {
    const STEP_BYTES: u64 = 4 << 20;

    /// Nothing done yet, of `total_bytes` if that is known.
    pub fn new(
        listener: &'a mut dyn Listener,
        what: &'a str,
        total_bytes: Option<u64>,
    ) -> Progress<'a> {
        Progress { listener, what, total_bytes, done_bytes: 0, told_bytes: 0 }
    }

    /// So many bytes more.
    pub fn add(&mut self, bytes: u64) {
        self.done_bytes += bytes;
        if self.done_bytes - self.told_bytes >= Progress::STEP_BYTES {
            self.told_bytes = self.done_bytes;
            let (what, done_bytes, total_bytes) = (self.what, self.done_bytes, self.total_bytes);
            self.listener.event(&Event::Moved { what, done_bytes, total_bytes });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rules_page_has_its_name_in_small_words() {
        for (rule, page) in [
            ("JSONArgsRecommended", "json-args-recommended"),
            ("FromAsCasing", "from-as-casing"),
            ("SecretsUsedInArgOrEnv", "secrets-used-in-arg-or-env"),
        ] {
            let url = Finding { rule, message: String::new(), lines: (1, 1) }.url();
            assert_eq!(url, format!("https://docs.docker.com/go/dockerfile/rule/{page}/"));
        }
    }
}
