//! What the committer does between two groups: it spins for a moment, waiting for the next one, before it sleeps.
//!
//! To wake a thread that sleeps takes 5 to 15 µs on two virtual cores, a good part of a fast disk's sync. Somebody who
//! writes one thing after another comes back within that time, so looking out pays; for anybody else it is wasted, and
//! soon given up.

use std::hint;

/// How often the committer looks: some 20 to 80 µs.
const LOOKS: u32 = 2000;

/// When looking out was in vain, that many times in a row, it is not tried for two to the power of so many groups.
const VAIN_MAX: u32 = 7;

/// Whether it is worth while to look out for work. Written by the committer thread alone.
#[derive(Default)]
pub(super) struct Lookout {
    /// How many times in a row it was in vain.
    vain: u32,
    /// For how many groups it is not tried.
    rest: u32,
}

impl Lookout {
    /// Looks out until there is work, or for a moment. Tells nothing: the caller looks for itself, under its lock.
    pub(super) fn look(&mut self, is_there: impl Fn() -> bool) {
        if let Some(rest) = self.rest.checked_sub(1) {
            self.rest = rest;
            return;
        }
        for _ in 0..LOOKS {
            if is_there() {
                self.vain = 0;
                return;
            }
            hint::spin_loop();
        }
        self.vain = (self.vain + 1).min(VAIN_MAX);
        self.rest = 1 << self.vain;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// How often it looks in so many groups.
    fn looks(lookout: &mut Lookout, groups: u32, is_there: bool) -> u32 {
        let looks = Cell::new(0);
        for _ in 0..groups {
            lookout.look(|| {
                looks.set(looks.get() + 1);
                is_there
            });
        }
        looks.get()
    }

    #[test]
    fn looks_once_where_work_is_there_and_hardly_where_none_comes() {
        let mut lookout = Lookout::default();
        assert_eq!(looks(&mut lookout, 100, true), 100);
        assert!(looks(&mut lookout, 10_000, false) < 100 * LOOKS, "it goes on looking in vain");
        // and finds its way back
        let found = looks(&mut lookout, 1000, true);
        assert!(found > 800, "{found}");
    }
}
