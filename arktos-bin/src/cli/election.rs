//! The flags that say which of several processes of one role runs its controllers and its scheduler: those of
//! kube-controller-manager and kube-scheduler, with shorter defaults.

use std::time::Duration;

use arktos_control::election::Timing;
use clap::Args;

use super::serving::duration;

/// Whether, and how, processes of one role take turns.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Election")]
pub struct ElectionArgs {
    /// Run controllers and scheduler only while elected leader. Default: true with a store that can be shared (etcd)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub leader_elect: Option<bool>,
    /// How long others wait for a leader that stopped renewing its lease: whole seconds
    #[arg(long, value_name = "DURATION", default_value = "6s", value_parser = duration)]
    pub leader_elect_lease_duration: Duration,
    /// How long a leader tries to renew its lease before it stops working: less than the lease duration
    #[arg(long, value_name = "DURATION", default_value = "4s", value_parser = duration)]
    pub leader_elect_renew_deadline: Duration,
    /// How often a leader renews its lease, and others check it
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    pub leader_elect_retry_period: Duration,
}

impl ElectionArgs {
    /// What the flags mean for a store that others may share, or that nobody can.
    ///
    /// # Errors
    /// A sentence that says what cannot be.
    pub fn timing(&self, shared: bool) -> Result<Option<Timing>, String> {
        let timing = Timing {
            duration: self.leader_elect_lease_duration,
            renew_within: self.leader_elect_renew_deadline,
            period: self.leader_elect_retry_period,
        };
        timing.check().map_err(|fault| format!("--leader-elect-…: {fault}"))?;
        Ok(self.leader_elect.unwrap_or(shared).then_some(timing))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        election: ElectionArgs,
    }

    fn timing(flags: &[&str], shared: bool) -> Result<Option<Timing>, String> {
        let program = Program::try_parse_from(std::iter::once(&"program").chain(flags));
        program.map_err(|error| error.to_string())?.election.timing(shared)
    }

    #[test]
    fn processes_that_share_a_store_take_turns_and_others_only_when_told() {
        assert_eq!(timing(&[], true), Ok(Some(Timing::default())));
        assert_eq!(timing(&[], false), Ok(None));
        assert_eq!(timing(&["--leader-elect=false"], true), Ok(None));
        assert_eq!(timing(&["--leader-elect"], false), Ok(Some(Timing::default())));
    }

    #[test]
    fn the_region_serves_again_within_ten_seconds_by_default() {
        assert!(Timing::default().takeover() < Duration::from_secs(10));
    }

    #[test]
    fn times_with_which_two_could_lead_are_refused() {
        for (flags, word) in [
            (vec!["--leader-elect-lease-duration=4s"], "must exceed the renew deadline"),
            (vec!["--leader-elect-lease-duration=6.5s"], "whole seconds"),
            (vec!["--leader-elect-lease-duration=0s"], "at least one"),
            (vec!["--leader-elect-retry-period=4s"], "1.2 × the retry period"),
            (vec!["--leader-elect-retry-period=0s"], "1.2 × the retry period"),
        ] {
            let refused = timing(&flags, true).expect_err("is refused");
            assert!(refused.contains(word), "{flags:?}: {refused}");
        }
        let upstream = ["--leader-elect-lease-duration=15s", "--leader-elect-renew-deadline=10s"];
        assert!(timing(&upstream, true).is_ok());
    }
}
