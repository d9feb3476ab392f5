//! What the components of Kubernetes may do, read from `data/components.roles`, which says how it is written.

use serde_json::{Value, json};

const TABLE: &str = include_str!("../../data/components.roles");

/// A role that a component has.
pub(super) struct Component {
    pub(super) name: &'static str,
    /// The namespace that it is in; absent for a cluster role.
    pub(super) namespace: Option<&'static str>,
    /// The name of its binding.
    pub(super) binding: &'static str,
    pub(super) rules: Vec<Value>,
    /// Subjects of the binding.
    pub(super) subjects: Vec<Value>,
    /// Whether there is a binding.
    pub(super) bound: bool,
}

/// All of them. A line that cannot be read is left out; a test reads every one.
pub(super) fn components() -> Vec<Component> {
    let mut all: Vec<Component> = Vec::new();
    for line in TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(head) = line.strip_prefix("role ") {
            all.extend(component(head));
        } else if let (Some(last), Some(rule)) = (all.last_mut(), rule(line)) {
            last.rules.push(rule);
        }
    }
    all
}

fn component(head: &'static str) -> Option<Component> {
    let mut words = head.split(' ');
    let name = words.next()?;
    let (mut namespace, mut binding, mut subjects, mut bound) = (None, name, Vec::new(), false);
    while let Some(word) = words.next() {
        let kind = words.next()?;
        match word {
            "in" => namespace = Some(kind),
            "as" => binding = kind,
            _ => {}
        }
        if word != "to" {
            continue;
        }
        let whom = words.next()?;
        bound = true;
        if kind == "no" {
            continue;
        }
        let group = "rbac.authorization.k8s.io";
        subjects.push(match kind {
            "account" => json!({"kind": "ServiceAccount", "namespace": "kube-system", "name": whom}),
            "user" => json!({"kind": "User", "apiGroup": group, "name": whom}),
            _ => json!({"kind": "Group", "apiGroup": group, "name": whom}),
        });
    }
    Some(Component { name, namespace, binding, rules: Vec::new(), subjects, bound })
}

fn rule(line: &str) -> Option<Value> {
    if line == "events" {
        let groups = ["", "events.k8s.io"];
        return Some(json!({"apiGroups": groups, "resources": ["events"], "verbs": ["create", "patch", "update"]}));
    }
    let mut columns = line.split(" | ").map(|column| column.split(' ').collect::<Vec<_>>());
    let groups = columns.next()?.into_iter().map(|group| if group == "core" { "" } else { group });
    let mut rule =
        json!({"apiGroups": groups.collect::<Vec<_>>(), "resources": columns.next()?, "verbs": columns.next()?});
    if let Some(names) = columns.next() {
        rule["resourceNames"] = json!(names);
    }
    Some(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_read() {
        let lines = TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let (heads, rules): (Vec<&str>, Vec<&str>) = lines.partition(|line| line.starts_with("role "));
        let all = components();
        assert_eq!(all.len(), heads.len());
        assert_eq!(all.iter().map(|component| component.rules.len()).sum::<usize>(), rules.len());
        for line in rules {
            assert!(line == "events" || (3..=4).contains(&line.split(" | ").count()), "{line}");
        }
        let deployment = all.iter().find(|it| it.name == "system:controller:deployment-controller").expect("is there");
        assert_eq!(deployment.subjects[0]["name"], "deployment-controller");
        assert_eq!(deployment.rules[3]["resources"], json!(["replicasets"]));
        assert_eq!(deployment.rules[4]["apiGroups"], json!([""]));
    }
}
