//! Policies: what does not fit the kinds that they are about is told.

use serde_json::json;

use crate::world::World;

const POLICIES: &str = "validatingadmissionpolicies.admissionregistration.k8s.io";

#[test]
fn a_policy_is_told_once_for_each_of_its_states_what_does_not_fit() {
    let mut world = World::on_the_road();
    let rule = json!({"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"], "operations": ["*"]});
    let (version, kind) = ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy");
    let policy = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "p"}, "spec": {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "object.spec.replicas < 5"}, {"expression": "object.spec.replicax < 5"}],
    }});
    world.create(POLICIES, "acme", "", policy).expect("created");
    world.settle();
    let status = |world: &World| world.get(POLICIES, "acme//p")["status"].clone();
    let warning = "apps/v1, Kind=Deployment: ERROR: <input>:1:12: undefined field 'replicax'\n | \
                   object.spec.replicax < 5\n | ...........^\n";
    let told = json!([{"fieldRef": "spec.validations[1].expression", "warning": warning}]);
    assert_eq!(status(&world), json!({"observedGeneration": 1, "typeChecking": {"expressionWarnings": told}}));
    world.edit(POLICIES, "acme//p", |policy| {
        policy["spec"]["validations"] = json!([{"expression": "object.spec.replicas < 5"}]);
    });
    world.settle();
    assert_eq!(status(&world), json!({"observedGeneration": 2, "typeChecking": {}}));
}
