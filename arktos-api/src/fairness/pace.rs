//! How many seats there are: as many as are configured, and fewer while those who have one wait for the machine.
//!
//! Whoever has a seat and can go on waits for a core among all others that can, in the order in which they became
//! ready, whoever's they are: there are no turns there. So it is better that most wait for seats, where there are. How
//! long it takes until one that can go on does is asked of some requests. Where that is too long, a quarter of the
//! seats goes; where it is short, an eighth comes back. What is too long is less where it may be another tenant's work
//! that is waited for. Requests that wait for a disk or for somebody else take no core, and cost nobody seats.

use std::time::Duration;

use arktos_core::Timestamp;

/// Seats are changed so often at most, by the mean of what was heard meanwhile.
const WINDOW: Duration = Duration::from_millis(10);
/// Those who have seats wait too long for a core from here on.
const LONG: Duration = Duration::from_millis(1);
/// And from here on where one waits for what another tenant has asked for.
const LONG_SHARED: Duration = Duration::from_micros(200);

/// How many seats there are now.
pub(super) struct Pace {
    most: u32,
    fewest: u32,
    seats: u32,
    /// What was heard since.
    since: Timestamp,
    heard: u32,
    waited: Duration,
}

impl Pace {
    pub(super) fn new(most: u32, fewest: u32) -> Self {
        let fewest = fewest.clamp(1, most.max(1));
        Self { most, fewest, seats: most, since: Timestamp::default(), heard: 0, waited: Duration::ZERO }
    }

    /// The seats.
    pub(super) fn seats(&self) -> u32 {
        self.seats
    }

    /// Whether there are as many as there can be.
    pub(super) fn is_full(&self) -> bool {
        self.seats == self.most
    }

    /// The seats that there always are.
    pub(super) fn fewest(&self) -> u32 {
        self.fewest
    }

    /// One that could go on waited so long for the machine, which tenants share or one has for itself.
    pub(super) fn hear(&mut self, now: Timestamp, waited: Duration, shared: bool) {
        self.heard += 1;
        self.waited += waited;
        if now < self.since.later(WINDOW) {
            return;
        }
        let mean = self.waited / self.heard;
        let long = if shared { LONG_SHARED } else { LONG };
        if mean > long {
            self.seats = (self.seats - self.seats / 4 - u32::from(self.seats < 4)).max(self.fewest);
        } else if mean < long / 2 {
            self.seats = (self.seats + (self.seats / 8).max(1)).min(self.most);
        }
        (self.since, self.heard, self.waited) = (now, 0, Duration::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_go_while_those_who_have_them_wait_and_come_back_afterwards() {
        let mut pace = Pace::new(600, 6);
        let mut now = Timestamp::default();
        let mut hear = |pace: &mut Pace, waited: u64, times: u32| {
            for _ in 0..times {
                now = now.later(WINDOW);
                pace.hear(now, Duration::from_micros(waited), false);
            }
            pace.seats()
        };
        assert_eq!(hear(&mut pace, 5000, 1), 450);
        assert_eq!(hear(&mut pace, 700, 50), 450, "neither long nor short");
        assert_eq!(hear(&mut pace, 5000, 100), 6, "some there always are");
        assert_eq!(hear(&mut pace, 100, 100), 600, "and never more than that");
        assert!(pace.is_full());
    }

    #[test]
    fn one_that_waited_long_is_not_all_of_them() {
        let mut pace = Pace::new(600, 6);
        for _ in 0..99 {
            pace.hear(Timestamp::default(), Duration::from_micros(100), false);
        }
        pace.hear(Timestamp::default().later(WINDOW), Duration::from_millis(20), false);
        assert_eq!(pace.seats(), 600);
    }

    #[test]
    fn where_tenants_wait_for_each_other_less_is_too_long() {
        let seats = |shared| {
            let mut pace = Pace::new(600, 6);
            pace.hear(Timestamp::default().later(WINDOW), Duration::from_micros(700), shared);
            pace.seats()
        };
        assert_eq!((seats(false), seats(true)), (600, 450));
    }

    #[test]
    fn there_is_always_one() {
        let mut pace = Pace::new(1, 0);
        pace.hear(Timestamp::default().later(WINDOW), Duration::from_secs(1), false);
        assert_eq!(pace.seats(), 1);
    }
}
