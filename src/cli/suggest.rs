//! "Did you mean": the nearest of some known words, by edit distance.

/// The candidate with the fewest edits from `word`, if it takes fewer than three and the words
/// still have something in common.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let edits = distance(word, candidate);
        let limit = 3.min(word.chars().count().max(candidate.chars().count()));
        if edits < limit && best.is_none_or(|(fewest, _)| edits < fewest) {
            best = Some((edits, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Insertions, deletions and replacements that make one word the other. Words of more than 64
/// characters are nobody's typing error: they count as infinitely far.
fn distance(from: &str, to: &str) -> usize {
    if from.len() > 64 || to.len() > 64 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (at, left) in from.chars().enumerate() {
        let mut diagonal = at;
        let mut before = at + 1;
        let mut next = vec![before];
        for (right, above) in to.chars().zip(row.iter().skip(1)) {
            before = (diagonal + usize::from(left != right)).min(before + 1).min(above + 1);
            diagonal = *above;
            next.push(before);
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_the_known_ones() {
        for (from, to, edits) in
            [("build", "buidl", 2), ("", "ab", 2), ("kitten", "sitting", 3), ("tag", "tag", 0)]
        {
            assert_eq!(distance(from, to), edits, "{from} {to}");
        }
    }

    #[test]
    fn only_near_words_are_suggested() {
        let words = ["build", "run", "rmi", "images"];
        assert_eq!(nearest("buidl", words), Some("build"));
        assert_eq!(nearest("image", words), Some("images"));
        assert_eq!(nearest("xy", words), None);
        assert_eq!(nearest("compose", words), None);
    }
}
