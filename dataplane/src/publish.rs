//! How a new forwarding state reaches the workers, and how the old one comes back.
//!
//! Each worker has a mailbox. Control puts a state in; the worker takes it with one swap when it next looks
//! (one atomic load a burst when there is nothing new) and hands the old state back through a bounded queue,
//! so that a worker never frees memory. A state that a worker never took is replaced in the mailbox and freed
//! by control.

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use crossbeam::queue::ArrayQueue;
use crossbeam::utils::CachePadded;

/// Old states a worker may hand back before control has collected any; beyond that it keeps the one it has
/// until there is room.
const RETIRED: usize = 64;

struct Mailbox<T> {
    /// `Arc::into_raw` of the next state, or null.
    next: CachePadded<AtomicPtr<T>>,
    retired: ArrayQueue<Arc<T>>,
}

impl<T> Mailbox<T> {
    /// Puts a state in, or takes it out with `None`. Returns what was there.
    fn swap(&self, state: Option<Arc<T>>) -> Option<Arc<T>> {
        let raw = state.map_or(ptr::null_mut(), |state| Arc::into_raw(state).cast_mut());
        // AcqRel: the state's contents are visible to whoever takes it out.
        let old = self.next.swap(raw, Ordering::AcqRel);
        // SAFETY: a pointer that is not null came from `Arc::into_raw` in this function, and the swap made
        // this call its only owner.
        (!old.is_null()).then(|| unsafe { Arc::from_raw(old) })
    }
}

impl<T> Drop for Mailbox<T> {
    fn drop(&mut self) {
        drop(self.swap(None));
    }
}

/// Control's end.
pub struct Publisher<T> {
    current: Arc<T>,
    mailboxes: Vec<Arc<Mailbox<T>>>,
}

/// A worker's end.
pub struct Subscriber<T> {
    current: Arc<T>,
    mailbox: Arc<Mailbox<T>>,
}

impl<T> Publisher<T> {
    /// Starts with `first` as everybody's current state.
    pub fn new(first: T) -> Self {
        Publisher { current: Arc::new(first), mailboxes: Vec::new() }
    }

    /// A new worker's end; its current state is the one published last.
    pub fn subscribe(&mut self) -> Subscriber<T> {
        let mailbox = Arc::new(Mailbox {
            next: CachePadded::new(AtomicPtr::new(ptr::null_mut())),
            retired: ArrayQueue::new(RETIRED),
        });
        self.mailboxes.push(mailbox.clone());
        Subscriber { current: self.current.clone(), mailbox }
    }

    /// Makes `state` the next one for every worker, and frees what workers have handed back.
    pub fn publish(&mut self, state: T) {
        self.current = Arc::new(state);
        for mailbox in &self.mailboxes {
            drop(mailbox.swap(Some(self.current.clone())));
        }
        self.collect();
    }

    /// Frees the states that workers have handed back.
    pub fn collect(&self) {
        for mailbox in &self.mailboxes {
            while mailbox.retired.pop().is_some() {}
        }
    }

    /// The state published last.
    pub fn current(&self) -> &Arc<T> {
        &self.current
    }
}

impl<T> Subscriber<T> {
    /// The state to use from here on. Call once a burst, after receiving: a frame that was steered here
    /// because of a new state then also meets that state.
    #[inline(always)]
    pub fn current(&mut self) -> &T {
        // Relaxed: only a hint; `take` synchronises.
        if !self.mailbox.next.load(Ordering::Relaxed).is_null() {
            self.take();
        }
        &self.current
    }

    /// What `current` returned last.
    #[inline(always)]
    pub fn peek(&self) -> &T {
        &self.current
    }

    #[cold]
    fn take(&mut self) {
        // With no room to hand the old state back, keep it: a worker never frees. Only this end pushes, so
        // room seen here is room.
        if self.mailbox.retired.is_full() {
            return;
        }
        if let Some(next) = self.mailbox.swap(None) {
            let old = std::mem::replace(&mut self.current, next);
            // Cannot fail: see above. If it did, forgetting is still right for the packet path.
            if let Err(old) = self.mailbox.retired.push(old) {
                std::mem::forget(old);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    struct Tracked(u64, Arc<AtomicUsize>);
    impl Drop for Tracked {
        fn drop(&mut self) {
            self.1.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_worker_sees_the_newest_state_and_control_frees_the_old_ones() {
        let freed = Arc::new(AtomicUsize::new(0));
        let state = |n| Tracked(n, freed.clone());
        let mut publisher = Publisher::new(state(0));
        let mut subscriber = publisher.subscribe();
        assert_eq!(subscriber.current().0, 0);
        publisher.publish(state(1));
        publisher.publish(state(2));
        // 1 was never taken: control freed it when it published 2.
        assert_eq!(freed.load(Ordering::SeqCst), 1);
        assert_eq!(subscriber.current().0, 2);
        assert_eq!(freed.load(Ordering::SeqCst), 1, "the worker must not free state 0");
        publisher.collect();
        assert_eq!(freed.load(Ordering::SeqCst), 2);
        drop((publisher, subscriber));
        assert_eq!(freed.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn a_worker_that_cannot_hand_back_keeps_its_state() {
        let freed = Arc::new(AtomicUsize::new(0));
        let mut publisher = Publisher::new(Tracked(0, freed.clone()));
        let mut subscriber = publisher.subscribe();
        let mailbox = subscriber.mailbox.clone();
        for n in 1..=RETIRED as u64 + 5 {
            // Put in by hand: `publish` would collect.
            mailbox.swap(Some(Arc::new(Tracked(n, freed.clone()))));
            subscriber.current();
        }
        assert_eq!(subscriber.current().0, RETIRED as u64);
        publisher.publish(Tracked(1000, freed.clone()));
        assert_eq!(subscriber.current().0, 1000);
    }

    #[test]
    fn states_published_while_workers_read_are_always_whole() {
        let freed = Arc::new(AtomicUsize::new(0));
        let mut publisher = Publisher::new(Tracked(0, freed.clone()));
        let mut subscriber = publisher.subscribe();
        let reader = std::thread::spawn(move || {
            let mut last = 0;
            while last < 10_000 {
                let now = subscriber.current().0;
                assert!(now >= last, "went back from {last} to {now}");
                last = now;
            }
        });
        for n in 1..=10_000 {
            publisher.publish(Tracked(n, freed.clone()));
        }
        reader.join().unwrap();
        drop(publisher);
        assert_eq!(freed.load(Ordering::SeqCst), 10_001);
    }
}
