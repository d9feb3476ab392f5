//! Which partition a new tenant is placed in.

use std::collections::BTreeMap;

use arktos_core::typed::Phase;
use arktos_core::{GroupResource, LabelSelector, Object, Reason, Status};

/// The annotation of a new tenant that names the partition it is to be placed in.
pub const PARTITION_ANNOTATION: &str = "arktos.io/partition";
/// The annotation of a new tenant that selects, by their labels, the partitions it may be placed in.
pub const SELECTOR_ANNOTATION: &str = "arktos.io/partition-selector";

/// What a tenant asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// The one partition that it is to be in.
    pub partition: Option<String>,
    /// The labels of partitions that it may be in.
    pub selector: Option<LabelSelector>,
}

/// A partition that a tenant might be placed in.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Its name.
    pub name: &'a str,
    /// What is to become of it.
    pub phase: Phase,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
    /// Whether it was heard of lately.
    pub answers: bool,
    /// How many tenants it has.
    pub tenants: usize,
}

impl Wish {
    /// What a new tenant asks for.
    ///
    /// # Errors
    /// 400 when its selector is none.
    pub fn of(tenant: &Object) -> Result<Self, Status> {
        let annotation = |name| tenant.str_at(&["metadata", "annotations", name]);
        let partition = Some(annotation(PARTITION_ANNOTATION)).filter(|name| !name.is_empty()).map(str::to_owned);
        let selector = match annotation(SELECTOR_ANNOTATION) {
            "" => None,
            text => Some(LabelSelector::parse(text).map_err(|error| {
                Status::bad_request(format!("the annotation {SELECTOR_ANNOTATION} is no selector of labels: {error}"))
            })?),
        };
        Ok(Self { partition, selector })
    }

    fn takes(&self, candidate: &Candidate<'_>) -> bool {
        let named = self.partition.as_ref().is_none_or(|name| name == candidate.name);
        let label = |name: &str| candidate.labels.get(name).map(String::as_str);
        named && self.selector.as_ref().is_none_or(|selector| selector.matches(label))
    }
}

/// The partition for a new tenant: of those that take new ones and that the tenant may be in, the one with the fewest;
/// one that was not heard of lately only where there is no other. The first by name among equals.
///
/// # Errors
/// 403 when none of them takes the tenant, with what the tenant asked for; 503 when there are none.
pub fn choose<'a>(name: &str, wish: &Wish, candidates: impl Iterator<Item = Candidate<'a>>) -> Result<&'a str, Status> {
    let active: Vec<Candidate<'a>> = candidates.filter(|one| one.phase == Phase::Active).collect();
    if active.is_empty() {
        let text = "there is no partition that takes new tenants";
        return Err(Status::failure(Reason::ServiceUnavailable, text).retry_after(5));
    }
    let fitting = active.iter().filter(|one| wish.takes(one));
    let best = fitting.min_by_key(|one| (!one.answers, one.tenants, one.name));
    best.map(|one| one.name).ok_or_else(|| {
        let asked = match (&wish.partition, &wish.selector) {
            (Some(partition), _) => format!("partition {partition:?} takes no new tenants"),
            _ => format!("no partition that takes new tenants is selected by {SELECTOR_ANNOTATION}"),
        };
        Status::forbidden(&GroupResource::core("tenants"), name, asked)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wish(annotations: serde_json::Value) -> Result<Wish, Status> {
        let tenant = json!({"metadata": {"name": "acme", "annotations": annotations}});
        Wish::of(&Object::from_value(tenant).expect("an object"))
    }

    #[test]
    fn a_tenant_goes_where_the_fewest_are_or_where_it_asks_to_go() {
        let (eu, us) = (BTreeMap::from([("zone".to_owned(), "eu".to_owned())]), BTreeMap::new());
        let one = |name, phase, labels, answers, tenants| Candidate { name, phase, labels, answers, tenants };
        let all = [
            one("full", Phase::Active, &eu, true, 9),
            one("leaving", Phase::Draining, &eu, true, 0),
            one("removed", Phase::Removed, &eu, true, 0),
            one("roomy", Phase::Active, &us, true, 2),
            one("equal", Phase::Active, &us, true, 2),
            one("silent", Phase::Active, &us, false, 0),
        ];
        let placed = |annotations| choose("acme", &wish(annotations).expect("a wish"), all.into_iter());
        assert_eq!(placed(json!({})), Ok("equal"));
        assert_eq!(placed(json!({PARTITION_ANNOTATION: "full"})), Ok("full"));
        assert_eq!(placed(json!({PARTITION_ANNOTATION: "silent"})), Ok("silent"));
        assert_eq!(placed(json!({SELECTOR_ANNOTATION: "zone in (eu)"})), Ok("full"));
        for refused in [
            json!({PARTITION_ANNOTATION: "leaving"}),
            json!({PARTITION_ANNOTATION: "nowhere"}),
            json!({SELECTOR_ANNOTATION: "zone=mars"}),
            json!({PARTITION_ANNOTATION: "roomy", SELECTOR_ANNOTATION: "zone=eu"}),
        ] {
            assert_eq!(placed(refused.clone()).expect_err("refused").code, 403, "{refused}");
        }
        assert_eq!(wish(json!({SELECTOR_ANNOTATION: "=="})).expect_err("no selector").code, 400);
        let none = choose("acme", &Wish::default(), all[1..3].iter().copied());
        assert_eq!(none.expect_err("refused").code, 503);
    }
}
