//! What a call of a function may cost at most, and how large what it comes to may be: the figures of cel-go and of the
//! Kubernetes libraries. Which rules may be written depends on them, so that none of them may change.

use kube_cel::cel::common::ast::operators;

use super::cost::Node;
use super::declared::Overload;
use super::types::Type;

/// A least and a most: of a cost, or of a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) min: u64,
    pub(super) max: u64,
}

impl Span {
    /// What nothing is known of.
    pub(super) const ANY: Self = Self { min: 0, max: u64::MAX };

    pub(super) const fn of(both: u64) -> Self {
        Self { min: both, max: both }
    }

    pub(super) const fn plus(self, other: Self) -> Self {
        Self { min: self.min.saturating_add(other.min), max: self.max.saturating_add(other.max) }
    }

    pub(super) const fn times(self, other: Self) -> Self {
        Self { min: self.min.saturating_mul(other.min), max: self.max.saturating_mul(other.max) }
    }

    /// So many times as much, rounded up.
    fn scaled(self, factor: f64) -> Self {
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let scaled = |number: u64| (number as f64 * factor).ceil() as u64;
        Self { min: scaled(self.min), max: scaled(self.max) }
    }

    /// The least and the most of two.
    pub(super) fn with(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }
}

/// What is gone through, letter by letter.
const TEXT: f64 = 0.1;
/// A letter of a regular expression.
const PATTERN: f64 = 0.25;
/// What it costs to ask whether somebody may do something.
const QUESTION: u64 = 350_000;
/// The longest pattern of a format, and the longest name of one.
const FORMAT_PATTERN: f64 = 128.0;
const FORMAT_NAME: u64 = 64;

/// What is estimated of a call.
pub(super) struct Estimate {
    /// What it costs, beside its arguments.
    pub(super) cost: Span,
    /// How large what it comes to may be, if that is known.
    pub(super) size: Option<Span>,
    /// Whether it may leave out some of its arguments.
    pub(super) branches: bool,
    /// Whether what it comes to has the items of its last two arguments.
    pub(super) joins: bool,
}

fn sized(cost: Span, size: Option<Span>) -> Estimate {
    Estimate { cost, size, branches: false, joins: false }
}

fn plain(cost: Span) -> Estimate {
    sized(cost, None)
}

type Nodes<'a, 'b, 'c> = &'c [Node<'a, 'b>];

/// What a call of a function may cost in one of its forms.
pub(super) fn of(
    name: &str,
    form: Option<&Overload>,
    target: Option<&Node<'_, '_>>,
    args: Nodes<'_, '_, '_>,
) -> Estimate {
    lists(name, form, target, args)
        .or_else(|| of_texts(name, target, args))
        .or_else(|| of_addresses(name, form, args))
        .or_else(|| of_kubernetes(name, args))
        .or_else(|| of_language(name, form, target, args))
        .unwrap_or_else(|| plain(Span::of(1)))
}

/// A list that is made, each item of which costs something.
fn made(factor: f64, size: Span) -> Estimate {
    sized(size.scaled(factor).plus(Span::of(11)), Some(size))
}

fn lists(
    name: &str,
    form: Option<&Overload>,
    target: Option<&Node<'_, '_>>,
    args: Nodes<'_, '_, '_>,
) -> Option<Estimate> {
    Some(match (name, target, args) {
        ("sets.contains" | "sets.intersects" | "sets.equivalent", _, [one, other]) => {
            let factor = if name == "sets.equivalent" { 2.0 } else { 1.0 };
            plain(one.size().times(other.size()).scaled(factor).plus(Span::of(1)))
        }
        ("slice", Some(list), [start, end]) => {
            let end = end.number_or(list.size().max);
            made(1.0, Span::of(end.wrapping_sub(start.number_or(0))))
        }
        ("lists.range", None, [end]) => made(1.0, Span::of(end.number_or(u64::MAX))),
        ("reverse", Some(list), []) => made(1.0, list.size()),
        ("flatten", Some(list), []) => made(1.0, list.size()),
        #[allow(clippy::cast_precision_loss)]
        ("flatten", Some(list), [depth]) => made(depth.number_or(u64::MAX) as f64, list.size()),
        ("distinct", Some(list), []) => made(2.0, list.size().times(list.size())),
        ("sort", Some(list), []) => sorted(list, takes(form, 0)),
        (super::expand::SORT_BY, Some(_), [keys]) => sorted(keys, takes(form, 1)),
        ("isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf", Some(list), _) => match list.items() {
            Some((true, item)) => plain(list.size().times(item.scaled(TEXT).plus(Span::of(1)))),
            Some((false, _)) => plain(list.size()),
            None => plain(list.size().scaled(TEXT)),
        },
        _ => return None,
    })
}

fn sorted(keys: &Node<'_, '_>, of: Option<&Type<'static>>) -> Estimate {
    let texts = matches!(of, Some(Type::List(of)) if matches!(**of, Type::String | Type::Bytes));
    let factor = if texts { 2.0 + TEXT } else { 2.0 };
    made(factor, keys.size().times(keys.size()))
}

fn of_texts(name: &str, target: Option<&Node<'_, '_>>, args: Nodes<'_, '_, '_>) -> Option<Estimate> {
    Some(match (name, target, args) {
        ("url" | "jsonpatch.escapeKey", _, [text]) => sized(text.size().scaled(TEXT), Some(text.size())),
        ("lowerAscii" | "upperAscii" | "substring" | "trim", Some(text), _) => {
            sized(text.size().scaled(TEXT), Some(text.size()))
        }
        ("replace", Some(text), [old, new, ..]) => {
            let size = replaced(text.size(), old.size(), new.size());
            sized(text.size().scaled(2.0 * TEXT), Some(size))
        }
        ("split", Some(text), _) => {
            #[allow(clippy::cast_sign_loss)] // as upstream takes it
            let max = args.get(1).and_then(Node::number).map_or(text.size().max, |most| most as u64);
            sized(text.size().scaled(2.0 * TEXT), Some(Span { min: 0, max }))
        }
        ("join", Some(list), _) => {
            let mut size = list.items().map_or(Span::of(0), |(_, item)| list.size().times(item));
            if let Some(between) = args.first() {
                let list = list.size();
                let times = Span { min: list.min.saturating_sub(1), max: list.max.saturating_sub(1) };
                size = size.plus(between.size().times(times));
            }
            sized(size.scaled(TEXT), Some(size))
        }
        ("find" | "findAll", Some(text), [pattern, ..]) => {
            sized(searched(text, pattern), Some(Span { min: 0, max: text.size().max }))
        }
        ("quantity" | "isQuantity" | "semver" | "isSemver", _, [text, ..]) => plain(text.size().scaled(TEXT)),
        ("validate", _, [text, ..]) => plain(text.size().scaled(TEXT).scaled(FORMAT_PATTERN * PATTERN)),
        _ => return None,
    })
}

/// A text in which a pattern is looked for.
fn searched(text: &Node<'_, '_>, pattern: &Node<'_, '_>) -> Span {
    text.size().plus(Span::of(1)).scaled(TEXT).times(pattern.size().scaled(PATTERN))
}

/// How long a text may be in which something is replaced.
fn replaced(text: Span, old: Span, new: Span) -> Span {
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let fits = |length: u64, part: u64| (length as f64 / part as f64).ceil() as u64;
    let (mut times, mut kept) = (Span::of(0), Span::of(0));
    if old.min == 0 {
        (times.max, kept.max) = (text.max.saturating_add(1), text.max);
    } else if new.max <= old.min {
        kept.max = text.max;
    } else {
        times.max = fits(text.max, old.min);
    }
    if old.max == 0 {
        (times.min, kept.min) = (text.min.saturating_add(1), text.min);
    } else if old.max <= new.min {
        kept.min = text.min;
    } else {
        times.min = fits(text.min, old.max);
    }
    times.times(new).plus(kept)
}

/// The types of a form's arguments.
fn takes(form: Option<&Overload>, at: usize) -> Option<&Type<'static>> {
    form?.arguments.get(at)
}

fn of_addresses(name: &str, form: Option<&Overload>, args: Nodes<'_, '_, '_>) -> Option<Estimate> {
    const BYTES: Span = Span { min: 4, max: 16 };
    let parsed = |at: usize| args.get(at).map(|text| text.size().scaled(TEXT));
    let text = || if matches!(takes(form, 1), Some(Type::String)) { parsed(0) } else { None };
    Some(plain(match name {
        "ip" if matches!(takes(form, 0), Some(Type::Named("net.CIDR"))) => Span::of(1),
        "cidr" | "isIP" | "isCIDR" | "ip" => parsed(0)?,
        "ip.isCanonical" => args.first()?.size().scaled(2.0 * TEXT),
        "masked"
        | "prefixLength"
        | "family"
        | "isUnspecified"
        | "isLoopback"
        | "isLinkLocalMulticast"
        | "isLinkLocalUnicast"
        | "isGlobalUnicast" => Span::of(1),
        "containsIP" => BYTES.plus(BYTES).scaled(TEXT).plus(text().unwrap_or(Span::of(0))),
        "containsCIDR" => {
            let compared = BYTES.plus(BYTES).scaled(TEXT).plus(BYTES.scaled(TEXT)).plus(Span::of(1));
            compared.plus(text().unwrap_or(Span::of(0)))
        }
        _ => return None,
    }))
}

fn of_kubernetes(name: &str, args: Nodes<'_, '_, '_>) -> Option<Estimate> {
    Some(plain(match (name, args) {
        ("check", _) => Span::of(QUESTION),
        ("fieldSelector" | "labelSelector", [text]) => {
            let parsed = text.size().scaled(TEXT);
            parsed.plus(text.size().scaled(0.5).scaled(50.0)).plus(Span::of(10))
        }
        (operators::EQUALS, [one, other]) => match (&one.of, &other.of) {
            (Type::Named(one), Type::Named(same)) if one == same => match *one {
                "kubernetes.NamedFormat" => Span { min: 1, max: FORMAT_NAME }.scaled(TEXT),
                "kubernetes.URL" => {
                    let most = other.size.map_or(1, |size| size.max);
                    Span { min: 1, max: most }.scaled(TEXT)
                }
                _ => Span::of(1),
            },
            _ => return None,
        },
        _ => return None,
    }))
}

fn of_language(
    name: &str,
    form: Option<&Overload>,
    target: Option<&Node<'_, '_>>,
    args: Nodes<'_, '_, '_>,
) -> Option<Estimate> {
    let text = |at: usize| matches!(takes(form, at), Some(Type::String));
    let bytes = |at: usize| matches!(takes(form, at), Some(Type::Bytes));
    Some(match (name, target, args) {
        ("format", Some(format), _) => plain(format.size().scaled(TEXT)),
        ("bytes", None, [given]) if text(0) => {
            let size = given.size();
            sized(size.scaled(TEXT), Some(Span { min: size.min, max: size.max.wrapping_mul(4) }))
        }
        ("string", None, [given]) if bytes(0) => {
            let size = given.size();
            sized(size.scaled(TEXT), Some(Span { min: size.min / 4, max: size.max }))
        }
        ("strings.quote", _, [given]) => {
            let size = given.size();
            let quoted = Span { min: size.min.wrapping_add(2), max: size.max.wrapping_mul(2).wrapping_add(2) };
            sized(size.scaled(TEXT), Some(quoted))
        }
        ("startsWith" | "endsWith", _, [part]) => plain(part.size().scaled(TEXT)),
        (operators::IN, None, [_, list]) if matches!(takes(form, 1), Some(Type::List(_))) => plain(list.size()),
        ("matches", Some(text), [pattern]) => plain(searched(text, pattern)),
        ("contains", Some(whole), [part]) => plain(whole.size().scaled(TEXT).times(part.size().scaled(TEXT))),
        (operators::LOGICAL_AND | operators::LOGICAL_OR, None, [_, _]) => {
            Estimate { branches: true, ..plain(Span::of(0)) }
        }
        (operators::CONDITIONAL, None, [_, yes, no]) => {
            let size = Some(yes.size.unwrap_or(Span::ANY).with(no.size.unwrap_or(Span::ANY)));
            Estimate { branches: true, joins: true, ..sized(Span::of(0), size) }
        }
        (operators::ADD, None, [one, other]) => {
            let size = one.size.unwrap_or(Span::ANY).plus(other.size.unwrap_or(Span::ANY));
            let cost = match takes(form, 0)? {
                Type::List(_) => Span::of(1),
                Type::String | Type::Bytes => size.scaled(TEXT),
                _ => return None,
            };
            Estimate { joins: true, ..sized(cost, Some(size)) }
        }
        (operators::EQUALS | operators::NOT_EQUALS, None, [one, other]) => plain(compared(one, other)),
        (
            operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS,
            None,
            [one, other],
        ) if text(0) || bytes(0) => plain(compared(one, other)),
        _ => return None,
    })
}

/// Two values that are compared, as far as the smaller one goes.
fn compared(one: &Node<'_, '_>, other: &Node<'_, '_>) -> Span {
    let most = |node: &Node<'_, '_>| node.size.unwrap_or(Span::ANY).max;
    let max = most(one).min(most(other));
    Span { min: u64::from(max > 0), max }.scaled(TEXT)
}
