//! A map that is a sorted list: for few entries, where std's tree is three kilobytes of the binary
//! for each pair of types. 30 KB.

use std::borrow::Borrow;
use std::cmp::Ordering;

use crate::sort::sort_by;

/// Values by keys, in the order of the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map<K, V>(Vec<(K, V)>);

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Map(Vec::new())
    }
}

impl<K: Ord, V> Map<K, V> {
    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        self.0.binary_search_by(|(own, _)| own.borrow().cmp(key))
    }

    /// The value of this key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.find(key).ok().and_then(|at| self.0.get(at)).map(|(_, value)| value)
    }

    /// Whether this key has a value.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.find(key).is_ok()
    }

    /// Sets the value of a key. Moves all that come after it: many at once are for `extend`.
    pub fn insert(&mut self, key: K, value: V) {
        match self.find(&key) {
            Ok(at) => {
                if let Some((_, old)) = self.0.get_mut(at) {
                    *old = value;
                }
            }
            Err(at) => self.0.insert(at, (key, value)),
        }
    }

    /// Takes the value of a key out.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.find(key).ok().map(|at| self.0.remove(at).1)
    }
}

impl<K, V> Map<K, V> {
    /// The pairs.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// The keys.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.iter().map(|(key, _)| key)
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K: Ord, V> Extend<(K, V)> for Map<K, V> {
    /// The last one of a key counts.
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, more: I) {
        /// Sorting all again costs more than moving what comes after so many.
        const FEW: usize = 8;
        let more = more.into_iter();
        if matches!(more.size_hint(), (_, Some(0..=FEW))) {
            more.for_each(|(key, value)| self.insert(key, value));
            return;
        }
        let old = std::mem::take(&mut self.0);
        let mut all: Vec<_> = old.into_iter().chain(more).enumerate().collect();
        sort_by(&mut all, &mut |(at, (key, _)), (other_at, (other, _))| match key.cmp(other) {
            Ordering::Equal => at.cmp(other_at),
            order => order,
        });
        for (_, pair) in all {
            match self.0.last_mut() {
                Some(last) if last.0 == pair.0 => *last = pair,
                _ => self.0.push(pair),
            }
        }
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for Map<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut map = Map::default();
        map.extend(pairs);
        map
    }
}

impl<K, V> IntoIterator for Map<K, V> {
    type Item = (K, V);
    type IntoIter = std::vec::IntoIter<(K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn it_does_what_a_tree_does() {
        let mut seed = 1_u64;
        let mut next = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        let (mut map, mut tree) = (Map::default(), BTreeMap::new());
        for round in 0..2000_u64 {
            let key = next(40).to_string();
            match next(5) {
                0 => assert_eq!(map.remove(&key), tree.remove(&key)),
                1 => {
                    let more: Vec<_> = (0..next(9)).map(|at| (next(40).to_string(), at)).collect();
                    map.extend(more.clone());
                    tree.extend(more);
                }
                2 if round % 100 == 0 => {
                    map.clear();
                    tree.clear();
                }
                _ => {
                    map.insert(key.clone(), round);
                    tree.insert(key.clone(), round);
                }
            }
            assert_eq!(map.get(key.as_str()), tree.get(&key));
            assert_eq!(map.contains_key(&key), tree.contains_key(&key));
            assert_eq!(map.is_empty(), tree.is_empty());
            assert!(map.iter().eq(tree.iter()) && map.keys().eq(tree.keys()));
        }
        assert_eq!(map, tree.clone().into_iter().collect());
        assert!(map.into_iter().eq(tree));
    }
}
