//! How deep an expression nests, told from its text: whoever reads or walks a tree goes down as far as it is deep,
//! and a stack ends.
//!
//! It is an upper bound. Within brackets, operators are counted by how tightly they bind, and forgotten when one
//! comes that binds less:
//!
//! ```text
//!  a.b.c == 1 && x + y + z > 2        deepest at `c`:  two selections
//!                                     at `> 2`:  one `&&`, two `+`, one `>`
//! ```

/// How tightly operators bind, the loosest first: `? :`, `||`, `&&`, comparisons, sums, products, signs, selections.
const CLASSES: usize = 8;
/// What a bracket adds, beside an operator's one: readers go down through every class for it.
const BRACKET: usize = 8;
/// What a `?` or a `:` adds: a choice is read as a whole expression, as brackets are. The parser ends at 96 of those,
/// and counts badly there.
const CHOICE: usize = BRACKET / 2;
/// The deepest that is read.
pub(super) const MOST: usize = 512;

/// What is said of one that is deeper, in cel-go's words.
pub(crate) const TOO_DEEP: &str = "expression recursion limit exceeded";

/// Whether an expression is too deep to be read.
pub(crate) fn is_too_deep(source: &str) -> bool {
    of(source) > MOST
}

/// How deep an expression is; of one that is too deep, more than may be.
pub(super) fn of(source: &str) -> usize {
    let mut deepest = 0;
    let mut levels = vec![[0_usize; CLASSES]];
    let text = source.as_bytes();
    let mut at = 0;
    let mut operand = false; // whether an operand has just ended, so that `-` is a difference and no sign
    while at < text.len() {
        let two = &text[at..text.len().min(at + 2)];
        let class = match text[at] {
            quote @ (b'"' | b'\'') => {
                // Where a string ends that is broken, the parser knows alone, and so how deep the rest is.
                let Some(end) = after_string(text, at, quote) else { return text.len().max(deepest) };
                at = end;
                operand = true;
                continue;
            }
            b'/' if two == b"//" => {
                at += text[at..].iter().position(|byte| *byte == b'\n').unwrap_or(text.len() - at);
                continue;
            }
            b'(' | b'[' | b'{' => {
                levels.push([0; CLASSES]);
                operand = false;
                None
            }
            b')' | b']' | b'}' => {
                if levels.len() > 1 {
                    levels.pop();
                }
                operand = true;
                // What has been in brackets is called, indexed or made: one step more of a chain of selections.
                Some(7)
            }
            b',' => {
                levels.last_mut().into_iter().for_each(|level| *level = [0; CLASSES]);
                operand = false;
                None
            }
            b'?' | b':' => Some(0),
            b'|' if two == b"||" => Some(1),
            b'&' if two == b"&&" => Some(2),
            b'!' if two == b"!=" => Some(3),
            b'=' | b'<' | b'>' => Some(3),
            b'i' if !operand_goes_on(text, at) && two == b"in" => Some(3),
            b'+' => Some(4),
            b'-' if operand => Some(4),
            b'*' | b'/' | b'%' => Some(5),
            b'!' | b'-' => Some(6),
            b'.' => Some(7),
            byte => {
                operand |= !byte.is_ascii_whitespace();
                None
            }
        };
        if let (Some(class), Some(level)) = (class, levels.last_mut()) {
            level[class] += if class == 0 { CHOICE } else { 1 };
            level[class + 1..].fill(0);
            operand = operand && class == 7;
            at += usize::from(matches!(two, b"||" | b"&&" | b"!=" | b"==" | b"<=" | b">=" | b"in"));
        }
        let depth: usize = levels.iter().map(|level| BRACKET + level.iter().sum::<usize>()).sum();
        deepest = deepest.max(depth);
        if depth > MOST {
            return depth;
        }
        at += 1;
    }
    deepest
}

/// Whether what begins here goes on a name that began before.
fn operand_goes_on(text: &[u8], at: usize) -> bool {
    let name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    at.checked_sub(1).and_then(|before| text.get(before)).is_some_and(name) || text.get(at + 2).is_some_and(name)
}

/// Where the text goes on after a string that begins here; none where it does not end as strings do.
fn after_string(text: &[u8], at: usize, quote: u8) -> Option<usize> {
    let triple = [quote; 3];
    let (start, end): (usize, &[u8]) =
        if text[at..].starts_with(&triple) { (at + 3, &triple) } else { (at + 1, &triple[..1]) };
    let before = |back: usize| at.checked_sub(back).map_or(b' ', |before| text[before]);
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let in_bytes = |byte: u8| matches!(byte, b'b' | b'B');
    let raw = matches!(before(1), b'r' | b'R') && (!in_name(before(2)) || in_bytes(before(2)) && !in_name(before(3)));
    let mut at = start;
    while !text.get(at..)?.starts_with(end) {
        at += match text.get(at)? {
            b'\n' | b'\r' if end.len() == 1 => return None,
            b'\\' if !raw => escape(&text[at..])?,
            _ => 1,
        };
    }
    Some(at + end.len())
}

/// How long an escape is, if it is one.
fn escape(text: &[u8]) -> Option<usize> {
    let length = match *text.get(1)? {
        b'a' | b'b' | b'f' | b'n' | b'r' | b't' | b'v' | b'"' | b'\'' | b'\\' | b'?' | b'`' => return Some(2),
        b'x' | b'X' => 4,
        b'u' => 6,
        b'U' => 10,
        b'0'..=b'3' => return text.get(2..4)?.iter().all(|one| (b'0'..=b'7').contains(one)).then_some(4),
        _ => return None,
    };
    text.get(2..length)?.iter().all(u8::is_ascii_hexdigit).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_not_too_deep() {
        let long =
            ["object.spec.containers.all(c, c.image.startsWith('a/') && c.resources.limits['cpu'] != null)"; 200];
        assert!(!is_too_deep(&long.join(" && ")));
        let listed = ["'((((((((((' + \"]]]]\" + r'\\' + x.y.z"; 300];
        assert!(!is_too_deep(&format!("[{}]", listed.join(", "))));
        assert!(!is_too_deep("a ? b : (c ? d : -e - -f) // ((((((((((((((((((((((((((((((((((((((("));
    }

    #[test]
    fn a_string_that_is_broken_hides_nothing() {
        let deep = format!("a{}", ".a".repeat(32_000));
        for begin in ["'\n", "'\\q", "[bar'\\'', ", "'\\", "\"\n", "r'\n", "'''\\q''' + "] {
            assert!(is_too_deep(&format!("{begin}{deep}")), "{begin}");
        }
        for fine in ["r'\\' + 'a'", "br'\\d' == b", "'\\x41\\u00e9\\'' + '''a\nb'''"] {
            assert!(!is_too_deep(&format!("{fine}{}", " ".repeat(MOST))), "{fine}");
        }
    }

    #[test]
    fn what_would_take_a_stack_to_its_end_is_and_what_is_not_can_be_read_on_a_small_one() {
        type Make = fn(usize) -> String;
        let made: [(&str, Make); 9] = [
            ("brackets", |many| format!("{}true{}", "(".repeat(many), ")".repeat(many))),
            ("lists", |many| format!("{}1{} == []", "[".repeat(many), "]".repeat(many))),
            ("calls", |many| format!("{}1{} > 0", "size(".repeat(many), ")".repeat(many))),
            ("not", |many| format!("{}true", "!".repeat(many))),
            ("sign", |many| format!("{}1 > 0", "-".repeat(many))),
            ("and", |many| format!("true{}", " && true".repeat(many))),
            ("sum", |many| format!("1{} > 0", " + 1".repeat(many))),
            ("choice", |many| format!("true{}", " ? true : true".repeat(many))),
            ("selection", |many| format!("object{} == 1", ".a".repeat(many))),
        ];
        for (name, make) in made {
            assert!(is_too_deep(&make(10_000)), "{name}");
            let most = (1..10_000).take_while(|many| !is_too_deep(&make(*many))).last().expect("some are read");
            let source = make(most);
            let small = std::thread::Builder::new().stack_size(1 << 20);
            let read = small.spawn(move || {
                let scope = super::super::Scope::default();
                drop(super::super::Expression::compile(&source, &["object"]).map(|known| known.evaluate(&scope)));
            });
            assert!(read.expect("a thread").join().is_ok(), "{name}");
        }
    }
}
