//! What a failed pod means for its job, and when enough of a job has succeeded.

use arktos_core::typed::{ExitCodes, PodFailurePolicy, SuccessPolicy};
use arktos_core::{Object, Timestamp};
use serde_json::Value;

use super::index_of;
use super::indexes::Indexes;
use crate::pod::PodView;

/// The annotations of a pod that say how often pods of its index had failed before it was made: failures that count,
/// and those that the job's policy ignores.
const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
const IGNORED: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// What a failed pod means.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Verdict {
    /// One failure more.
    #[default]
    Counted,
    /// Nothing.
    Ignored,
    /// Its index has failed.
    FailsIndex,
    /// The job has failed, for this reason.
    FailsJob(String),
}

/// A pod that has failed.
#[derive(Debug, Clone, Default)]
pub(super) struct FailedPod {
    pub(super) index: Option<usize>,
    pub(super) verdict: Verdict,
    /// How often pods of its index had failed before, and how often more it was ignored.
    counted: usize,
    ignored: usize,
    /// When it ended.
    pub(super) ended: Timestamp,
}

impl FailedPod {
    pub(super) fn of(pod: &PodView, policy: Option<&PodFailurePolicy>) -> Self {
        let index = index_of(pod);
        let Ok(object) = pod.object().decode_apart(None) else { return Self { index, ..Self::default() } };
        let noted = |key: &str| {
            // Whoever writes the pod may have written anything.
            let noted: u16 = object.str_at(&["metadata", "annotations", key]).parse().unwrap_or(0);
            usize::from(noted)
        };
        Self {
            index,
            verdict: policy.map(|policy| judge(policy, &object)).unwrap_or_default(),
            counted: noted(FAILURES),
            ignored: noted(IGNORED),
            ended: ended(&object).unwrap_or(pod.created),
        }
    }

    /// Whether its index has failed for good, where an index may fail so and so often.
    pub(super) fn ends_index(&self, limit: usize) -> bool {
        match self.verdict {
            Verdict::FailsIndex => true,
            Verdict::Ignored => false,
            Verdict::Counted | Verdict::FailsJob(_) => self.counted >= limit,
        }
    }

    /// How often pods of its index have failed, this one included.
    pub(super) fn times(&self) -> usize {
        self.counted + self.ignored + 1
    }

    /// Notes on the pod that takes its place how often pods of the index have failed.
    pub(super) fn note(before: Option<&Self>, pod: &mut Object) {
        let ignored = before.is_some_and(|failed| failed.verdict == Verdict::Ignored);
        let (counted, without) = before
            .map_or((0, 0), |failed| (failed.counted + usize::from(!ignored), failed.ignored + usize::from(ignored)));
        pod.set(&["metadata", "annotations", FAILURES], counted.to_string());
        if without > 0 {
            pod.set(&["metadata", "annotations", IGNORED], without.to_string());
        }
    }
}

fn list<'a>(pod: &'a Object, field: &str) -> &'a [Value] {
    pod.at(&["status", field]).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// When a pod's last container ended; where that is not known, when the pod was no longer ready.
fn ended(pod: &Object) -> Option<Timestamp> {
    let parse = |moment: &Value| moment.as_str().and_then(Timestamp::parse);
    let containers = list(pod, "containerStatuses").iter();
    let last = containers.filter_map(|status| parse(&status["state"]["terminated"]["finishedAt"])).max();
    let unready = |condition: &&Value| condition["type"] == "Ready" && condition["status"] == "False";
    last.or_else(|| list(pod, "conditions").iter().find(unready).and_then(|it| parse(&it["lastTransitionTime"])))
}

fn judge(policy: &PodFailurePolicy, pod: &Object) -> Verdict {
    let place = || format!("{}/{}", pod.namespace(), pod.name());
    for (at, rule) in policy.rules.iter().enumerate() {
        let why = match &rule.on_exit_codes {
            Some(codes) => exited(pod, codes)
                .map(|(name, code)| format!("Container {name} for pod {} failed with exit code {code}", place())),
            None => list(pod, "conditions")
                .iter()
                .find(|is| rule.on_pod_conditions.iter().any(|it| is["type"] == it.kind && is["status"] == it.status))
                .map(|is| format!("Pod {} has condition {}", place(), is["type"].as_str().unwrap_or_default())),
        };
        let Some(why) = why else { continue };
        return match rule.action.as_str() {
            "Ignore" => Verdict::Ignored,
            "FailIndex" => Verdict::FailsIndex,
            "FailJob" => Verdict::FailsJob(format!("{why} matching FailJob rule at index {at}")),
            "Count" => Verdict::Counted,
            _ => continue,
        };
    }
    Verdict::Counted
}

/// The first container that has ended with one of the codes, and its code.
fn exited<'a>(pod: &'a Object, codes: &ExitCodes) -> Option<(&'a str, i64)> {
    let statuses = ["containerStatuses", "initContainerStatuses"].into_iter().flat_map(|field| list(pod, field));
    statuses
        .filter_map(|status| Some((status["name"].as_str()?, status["state"]["terminated"]["exitCode"].as_i64()?)))
        .filter(|(name, code)| *code != 0 && codes.container_name.as_deref().is_none_or(|wanted| wanted == *name))
        .find(|(_, code)| {
            let listed = codes.values.iter().any(|value| i64::from(*value) == *code);
            match codes.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                _ => false,
            }
        })
}

/// Which rule of a success policy holds, in the API's words.
pub(super) fn enough(policy: Option<&SuccessPolicy>, completions: usize, succeeded: &Indexes) -> Option<String> {
    let holds = |count: Option<i32>, having: usize| {
        count.and_then(|count| usize::try_from(count).ok()).is_some_and(|count| having >= count)
    };
    let rules = policy.filter(|_| succeeded.len() > 0)?.rules.iter();
    let met = rules.enumerate().find(|(_, rule)| match &rule.succeeded_indexes {
        Some(named) => {
            let named = Indexes::read(named).below(completions);
            let having = named.shared_with(succeeded);
            named.len() > 0 && (having == named.len() || holds(rule.succeeded_count, having))
        }
        None => holds(rule.succeeded_count, succeeded.len()),
    });
    met.map(|(at, _)| format!("Matched rules at index {at}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(status: Value) -> Object {
        Object::from_value(json!({"metadata": {"namespace": "ns", "name": "p"}, "status": status})).expect("an object")
    }

    fn judged(rules: Value, status: Value) -> Verdict {
        judge(&serde_json::from_value(json!({ "rules": rules })).expect("a policy"), &pod(status))
    }

    #[test]
    fn the_first_rule_that_a_pod_matches_says_what_its_failure_means() {
        let ended = |code: i32| json!({"name": "c", "state": {"terminated": {"exitCode": code}}});
        let status = json!({
            "containerStatuses": [ended(0), ended(3)],
            "conditions": [{"type": "DisruptionTarget", "status": "True"}],
        });
        let codes = |action: &str, operator: &str, values: Value| {
            let codes = json!({"operator": operator, "values": values});
            json!({"action": action, "onExitCodes": codes})
        };
        let disrupted = |action: &str| {
            let conditions = json!([{"type": "DisruptionTarget", "status": "True"}]);
            json!({"action": action, "onPodConditions": conditions})
        };
        for (rules, wanted) in [
            (json!([codes("Ignore", "In", json!([1])), codes("FailIndex", "In", json!([2, 3]))]), Verdict::FailsIndex),
            (json!([codes("FailJob", "NotIn", json!([3])), disrupted("Ignore")]), Verdict::Ignored),
            (json!([codes("Count", "NotIn", json!([4])), disrupted("FailJob")]), Verdict::Counted),
            (
                json!([codes("FailJob", "In", json!([3]))]),
                Verdict::FailsJob(
                    "Container c for pod ns/p failed with exit code 3 matching FailJob rule at index 0".to_owned(),
                ),
            ),
            (
                json!([codes("Ignore", "In", json!([0])), disrupted("FailJob")]),
                Verdict::FailsJob(
                    "Pod ns/p has condition DisruptionTarget matching FailJob rule at index 1".to_owned(),
                ),
            ),
            (json!([]), Verdict::Counted),
        ] {
            assert_eq!(judged(rules.clone(), status.clone()), wanted, "{rules}");
        }
    }

    #[test]
    fn a_success_policy_holds_when_one_of_its_rules_does() {
        let met = |rules: Value, succeeded: &str| {
            let policy: SuccessPolicy = serde_json::from_value(json!({ "rules": rules })).expect("a policy");
            enough(Some(&policy), 10, &Indexes::read(succeeded))
        };
        let both = json!([{"succeededIndexes": "0-2,40", "succeededCount": 2}, {"succeededCount": 4}]);
        for (succeeded, rule) in [("", None), ("0,5", None), ("0,2", Some(0)), ("5-8", Some(1))] {
            assert_eq!(
                met(both.clone(), succeeded),
                rule.map(|at| format!("Matched rules at index {at}")),
                "{succeeded}"
            );
        }
        assert!(met(json!([{"succeededIndexes": "1,3"}]), "1-3").is_some());
        assert!(met(json!([{"succeededIndexes": "40"}]), "1-3").is_none());
        assert!(enough(None, 10, &Indexes::read("0-9")).is_none());
    }
}
