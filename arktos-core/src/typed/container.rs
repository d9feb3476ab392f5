//! Containers: what runs in a pod, and how it is doing.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::record::record;
use crate::quantity::Quantity;
use crate::time::Timestamp;

/// Amounts by resource name.
pub type ResourceList = BTreeMap<String, Quantity>;

record! {
    /// A container to run.
    pub struct Container {
        /// Its name, unique in the pod.
        name: String,
        /// The image.
        image: String,
        /// What to run instead of the image's entry point.
        command: Vec<String>,
        /// The arguments.
        args: Vec<String>,
        /// The ports it listens on.
        ports: Vec<ContainerPort>,
        /// Its environment.
        env: Vec<EnvVar>,
        /// What it asks for and may use.
        resources: ResourceRequirements,
        /// `Always` on an init container makes it a sidecar.
        restart_policy: String,
    }
}

record! {
    /// A port of a container.
    pub struct ContainerPort {
        /// Its name, unique in the pod.
        name: String,
        /// The port on the host, when it takes one.
        host_port: i32,
        /// The host's address it is bound to.
        #[serde(rename = "hostIP")]
        host_ip: String,
        /// `TCP`, `UDP` or `SCTP`.
        protocol: String,
    } always {
        /// The port on the pod's address.
        container_port: i32,
    }
}

record! {
    /// An environment variable.
    pub struct EnvVar {
        /// The value.
        value: String,
        /// Where the value comes from.
        value_from: Map<String, Value>,
    } always {
        /// The name.
        name: String,
    }
}

record! {
    /// What a container asks for and may use.
    pub struct ResourceRequirements {
        /// What it may use at most.
        limits: ResourceList,
        /// What is set aside for it.
        requests: ResourceList,
    }
}

record! {
    /// How a container is doing.
    pub struct ContainerStatus {
        /// What it is doing now.
        state: ContainerState,
        /// What it did before its last restart.
        last_state: ContainerState,
        /// The running container's id.
        #[serde(rename = "containerID")]
        container_id: String,
        /// Whether it has passed its start-up probe.
        started: Option<bool>,
    } always {
        /// The container's name.
        name: String,
        /// Whether it is ready to serve.
        ready: bool,
        /// How often it was restarted.
        restart_count: i32,
        /// The image that runs.
        image: String,
        /// The image's id.
        #[serde(rename = "imageID")]
        image_id: String,
    }
}

record! {
    /// What a container is doing: one of the three.
    pub struct ContainerState {
        /// It waits to start.
        waiting: Option<ContainerStateWaiting>,
        /// It runs.
        running: Option<ContainerStateRunning>,
        /// It has ended.
        terminated: Option<ContainerStateTerminated>,
    }
}

record! {
    /// A container that waits.
    pub struct ContainerStateWaiting {
        /// Why, for a program.
        reason: String,
        /// Why, for a person.
        message: String,
    }
}

record! {
    /// A container that runs.
    pub struct ContainerStateRunning {
        /// Since when.
        started_at: Option<Timestamp>,
    }
}

record! {
    /// A container that has ended.
    pub struct ContainerStateTerminated {
        /// Why, for a program.
        reason: String,
        /// Why, for a person.
        message: String,
        /// The signal that ended it.
        signal: i32,
        /// When it started.
        started_at: Option<Timestamp>,
        /// When it ended.
        finished_at: Option<Timestamp>,
        /// Its id.
        #[serde(rename = "containerID")]
        container_id: String,
    } always {
        /// Its exit code.
        exit_code: i32,
    }
}
