//! How the types of this module are declared.

use serde::{Deserialize, Deserializer};

/// Declares a struct of the API: names in camel case, every field optional when read, zero values left out when
/// written (but those under `always`), `null` read as absent, and unknown fields kept in `other`.
macro_rules! record {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[$field_meta:meta])* $field:ident: $type:ty, )*
        }
        $( always { $( $(#[$always_meta:meta])* $always:ident: $always_type:ty, )* } )?
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name {
            $(
                $(#[$field_meta])*
                #[serde(
                    skip_serializing_if = "crate::typed::record::is_default",
                    deserialize_with = "crate::typed::record::null_is_default"
                )]
                pub $field: $type,
            )*
            $( $(
                $(#[$always_meta])*
                #[serde(deserialize_with = "crate::typed::record::null_is_default")]
                pub $always: $always_type,
            )* )?
            /// All other fields, kept as they came.
            #[serde(flatten)]
            pub other: serde_json::Map<String, serde_json::Value>,
        }
    };
}
pub(super) use record;

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

pub(super) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
