//! Volumes: from a pod's claim to the volume, its attachment and its driver's secret.

use arktos_control::bound_pods::projected_volume;
use arktos_core::GroupResource;
use http::Method;
use serde_json::json;

use crate::world::{PARTITION, World, core, object, place, runtime, secret, shown, until};

/// A volume of a tenant that a claim of the same name is bound to; its driver takes the secret `keys/k`.
async fn volume(world: &World, tenant: &str, name: &str) {
    let keys = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "keys"}});
    let _ = world.there.create(&core("namespaces"), tenant, "", object(keys)).await; // it may be there already
    let _ = world.there.create(&core("secrets"), tenant, "keys", object(secret("k", tenant))).await;
    let spec = json!({"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
        "claimRef": {"namespace": "default", "name": name},
        "csi": {"driver": "d.example", "volumeHandle": tenant,
            "nodePublishSecretRef": {"namespace": "keys", "name": "k"}}});
    let made = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec});
    world.there.create(&core("persistentvolumes"), tenant, "", object(made)).await.expect("created");
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
        "volumeName": name});
    let made = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec});
    world.make(tenant, "persistentvolumeclaims", made).await;
}

#[test]
fn a_host_is_shown_the_volumes_of_its_pods_and_their_attachments() {
    runtime().block_on(async {
        let world = World::new().await;
        for tenant in ["acme", "globex"] {
            volume(&world, tenant, "v").await;
            volume(&world, tenant, "other").await;
        }
        let attachment = json!({"apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment",
            "metadata": {"name": "csi-1"}, "spec": {"attacher": "d.example", "nodeName": "n1",
            "source": {"persistentVolumeName": "v"}}});
        let attachments = GroupResource::new("storage.k8s.io", "volumeattachments");
        world.there.create(&attachments, "acme", "", object(attachment)).await.expect("created");
        let path = |tenant: &str, name: &str| {
            let shown = projected_volume(PARTITION, tenant, name).expect("it is short");
            format!("/api/v1/persistentvolumes/{shown}")
        };
        let attached = "/apis/storage.k8s.io/v1/volumeattachments/csi-1";
        assert_eq!(world.get("n1", &path("acme", "v")).await.code, 403, "no pod has it");
        let claims = |name: &str| json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": name}}]});
        world.pod("acme", "a", "n1", claims("v")).await;
        world.pod("globex", "g", "n2", claims("v")).await;

        // As a node agent goes on: from the claim to the volume, to its attachment, and to the driver's secret.
        let claim = world.get("n1", &format!("{}/persistentvolumeclaims/v", place("acme"))).await;
        assert_eq!(claim.code, 200, "{}", claim.body);
        let name = claim.body["spec"]["volumeName"].as_str().expect("it is bound").to_owned();
        let found = world.get("n1", &format!("/api/v1/persistentvolumes/{name}")).await;
        assert_eq!((found.code, &found.body["metadata"]["name"]), (200, &json!(name)), "{}", found.body);
        let spec = &found.body["spec"];
        assert_eq!(
            (&spec["csi"]["volumeHandle"], &spec["claimRef"]["namespace"]),
            (&json!("acme"), &json!(shown("acme")))
        );
        let keys = spec["csi"]["nodePublishSecretRef"]["namespace"].as_str().expect("a namespace").to_owned();
        let key = world.get("n1", &format!("/api/v1/namespaces/{keys}/secrets/k")).await;
        assert_eq!((key.code, &key.body["data"]["k"]), (200, &json!("YWNtZQ==")), "{}", key.body);
        let found = world.get("n1", attached).await;
        assert_eq!(
            (found.code, &found.body["spec"]["source"]["persistentVolumeName"]),
            (200, &json!(name)),
            "{}",
            found.body
        );

        // Another tenant that has a volume of the same handle says otherwise of it: neither is believed.
        let forged = json!({"apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment",
            "metadata": {"name": "csi-1"}, "spec": {"attacher": "d.example", "nodeName": "n1",
            "source": {"persistentVolumeName": "other"}}});
        world.there.create(&attachments, "globex", "", object(forged)).await.expect("created");
        assert_eq!(world.get("n1", attached).await.code, 200, "its pods are elsewhere");
        world.pod("globex", "h", "n1", claims("other")).await;
        let refused = world.get("n1", attached).await;
        assert_eq!(refused.code, 403, "{}", refused.body);
        assert!(
            refused.body["message"].as_str().is_some_and(|why| why.contains("several tenants")),
            "{}",
            refused.body
        );
        world.delete("globex", "pods", "h").await;
        until("it is gone", async || world.get("n1", attached).await.code == 200).await;

        for (host, path) in [
            ("n1", path("acme", "other")),
            ("n1", path("globex", "v")),
            ("n1", "/api/v1/persistentvolumes/v".to_owned()),
            ("n1", "/api/v1/persistentvolumes".to_owned()),
            ("n1", "/apis/storage.k8s.io/v1/volumeattachments".to_owned()),
            ("n1", "/apis/storage.k8s.io/v1/volumeattachments/csi-2".to_owned()),
            ("n1", format!("/api/v1/namespaces/{keys}/secrets/other")),
            ("n1", "/api/v1/namespaces/kube-system/secrets/k".to_owned()),
            ("n2", path("acme", "v")),
            ("n2", attached.to_owned()),
            ("n2", format!("/api/v1/namespaces/{keys}/secrets/k")),
        ] {
            let refused = world.get(host, &path).await;
            // Of a namespace in which it has nothing a host is told to come again.
            let expected = if path.ends_with(&format!("{keys}/secrets/k")) { 503 } else { 403 };
            assert_eq!(refused.code, expected, "{host} {path}: {}", refused.body);
        }

        // How large the volume has become, the host says at the claim.
        let grown = json!({"status": {"capacity": {"storage": "2Gi"}}});
        let status = format!("{}/persistentvolumeclaims/v/status", place("acme"));
        let told = world.ask("n1", Method::PATCH, &status, grown.clone()).await;
        assert_eq!((told.code, &told.body["status"]["capacity"]["storage"]), (200, &json!("2Gi")), "{}", told.body);
        assert_eq!(told.body["spec"]["volumeName"], json!(name));
        let more = world.ask("n1", Method::PATCH, &status, json!({"status": {"phase": "Lost"}})).await;
        assert_eq!(more.code, 403, "{}", more.body);
        let other = status.replace("/v/", "/other/");
        assert_eq!(world.ask("n1", Method::PATCH, &other, grown).await.code, 403);
        world.stop().await;
    });
}
