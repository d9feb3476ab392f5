//! What a control plane in process can be made of.

use std::fs;
use std::sync::Arc;

use arktos::api::ServiceCidr;
use arktos::core::typed::{KindOf, Pod, Service};
use arktos::core::{GroupResource, ObjectPath, TypeMeta};
use arktos::sched::ask::Ask;
use arktos::sched::hosts::HostFacts;
use arktos::sched::intern::Interner;
use arktos::sched::plugin::{Filter, Plugins, Reason};
use arktos::store::log::{LogJournal, LogOptions};
use arktos::store::{Delivery, Query};
use arktos::{ApiOptions, Client, ControlPlane, Identity, Object, ObjectKey, TenantName};
use futures::StreamExt;
use serde_json::json;

fn acme() -> TenantName {
    TenantName::new("acme").expect("a name")
}

fn admin(plane: &ControlPlane) -> Arc<dyn Client> {
    plane.client(Identity::user("admin", &[], &acme()))
}

/// Keeps pods off all hosts but one.
struct OneHost;

impl Filter for OneHost {
    fn name(&self) -> &'static str {
        "OneHost"
    }

    fn admits(&self, _: &Ask, host: &HostFacts, _: &Interner) -> Result<(), Reason> {
        if &*host.name == "hollow-1" { Ok(()) } else { Err("another host is meant".into()) }
    }
}

#[tokio::test]
async fn a_plugin_of_ones_own_decides_where_pods_go() {
    let plugins = || {
        let mut plugins = Plugins::default();
        plugins.filters.push(Box::new(OneHost));
        plugins
    };
    let plane = ControlPlane::builder().tenant(&acme()).hosts(3).plugins(plugins);
    // No account has to be there before the pod.
    let mut options = ApiOptions::default();
    options.admission.disabled.insert("ServiceAccount".to_owned());
    let plane = plane.api(options).start().await.expect("it starts");
    let pod = Object::from_value(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"},
        "spec": {"containers": [{"name": "web", "image": "web"}]},
    }));
    let client = admin(&plane);
    let made = client.create(&Pod::resource(), "acme", "default", pod.expect("an object")).await.expect("it is made");
    let query = Query::object(Pod::resource(), ObjectPath::new("acme", "default", "web"));
    let mut changes = client.watch(&query, made.revision).await.expect("watches");
    let host = loop {
        let Delivery::Modified(stored) = changes.next().await.expect("goes on").expect("goes on") else { continue };
        let pod: Pod = stored.object.parse().expect("a pod");
        if !pod.spec.node_name.is_empty() {
            break pod.spec.node_name;
        }
    };
    assert_eq!(host, "hollow-1");
    plane.stop().await;
}

#[tokio::test]
async fn the_options_of_the_api_are_those_that_are_given() {
    let service_cidr = ServiceCidr::parse("10.99.0.0/16").expect("a range");
    let options = ApiOptions { service_cidr, ..ApiOptions::default() };
    let plane = ControlPlane::builder().tenant(&acme()).api(options).start().await.expect("it starts");
    let service = Object::from_value(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]},
    }));
    let made = admin(&plane).create(&Service::resource(), "acme", "default", service.expect("an object")).await;
    let address = made.expect("it is made").object.decode(None).expect("decodes");
    assert!(address.str_at(&["spec", "clusterIP"]).starts_with("10.99."), "{address:?}");
    plane.stop().await;
}

#[tokio::test]
async fn a_journal_of_ones_own_keeps_the_objects() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path().to_owned();
    let start = || {
        let place = place.clone();
        ControlPlane::builder().journal(move |role| {
            let place = place.join(role);
            fs::create_dir_all(&place).expect("a directory");
            Ok(Box::new(LogJournal::open(&place, LogOptions::default())?))
        })
    };
    let plane = start().tenant(&acme()).start().await.expect("it starts");
    let map = Object::new(&TypeMeta::new("", "v1", "ConfigMap"), "kept");
    let maps = GroupResource::core("configmaps");
    admin(&plane).create(&maps, "acme", "default", map).await.expect("it is made");
    plane.stop().await;
    assert!(place.join("partition-0").is_dir() && place.join("resource-manager-0").is_dir());

    let plane = start().start().await.expect("it starts again");
    let key = ObjectKey::namespaced(maps, &acme(), "default", "kept");
    admin(&plane).get(&key).await.expect("it is still there");
    plane.stop().await;
}
