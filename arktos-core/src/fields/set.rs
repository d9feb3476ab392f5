//! The set itself, a tree of steps.

use std::cmp::Ordering;

use serde::ser::{Error, Serialize, SerializeMap, Serializer};
use serde_json::Value;

use super::{Element, FieldPath, FieldsFault};

/// How deep a set may be nested: deeper than any object that is read.
const MAX_DEPTH: usize = 256;

/// How many steps a path has at most in a set that is written. One that has more, in `managedFields`, would make an
/// object that is read deeper than any that is: 127 levels, of which four are above the set and one ends the path.
const MAX_STEPS: usize = 122;

/// A set of paths into an object. That a path is in it says nothing of the paths above or below.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSet {
    /// Sorted by their steps. Most sets have few: a list of them is smaller than a tree, and made faster.
    nodes: Vec<(Element, Node)>,
}

/// What the set holds at and below one step. Never empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Node {
    /// Whether the path that ends here is in the set.
    member: bool,
    below: FieldSet,
}

impl Node {
    fn is_empty(&self) -> bool {
        !self.member && self.below.is_empty()
    }
}

impl FieldSet {
    /// A set of paths of field names.
    #[must_use]
    pub fn of(paths: &[&[&str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            set.insert(&path.iter().map(|name| Element::field(name)).collect::<Vec<_>>());
        }
        set
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Puts a path in. The empty path stands for the whole object, which nobody owns.
    pub fn insert(&mut self, path: &[Element]) {
        if let Some((last, parents)) = path.split_last() {
            let set = parents.iter().fold(self, |set, step| &mut set.node_mut(step.clone()).below);
            set.node_mut(last.clone()).member = true;
        }
    }

    /// Puts one step in, and all of `below` below it.
    pub(crate) fn add(&mut self, step: Element, member: bool, below: Self) {
        if !member && below.is_empty() {
            return;
        }
        let node = self.node_mut(step);
        node.member |= member;
        node.below.extend(below);
    }

    /// Where the node of a step is; where it would have to be, when there is none.
    fn find(&self, step: &Element) -> Result<usize, usize> {
        match self.nodes.last() {
            Some((last, _)) if last < step => Err(self.nodes.len()), // sets are mostly made in order
            _ => self.nodes.binary_search_by(|(known, _)| known.cmp(step)),
        }
    }

    fn node(&self, step: &Element) -> Option<&Node> {
        self.find(step).ok().map(|at| &self.nodes[at].1)
    }

    /// The node of a step, made where there is none.
    fn node_mut(&mut self, step: Element) -> &mut Node {
        let at = self.find(&step).unwrap_or_else(|at| {
            self.nodes.insert(at, (step, Node::default()));
            at
        });
        &mut self.nodes[at].1
    }

    /// Whether a path of one step is in it.
    #[must_use]
    pub fn has(&self, step: &Element) -> bool {
        self.node(step).is_some_and(|node| node.member)
    }

    /// What is in it below a step; nothing when that is empty.
    #[must_use]
    pub fn below(&self, step: &Element) -> Option<&Self> {
        self.node(step).map(|node| &node.below).filter(|below| !below.is_empty())
    }

    /// The steps that the paths in it begin with; whether that step is a path in it; and what is below.
    pub fn steps(&self) -> impl Iterator<Item = (&Element, bool, &Self)> {
        self.nodes.iter().map(|(step, node)| (step, node.member, &node.below))
    }

    /// Every path in it, parents first.
    #[must_use]
    pub fn paths(&self) -> Vec<FieldPath> {
        fn walk(set: &FieldSet, at: &mut Vec<Element>, paths: &mut Vec<FieldPath>) {
            for (step, _) in set.nodes.iter().filter(|(_, node)| node.member) {
                at.push(step.clone());
                paths.push(FieldPath(at.clone()));
                at.pop();
            }
            for (step, node) in &set.nodes {
                at.push(step.clone());
                walk(&node.below, at, paths);
                at.pop();
            }
        }
        let mut paths = Vec::new();
        walk(self, &mut Vec::new(), &mut paths);
        paths
    }

    /// Puts everything of another set in.
    pub fn extend(&mut self, other: Self) {
        if self.nodes.is_empty() {
            *self = other;
            return;
        }
        let mut nodes = std::mem::take(&mut self.nodes);
        nodes.extend(other.nodes);
        *self = Self::gathered(nodes);
    }

    /// The set of nodes in any order, of which several may be of one step.
    fn gathered(mut nodes: Vec<(Element, Node)>) -> Self {
        nodes.sort_by(|(one, _), (other, _)| one.cmp(other));
        nodes.dedup_by(|(step, node), (kept, into)| {
            let same = step == kept;
            if same {
                into.member |= node.member;
                into.below.extend(std::mem::take(&mut node.below));
            }
            same
        });
        Self { nodes }
    }

    /// What is in either.
    #[must_use]
    pub fn union(mut self, other: &Self) -> Self {
        self.extend(other.clone());
        self
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.matched(other, |one, other| Node {
            member: one.member && other.member,
            below: one.below.intersection(&other.below),
        })
    }

    fn matched(&self, other: &Self, both: impl Fn(&Node, &Node) -> Node) -> Self {
        let matched = self.nodes.iter().filter_map(|(step, node)| {
            let node = both(node, other.node(step)?);
            (!node.is_empty()).then(|| (step.clone(), node))
        });
        Self { nodes: matched.collect() }
    }

    /// Takes out what is in another set; what is above or below stays.
    pub fn remove(&mut self, other: &Self) {
        self.prune(other, false);
    }

    /// Takes out what is in another set, and all that is below.
    pub fn remove_below(&mut self, other: &Self) {
        self.prune(other, true);
    }

    fn prune(&mut self, other: &Self, deep: bool) {
        if other.is_empty() {
            return;
        }
        self.nodes.retain_mut(|(step, node)| {
            let Some(gone) = other.node(step) else { return true };
            node.member &= !gone.member;
            node.below.prune(&gone.below, deep);
            !(deep && gone.member || node.is_empty())
        });
    }

    /// What is in it and not in another set.
    #[must_use]
    pub fn difference(mut self, other: &Self) -> Self {
        self.remove(other);
        self
    }

    /// What begins with one of the patterns, and what is on the way there; `*` stands for any step.
    #[must_use]
    pub fn only(&self, patterns: &[&[&str]]) -> Self {
        if patterns.iter().any(|pattern| pattern.is_empty()) {
            return self.clone();
        }
        let kept = self.nodes.iter().filter_map(|(step, node)| {
            let rest: Vec<&[&str]> = patterns
                .iter()
                .filter_map(|pattern| {
                    let (first, rest) = pattern.split_first()?;
                    let fits = *first == "*" || matches!(step, Element::Field(name) if **name == **first);
                    fits.then_some(rest)
                })
                .collect();
            let node = Node { member: node.member, below: node.below.only(&rest) };
            (!rest.is_empty() && !node.is_empty()).then(|| (step.clone(), node))
        });
        Self { nodes: kept.collect() }
    }

    /// Reads `FieldsV1`. Steps of a sort that is not known are passed over.
    ///
    /// # Errors
    /// When the value is no set of fields.
    pub fn parse(value: &Value) -> Result<Self, FieldsFault> {
        Self::parse_at(value, 0).map(|(set, _)| set)
    }

    /// The set below a step, and whether the step itself is in it.
    fn parse_at(value: &Value, depth: usize) -> Result<(Self, bool), FieldsFault> {
        let map = match value {
            Value::Object(map) if depth < MAX_DEPTH => map,
            Value::Object(_) => return Err(FieldsFault("the set is nested too deep".to_owned())),
            _ => return Err(FieldsFault("a set of fields is an object of objects".to_owned())),
        };
        let mut nodes = Vec::with_capacity(map.len());
        let mut member = false;
        for (key, value) in map {
            if key == "." {
                member = true;
            } else if let Some(step) = Element::parse(key)? {
                let (below, member) = Self::parse_at(value, depth + 1)?;
                nodes.push((step, Node { member, below }));
            }
        }
        member |= nodes.is_empty();
        Ok((Self::gathered(nodes), member))
    }

    /// The node of the step that `FieldsV1` writes so: whether the path that ends there is in the set, and what is
    /// below.
    pub(crate) fn step_of(&self, text: &str) -> Option<(bool, &Self)> {
        let node = match text.strip_prefix("f:") {
            // Most are fields, which come first: none is made only to be looked up.
            Some(name) => {
                let found = self.nodes.binary_search_by(|(step, _)| match step {
                    Element::Field(known) => (**known).cmp(name),
                    _ => Ordering::Greater,
                });
                &self.nodes.get(found.ok()?)?.1
            }
            None => self.node(&Element::parse(text).ok()??)?,
        };
        Some((node.member, &node.below))
    }
}

/// As `FieldsV1`.
impl Serialize for FieldSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Written { set: self, member: false, steps: 0 }.serialize(serializer)
    }
}

/// A set as it is written below a step that may itself be in it.
struct Written<'a> {
    set: &'a FieldSet,
    member: bool,
    /// How many lead here.
    steps: usize,
}

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.steps > MAX_STEPS {
            return Err(S::Error::custom("the set is nested too deep"));
        }
        let mut map = serializer.serialize_map(None)?;
        if self.member && !self.set.is_empty() {
            map.serialize_entry(".", &Written { set: &FieldSet::default(), member: false, steps: self.steps })?;
        }
        // In the order of their texts: equal sets are equal texts, as a tree of maps would write them.
        let mut nodes: Vec<_> = self.set.nodes.iter().map(|(step, node)| (step.text(), node)).collect();
        nodes.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        for (step, node) in nodes {
            map.serialize_entry(&step, &Written { set: &node.below, member: node.member, steps: self.steps + 1 })?;
        }
        map.end()
    }
}
