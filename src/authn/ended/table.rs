//! Digests, each with a moment: at most [`MAX_ENTRIES`].
//!
//! Owns: the bound, and what is kept of an entry that had no room: its moment, so that nobody passes for want of room. Tables
//! only grow together: for each digest the later moment counts, in whatever order they meet.
//! Must not: know whose digest it is.

use crate::base::time::Timestamp;

/// Most entries of a table.
pub(super) const MAX_ENTRIES: usize = 4096;

/// The kind, and 15 bytes of a keyed digest.
pub(super) type Digest = [u8; 16];

const VERSION: u8 = 1;

/// An entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    digest: Digest,
    at: Timestamp,
    /// From then on nothing is left that it could be said of.
    until: Timestamp,
}

/// The entries, in the order of their digests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Table {
    entries: Vec<Entry>,
    /// By kind: the latest moment of those that had no room.
    evicted: Vec<(u8, Timestamp)>,
}

impl Table {
    /// Whether it has no entry.
    pub(super) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The moment of a digest.
    pub(super) fn at(&self, digest: &Digest) -> Option<Timestamp> {
        let entry = self.entries.get(self.place(digest))?;
        (entry.digest == *digest).then_some(entry.at)
    }

    /// The latest moment of an entry of this kind that had no room.
    pub(super) fn evicted(&self, kind: u8) -> Option<Timestamp> {
        self.evicted.iter().find(|(other, _)| *other == kind).map(|(_, at)| *at)
    }

    /// Takes an entry. The oldest leaves when there is no room.
    pub(super) fn note(&mut self, digest: Digest, at: Timestamp, until: Timestamp) {
        let place = self.place(&digest);
        match self.entries.get_mut(place) {
            Some(entry) if entry.digest == digest => {
                (entry.at, entry.until) = (entry.at.max(at), entry.until.max(until));
            }
            Some(_) | None => self.entries.insert(place, Entry { digest, at, until }),
        }
        while self.entries.len() > MAX_ENTRIES {
            let ages = self.entries.iter().enumerate().map(|(place, entry)| (entry.at, place));
            let Some((at, place)) = ages.min() else { return };
            let [kind, ..] = self.entries.remove(place).digest;
            self.note_evicted(kind, at);
        }
    }

    /// What was said of this kind until then is not known.
    pub(super) fn note_evicted(&mut self, kind: u8, at: Timestamp) {
        match self.evicted.iter_mut().find(|(other, _)| *other == kind) {
            Some((_, latest)) => *latest = (*latest).max(at),
            None => {
                let place = self.evicted.partition_point(|(other, _)| *other < kind);
                self.evicted.insert(place, (kind, at));
            }
        }
    }

    /// Takes all that another table has.
    pub(super) fn merge(&mut self, other: &Self) {
        for Entry { digest, at, until } in &other.entries {
            self.note(*digest, *at, *until);
        }
        for (kind, at) in &other.evicted {
            self.note_evicted(*kind, *at);
        }
    }

    /// Takes out what has come to its end.
    pub(super) fn purge(&mut self, now: Timestamp) {
        self.entries.retain(|entry| entry.until > now);
    }

    /// The bytes that [`Self::decode`] reads.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION, u8::try_from(self.evicted.len()).unwrap_or(u8::MAX)];
        for (kind, at) in &self.evicted {
            bytes.push(*kind);
            bytes.extend_from_slice(&at.millis().to_be_bytes());
        }
        for Entry { digest, at, until } in &self.entries {
            bytes.extend_from_slice(digest);
            bytes.extend_from_slice(&at.millis().to_be_bytes());
            bytes.extend_from_slice(&until.millis().to_be_bytes());
        }
        bytes
    }

    /// `None`: these bytes are no table.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let ([version, evicted], mut rest) = bytes.split_first_chunk()?;
        let mut table = Self::default();
        for _ in 0..*evicted {
            let ([kind], behind) = rest.split_first_chunk()?;
            let (at, behind) = behind.split_first_chunk()?;
            table.note_evicted(*kind, moment(*at));
            rest = behind;
        }
        let (entries, rest) = rest.as_chunks::<32>();
        for entry in entries {
            let (digest, times) = entry.split_first_chunk()?;
            let (at, until) = times.split_first_chunk()?;
            table.note(*digest, moment(*at), moment(*until.first_chunk()?));
        }
        (*version == VERSION && rest.is_empty()).then_some(table)
    }

    fn place(&self, digest: &Digest) -> usize {
        self.entries.partition_point(|entry| entry.digest < *digest)
    }
}

const fn moment(bytes: [u8; 8]) -> Timestamp {
    Timestamp::from_millis(u64::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(kind: u8, number: usize) -> Digest {
        let mut digest = [kind; 16];
        digest[8..].copy_from_slice(&number.to_be_bytes());
        digest
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + millis)
    }

    #[test]
    fn later_moment_counts_in_either_order() {
        let (mut one, mut other) = (Table::default(), Table::default());
        one.note(digest(b's', 1), at(5), at(100));
        one.note(digest(b's', 1), at(3), at(90));
        other.note(digest(b's', 1), at(7), at(80));
        other.note(digest(b'u', 1), at(1), at(100));
        other.note_evicted(b'u', at(2));
        let both = [(&one, &other), (&other, &one)].map(|(first, second)| {
            let mut merged = first.clone();
            merged.merge(second);
            merged
        });
        assert_eq!(both[0], both[1]);
        assert_eq!(both[0].at(&digest(b's', 1)), Some(at(7)));
        assert_eq!(both[0].at(&digest(b'u', 1)), Some(at(1)));
        assert_eq!(both[0].at(&digest(b'u', 2)), None);
        assert_eq!(both[0].evicted(b'u'), Some(at(2)));
    }

    #[test]
    fn entry_without_room_leaves_its_moment() {
        let mut table = Table::default();
        for (number, millis) in (0..MAX_ENTRIES).zip(10..) {
            table.note(digest(b's', number), at(millis), at(1_000_000));
        }
        assert_eq!(table.evicted(b's'), None, "there was room");
        table.note(digest(b'u', 0), at(50), at(1_000_000));
        assert_eq!((table.evicted(b's'), table.evicted(b'u')), (Some(at(10)), None));
        assert_eq!(table.at(&digest(b's', 0)), None);
        assert_eq!(table.at(&digest(b'u', 0)), Some(at(50)));
        assert_eq!(table.entries.len(), MAX_ENTRIES);
        table.note(digest(b'u', 1), at(1), at(1_000_000));
        assert_eq!(table.evicted(b'u'), Some(at(1)), "what is older than all others is the one that leaves");
    }

    #[test]
    fn past_entries_leave() {
        let mut table = Table::default();
        table.note(digest(b's', 1), at(1), at(10));
        table.note(digest(b's', 2), at(1), at(11));
        table.purge(at(10));
        assert_eq!([1, 2].map(|number| table.at(&digest(b's', number))), [None, Some(at(1))]);
    }

    #[test]
    fn table_round_trips_and_other_bytes_are_none() {
        let mut table = Table::default();
        for (number, millis) in (0..100).zip(0..) {
            table.note(digest(b's', number * 7919 % 1000), at(millis), at(500));
        }
        table.note_evicted(b's', at(3));
        let bytes = table.encode();
        assert_eq!(Table::decode(&bytes).as_ref(), Some(&table));
        assert_eq!(Table::decode(&Table::default().encode()), Some(Table::default()));
        for length in 0..bytes.len() {
            let is_whole = (length >= 11) && (length - 11) % 32 == 0;
            assert_eq!(Table::decode(&bytes[..length]).is_some(), is_whole, "{length}");
        }
        assert!(Table::decode(&[&[9][..], &bytes[1..]].concat()).is_none());
    }
}
