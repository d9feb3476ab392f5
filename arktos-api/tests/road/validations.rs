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

#[tokio::test]
async fn more_kinds_are_refused_for_what_no_schema_says() {
    let named = |mut object: Value| {
        object["metadata"]["name"] = json!("a");
        object
    };
    let networking = "/apis/networking.k8s.io/v1";
    let policies = format!("{networking}/namespaces/default/networkpolicies");
    let slices = "/apis/resource.k8s.io/v1/resourceslices";
    let pool = |generation: i64| json!({"name": "p", "generation": generation, "resourceSliceCount": 1});
    for (path, object, field, why) in [
        (
            policies.as_str(),
            json!({"spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress", "Ingress"]}}),
            "spec.policyTypes",
            "Invalid value: [\"Ingress\",\"Egress\",\"Ingress\"]: may not specify more than two policyTypes",
        ),
        (
            policies.as_str(),
            json!({"spec": {"podSelector": {}, "ingress": [{"ports": [{"port": 80, "endPort": 70000}]}]}}),
            "spec.ingress[0].ports[0].endPort",
            "Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            &format!("{networking}/ingressclasses"),
            json!({"spec": {"controller": "a.b/c", "parameters": {"kind": "K", "name": "n", "namespace": ""}}}),
            "spec.parameters.namespace",
            "Forbidden: `parameters.scope` is set to 'Cluster'",
        ),
        (
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "a/b"}}),
            "roleRef.name",
            "Invalid value: \"a/b\": may not contain '/'",
        ),
        (
            "/apis/storage.k8s.io/v1/csidrivers",
            json!({"spec": {"nodeAllocatableUpdatePeriodSeconds": 1}}),
            "spec.nodeAllocatableUpdatePeriodSeconds",
            "Invalid value: 1: must be greater than or equal to 10 seconds",
        ),
        (
            "/api/v1/namespaces/default/services",
            json!({"spec": {"ports": [{"port": 80}], "externalIPs": ["0.0.0.0"]}}),
            "spec.externalIPs[0]",
            "Invalid value: \"0.0.0.0\": may not be unspecified (0.0.0.0)",
        ),
        (
            "/apis/resource.k8s.io/v1/deviceclasses",
            json!({"spec": {"extendedResourceName": "gpu"}}),
            "spec.extendedResourceName",
            "Invalid value: \"gpu\": must be a valid extended resource name",
        ),
        (
            slices,
            json!({"spec": {"driver": "a.b", "pool": pool(-1), "allNodes": true}}),
            "spec.pool.generation",
            "Invalid value: -1: must be greater than or equal to zero",
        ),
        (
            "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
            json!({"addressType": "IPv4", "endpoints": [], "ports": [{"port": 80}, {"port": 81}]}),
            "ports[1].name",
            "Duplicate value: \"\"",
        ),
    ] {
        refused(path, named(object), field, why).await;
    }
}

#[tokio::test]
async fn policies_are_refused_whose_expressions_do_not_fit() {
    let policy = |expression: &str| {
        json!({"metadata": {"name": "a"}, "spec": {
            "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"],
                "resources": ["pods"]}]},
            "variables": [{"name": "n", "expression": "size(object.metadata.name)"}],
            "validations": [{"expression": expression}]}})
    };
    for (expression, why) in [
        (
            "variables.n == 'a'",
            "compilation failed: ERROR: <input>:1:13: found no matching overload for '_==_' applied to '(int, string)'\n \
             | variables.n == 'a'\n | ............^",
        ),
        ("object.spec", "must evaluate to bool but got dyn"),
        (
            "params.x == 1",
            "compilation failed: ERROR: <input>:1:1: undeclared reference to 'params' (in container '')\n | params.x \
             == 1\n | ^",
        ),
    ] {
        let path = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
        let why = format!("Invalid value: {}: {why}", json!(expression));
        refused(path, policy(expression), "spec.validations[0].expression", &why).await;
    }
}

#[tokio::test]
async fn an_event_of_the_newer_form_stays_as_it_was_made() {
    let world = World::new().await;
    let path = "/apis/events.k8s.io/v1/namespaces/default/events";
    let event = json!({"metadata": {"name": "e"}, "eventTime": "2024-01-01T00:00:00.000000Z", "type": "Normal",
        "reason": "r", "action": "a", "reportingController": "c", "reportingInstance": "i",
        "regarding": {"kind": "Pod", "namespace": "default", "name": "p"}});
    let mut apart = with(event.clone(), "/regarding/namespace", json!("elsewhere"));
    apart.as_object_mut().unwrap().remove("eventTime");
    let answer = world.post("acme", path, apart).await;
    let why = "involvedObject.namespace: Invalid value: \"elsewhere\": does not match event.namespace";
    assert!(answer.body["message"].as_str().is_some_and(|text| text.contains(why)), "{}", answer.body);
    let answer = world.post("acme", path, event.clone()).await;
    assert_eq!(answer.code, 201, "{}", answer.body);
    let answer = world.put("acme", &format!("{path}/e"), with(event, "/action", json!("b"))).await;
    assert_eq!(answer.body["details"]["causes"][0]["message"], "Invalid value: \"b\": field is immutable");
    let answer = world.patch("acme", &format!("{path}/e"), json!({"metadata": {"uid": "u"}})).await;
    let causes = answer.body["details"]["causes"].as_array().unwrap();
    let told: Vec<&str> = causes.iter().filter_map(|cause| cause["field"].as_str()).collect();
    assert_eq!(told, ["metadata.uid"; 2], "{}", answer.body);
    let more = json!({"series": {"count": 2, "lastObservedTime": "2024-01-01T00:00:00.000000Z"}});
    assert_eq!(world.patch("acme", &format!("{path}/e"), more).await.code, 200);
}
