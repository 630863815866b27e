//! `WWW-Authenticate`: how a registry wants to know who asks (RFC 9110, 11.6.1; distribution's
//! token authentication).

/// One way to say who one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// Name and password with each request.
    Basic,
    /// A token that this address gives.
    Bearer {
        /// Where.
        realm: String,
        /// For whom. For what is the client's own to say.
        service: Option<String>,
    },
}

impl Challenge {
    /// The one of a header's ways that lath knows, a token first.
    pub fn choose<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Challenge> {
        let mut found = None;
        for (scheme, parameters) in headers.flat_map(split) {
            let get = |name: &str| {
                let mut known = parameters.iter();
                known.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, v)| v.clone())
            };
            if scheme.eq_ignore_ascii_case("bearer")
                && let Some(realm) = get("realm")
            {
                return Some(Challenge::Bearer { realm, service: get("service") });
            }
            if scheme.eq_ignore_ascii_case("basic") {
                found = Some(Challenge::Basic);
            }
        }
        found
    }
}

type Parameters = Vec<(String, String)>;

/// The challenges of one header: `scheme name=value, name="value", scheme ...`.
fn split(header: &str) -> Vec<(String, Parameters)> {
    let mut challenges: Vec<(String, Parameters)> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find(|c: char| !is_token(c)).unwrap_or(rest.len());
        let Some((word, after)) = rest.split_at_checked(end).filter(|(word, _)| !word.is_empty())
        else {
            return challenges;
        };
        rest = after.trim_start();
        let Some(value) = rest.strip_prefix('=') else {
            challenges.push((word.to_owned(), Vec::new()));
            continue;
        };
        let (value, after) = value_of(value.trim_start());
        rest = after;
        if let Some((_, parameters)) = challenges.last_mut() {
            parameters.push((word.to_owned(), value));
        }
    }
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

/// A token or a quoted string, and what comes after it.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', ',', '\t']).unwrap_or(text.len());
        let (value, rest) = text.split_at_checked(end).unwrap_or((text, ""));
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => value.extend(chars.next()),
            other => value.push(other),
        }
    }
    (value, chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(headers: &[&str]) -> Option<Challenge> {
        Challenge::choose(headers.iter().copied())
    }

    #[test]
    fn a_token_goes_before_a_password() {
        let bearer =
            Challenge::Bearer { realm: "https://auth/token".into(), service: Some("a, b".into()) };
        let text = "Bearer realm=\"https://auth/token\",service=\"a, b\", \
                    scope=\"repository:x/y:pull,push\"";
        assert_eq!(choose(&[text]), Some(bearer.clone()));
        assert_eq!(choose(&["Basic realm=\"x\"", text]), Some(bearer.clone()));
        assert_eq!(choose(&[&format!("Basic realm=x, {text}")]), Some(bearer));
        assert_eq!(choose(&["basic realm=\"a \\\" b\""]), Some(Challenge::Basic));
        assert_eq!(choose(&["Negotiate abc=="]), None);
    }

    #[test]
    fn what_is_no_challenge_is_none() {
        for text in ["", ",", "=", "Bearer", "Bearer service=x", "\"Basic\"", "\u{e9} Basic"] {
            assert_eq!(choose(&[text]), None, "{text}");
        }
        let long = "Bearer realm=\"".to_owned() + &"x".repeat(70_000);
        assert!(choose(&[&long]).is_some());
    }
}
