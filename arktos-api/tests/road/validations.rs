//! What is wrong with objects, in upstream's words: one fault each.

use serde_json::{Value, json};

use crate::{World, pod};

const PODS: &str = "/api/v1/namespaces/default/pods";

fn with(mut object: Value, path: &str, value: Value) -> Value {
    let (parent, field) = path.rsplit_once('/').unwrap();
    let mut at = &mut object;
    for part in parent.split('/').filter(|part| !part.is_empty()) {
        at = match part.parse::<usize>() {
            Ok(index) => &mut at[index],
            Err(_) => &mut at[part],
        };
    }
    at[field] = value;
    object
}

async fn refused(path: &str, object: Value, field: &str, why: &str) {
    let answer = World::new().await.post("acme", path, object).await;
    assert_eq!(answer.code, 422, "{field}: {}", answer.body);
    let causes = answer.body["details"]["causes"].as_array().unwrap();
    let told: Vec<_> = causes.iter().map(|cause| (cause["field"].as_str(), cause["message"].as_str())).collect();
    assert_eq!(told, [(Some(field), Some(why))]);
}

#[tokio::test]
async fn pods_are_refused_for_what_no_schema_says() {
    let container = "/spec/containers/0";
    for (path, value, field, why) in [
        (
            &*format!("{container}/ports"),
            json!([{"name": "a"}]),
            "spec.containers[0].ports[0].containerPort",
            "Required value",
        ),
        (
            &format!("{container}/ports"),
            json!([{"containerPort": 80, "hostPort": 80}, {"containerPort": 81, "hostPort": 80}]),
            "spec.containers[0].ports[1].hostPort",
            "Duplicate value: \"TCP//80\"",
        ),
        (
            "/spec/volumes",
            json!([{"name": "s", "secret": {"secretName": "s", "items": [{"key": "k", "path": "../b"}]}}]),
            "spec.volumes[0].secret.items[0].path",
            "Invalid value: \"../b\": must not contain '..'",
        ),
        (
            "/spec/volumes",
            json!([{"name": "s", "configMap": {"name": "m", "defaultMode": 512}}]),
            "spec.volumes[0].configMap.defaultMode",
            "Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive",
        ),
        (
            "/spec/initContainers",
            json!([{"name": "i", "image": "i", "lifecycle": {"preStop": {"exec": {"command": ["a"]}}}}]),
            "spec.initContainers[0].lifecycle",
            "Forbidden: may not be set for init containers without restartPolicy=Always",
        ),
        (
            "/spec/securityContext",
            json!({"seccompProfile": {"type": "Localhost"}}),
            "spec.securityContext.seccompProfile.localhostProfile",
            "Required value: must be set when seccomp type is Localhost",
        ),
        (
            "/spec/schedulingGates",
            json!([{"name": "a"}, {"name": "a"}]),
            "spec.schedulingGates[1]",
            "Duplicate value: \"a\"",
        ),
        (
            "/spec/dnsConfig",
            json!({"nameservers": ["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4"]}),
            "spec.dnsConfig.nameservers",
            "Invalid value: [\"1.1.1.1\",\"1.1.1.2\",\"1.1.1.3\",\"1.1.1.4\"]: must not have more than 3 nameservers",
        ),
    ] {
        refused(PODS, with(pod("a"), path, value), field, why).await;
    }
}

#[tokio::test]
async fn other_kinds_are_refused_for_what_no_schema_says() {
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}});
    let cron = json!({"metadata": {"name": "c"}, "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": template}}}});
    let crons = "/apis/batch/v1/namespaces/default/cronjobs";
    let why = "Invalid value: \"61 * * * *\": end of range (61) above maximum (59): 61";
    refused(crons, with(cron.clone(), "/spec/schedule", json!("61 * * * *")), "spec.schedule", why).await;
    let why = "Invalid value: \"Mars/X\": unknown time zone Mars/X";
    refused(crons, with(cron, "/spec/timeZone", json!("Mars/X")), "spec.timeZone", why).await;

    let limits = |limit: Value| json!({"metadata": {"name": "l"}, "spec": {"limits": [limit]}});
    let path = "/api/v1/namespaces/default/limitranges";
    let limit = json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "0.5"}});
    let why = "Invalid value: \"500m\": ratio 500m is less than 1";
    refused(path, limits(limit), "spec.limits[0].maxLimitRequestRatio[cpu]", why).await;

    let level = json!({"metadata": {"name": "l"}, "spec": {"type": "Limited"}});
    let path = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations";
    refused(path, level, "spec.limited", "Required value: must not be empty when type is Limited").await;

    let class = json!({"metadata": {"name": "c"}, "spec": {"controller": "a.b/c", "parameters": {
        "kind": "K", "name": "n", "namespace": "x",
    }}});
    let why = "Forbidden: `parameters.scope` is set to 'Cluster'";
    refused("/apis/networking.k8s.io/v1/ingressclasses", class, "spec.parameters.namespace", why).await;

    let role = json!({"metadata": {"name": "r"}, "rules": [], "aggregationRule": {"clusterRoleSelectors": []}});
    let why = "Required value: at least one clusterRoleSelector required if aggregationRule is non-nil";
    let field = "aggregationRule.clusterRoleSelectors";
    refused("/apis/rbac.authorization.k8s.io/v1/clusterroles", role, field, why).await;

    let set = json!({"metadata": {"name": "s"}, "spec": {"selector": {}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {
        "containers": [{"name": "c", "image": "i"}],
    }}}});
    let why = "Invalid value: {}: empty selector is invalid for deployment";
    refused("/apis/apps/v1/namespaces/default/replicasets", set, "spec.selector", why).await;

    let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], "loadBalancerClass": "a/b"}});
    let why = "Forbidden: may only be used when `type` is 'LoadBalancer'";
    refused("/api/v1/namespaces/default/services", service, "spec.loadBalancerClass", why).await;
}
