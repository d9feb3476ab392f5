//! Events: what happened to an object, for people.

use super::condition::ObjectReference;
use super::kind;
use super::record::record;
use super::value::MicroTime;
use crate::meta::ObjectMeta;
use crate::time::Timestamp;

record! {
    /// What happened to an object.
    pub struct Event {
        /// Why, for a program.
        reason: String,
        /// What, for a person.
        message: String,
        /// When it first happened.
        first_timestamp: Option<Timestamp>,
        /// When it last happened.
        last_timestamp: Option<Timestamp>,
        /// How often it happened.
        count: i32,
        /// `Normal` or `Warning`.
        #[serde(rename = "type")]
        kind: String,
        /// When it happened.
        event_time: Option<MicroTime>,
        /// The series it belongs to.
        series: Option<EventSeries>,
        /// What was done about it.
        action: String,
        /// A second object it concerns.
        related: Option<ObjectReference>,
    } always {
        /// What every object carries.
        metadata: ObjectMeta,
        /// The object it happened to.
        involved_object: ObjectReference,
        /// Who says so.
        source: EventSource,
        /// Which controller says so.
        reporting_component: String,
        /// Which instance of it says so.
        reporting_instance: String,
    }
}
kind!(Event, "events", "v1", "Event");

record! {
    /// Who reports an event.
    pub struct EventSource {
        /// The component.
        component: String,
        /// The host.
        host: String,
    }
}

record! {
    /// A series of like events.
    pub struct EventSeries {
        /// How many there were.
        count: i32,
        /// When the last one was.
        last_observed_time: Option<MicroTime>,
    }
}
