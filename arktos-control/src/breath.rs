//! A long loop lets others go on now and then.
//!
//! All that one controller does runs in one task: while it goes through what one tenant has without waiting for
//! anything, it does nothing for the other tenants, and neither does what else runs on the same thread.

use arktos_store::tasks::give_way;

/// After so much work others go on: about a millisecond's.
const AT_ONCE: usize = 64 << 10;

/// How much was done since others went on.
#[derive(Debug, Default)]
pub(crate) struct Breath(usize);

impl Breath {
    /// Notes that something of so many bytes was looked at. Lets others go on when it has become much.
    pub(crate) async fn after(&mut self, bytes: usize) {
        self.0 = self.0.saturating_add(bytes.max(64));
        if self.0 < AT_ONCE {
            return;
        }
        self.0 = 0;
        give_way().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn others_go_on_after_much_work_and_not_after_little() {
        let mut breath = Breath::default();
        assert!(breath.after(AT_ONCE - 1).now_or_never().is_some());
        assert!(breath.after(1).now_or_never().is_none());
        assert!(breath.after(1).now_or_never().is_some());
    }
}
