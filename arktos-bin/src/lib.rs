//! Wire: the roles of a region as library functions, and what their binaries share.
//!
//! No logic of its own: a role is an engine, an API server, and the controllers, scheduler or agents that belong to it,
//! put together and handed to an owner that runs and stops them.
//!
//! | question | module |
//! |---|---|
//! | what each role consists of | [`roles`] |
//! | simulated (hollow) hosts | [`hollow`] |
//! | metrics | [`metrics`] |
//! | traces (feature `traces`) | `traces` |
//! | the system's clock and randomness | [`edge`] |
//! | clients of an API elsewhere (feature `client`) | `net::remote` |
//! | sockets, TLS, certificates (feature `net`) | `net` |
//! | encryption at rest (feature `net`) | `encryption` |
//! | the command line (feature `net`) | `cli` |

#![deny(missing_docs)]

#[cfg(feature = "net")]
pub mod cli;
pub mod edge;
#[cfg(feature = "net")]
pub mod encryption;
pub mod hollow;
pub mod metrics;
#[cfg(feature = "client")]
pub mod net;
pub mod roles;
#[cfg(feature = "traces")]
pub mod traces;
