//! URLs, read as upstream's reader does, with its words for what is wrong.

use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::media::go_quoted;

/// What a URL says, as far as anybody asks.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) scheme: String,
    /// As it would be written again.
    pub(super) user: Option<String>,
    pub(super) host: String,
    pub(super) query: String,
    pub(super) fragment: String,
}

/// The part of a URL that a text stands in: each takes other characters.
#[derive(Clone, Copy)]
enum Part {
    User,
    Host,
    Zone,
    Rest,
}

/// Reads a URL.
pub(super) fn parse(text: &str) -> Result<Url, String> {
    let (before, fragment) = text.split_once('#').unwrap_or((text, ""));
    let mut url = parse_before(before).map_err(|why| told(before, &why))?;
    let fragment = unescape(fragment, Part::Rest).map_err(|why| told(text, &why))?;
    url.fragment = fragment;
    Ok(url)
}

fn told(text: &str, why: &str) -> String {
    format!("parse {}: {why}", go_quoted(text))
}

/// Reads a URL without its fragment.
fn parse_before(text: &str) -> Result<Url, String> {
    if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return Err("net/url: invalid control character in URL".to_owned());
    }
    let mut url = Url::default();
    if text == "*" {
        return Ok(url);
    }
    let (scheme, rest) = split_scheme(text)?;
    url.scheme = scheme.to_ascii_lowercase();
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    url.query = query.to_owned();
    if !rest.starts_with('/') {
        if !scheme.is_empty() {
            return Ok(url);
        }
        if rest.split('/').next().is_some_and(|first| first.contains(':')) {
            return Err("first path segment in URL cannot contain colon".to_owned());
        }
    }
    let mut path = rest;
    if let Some(after) = rest.strip_prefix("//").filter(|after| !scheme.is_empty() || !after.starts_with('/')) {
        let (authority, below) = after.split_at(after.find('/').unwrap_or(after.len()));
        (url.user, url.host) = read_authority(authority)?;
        path = below;
    }
    unescape(path, Part::Rest)?;
    Ok(url)
}

/// What comes before the first colon, if it can be a scheme, and the rest.
fn split_scheme(text: &str) -> Result<(&str, &str), String> {
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at == 0 => return Err("missing protocol scheme".to_owned()),
            b':' => return Ok((&text[..at], &text[at + 1..])),
            _ => break,
        }
    }
    Ok(("", text))
}

/// The user and the host of an authority.
fn read_authority(text: &str) -> Result<(Option<String>, String), String> {
    let Some((user, host)) = text.rsplit_once('@') else { return Ok((None, read_host(text)?)) };
    let host = read_host(host)?;
    let taken = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte);
    if !user.bytes().all(taken) {
        return Err("net/url: invalid userinfo".to_owned());
    }
    let (name, password) = user.split_once(':').map_or((user, None), |(name, password)| (name, Some(password)));
    let mut shown = escape(&unescape_bytes(name, Part::User)?);
    if let Some(password) = password {
        shown.push(':');
        shown.push_str(&escape(&unescape_bytes(password, Part::User)?));
    }
    Ok((Some(shown), host))
}

fn read_host(text: &str) -> Result<String, String> {
    let bad_literal = || "invalid IP-literal".to_owned();
    match text.rfind('[') {
        None => {
            check_port(&text[text.find(':').unwrap_or(text.len())..])?;
            unescape(text, Part::Host)
        }
        Some(0) => {
            let end = text.rfind(']').ok_or("missing ']' in host")?;
            let (name, port) = (&text[1..end], &text[end + 1..]);
            check_port(port)?;
            let (address, zone) = name.split_at(name.find("%25").unwrap_or(name.len()));
            let (address, zone) = (unescape(address, Part::Host)?, unescape(zone, Part::Zone)?);
            if Ipv6Addr::from_str(&address).is_ok() {
                return Ok(format!("[{address}{zone}]{port}"));
            }
            if std::net::Ipv4Addr::from_str(&address).is_ok() {
                return Err(bad_literal());
            }
            let shown = go_quoted(&format!("{address}{zone}"));
            Err(format!("invalid host: ParseAddr({shown}): unable to parse IP"))
        }
        Some(_) => Err(bad_literal()),
    }
}

/// What stands after a host is nothing, or a colon and digits.
fn check_port(text: &str) -> Result<(), String> {
    let digits = text.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    if text.is_empty() || digits {
        return Ok(());
    }
    Err(format!("invalid port {} after host", go_quoted(text)))
}

fn unescape(text: &str, part: Part) -> Result<String, String> {
    unescape_bytes(text, part).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The bytes that a text stands for.
fn unescape_bytes(text: &str, part: Part) -> Result<Vec<u8>, String> {
    let in_host = matches!(part, Part::Host | Part::Zone);
    let bytes = text.as_bytes();
    let (mut at, mut found) = (0, Vec::with_capacity(bytes.len()));
    while let Some(&byte) = bytes.get(at) {
        if byte == b'%' {
            let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
            let value = digit(at + 1).zip(digit(at + 2)).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
            let value = value.filter(|value| is_escaped_rightly(*value, part));
            let Some(value) = value else {
                let written = String::from_utf8_lossy(&bytes[at..bytes.len().min(at + 3)]).into_owned();
                return Err(format!("invalid URL escape {}", go_quoted(&written)));
            };
            found.push(value);
            at += 3;
            continue;
        }
        if in_host && byte.is_ascii() && !byte.is_ascii_alphanumeric() && !b"-_.~!$&'()*+,;=:[]<>\"".contains(&byte) {
            let shown = go_quoted(&char::from(byte).to_string());
            return Err(format!("invalid character {shown} in host name"));
        }
        found.push(byte);
        at += 1;
    }
    Ok(found)
}

/// Whether a byte may be escaped where it stands: in hosts, letters may not.
fn is_escaped_rightly(value: u8, part: Part) -> bool {
    match part {
        Part::Host => !value.is_ascii() || value == b'%',
        Part::Zone => value.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:[]<>\"% ".contains(&value),
        Part::User | Part::Rest => true,
    }
}

/// A name or a password as it is written in a URL.
fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-_.~$&+,;=".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_url_is_told_as_upstream() {
        for (url, why) in [
            (":x", "missing protocol scheme"),
            ("1a:b", "first path segment in URL cannot contain colon"),
            ("https://a b", r#"invalid character " " in host name"#),
            (r"https://a\b", r#"invalid character "\\" in host name"#),
            ("https://a%zz", r#"invalid URL escape "%zz""#),
            ("https://a%41b", r#"invalid URL escape "%41""#),
            ("https://a/%4", r#"invalid URL escape "%4""#),
            ("https://a:b:80", r#"invalid port ":b:80" after host"#),
            ("https://[::1", "missing ']' in host"),
            ("https://[::1]x", r#"invalid port "x" after host"#),
            ("https://a[b]", "invalid IP-literal"),
            ("https://[1.2.3.4]", "invalid IP-literal"),
            ("https://[x]", r#"invalid host: ParseAddr("x"): unable to parse IP"#),
            ("https://u p@a", "net/url: invalid userinfo"),
            ("https://a\u{7f}", "net/url: invalid control character in URL"),
        ] {
            assert_eq!(parse(url), Err(format!("parse {}: {why}", go_quoted(url))), "{url}");
        }
    }

    #[test]
    fn the_parts_of_a_url_are_found_as_upstream() {
        let host = |url: &str| parse(url).map(|url| (url.scheme, url.host));
        let is = |scheme: &str, host: &str| Ok((scheme.to_owned(), host.to_owned()));
        assert_eq!(host("//host/p"), is("", "host"));
        assert_eq!(host("///x"), is("", ""));
        assert_eq!(host("HTTPS://a:80"), is("https", "a:80"));
        assert_eq!(host("https:x"), is("https", ""));
        assert_eq!(host("https://[::1]:80"), is("https", "[::1]:80"));
        let user = |url: &str| parse(url).ok().and_then(|url| url.user);
        assert_eq!(user("https://u:p:q@a").as_deref(), Some("u:p%3Aq"));
        assert_eq!(user("https://a@b@c").as_deref(), Some("a%40b"));
        assert_eq!(user("https://%41@a").as_deref(), Some("A"));
        let rest = parse("https://a?q?r#f#g").map(|url| (url.query, url.fragment));
        assert_eq!(rest, Ok(("q?r".to_owned(), "f#g".to_owned())));
    }
}
