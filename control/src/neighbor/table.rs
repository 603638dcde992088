//! What the kernel's messages mean for the wanted neighbours, and when each is to be solicited: pure, so that every
//! order of messages can be tried without a kernel.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Event, Neighbor, NeighborKey, NeighborView};

/// A neighbour that the kernel has no good entry for is asked this often.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(1);
/// A neighbour with a good entry is used this often: the kernel probes it if the entry went stale (30 s without an
/// answer), and does nothing otherwise.
pub(super) const REFRESH: Duration = Duration::from_secs(10);

/// A failure is believed after this. Deleting an entry by hand (`ip neighbour flush`) announces `NUD_FAILED` first and
/// the deletion right behind it (`neigh_delete` in net/core/neighbour.c): nobody was asked, nobody failed.
pub(super) const DOUBT: Duration = Duration::from_millis(50);

/// What one message of the kernel says about an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Observation {
    /// A MAC address that the kernel uses (`NUD_VALID`), in an entry that ages.
    Valid([u8; 6]),
    /// A MAC address that was set by hand (`NUD_PERMANENT`) or is no question (`NUD_NOARP`): not ours to touch.
    Fixed([u8; 6]),
    /// The kernel is asking, and has nothing (`NUD_INCOMPLETE`).
    Incomplete,
    /// The kernel asked and nobody answered (`NUD_FAILED`), or it refused to ask.
    Failed,
    /// There is no entry.
    Missing,
}

/// The wanted neighbours.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: BTreeMap<NeighborKey, Entry>,
    view: Arc<NeighborView>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    neighbor: Neighbor,
    last: Observation,
    /// When it is solicited next.
    due: Instant,
    /// When a failure that was announced is believed.
    fails: Option<Instant>,
}

impl Table {
    /// All that are wanted.
    pub(super) fn wanted(&self) -> Vec<NeighborKey> {
        self.entries.keys().copied().collect()
    }

    /// What is known now.
    pub(super) fn view(&self) -> Arc<NeighborView> {
        self.view.clone()
    }

    /// Replaces the wanted set; what is known of those that stay is kept. Returns the new ones (which the kernel may
    /// know already).
    pub(super) fn want(&mut self, wanted: &BTreeSet<NeighborKey>, now: Instant) -> BTreeSet<NeighborKey> {
        let before = self.entries.len();
        self.entries.retain(|key, _| wanted.contains(key));
        let kept = self.entries.len();
        let new: BTreeSet<NeighborKey> =
            wanted.iter().filter(|key| !self.entries.contains_key(key)).copied().collect();
        for key in &new {
            self.entries.entry(*key).or_insert(Entry {
                neighbor: Neighbor::Resolving,
                last: Observation::Missing,
                due: now,
                fails: None,
            });
        }
        if kept != before || !new.is_empty() {
            let facts = self.entries.iter().map(|(key, entry)| (*key, entry.neighbor));
            self.view = Arc::new(facts.collect());
        }
        new
    }

    /// Takes in one message; the event if it changed the view.
    pub(super) fn observe(&mut self, key: NeighborKey, seen: Observation, now: Instant) -> Option<Event> {
        let entry = self.entries.get_mut(&key)?;
        let last = std::mem::replace(&mut entry.last, seen);
        match seen {
            Observation::Valid(mac) | Observation::Fixed(mac) => {
                entry.fails = None;
                entry.due = now + REFRESH;
                self.set(key, Neighbor::Resolved(mac))
            }
            Observation::Failed => {
                entry.fails.get_or_insert(now + DOUBT);
                entry.due = entry.due.min(now + ASK_AGAIN);
                None
            }
            // Flushed or expired: what was known stands until the kernel asked and gave up.
            Observation::Missing => {
                let flushed = entry.fails.take().is_some_and(|fails| now < fails);
                let lost = matches!(last, Observation::Valid(_) | Observation::Fixed(_));
                // Asked for at once, and only once at once.
                entry.due = if flushed || lost { now } else { entry.due.min(now + ASK_AGAIN) };
                None
            }
            Observation::Incomplete => {
                entry.due = entry.due.min(now + ASK_AGAIN);
                None
            }
        }
    }

    /// Believes the failures that nothing contradicted.
    pub(super) fn believe(&mut self, now: Instant) -> Vec<Event> {
        let failed: Vec<NeighborKey> = self
            .entries
            .iter_mut()
            .filter_map(|(key, entry)| entry.fails.take_if(|fails| *fails <= now).map(|_| *key))
            .collect();
        failed.into_iter().filter_map(|key| self.set(key, Neighbor::Failed { since: now })).collect()
    }

    /// Changes what is known of a wanted neighbour; the event if that is a change.
    fn set(&mut self, key: NeighborKey, after: Neighbor) -> Option<Event> {
        let entry = self.entries.get_mut(&key)?;
        let event = match (entry.neighbor, after) {
            (Neighbor::Resolved(before), Neighbor::Resolved(mac)) if before == mac => return None,
            // It failed then, not now.
            (Neighbor::Failed { .. }, Neighbor::Failed { .. }) => return None,
            (Neighbor::Resolved(before), Neighbor::Resolved(mac)) => Event::Moved { key, before, mac },
            (_, Neighbor::Resolved(mac)) => Event::Resolved { key, mac },
            (_, Neighbor::Failed { .. }) => Event::Failed { key },
            (_, Neighbor::Resolving) => unreachable!("what is known never becomes unknown"),
        };
        entry.neighbor = after;
        Arc::make_mut(&mut self.view).neighbors.insert(key, after);
        Some(event)
    }

    /// Takes in the whole table of the kernel.
    pub(super) fn replace(&mut self, seen: &HashMap<NeighborKey, Observation>, now: Instant) -> Vec<Event> {
        let keys: Vec<NeighborKey> = self.entries.keys().copied().collect();
        keys.into_iter()
            .filter_map(|key| {
                let seen = seen.get(&key).copied().unwrap_or(Observation::Missing);
                self.observe(key, seen, now)
            })
            .collect()
    }

    /// The neighbours to solicit now; each is due again later.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<NeighborKey> {
        let mut due = Vec::new();
        for (key, entry) in &mut self.entries {
            if entry.due > now {
                continue;
            }
            entry.due = match entry.last {
                Observation::Valid(_) | Observation::Fixed(_) => now + REFRESH,
                _ => now + ASK_AGAIN,
            };
            if !matches!(entry.last, Observation::Fixed(_)) {
                due.push(*key);
            }
        }
        due
    }

    /// When there is something to solicit or to believe.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.entries.values().map(|entry| entry.fails.map_or(entry.due, |fails| fails.min(entry.due))).min()
    }

    /// The last observation of a wanted neighbour.
    pub(super) fn last(&self, key: NeighborKey) -> Option<Observation> {
        self.entries.get(&key).map(|entry| entry.last)
    }
}

#[cfg(test)]
mod tests {
    use super::Observation::*;
    use super::*;

    const A: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
    const B: [u8; 6] = [2, 0, 0, 0, 0, 0xb];

    fn key(last: u8) -> NeighborKey {
        NeighborKey { index: 2, address: [192, 0, 2, last].into() }
    }

    fn wanting(lasts: &[u8], now: Instant) -> Table {
        let mut table = Table::default();
        table.want(&lasts.iter().map(|last| key(*last)).collect(), now);
        table
    }

    /// The view is what the entries say, always.
    fn neighbor(table: &Table, last: u8) -> Neighbor {
        let entry = table.entries[&key(last)].neighbor;
        assert_eq!(table.view().neighbor(key(last)), entry);
        entry
    }

    #[test]
    fn a_neighbour_is_resolving_until_it_answers() {
        let now = Instant::now();
        let mut table = wanting(&[21], now);
        assert_eq!(neighbor(&table, 21), Neighbor::Resolving);
        assert_eq!(table.observe(key(21), Incomplete, now), None);
        assert_eq!(table.observe(key(21), Valid(A), now), Some(Event::Resolved { key: key(21), mac: A }));
        assert_eq!(table.observe(key(21), Valid(A), now), None);
        assert_eq!(neighbor(&table, 21), Neighbor::Resolved(A));
    }

    #[test]
    fn a_flushed_entry_keeps_its_mac_and_is_asked_for_at_once() {
        let now = Instant::now();
        let mut table = wanting(&[21], now);
        table.take_due(now);
        table.observe(key(21), Valid(A), now);
        assert_eq!(table.take_due(now), []);
        assert_eq!(table.observe(key(21), Missing, now), None);
        assert_eq!(neighbor(&table, 21), Neighbor::Resolved(A));
        assert_eq!(table.take_due(now), [key(21)]);
        // A second deletion is no reason to hurry again.
        table.observe(key(21), Missing, now);
        assert_eq!(table.take_due(now), []);
        assert_eq!(table.observe(key(21), Incomplete, now), None);
        assert_eq!(table.observe(key(21), Valid(A), now), None);
    }

    /// A failure that nothing contradicts.
    fn fail(table: &mut Table, last: u8, now: Instant) -> Vec<Event> {
        assert_eq!(table.observe(key(last), Failed, now), None);
        assert!(table.next_due().unwrap() <= now + DOUBT);
        table.believe(now + DOUBT)
    }

    #[test]
    fn only_a_failure_takes_a_mac_away_and_only_an_answer_ends_it() {
        let now = Instant::now();
        let mut table = wanting(&[21], now);
        table.observe(key(21), Valid(A), now);
        assert_eq!(fail(&mut table, 21, now), [Event::Failed { key: key(21) }]);
        let later = now + Duration::from_secs(9);
        for seen in [Incomplete, Failed, Missing, Failed] {
            assert_eq!(table.observe(key(21), seen, later), None);
            assert_eq!(table.believe(later + DOUBT), []);
            assert_eq!(neighbor(&table, 21), Neighbor::Failed { since: now + DOUBT });
        }
        assert_eq!(table.observe(key(21), Valid(B), later), Some(Event::Resolved { key: key(21), mac: B }));
    }

    #[test]
    fn a_failure_with_a_deletion_behind_it_is_a_flush() {
        let now = Instant::now();
        let mut table = wanting(&[21], now);
        table.observe(key(21), Valid(A), now);
        table.observe(key(21), Failed, now);
        assert_eq!(table.believe(now), []);
        table.observe(key(21), Missing, now);
        assert_eq!(table.take_due(now), [key(21)], "asked at once");
        assert_eq!(table.believe(now + DOUBT), []);
        assert_eq!(neighbor(&table, 21), Neighbor::Resolved(A));
        // Nobody answers that question: now it failed.
        assert_eq!(fail(&mut table, 21, now + Duration::from_secs(3)), [Event::Failed { key: key(21) }]);
    }

    #[test]
    fn an_answer_right_behind_a_failure_contradicts_it() {
        let now = Instant::now();
        let mut table = wanting(&[21], now);
        table.observe(key(21), Valid(A), now);
        table.observe(key(21), Failed, now);
        assert_eq!(table.observe(key(21), Valid(A), now), None);
        assert_eq!(table.believe(now + DOUBT), []);
    }

    #[test]
    fn another_mac_is_a_move() {
        let now = Instant::now();
        let mut table = wanting(&[21], now);
        table.observe(key(21), Valid(A), now);
        let moved = Event::Moved { key: key(21), before: A, mac: B };
        assert_eq!(table.observe(key(21), Fixed(B), now), Some(moved));
    }

    #[test]
    fn unresolved_neighbours_are_asked_each_second_and_resolved_ones_each_ten() {
        let start = Instant::now();
        let mut table = wanting(&[21, 22, 23], start);
        assert_eq!(table.take_due(start), [key(21), key(22), key(23)]);
        table.observe(key(22), Valid(A), start);
        table.observe(key(23), Failed, start);
        let mut asked = BTreeMap::<NeighborKey, u32>::new();
        for tenth in 1..=200 {
            for key in table.take_due(start + Duration::from_millis(100 * tenth)) {
                *asked.entry(key).or_default() += 1;
            }
        }
        assert_eq!(asked, BTreeMap::from([(key(21), 20), (key(22), 2), (key(23), 20)]));
    }

    #[test]
    fn an_entry_set_by_hand_is_used_and_never_solicited() {
        let now = Instant::now();
        let mut table = wanting(&[21], now);
        assert_eq!(table.observe(key(21), Fixed(A), now), Some(Event::Resolved { key: key(21), mac: A }));
        assert_eq!(table.take_due(now + REFRESH + REFRESH), []);
        // Deleted by hand: now the kernel has to find out.
        table.observe(key(21), Missing, now + REFRESH);
        assert_eq!(table.take_due(now + REFRESH + REFRESH), [key(21)]);
    }

    #[test]
    fn a_whole_table_tells_what_lost_messages_would_have_told() {
        let now = Instant::now();
        let mut table = wanting(&[21, 22, 23], now);
        table.observe(key(21), Valid(A), now);
        table.observe(key(22), Valid(A), now);
        let seen = HashMap::from([(key(22), Valid(B)), (key(23), Failed), (key(99), Valid(A))]);
        assert_eq!(table.replace(&seen, now), [Event::Moved { key: key(22), before: A, mac: B }]);
        assert_eq!(table.believe(now + DOUBT), [Event::Failed { key: key(23) }]);
        assert_eq!(neighbor(&table, 21), Neighbor::Resolved(A));
    }

    #[test]
    fn wanting_another_set_keeps_what_is_known_of_those_that_stay() {
        let now = Instant::now();
        let mut table = wanting(&[21, 22], now);
        table.observe(key(22), Valid(A), now);
        assert!(table.want(&BTreeSet::from([key(22)]), now).is_empty());
        assert_eq!(table.want(&BTreeSet::from([key(22), key(23)]), now), BTreeSet::from([key(23)]));
        assert_eq!(neighbor(&table, 22), Neighbor::Resolved(A));
        assert_eq!(table.view().iter().count(), 2);
        assert_eq!(table.observe(key(21), Valid(A), now), None, "not wanted any more");
    }
}
