//! Which datagrams of a peer have come: none is taken twice, and those that are missing are known (as the replay window
//! of RFC 4303, section 3.4.3).

/// Datagrams back from the newest that may still come.
pub const SPAN: u64 = 1024;
const WORDS: usize = (SPAN / 64) as usize;

/// What has come from one peer.
#[derive(Debug, Clone)]
pub struct Window {
    newest: u64,
    /// Bit `n % SPAN`: number n has come. It is about the last `SPAN` numbers up to `newest`.
    come: [u64; WORDS],
    lost: u64,
}

impl Window {
    /// Everything up to `newest` has come, or need not.
    pub fn from(newest: u64) -> Window {
        Window { newest, come: [u64::MAX; WORDS], lost: 0 }
    }

    /// Whether this number may come: it is new, and not too old to tell.
    pub fn take(&mut self, number: u64) -> bool {
        if number > self.newest {
            let leap = number - self.newest;
            let entering = leap.min(SPAN);
            self.lost += leap - entering;
            for n in number - entering + 1..=number {
                // In its place stood one that is too old now. It itself is missing until it comes.
                self.lost += u64::from(!self.has(n));
                self.set(n, false);
            }
            self.newest = number;
        } else if self.newest - number >= SPAN || self.has(number) {
            return false;
        }
        self.set(number, true);
        true
    }

    /// The first and the last number that are missing, as far back as is known.
    pub fn missing(&self) -> Option<(u64, u64)> {
        if self.come == [u64::MAX; WORDS] {
            return None;
        }
        let mut missing = (self.newest.saturating_sub(SPAN - 1)..=self.newest).filter(|n| !self.has(*n));
        let first = missing.next()?;
        Some((first, missing.next_back().unwrap_or(first)))
    }

    /// Gives up those that are missing.
    pub fn give_up(&mut self) {
        self.lost += self.come.iter().map(|word| u64::from(word.count_zeros())).sum::<u64>();
        self.come = [u64::MAX; WORDS];
    }

    /// How many were given up, or were too old before they came, since this was last asked.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    fn has(&self, number: u64) -> bool {
        self.come[(number % SPAN / 64) as usize] >> (number % 64) & 1 == 1
    }

    fn set(&mut self, number: u64, has_come: bool) {
        let (word, bit) = (&mut self.come[(number % SPAN / 64) as usize], 1 << (number % 64));
        if has_come { *word |= bit } else { *word &= !bit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_number_is_taken_once_and_none_that_is_too_old() {
        let mut window = Window::from(10);
        assert!(!window.take(10) && !window.take(9));
        assert!(window.take(12) && !window.take(12));
        assert_eq!(window.missing(), Some((11, 11)));
        assert!(window.take(11) && window.missing().is_none());
        assert!(window.take(12 + SPAN));
        assert!(!window.take(12) && window.take(13));
        assert_eq!(window.missing(), Some((14, 11 + SPAN)));
        window.give_up();
        assert_eq!((window.take_lost(), window.take_lost()), (SPAN - 2, 0));
        assert!(window.missing().is_none() && !window.take(14));
        assert!(window.take(u64::MAX) && !window.take(u64::MAX) && window.take(u64::MAX - 1));
        assert_eq!(window.take_lost(), u64::MAX - SPAN - (12 + SPAN));
    }

    proptest! {
        /// Beside a list of all that has come.
        #[test]
        fn it_agrees_with_a_memory_of_everything(start in 0u64..5000, steps in prop::collection::vec(0u64..3000, 1..300)) {
            let mut window = Window::from(start);
            let mut newest = start;
            // Each step is 1499 ahead at most.
            let mut come = vec![false; start as usize + 1500 * steps.len() + 1];
            for step in steps {
                let number = (newest + step).saturating_sub(1500);
                let is_new = number > start && newest.saturating_sub(number) < SPAN && !come[number as usize];
                come[number as usize] |= is_new;
                prop_assert_eq!(window.take(number), is_new, "{} after {}", number, newest);
                newest = newest.max(number);
                prop_assert_eq!(window.newest, newest);
                let known = newest.saturating_sub(SPAN - 1).max(start + 1)..=newest;
                let missing: Vec<u64> = known.filter(|n| !come[*n as usize]).collect();
                let ends = missing.first().copied().zip(missing.last().copied());
                prop_assert_eq!(window.missing(), ends);
            }
            let old = start + 1..=newest.saturating_sub(SPAN);
            let lost = old.filter(|n| !come[*n as usize]).count() as u64;
            prop_assert_eq!(window.take_lost(), lost);
        }
    }
}
