//! The volumes that the claims of pods are bound to, and their attachments, as hosts see them.
//!
//! Volumes are of no namespace that would say whose they are, and those of two tenants may have one name. So hosts see
//! each under a name that ends with a hash of its partition and its tenant, also where a claim is bound to it.

use arktos_core::{Encoded, Object, ObjectPath, TenantName};
use arktos_store::Stored;
use serde_json::Value;

use super::project::{hash, projected_namespace, projection};

/// The longest name of an object.
const NAME_MAX: usize = 253;

/// The name under which hosts see a volume of a tenant of a partition; `None` for one that is too long for that.
#[must_use]
pub fn projected_volume(partition: &str, tenant: &str, name: &str) -> Option<String> {
    let shown = format!("{name}.{}", hash(&format!("{partition}/{tenant}")));
    (shown.len() <= NAME_MAX).then_some(shown)
}

/// The name that a volume has, where it is one of a tenant of a partition.
pub(super) fn original_volume<'a>(shown: &'a str, partition: &str, tenant: &str) -> Option<&'a str> {
    let (name, of) = shown.rsplit_once('.')?;
    (hash(&format!("{partition}/{tenant}")) == of).then_some(name)
}

/// A claim as hosts see it.
pub(super) fn claim(partition: &str, stored: &Stored) -> Option<Stored> {
    let shown = projection(partition, stored)?;
    let claim = shown.object.decode(None).ok()?;
    let volume = claim.str_at(&["spec", "volumeName"]);
    match projected_volume(partition, stored.path.tenant(), volume) {
        Some(volume) if !claim.str_at(&["spec", "volumeName"]).is_empty() => {
            edited(shown, |claim| claim.set(&["spec", "volumeName"], volume))
        }
        _ => Some(shown),
    }
}

/// A volume as hosts see it. What it refers to in a namespace is in the one that hosts see.
pub(super) fn volume(partition: &str, stored: &Stored) -> Option<Stored> {
    let (tenant, _, name) = stored.path.parts();
    let name = projected_volume(partition, tenant, name)?;
    let path = ObjectPath::new(TenantName::SYSTEM, "", &name);
    let moved = |value: &mut Value, field: &str| {
        if let Some(namespace) = value[field].as_str().filter(|namespace| !namespace.is_empty()) {
            value[field] = Value::from(projected_namespace(partition, tenant, namespace));
        }
    };
    let shown = edited(stored.clone(), |volume| {
        volume.set(&["metadata", "name"], name);
        let Some(Value::Object(spec)) = volume.fields.get_mut("spec") else { return };
        if let Some(claim) = spec.get_mut("claimRef") {
            moved(claim, "namespace");
        }
        for source in spec.values_mut().filter_map(Value::as_object_mut) {
            if source.contains_key("secretNamespace") {
                let mut namespace = Value::Object(std::mem::take(source));
                moved(&mut namespace, "secretNamespace");
                *source = namespace.as_object_mut().map(std::mem::take).unwrap_or_default();
            }
            let secrets = source.iter_mut().filter(|(field, _)| field.to_lowercase().ends_with("secretref"));
            secrets.filter(|(_, secret)| secret.is_object()).for_each(|(_, secret)| moved(secret, "namespace"));
        }
    })?;
    Some(Stored { path, ..shown })
}

/// An attachment of a volume as hosts see it: under its own name, which is made of the volume's handle and the host.
pub(super) fn attachment(partition: &str, stored: &Stored) -> Option<Stored> {
    let (tenant, _, name) = stored.path.parts();
    let path = ObjectPath::new(TenantName::SYSTEM, "", name);
    let shown = edited(stored.clone(), |attachment| {
        let source = ["spec", "source", "persistentVolumeName"];
        if let Some(volume) = projected_volume(partition, tenant, attachment.str_at(&source))
            && !attachment.str_at(&source).is_empty()
        {
            attachment.set(&source, volume);
        }
    })?;
    Some(Stored { path, ..shown })
}

/// An object that was changed; `None` where it is not as the store writes it.
fn edited(stored: Stored, edit: impl FnOnce(&mut Object)) -> Option<Stored> {
    let mut object = stored.object.decode(None).ok()?;
    edit(&mut object);
    let fields = stored.object.header().fields().map(Box::from).collect();
    let object = Encoded::encode_with(stored.object.header().type_meta(), &object, fields).ok()?;
    Some(Stored { object, ..stored })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arktos_core::catalog::Catalog;
    use arktos_core::{GroupResource, Revision};
    use serde_json::json;

    fn stored(resource: &str, namespace: &str, object: Value) -> Stored {
        let kind = Catalog::builtin().storage(&GroupResource::core(resource)).expect("is built in");
        let object = Object::from_value(object).expect("an object");
        let path = ObjectPath::new("acme", namespace, object.name());
        Stored { path, revision: Revision(5), object: kind.encode(&object).expect("encodes") }
    }

    #[test]
    fn a_claim_and_its_volume_name_each_other_as_hosts_see_them() {
        let claim = stored(
            "persistentvolumeclaims",
            "default",
            json!({
                "metadata": {"name": "c", "namespace": "default", "uid": "u"}, "spec": {"volumeName": "v.1"},
            }),
        );
        let volume = stored(
            "persistentvolumes",
            "",
            json!({"metadata": {"name": "v.1", "uid": "w"}, "spec": {
                "claimRef": {"namespace": "default", "name": "c", "uid": "u"}, "capacity": {"storage": "1Gi"},
                "csi": {"driver": "d", "volumeHandle": "h", "nodePublishSecretRef": {"namespace": "keys", "name": "s"}},
                "azureFile": {"secretName": "a", "secretNamespace": "keys", "shareName": "x"},
            }}),
        );
        let (claim, volume) =
            (super::claim("tp-1", &claim).expect("shown"), super::volume("tp-1", &volume).expect("shown"));
        let (claimed, seen) =
            (claim.object.decode(None).expect("decodes"), volume.object.decode(None).expect("decodes"));
        assert_eq!(claimed.str_at(&["spec", "volumeName"]), seen.name());
        assert_eq!((volume.path.tenant(), volume.path.name()), ("system", seen.name()));
        let namespace = |name: &str| projected_namespace("tp-1", "acme", name);
        assert_eq!(seen.str_at(&["spec", "claimRef", "namespace"]), namespace("default"));
        assert_eq!(claim.path.namespace(), namespace("default"));
        assert_eq!(seen.str_at(&["spec", "csi", "nodePublishSecretRef", "namespace"]), namespace("keys"));
        assert_eq!(seen.str_at(&["spec", "azureFile", "secretNamespace"]), namespace("keys"));
        assert_eq!(original_volume(seen.name(), "tp-1", "acme"), Some("v.1"));
        assert_eq!(original_volume(seen.name(), "tp-1", "umbra"), None);
        assert_eq!(arktos_core::name::subdomain_fault(seen.name()), None);
    }

    #[test]
    fn a_claim_without_a_volume_has_none() {
        let claim = json!({"metadata": {"name": "c", "namespace": "default"}, "spec": {}});
        let claim = super::claim("tp-1", &stored("persistentvolumeclaims", "default", claim)).expect("shown");
        assert_eq!(claim.object.decode(None).expect("decodes").at(&["spec", "volumeName"]), None);
    }
}
