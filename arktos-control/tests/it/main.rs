//! The controllers against an API in memory, in virtual time: everything runs on one thread until nothing moves any
//! more, then the clock is moved.

mod api;
mod world;

mod account_tokens;
mod budgets;
mod certificates;
mod clearing;
mod conformance;
mod cronjobs;
mod daemonsets;
mod deployments;
mod elections;
mod garbage;
mod jobs;
mod namespaces;
mod nodes;
mod policies;
mod protection;
mod quotas;
mod replicasets;
mod road;
mod services;
mod statefulsets;
mod tenants;
