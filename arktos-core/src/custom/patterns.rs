//! The patterns of a schema: read as upstream's engine reads them, each compiled once for a definition, when it is
//! first asked for.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use regex_automata::meta::Regex;

use crate::cel::{SIZE_MAX, built};

/// How many bytes of a compiled pattern are a step for each letter of a text.
const STEP: usize = 4 << 10;
/// How large all patterns of a definition may be together.
const ALL_MAX: usize = 8 << 20;
/// How often one may name a class of Unicode, which has hundreds of ranges.
const CLASSES_MAX: usize = 16;
/// What a pattern may keep of what it has found out about texts, in bytes.
const LEARNT_MAX: usize = 64 << 10;

/// Why a pattern is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It cannot be read.
    Unreadable,
    /// Compiled, it is too large.
    TooLarge,
    /// With those before it, it is too large.
    TooLargeTogether,
}

/// A pattern.
#[derive(Debug)]
pub(super) struct Pattern {
    text: Box<str>,
    compiled: OnceLock<Result<(Regex, usize), Unfit>>,
}

impl Pattern {
    /// As the schema writes it.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether a text is as it says. No text fits one that cannot be compiled.
    pub(super) fn fits(&self, text: &str) -> bool {
        self.compiled().is_ok_and(|(regex, _)| regex.is_match(text))
    }

    /// How many steps it may take to tell whether a text fits.
    pub(super) fn steps(&self, text: &str) -> usize {
        self.compiled().map_or(0, |(_, size)| text.len().saturating_mul(size.div_ceil(STEP)))
    }

    fn compiled(&self) -> Result<&(Regex, usize), Unfit> {
        self.compiled.get_or_init(|| compile(&self.text)).as_ref().map_err(|unfit| *unfit)
    }
}

fn compile(text: &str) -> Result<(Regex, usize), Unfit> {
    if text.matches(r"\p").count() + text.matches(r"\P").count() > CLASSES_MAX {
        return Err(Unfit::TooLarge);
    }
    match built(text, LEARNT_MAX) {
        Ok(regex) => {
            let size = regex.memory_usage();
            Ok((regex, size))
        }
        Err(why) if why.size_limit().is_some() => Err(Unfit::TooLarge),
        Err(_) => Err(Unfit::Unreadable),
    }
}

/// The patterns of a definition.
#[derive(Default)]
pub(super) struct Patterns {
    known: RefCell<HashMap<Box<str>, Arc<Pattern>>>,
    /// Those that were not weighed yet.
    new: RefCell<Vec<Arc<Pattern>>>,
    /// What those that were weighed have together.
    all: Cell<usize>,
}

impl Patterns {
    /// A pattern, which is not compiled yet.
    pub(super) fn get(&self, text: &str) -> Arc<Pattern> {
        let mut known = self.known.borrow_mut();
        if let Some(pattern) = known.get(text) {
            return pattern.clone();
        }
        let pattern = Arc::new(Pattern { text: text.into(), compiled: OnceLock::new() });
        known.insert(text.into(), pattern.clone());
        self.new.borrow_mut().push(pattern.clone());
        pattern
    }

    /// Compiles all that are known, as long as they are not too large together. Those that are refused count, too.
    pub(super) fn weigh(&self) {
        for pattern in self.new.take() {
            if self.all.get() >= ALL_MAX {
                let _ = pattern.compiled.set(Err(Unfit::TooLargeTogether));
                continue;
            }
            let size = match pattern.compiled() {
                Ok((_, size)) => *size,
                Err(Unfit::Unreadable) => 0,
                Err(_) => SIZE_MAX,
            };
            self.all.set(self.all.get() + size);
        }
    }

    /// Whether a pattern may be taken.
    ///
    /// # Errors
    /// [`Unfit`].
    pub(super) fn check(&self, text: &str) -> Result<(), Unfit> {
        let pattern = self.get(text);
        self.weigh();
        pattern.compiled().map(|_| ())
    }
}

/// What is wrong with a pattern, in the words of the library that upstream has, as far as it is one of the usual
/// faults.
pub(super) fn regex_fault(pattern: &str) -> String {
    let begin = "error parsing regexp: ";
    let odd = ["(?=", "(?!", "(?<=", "(?<!"].into_iter().find(|odd| pattern.contains(odd));
    if let Some(odd) = odd {
        return format!("{begin}invalid or unsupported Perl syntax: `{}`", &odd[..3]);
    }
    let (mut depth, mut class, mut escaped) = (0_i32, None, false);
    for (at, letter) in pattern.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '[' if class.is_none() => class = Some(at),
            ']' if class.is_some_and(|begin| at > begin + 1) => class = None,
            '(' if class.is_none() => depth += 1,
            ')' if class.is_none() => depth -= 1,
            '*' | '+' | '?' if at == 0 => {
                return format!("{begin}missing argument to repetition operator: `{letter}`");
            }
            _ => {}
        }
        if depth < 0 {
            return format!("{begin}unexpected ): `{pattern}`");
        }
    }
    match class {
        Some(at) => format!("{begin}missing closing ]: `{}`", pattern.get(at..).unwrap_or_default()),
        None if escaped => format!("{begin}trailing backslash at end of expression: ``"),
        None if depth > 0 => format!("{begin}missing closing ): `{pattern}`"),
        None => format!("{begin}invalid escape sequence: `{pattern}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_read_as_upstream_reads_them() {
        let patterns = Patterns::default();
        for (pattern, text, fits) in [
            (r"^\d+$", "12", true),
            (r"^\d+$", "\u{661}\u{662}", false),
            (r"^\w+$", "\u{e9}", false),
            (r"^[[a]+$", "[a[", true),
            ("(", "(", false),
        ] {
            assert_eq!(patterns.get(pattern).fits(text), fits, "{pattern} {text}");
        }
        assert_eq!(patterns.check("("), Err(Unfit::Unreadable));
        assert!(Arc::ptr_eq(&patterns.get("a"), &patterns.get("a")));
    }

    #[test]
    fn patterns_are_as_large_as_people_write_them_and_not_much_larger() {
        let patterns = Patterns::default();
        for pattern in [
            r"^.{1,253}$",
            r"^.{1,1000}$",
            r"^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\.){1,8}[a-z]{2,63}$",
            r"^((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(/\d+)?$",
            r"^([\p{L}\p{Z}\p{N}_.:/=+\-@]*)$",
            "^(a+)+$",
        ] {
            assert_eq!(patterns.check(pattern), Ok(()), "{pattern}");
        }
        for pattern in [r"(\pL{60}){3}", r"(\pL{60}){14}", "((a{1,1000}){1,1000}){1,1000}", &r"(?i)\pL?".repeat(20)] {
            assert_eq!(patterns.check(pattern), Err(Unfit::TooLarge), "{pattern}");
        }
    }

    #[test]
    fn the_patterns_of_a_definition_are_bounded_together() {
        let patterns = Patterns::default();
        let check = |at: usize| patterns.check(&format!("^(x{at}|.{{1,120}})$"));
        let fitting = (0..1000).take_while(|at| check(*at).is_ok()).count();
        assert!((8..200).contains(&fitting), "{fitting}");
        assert_eq!(check(fitting + 1), Err(Unfit::TooLargeTogether));
        assert_eq!(check(0), Ok(()), "what was taken stays so");
        assert!(patterns.get("new").compiled.get().is_none(), "what nobody has asked for is not compiled");
    }
}
