//! Sorting in little code: std's is fast and a few kilobytes of the binary for each type that is
//! sorted. No list here is long enough to feel the difference. 30 KB.

use std::cmp::Ordering;

/// Sorts in place; equal ones come in any order.
pub fn sort<T: Ord>(list: &mut [T]) {
    sort_by(list, &mut Ord::cmp);
}

/// The same, by a comparison of one's own. Heapsort: n log n whatever the order was.
pub fn sort_by<T>(list: &mut [T], compare: &mut dyn FnMut(&T, &T) -> Ordering) {
    for root in (0..list.len() / 2).rev() {
        sift(list, root, compare);
    }
    for end in (1..list.len()).rev() {
        list.swap(0, end);
        let (heap, _) = list.split_at_mut_checked(end).unwrap_or_default();
        sift(heap, 0, compare);
    }
}

/// Lets an entry sink below those that are greater.
fn sift<T>(heap: &mut [T], mut root: usize, compare: &mut dyn FnMut(&T, &T) -> Ordering) {
    loop {
        let left = 2 * root + 1;
        let greater = match (heap.get(left), heap.get(left + 1)) {
            (Some(one), Some(other)) if compare(one, other).is_lt() => left + 1,
            (Some(_), _) => left,
            (None, _) => return,
        };
        match (heap.get(root), heap.get(greater)) {
            (Some(here), Some(below)) if compare(here, below).is_lt() => heap.swap(root, greater),
            _ => return,
        }
        root = greater;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_sorts_as_std_does() {
        let mut seed = 1_u64;
        let mut next = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        for length in (0..40).chain([100, 1000]) {
            for below in [1, 3, 1000] {
                let mut list: Vec<u64> = (0..length).map(|_| next(below)).collect();
                let mut wanted = list.clone();
                wanted.sort_unstable();
                sort(&mut list);
                assert_eq!(list, wanted);
                sort_by(&mut list, &mut |one, other| other.cmp(one));
                wanted.reverse();
                assert_eq!(list, wanted);
            }
        }
    }
}
