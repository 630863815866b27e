//! Paths in an image as text: always absolute, always with slashes.

/// An absolute path without empty parts, `.` and `..`; a relative one begins in `dir`.
pub(super) fn absolute(dir: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let start = if path.starts_with('/') { "" } else { dir };
    for part in start.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The same, where a slash or dot at the end says that a directory is meant and is kept as a slash.
pub(super) fn destination(dir: &str, path: &str) -> String {
    let mut clean = absolute(dir, path);
    let last = path.rsplit('/').next().unwrap_or_default();
    if matches!(last, "" | ".") && !clean.ends_with('/') {
        clean.push('/');
    }
    clean
}

/// A source relative to the root of where it comes from; the root is `.`.
pub(super) fn source(path: &str) -> String {
    let clean = absolute("/", path);
    match clean.strip_prefix('/') {
        Some("") | None => ".".to_owned(),
        Some(relative) => relative.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_and_stay_inside() {
        for (dir, path, wanted) in [
            ("/w", "a/b", "/w/a/b"),
            ("/w", "../x", "/x"),
            ("", "a", "/a"),
            ("/w", "/../../x", "/x"),
            ("/w", "/c//d/./e/", "/c/d/e"),
            ("/w", ".", "/w"),
            ("/", "", "/"),
        ] {
            assert_eq!(absolute(dir, path), wanted, "{dir} {path}");
        }
        for (dir, path, wanted) in [
            ("/w", "d/", "/w/d/"),
            ("/w", ".", "/w/"),
            ("/w", "", "/w/"),
            ("/w", "/", "/"),
            ("/w", "/d/.", "/d/"),
            ("/w", "f", "/w/f"),
        ] {
            assert_eq!(destination(dir, path), wanted, "{dir} {path}");
        }
        for (path, wanted) in [("/a/", "a"), (".", "."), ("../x", "x"), ("./a/*.c", "a/*.c")] {
            assert_eq!(source(path), wanted);
        }
    }
}
