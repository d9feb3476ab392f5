//! How a role takes part in the region's directory.

use std::sync::Arc;

use arktos_control::directory::{self, Contact, Registration};
use arktos_core::typed::MemberKind;
use arktos_store::{Client, Clock, Random, Roster, Tasks};
use tokio::sync::watch;

/// Makes a client of a member, from how it is reached, now and later.
pub type Reach = Arc<dyn Fn(watch::Receiver<Contact>) -> Arc<dyn Client> + Send + Sync>;

/// A role's ties with the directory.
#[derive(Clone)]
pub struct Membership {
    /// The directory.
    pub directory: Arc<dyn Client>,
    /// How members are reached.
    pub reach: Reach,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Gives jitter.
    pub random: Arc<dyn Random>,
}

impl Membership {
    /// The members of a kind, now and later. `tasks` is given what follows them.
    #[must_use]
    pub fn follow(&self, kind: MemberKind, tasks: &Tasks) -> Roster {
        let (directory, reach) = (self.directory.clone(), self.reach.clone());
        let make = move |contact: watch::Receiver<Contact>| reach(contact);
        let (members, driver) = directory::follow(kind, directory, make, &self.clock, &self.random);
        tasks.add(format!("directory: each {kind}"), driver);
        let (roster, driver) = directory::roster(members);
        tasks.add(format!("roster: each {kind}"), driver);
        roster
    }

    /// Registers this process as one that serves a member at `url`. `tasks` is given what says so again and again.
    pub fn register(&self, kind: MemberKind, name: &str, url: String, tasks: &Tasks) {
        let (directory, clock) = (self.directory.clone(), self.clock.clone());
        let registration = Registration { kind, name: name.to_owned(), url, directory, clock };
        tasks.add(format!("registration of {name}"), registration.run());
    }
}
