//! How many sources one fetch may come to know, by who named them.

/// Sources that one fetch may come to know, and those of them that the hash table named: anybody can enter themselves there,
/// so there is always room for whom a link, a person or another source names.
const MOST_KNOWN: usize = 256;
const MOST_OF_TABLE: usize = 128;

/// By whom a source was named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NamedBy {
    /// A link, or whoever wants the files.
    Link,
    /// The hash table.
    Table,
    /// Another source.
    Source,
}

/// How many sources are known, by who named them.
#[derive(Debug, Default)]
pub(crate) struct Known {
    all: usize,
    of_table: usize,
}

impl Known {
    /// Takes a place, if there is one.
    pub fn take(&mut self, by: NamedBy) -> bool {
        let is_of_table = by == NamedBy::Table;
        if self.all >= MOST_KNOWN || (is_of_table && self.of_table >= MOST_OF_TABLE) {
            return false;
        }
        self.all += 1;
        self.of_table += usize::from(is_of_table);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_table_does_not_fill_the_places_of_those_whom_others_name() {
        let mut known = Known::default();
        assert_eq!((0..10_000).filter(|_| known.take(NamedBy::Table)).count(), MOST_OF_TABLE);
        assert!(known.take(NamedBy::Link));
        assert_eq!((0..10_000).filter(|_| known.take(NamedBy::Source)).count(), MOST_KNOWN - MOST_OF_TABLE - 1);
        assert!(!known.take(NamedBy::Link));
    }
}
