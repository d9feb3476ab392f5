//! Why a request failed, and whether anything may have come of it.
//!
//! etcd has no error numbers beyond gRPC's few: its texts are its interface, and have not changed since 3.0. What is
//! not known here counts as [`Why::Unknown`].

use std::error::Error as _;

use etcd_client::Error;

use crate::commit::CommitError;

/// A request that failed.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(super) struct Failed {
    pub why: Why,
    /// For people: one line, with the member it comes from.
    pub text: String,
}

/// What that means. Nothing has happened, save with [`Unknown`](Self::Unknown).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The member was not reached, or knows of no leader to turn to.
    Unreached,
    /// etcd's database is full.
    Full,
    /// etcd has too much to do.
    Busy,
    /// The request was too large: in bytes, or in operations.
    TooLarge,
    /// The revision that was asked for is compacted.
    Compacted,
    /// The token is no longer good.
    TokenOld,
    /// etcd refuses, and would again.
    Refused,
    /// It may have happened or not.
    Unknown,
}

/// Parts of texts, and what they mean.
const TEXTS: [(&str, Why); 10] = [
    ("database space exceeded", Why::Full),
    ("too many requests", Why::Busy),
    ("request is too large", Why::TooLarge),
    ("too many operations", Why::TooLarge),
    ("message larger than max", Why::TooLarge),
    ("revision has been compacted", Why::Compacted),
    ("revision of auth store is old", Why::TokenOld),
    ("invalid auth token", Why::TokenOld),
    // said before anything is proposed to the cluster
    ("etcdserver: no leader", Why::Unreached),
    ("raft proposal dropped", Why::Unreached),
];

/// gRPC's codes for requests that are refused as they are: nothing was done.
const REFUSALS: [i32; 7] = [3, 5, 6, 7, 9, 12, 16];

impl Failed {
    /// What an error of the client library means.
    pub(super) fn of(url: &str, error: &Error) -> Self {
        let text = format!("{url}: {}", reasons(error));
        let known = TEXTS.iter().find(|(part, _)| text.contains(part)).map(|(_, why)| *why);
        Self { why: known.unwrap_or_else(|| why(error)), text }
    }

    /// What it means for a commit.
    pub(super) fn of_commit(self, size: usize) -> CommitError {
        match self.why {
            Why::Full => CommitError::DiskFull,
            Why::Busy => CommitError::Busy,
            Why::TooLarge => CommitError::TooLarge { size, limit: 3 << 19 },
            Why::Unreached | Why::Compacted | Why::TokenOld | Why::Refused => {
                CommitError::Unavailable(self.text.into())
            }
            Why::Unknown => CommitError::Unknown(self.text.into()),
        }
    }
}

fn why(error: &Error) -> Why {
    match error {
        // the client library gives away only as text that it did not get as far as a connection
        Error::GRpcStatus(_) | Error::TransportError(_) if format!("{error:?}").contains("ConnectError") => {
            Why::Unreached
        }
        Error::GRpcStatus(status) if REFUSALS.contains(&i32::from(status.code())) => Why::Refused,
        Error::InvalidArgs(_) | Error::InvalidUri(_) | Error::TransportError(_) => Why::Refused,
        _ => Why::Unknown,
    }
}

/// An error and what has led to it, in one line.
pub(super) fn reasons(error: &Error) -> String {
    let (mut text, mut source) = match error {
        Error::GRpcStatus(status) => (status.message().to_owned(), status.source()),
        Error::TransportError(error) => (error.to_string(), error.source()),
        other => (other.to_string(), None),
    };
    while let Some(reason) = source {
        let more = reason.to_string();
        if !text.contains(&more) && more != "transport error" {
            text = format!("{text}: {more}");
        }
        source = reason.source();
    }
    text.replace('\n', " ")
}
