//! IP addresses and ranges of them: which texts are one, in fields that have always been there and in new ones, and
//! what is warned of.

use std::net::IpAddr;

/// An address; also one that has zeros in front of its numbers, as old fields may still hold.
#[must_use]
pub fn parse_ip(text: &str) -> Option<IpAddr> {
    let split = text.rfind(':').map_or(0, |at| at + 1);
    let (head, tail) = text.split_at(split);
    if !tail.contains('.') {
        return text.parse().ok();
    }
    format!("{head}{}", without_zeros(tail)).parse().ok()
}

fn without_zeros(dotted: &str) -> String {
    let numbers = dotted.split('.').map(|number| match number.trim_start_matches('0') {
        "" if !number.is_empty() => "0",
        rest => rest,
    });
    numbers.collect::<Vec<_>>().join(".")
}

/// A range, as loosely: its address, and how many bits of it count.
#[must_use]
pub fn parse_cidr(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = text.split_once('/')?;
    let address = parse_ip(address)?;
    let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    let length: u8 = length.parse().ok().filter(|_| digits)?;
    (length <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, length))
}

/// As messages show an address.
fn shown(address: IpAddr) -> String {
    address.to_canonical().to_string()
}

fn is_mapped(address: IpAddr) -> bool {
    address.is_ipv6() && address.to_canonical().is_ipv4()
}

fn masked((address, length): (IpAddr, u8)) -> IpAddr {
    let free = |bits: u32| bits.saturating_sub(u32::from(length));
    match address {
        IpAddr::V4(address) => IpAddr::V4((address.to_bits() & u32::MAX.checked_shl(free(32)).unwrap_or(0)).into()),
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & u128::MAX.checked_shl(free(128)).unwrap_or(0)).into()),
    }
}

fn shown_range(range: (IpAddr, u8)) -> String {
    format!("{}/{}", masked(range), range.1)
}

/// Why a text is not an IP address, for fields that have always been there.
pub(super) fn ip_faults(text: &str) -> Vec<String> {
    if parse_ip(text).is_none() {
        return vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()];
    }
    match text.parse::<IpAddr>() {
        Err(_) => vec!["must not have leading 0s".to_owned()],
        Ok(address) if is_mapped(address) => vec!["must not be an IPv4-mapped IPv6 address".to_owned()],
        Ok(_) => Vec::new(),
    }
}

/// Why a text is not an IP address in its one form, for new fields.
pub(super) fn canonical_ip_faults(text: &str) -> Vec<String> {
    let faults = ip_faults(text);
    match text.parse::<IpAddr>() {
        Ok(address) if faults.is_empty() && shown(address) != text => {
            vec![format!("must be in canonical form (\"{}\")", shown(address))]
        }
        _ => faults,
    }
}

/// Why a text is not the address of an interface: an address with the length of its network.
pub(super) fn interface_faults(text: &str) -> Vec<String> {
    let parts = text.split_once('/').map(|(address, length)| (address, length.parse::<u8>().ok()));
    let wrong = || vec!["must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)".to_owned()];
    let Some((address, Some(length))) = parts.filter(|_| parse_cidr(text).is_some()) else { return wrong() };
    let Some(address) = parse_ip(address) else { return wrong() };
    let (address, length) = match address {
        IpAddr::V6(whole) => match whole.to_ipv4_mapped() {
            Some(mapped) if length >= 96 => (IpAddr::V4(mapped), length - 96),
            _ => (address, length),
        },
        IpAddr::V4(_) => (address, length),
    };
    let canonical = format!("{address}/{length}");
    if text == canonical { Vec::new() } else { vec![format!("must be in canonical form ({canonical:?})")] }
}

/// Why a text is not a range of IP addresses, for fields that have always been there.
pub(super) fn cidr_faults(text: &str) -> Vec<String> {
    let Some(range) = parse_cidr(text) else {
        return vec!["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".to_owned()];
    };
    let (address, length) = text.split_once('/').unwrap_or_default();
    let padded = length.len() > 1 && length.starts_with('0');
    let why = match address.parse::<IpAddr>() {
        Err(_) => "must not have leading 0s in IP or prefix length",
        Ok(_) if padded => "must not have leading 0s in IP or prefix length",
        Ok(address) if is_mapped(address) => "must not have an IPv4-mapped IPv6 address",
        Ok(address) if masked(range) != address => "must not have bits set beyond the prefix length",
        Ok(_) => return Vec::new(),
    };
    vec![why.to_owned()]
}

/// Why a text is not a range of IP addresses in its one form, for new fields.
pub(super) fn canonical_cidr_faults(text: &str) -> Vec<String> {
    let faults = cidr_faults(text);
    match parse_cidr(text).map(shown_range) {
        Some(canonical) if faults.is_empty() && canonical != text => {
            vec![format!("must be in canonical form (\"{canonical}\")")]
        }
        _ => faults,
    }
}

/// What a client is warned of whose address is none in its usual form.
#[must_use]
pub fn ip_warning(at: &str, text: &str) -> Option<String> {
    let loose = parse_ip(text)?;
    match text.parse::<IpAddr>() {
        Ok(address) if !is_mapped(address) => {
            let canonical = address.to_string();
            (address.is_ipv6() && canonical != text).then(|| {
                format!("{at}: IPv6 address \"{text}\" should be in RFC 5952 canonical format (\"{canonical}\")")
            })
        }
        _ => Some(format!("{at}: non-standard IP address \"{text}\" is invalid: use \"{}\"", shown(loose))),
    }
}

/// What a client is warned of whose range is none in its usual form.
#[must_use]
pub fn cidr_warnings(at: &str, text: &str) -> Vec<String> {
    let Some(range) = parse_cidr(text) else { return Vec::new() };
    let (canonical, mut warnings) = (shown_range(range), Vec::new());
    if masked(range) != range.0 {
        let alone = format!("{}/{}", range.0, if range.0.is_ipv4() { 32 } else { 128 });
        warnings.push(format!(
            "{at}: CIDR value \"{text}\" is ambiguous in this context (should be \"{canonical}\" or \"{alone}\"?)"
        ));
    }
    let strict = text.split_once('/').is_some_and(|(address, length)| {
        address.parse::<IpAddr>().is_ok_and(|address| !is_mapped(address))
            && !(length.len() > 1 && length.starts_with('0'))
    });
    if !strict {
        warnings.push(format!("{at}: non-standard CIDR value \"{text}\" is invalid: use \"{canonical}\""));
    }
    if warnings.is_empty() && range.0.is_ipv6() && canonical != text {
        warnings
            .push(format!("{at}: IPv6 CIDR value \"{text}\" should be in RFC 5952 canonical format (\"{canonical}\")"));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_fields_say_what_is_odd_of_an_address_and_new_ones_want_its_one_form() {
        for (text, old, new) in [
            ("10.0.0.1", "", ""),
            ("10.0.0.01", "must not have leading 0s", "must not have leading 0s"),
            ("::ffff:1.2.3.4", "must not be an IPv4-mapped IPv6 address", "must not be an IPv4-mapped IPv6 address"),
            ("2001:DB8::1", "", "must be in canonical form (\"2001:db8::1\")"),
        ] {
            assert_eq!(ip_faults(text).concat(), old, "{text}");
            assert_eq!(canonical_ip_faults(text).concat(), new, "{text}");
        }
        assert!(ip_faults("1.2.3").concat().starts_with("must be a valid IP address"));
        for (text, why) in [
            ("10.0.0.0/8", ""),
            ("10.0.0.1/8", "must not have bits set beyond the prefix length"),
            ("010.0.0.0/8", "must not have leading 0s in IP or prefix length"),
            ("10.0.0.0/08", "must not have leading 0s in IP or prefix length"),
            ("::ffff:1.2.3.4/128", "must not have an IPv4-mapped IPv6 address"),
            ("0.0.0.0/0", ""),
            ("::/0", ""),
        ] {
            assert_eq!(cidr_faults(text).concat(), why, "{text}");
        }
        assert_eq!(canonical_cidr_faults("2001:DB8::/64"), ["must be in canonical form (\"2001:db8::/64\")"]);
    }

    #[test]
    fn what_is_taken_in_an_unusual_form_is_warned_of() {
        assert_eq!(ip_warning("a", "10.0.0.1"), None);
        assert_eq!(
            ip_warning("a", "01.2.3.4").as_deref(),
            Some("a: non-standard IP address \"01.2.3.4\" is invalid: use \"1.2.3.4\"")
        );
        assert_eq!(
            cidr_warnings("a", "10.0.0.1/24"),
            ["a: CIDR value \"10.0.0.1/24\" is ambiguous in this context \
                 (should be \"10.0.0.0/24\" or \"10.0.0.1/32\"?)"]
        );
    }
}
