//! Names of images, as far as the control plane reads them.

/// The tag that an image's name asks for: `latest` when it says neither a tag nor a digest. `None` when it has a digest
/// alone, and when it is no name of an image.
pub(crate) fn tag(image: &str) -> Option<&str> {
    let (rest, digest) = image.split_once('@').map_or((image, None), |(rest, digest)| (rest, Some(digest)));
    if digest.is_some_and(|digest| !is_digest(digest)) {
        return None;
    }
    let last = rest.rfind('/').map_or(0, |at| at + 1);
    let (name, tag) = match rest[last..].find(':') {
        Some(at) => (&rest[..last + at], Some(&rest[last + at + 1..])),
        None => (rest, None),
    };
    if !is_name(name) || tag.is_some_and(|tag| !is_tag(tag)) {
        return None;
    }
    match (tag, digest) {
        (None, None) => Some("latest"),
        (tag, _) => tag,
    }
}

/// `sha256:` and many hexadecimal digits.
fn is_digest(text: &str) -> bool {
    let Some((algorithm, digits)) = text.split_once(':') else { return false };
    let part = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_alphabetic())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    algorithm.split(['-', '_', '+', '.']).all(part)
        && digits.len() >= 32
        && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=128).contains(&text.len())
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

/// A registry, which may be left out, and the path of a repository there.
fn is_name(text: &str) -> bool {
    let is_registry = |part: &str| part.contains(['.', ':']) || part == "localhost" || part.to_lowercase() != part;
    let path = match text.split_once('/') {
        Some((registry, path)) if is_registry(registry) => {
            if !is_host(registry) {
                return false;
            }
            path
        }
        _ => text,
    };
    let is_id = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    // A plain name is one of a library that has a name of its own.
    let length = path.len() + if path.contains('/') || path.len() < text.len() { 0 } else { "library/".len() };
    !is_id && length <= 255 && path.split('/').all(is_component)
}

fn is_host(text: &str) -> bool {
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let label = |label: &str| {
        let ends = [label.bytes().next(), label.bytes().last()];
        ends.iter().all(|end| end.is_some_and(|end| end.is_ascii_alphanumeric()))
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    host.split('.').all(label)
        && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Small letters and digits, in groups that a dot, one or two underscores, or hyphens stand between.
fn is_component(text: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let ends = [text.chars().next(), text.chars().last()];
    ends.iter().all(|end| end.is_some_and(plain))
        && text
            .split(plain)
            .filter(|between| !between.is_empty())
            .all(|between| matches!(between, "." | "_" | "__") || between.bytes().all(|byte| byte == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_says_no_tag_asks_for_the_latest_and_what_is_no_name_asks_for_nothing() {
        for latest in ["nginx", "host.example:5000/a/b", "a_b__c-d.e", "Host/x"] {
            assert_eq!(tag(latest), Some("latest"), "{latest}");
        }
        assert_eq!(tag("a/b:1.2"), Some("1.2"));
        let digest = format!("nginx@sha256:{}", "0".repeat(64));
        assert_eq!(tag(&digest), None);
        for none in ["", "..", "a..b", "Bad", "a/B", " a", "/a", "a:", "a:-x", "a@b", "a//b", &"a".repeat(64)] {
            assert_eq!(tag(none), None, "{none}");
        }
    }
}
