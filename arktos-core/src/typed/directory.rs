//! The directory of a region: its partitions, its resource managers, and where tenants live.

use std::fmt;

use super::kind;
use super::record::record;
use super::value::MicroTime;
use super::{KindOf, Typed};
use crate::kind::{GroupResource, TypeMeta};
use crate::object::Object;

/// A tenant partition or a resource manager, as the directory has it: a `TenantPartition` or a `ResourceManager`, which
/// differ in nothing but their [`MemberKind`].
pub type Member = Typed<MemberSpec, MemberStatus>;

/// Which partition has a tenant. Its name is the tenant's.
pub type TenantPlacement = Typed<TenantPlacementSpec, TenantPlacementStatus>;
kind!(TenantPlacement, "tenantplacements.region.arktos.io", "region.arktos.io/v1", "TenantPlacement");

/// What a member of the region is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MemberKind {
    /// A tenant partition.
    Partition,
    /// A resource manager.
    ResourceManager,
}

/// What is to become of a member.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It is there for everything.
    #[default]
    Active,
    /// It does what it did, and takes nothing new: no new tenants.
    Draining,
    /// It is gone for good, by its operator's word.
    Removed,
}

record! {
    /// What its operator wants of a member.
    pub struct MemberSpec {
        /// `Active` (the default), `Draining` or `Removed`. There is no way back from `Removed`.
        phase: String,
        /// Who signed its certificates, PEM in base64; the region's own authority when empty.
        ca_bundle: String,
    }
}

record! {
    /// How a member is reached, and how it is doing, as it says itself.
    pub struct MemberStatus {
        /// Grows whenever one of its processes starts.
        epoch: i64,
        /// Its processes.
        servers: Vec<MemberServer>,
    }
}

record! {
    /// A process that serves a member's API.
    pub struct MemberServer {
        /// When it last said that it is there, by its own clock.
        heartbeat_time: Option<MicroTime>,
    } always {
        /// Where it serves, as `https://host:port`. Its certificate is valid for the member's name.
        url: String,
    }
}

record! {
    /// Where a tenant lives.
    pub struct TenantPlacementSpec {
        /// The partition.
        partition: String,
        /// Grows with every change of the partition.
        epoch: i64,
    }
}

record! {
    /// What came of a placement.
    pub struct TenantPlacementStatus {
        /// When somebody last set out to make the tenant.
        asked_time: Option<MicroTime>,
    }
}

impl MemberKind {
    /// The resource.
    #[must_use]
    pub fn resource(self) -> GroupResource {
        let plural = match self {
            Self::Partition => "tenantpartitions",
            Self::ResourceManager => "resourcemanagers",
        };
        GroupResource::new("region.arktos.io", plural)
    }

    /// `apiVersion` and `kind`.
    #[must_use]
    pub fn type_meta(self) -> TypeMeta {
        let kind = match self {
            Self::Partition => "TenantPartition",
            Self::ResourceManager => "ResourceManager",
        };
        TypeMeta::new("region.arktos.io", "v1", kind)
    }

    /// A member of this kind as a tree.
    #[must_use]
    pub fn object(self, member: &Member) -> Object {
        let mut object = Object::encode(member).unwrap_or_default();
        let TypeMeta { api_version, kind } = self.type_meta();
        object.fields.insert("apiVersion".to_owned(), api_version.into());
        object.fields.insert("kind".to_owned(), kind.into());
        object
    }
}

impl fmt::Display for MemberKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Partition => "partition",
            Self::ResourceManager => "resource manager",
        })
    }
}

impl MemberSpec {
    /// What is to become of it. What nobody knows counts as nothing new: draining.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.phase.as_str() {
            "" | "Active" => Phase::Active,
            "Removed" => Phase::Removed,
            _ => Phase::Draining,
        }
    }
}

impl TenantPlacement {
    /// The first placement of a tenant.
    #[must_use]
    pub fn first(tenant: &str, partition: &str) -> Self {
        let mut placement = Self::named(tenant);
        partition.clone_into(&mut placement.spec.partition);
        placement.spec.epoch = 1;
        placement
    }
}
