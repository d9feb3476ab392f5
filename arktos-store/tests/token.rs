//! Continue tokens: what goes in comes out, for the list it was given out for, and for nothing else.

mod model;

use arktos_core::{GroupResource, LabelSelector, ObjectPath, Revision, TenantName};
use arktos_store::clock::SeededRandom;
use arktos_store::select::{Field, FieldTest};
use arktos_store::token::{Continue, TokenError, TokenKey};
use arktos_store::{Selection, Within};
use model::selection;
use proptest::prelude::*;

fn key() -> TokenKey {
    TokenKey::new([7; 32])
}

fn pods_of(tenant: &str) -> Selection {
    Selection::all(GroupResource::core("pods"), Within::Tenant(TenantName::new(tenant).expect("a name")))
}

fn place() -> Continue {
    Continue { revision: Some(Revision(1 << 40)), after: ObjectPath::new("acme", "default", "web"), left: Some(12) }
}

proptest! {
    #[test]
    fn what_is_sealed_opens_for_the_same_list_and_no_other(
        revision in any::<u64>(), left in prop::option::of(0..u64::MAX), name in "[a-z.:-]{1,300}",
        own in selection(), other in selection(),
    ) {
        let revision = Some(Revision(revision)).filter(|revision| *revision > Revision::ZERO);
        let sealed = Continue { revision, after: ObjectPath::new("acme", "default", &name), left };
        let token = sealed.seal(&key(), &own);
        prop_assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
        prop_assert_eq!(Continue::open(&token, &key(), &own), Ok(sealed.clone()));
        let expected = if own == other { Ok(sealed) } else { Err(TokenError::Forged) };
        prop_assert_eq!(Continue::open(&token, &key(), &other), expected);
    }

    #[test]
    fn no_text_opens(text in ".{0,200}") {
        prop_assert!(Continue::open(&text, &key(), &pods_of("acme")).is_err());
    }
}

#[test]
fn a_token_in_which_anything_was_changed_does_not_open() {
    let token = place().seal(&key(), &pods_of("acme"));
    for at in 0..token.len() {
        for other in ["A", "B", "_", "-", "z", "7", "=", "%"].into_iter().filter(|other| token[at..=at] != **other) {
            let changed = format!("{}{other}{}", &token[..at], &token[at + 1..]);
            assert!(Continue::open(&changed, &key(), &pods_of("acme")).is_err(), "{other} at {at}");
        }
        assert!(Continue::open(&token[..at], &key(), &pods_of("acme")).is_err(), "cut off at {at}");
        assert!(Continue::open(&token[at + 1..], &key(), &pods_of("acme")).is_err(), "begun at {at}");
    }
    for longer in [format!("{token}A"), format!("{token}AAAA"), "A".repeat(1 << 20)] {
        assert!(Continue::open(&longer, &key(), &pods_of("acme")).is_err());
    }
}

#[test]
fn a_token_is_bound_to_tenant_resource_range_and_selectors() {
    let own = pods_of("acme");
    let token = place().seal(&key(), &own);
    let of = |change: fn(&mut Selection)| {
        let mut other = own.clone();
        change(&mut other);
        other
    };
    let equal = |field| FieldTest { field, value: "n1".to_owned(), equal: true };
    let others = [
        pods_of("umbra"),
        pods_of("acm"),
        of(|other| other.resource = GroupResource::core("nodes")),
        of(|other| other.resource = GroupResource::new("apps", "pods")),
        of(|other| other.within = Within::Everywhere),
        of(|other| other.within = Within::Namespace(TenantName::new("acme").expect("a name"), String::new())),
        of(|other| other.within = Within::Object(ObjectPath::new("acme", "default", "web"))),
        of(|other| other.labels = LabelSelector::parse("app=a").expect("parses")),
        own.clone().field(equal(Field::Name)),
        own.clone().field(equal(Field::At(0))),
    ];
    for other in &others {
        assert_eq!(Continue::open(&token, &key(), other), Err(TokenError::Forged), "{other:?}");
    }
    let selected: Vec<Selection> = ["app=a", "app!=a", "app", "!app", "app in (a,b)", "app=a,b=a", "b=a,app=a"]
        .iter()
        .map(|labels| own.clone().labels(LabelSelector::parse(labels).expect("parses")))
        .chain(others)
        .collect();
    let tokens: std::collections::HashSet<String> = selected.iter().map(|one| place().seal(&key(), one)).collect();
    let different: Vec<_> = selected.iter().enumerate().filter(|(at, one)| !selected[..*at].contains(one)).collect();
    assert_eq!(tokens.len(), different.len(), "no two lists have the same token");
}

#[test]
fn a_token_of_another_key_is_told_from_a_forged_one() {
    let token = place().seal(&TokenKey::random(&SeededRandom::new(1)), &pods_of("acme"));
    assert_eq!(Continue::open(&token, &key(), &pods_of("acme")), Err(TokenError::OtherKey));
    let same = TokenKey::of_secret(b"what the servers have in common");
    let token = place().seal(&same, &pods_of("acme"));
    let restarted = TokenKey::of_secret(b"what the servers have in common");
    assert_eq!(Continue::open(&token, &restarted, &pods_of("acme")), Ok(place()));
    assert!(!format!("{same:?}").contains("what"), "a key is not to be read in a log");
}

#[test]
fn an_expired_list_goes_on_inconsistently_from_the_same_place() {
    let token = place().inconsistent().seal(&key(), &pods_of("acme"));
    let opened = Continue::open(&token, &key(), &pods_of("acme")).expect("opens");
    assert_eq!(opened, Continue { revision: None, after: place().after, left: None });
}
