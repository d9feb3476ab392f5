//! Which functions expressions may call, and which fields the types have that have names.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::types::Type;

const FILE: &str = include_str!("../../data/cel.functions");

/// One form of a function.
pub(super) struct Overload {
    /// Whether it is a method: its first argument is what it is called on.
    pub(super) method: bool,
    pub(super) arguments: Vec<Type<'static>>,
    pub(super) result: Type<'static>,
}

type Fields = HashMap<&'static str, Type<'static>>;

struct Declared {
    functions: HashMap<&'static str, Vec<Overload>>,
    types: HashMap<&'static str, Fields>,
}

static DECLARED: LazyLock<Declared> = LazyLock::new(|| {
    let mut declared = Declared { functions: HashMap::new(), types: HashMap::new() };
    for line in FILE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some((name, fields)) = line.split_once(": ") {
            let fields = fields.split(' ').filter_map(|field| field.split_once('='));
            declared.types.insert(name, fields.map(|(name, of)| (name, Type::parse(of))).collect());
        } else if let Some((begin, result)) = line.rsplit_once(" = ") {
            let mut words = begin.split(' ');
            let name = words.next().unwrap_or_default();
            let overload = Overload {
                method: name.starts_with('.'),
                arguments: words.map(Type::parse).collect(),
                result: Type::parse(result),
            };
            let forms: &mut Vec<Overload> = declared.functions.entry(name.trim_start_matches('.')).or_default();
            forms.push(overload);
        }
    }
    declared
});

/// The forms of a function; none where there is no such function.
pub(super) fn overloads(name: &str) -> Option<&'static [Overload]> {
    DECLARED.functions.get(name).map(Vec::as_slice)
}

/// A field of a type that has a name.
pub(super) fn field(of: &str, name: &str) -> Option<&'static Type<'static>> {
    DECLARED.types.get(of)?.get(name)
}

/// Whether a type that has a name has fields.
pub(super) fn has_fields(name: &str) -> bool {
    DECLARED.types.contains_key(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_read_with_all_their_forms() {
        let size = overloads("size").expect("size");
        assert_eq!((size.len(), size.iter().filter(|form| form.method).count()), (8, 4));
        assert_eq!(overloads("optional.none").map(|forms| forms[0].arguments.len()), Some(0));
        assert_eq!(
            field("kubernetes.AdmissionRequest", "userInfo").map(Type::name).as_deref(),
            Some("kubernetes.UserInfo")
        );
        assert!(overloads("nothing").is_none());
    }
}
