//! What is wrong with a text that is not YAML, in the words of upstream's reader.

/// Says in upstream's words what our reader said of a text: `… at line L, column C`. What has no such words is told as
/// it is.
pub(super) fn told(fault: &str, text: &[u8]) -> String {
    let as_it_is = || fault.to_owned();
    let Some((why, place)) = fault.rsplit_once(" at line ") else { return as_it_is() };
    let place = place.split_once(", column ");
    let place = place.map(|(line, column)| (line.parse::<usize>(), column.parse::<usize>()));
    let Some((Ok(line), Ok(column))) = place else { return as_it_is() };
    let before = line.saturating_sub(1);
    let short = match why.strip_prefix("while ").and_then(|why| why.split_once(", ")) {
        Some((_, short)) => short,
        None => why,
    };
    let lines = text.iter().filter(|byte| **byte == b'\n').count();
    let is_parsed = why.starts_with("while parsing") && !why.contains("quoted");
    match short {
        "mapping values are not allowed in this context"
        | "block sequence entries are not allowed in this context"
        | "found unknown escape character" => scanned(line, short),
        _ if short.starts_with("tabs disallowed") || short.starts_with("unexpected character") => {
            scanned(line, NO_TOKEN)
        }
        "found a tab" => scanned(line + 1, "found a tab character that violates indentation"),
        "a block scalar content cannot start with a tab" => {
            scanned(line + 1, "found a tab character where an indentation space is expected")
        }
        "simple key expected ':'" => scanned(line + 1, "could not find expected ':'"),
        "unclosed quote" => scanned(lines + 1, "found unexpected end of stream"),
        "alias references unknown anchor" => unknown_anchor(text, line, column).unwrap_or_else(as_it_is),
        "misplaced bracket" => parsed(before, NO_CONTENT),
        _ if short.starts_with("invalid trailing content after") => parsed(before, "did not find expected key"),
        _ if short.starts_with("unclosed bracket") => {
            let end = lines + usize::from(!text.ends_with(b"\n"));
            let what = match text.trim_ascii_end().last() {
                Some(b'{' | b'[' | b',') => NO_CONTENT,
                _ if short.contains('{') => "did not find expected ',' or '}'",
                _ => "did not find expected ',' or ']'",
            };
            parsed(end, what)
        }
        _ if is_parsed => parsed(before, short),
        _ if why.starts_with("while scanning") => scanned(line, short),
        _ => as_it_is(),
    }
}

/// What stands at the beginning of a text, and begins nothing: a tab.
pub(super) fn begins_with_tab(text: &[u8]) -> Option<String> {
    let begin = text.iter().position(|byte| !matches!(byte, b' ' | b'\n' | b'\r'))?;
    let line = 1 + text.iter().take(begin).filter(|byte| **byte == b'\n').count();
    (text.get(begin) == Some(&b'\t')).then(|| scanned(line, NO_TOKEN))
}

const NO_TOKEN: &str = "found character that cannot start any token";
const NO_CONTENT: &str = "did not find expected node content";

/// Its scanner counts lines from one, and says nothing of the first.
fn scanned(line: usize, why: &str) -> String {
    if line > 1 { format!("line {line}: {why}") } else { why.to_owned() }
}

/// Its parser counts them from nought.
fn parsed(line: usize, why: &str) -> String {
    if line > 0 { format!("line {line}: {why}") } else { why.to_owned() }
}

fn unknown_anchor(text: &[u8], line: usize, column: usize) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    let rest: String = text.lines().nth(line.checked_sub(1)?)?.chars().skip(column.checked_sub(1)?).collect();
    let name = rest.strip_prefix('*')?;
    let end = name.find(|letter: char| !(letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-')));
    Some(format!("unknown anchor '{}' referenced", name.get(..end.unwrap_or(name.len()))?))
}

#[cfg(test)]
mod tests {
    use crate::media::yaml;

    #[test]
    fn what_is_no_yaml_is_told_as_upstream() {
        for (text, why) in [
            ("a:\n\tb: c\n", "line 2: found character that cannot start any token"),
            ("\ta: b\n", "found character that cannot start any token"),
            ("\t{}", "found character that cannot start any token"),
            ("a: @x\n", "found character that cannot start any token"),
            ("a: b: c\n", "mapping values are not allowed in this context"),
            ("a: b\n  c: d\n", "line 2: mapping values are not allowed in this context"),
            ("a: {b: c\n", "line 1: did not find expected ',' or '}'"),
            ("a: [1,", "line 1: did not find expected node content"),
            ("a:\n  b\nc: d\n e: f\n", "line 4: mapping values are not allowed in this context"),
            ("a:\n  b: c\n d\n", "line 2: did not find expected key"),
            ("a:\n  b: c\n  d\n  e: f\n", "line 4: could not find expected ':'"),
            ("a: 'b\n", "line 2: found unexpected end of stream"),
            ("a: b\n- c\n", "line 1: did not find expected key"),
            ("a: \"b\" c\n", "did not find expected key"),
            ("a: *b\n", "unknown anchor 'b' referenced"),
            ("a: \"\\q\"\n", "found unknown escape character"),
        ] {
            let fault = yaml::parse(text.as_bytes()).expect_err(text).to_string();
            assert_eq!(fault, format!("error converting YAML to JSON: yaml: {why}"), "{text:?}");
        }
    }
}
