//! Which known name a misspelt one is near to.

/// The nearest of the known names, when it is near enough to be meant.
pub fn nearest<'a>(wrong: &str, known: &mut dyn Iterator<Item = &'a str>) -> Option<&'a str> {
    // Nobody means a long word by it, and the distance costs its square.
    if wrong.len() > 64 {
        return None;
    }
    let wrong = wrong.to_ascii_lowercase();
    let allowed = match wrong.chars().count() {
        0 | 1 => return None,
        2..=4 => 1,
        _ => 2,
    };
    // So much further in length is so much further in all.
    let letters = wrong.chars().count();
    known
        .filter(|name| name.chars().count().abs_diff(letters) <= allowed)
        .map(|name| (distance(&wrong, &name.to_ascii_lowercase()), name))
        .filter(|(far, _)| *far > 0 && *far <= allowed)
        .min_by_key(|(far, _)| *far)
        .map(|(_, name)| name)
}

/// Edits between two words, where swapping two neighbours counts as one.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut left_a = None;
    for (i, from) in a.chars().enumerate() {
        let mut row = Vec::with_capacity(last.len());
        row.push(i + 1);
        let mut left_b = None;
        for (j, to) in b.iter().copied().enumerate() {
            let at = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX / 2);
            let same = usize::from(from != to);
            let mut best = at(&last, j) + same;
            best = best.min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            if left_a == Some(to) && left_b == Some(from) {
                best = best.min(at(&before_last, j.wrapping_sub(1)) + 1);
            }
            row.push(best);
            left_b = Some(to);
        }
        left_a = Some(from);
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_hand_is_recognised_and_another_word_is_not() {
        let known = ["RUN", "COPY", "ENTRYPOINT", "ENV"];
        for (wrong, meant) in [
            ("RNU", Some("RUN")),
            ("RUNN", Some("RUN")),
            ("cpoy", Some("COPY")),
            ("ENTRYPIONT", Some("ENTRYPOINT")),
            ("FROBNICATE", None),
            ("X", None),
        ] {
            assert_eq!(nearest(wrong, &mut known.into_iter()), meant, "{wrong}");
        }
        assert_eq!(nearest(&"R".repeat(1 << 20), &mut known.into_iter()), None);
    }
}
