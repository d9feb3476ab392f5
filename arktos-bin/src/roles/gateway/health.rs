//! How a gateway that runs by itself is doing: by its own checks, and not by those of a partition behind it. What is
//! asked of the tenants of one partition does not wait for another one.

use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};

use super::GatewayBody;

/// The check that fails until the gateway knows whom to send requests to.
const PARTITIONS: &str = "partitions";

/// A question about the gateway.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Question {
    endpoint: &'static str,
    check: Option<&'static str>,
    verbose: bool,
}

/// What a request asks about the gateway, if it does. Other checks are a partition's.
pub(super) fn asked(parts: &Parts) -> Option<Question> {
    if ![Method::GET, Method::HEAD].contains(&parts.method) {
        return None;
    }
    let path = parts.uri.path().strip_prefix('/')?;
    let (first, rest) = path.split_once('/').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let endpoint = ["healthz", "livez", "readyz"].into_iter().find(|endpoint| *endpoint == first)?;
    let check = match rest {
        None => None,
        Some(rest) => Some(["ping", PARTITIONS].into_iter().find(|check| *check == rest)?),
    };
    let mut query = parts.uri.query().unwrap_or_default().split('&');
    Some(Question { endpoint, check, verbose: query.any(|one| one.split('=').next() == Some("verbose")) })
}

/// The answer. `knows`: whom to send requests to.
pub(super) fn answer(question: &Question, knows: bool) -> Response<GatewayBody> {
    let Question { endpoint, check, verbose } = question;
    // One that knows nobody yet is alive all the same.
    let checked = *endpoint != "livez" || *check == Some(PARTITIONS);
    let fails = !knows && checked && *check != Some("ping");
    let text = match (fails, check) {
        (true, Some(_)) => "internal server error: failed".to_owned(),
        (true, None) => {
            format!("[+]ping ok\n[-]{PARTITIONS} failed: none is known here yet\n{endpoint} check failed\n")
        }
        (false, None) if *verbose && checked => {
            format!("[+]ping ok\n[+]{PARTITIONS} ok\n{endpoint} check passed\n")
        }
        (false, None) if *verbose => format!("[+]ping ok\n{endpoint} check passed\n"),
        (false, _) => "ok".to_owned(),
    };
    let mut response = Response::new(Full::from(text).map_err(|never| match never {}).boxed_unsync());
    if fails {
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(target: &str, knows: bool) -> Option<(u16, String)> {
        let (parts, ()) = http::Request::get(target).body(()).expect("a request").into_parts();
        let answer = answer(&asked(&parts)?, knows);
        let code = answer.status().as_u16();
        let body = futures::executor::block_on(answer.into_body().collect()).expect("a body").to_bytes();
        Some((code, String::from_utf8_lossy(&body).into_owned()))
    }

    #[test]
    fn a_gateway_is_ready_when_it_knows_where_requests_go_and_alive_before() {
        let code = |target: &str, knows| ask(target, knows).map(|(code, _)| code);
        for target in ["/readyz", "/healthz", "/livez", "/readyz?verbose", "/readyz/ping", "/livez/ping", "/livez"] {
            assert_eq!(code(target, true), Some(200), "{target}");
        }
        for (target, expected) in [
            ("/readyz", 500),
            ("/healthz", 500),
            ("/readyz/partitions", 500),
            ("/livez", 200),
            ("/livez?verbose=1", 200),
            ("/readyz/ping", 200),
        ] {
            assert_eq!(code(target, false), Some(expected), "{target}");
        }
        let told = ask("/readyz", false).expect("answered").1;
        assert!(told.contains("[-]partitions failed"), "{told}");
        assert_eq!(ask("/readyz", true), Some((200, "ok".to_owned())));
        for other in ["/readyz/etcd", "/readyz/", "/version", "/tenants/acme/readyz"] {
            assert_eq!(ask(other, true), None, "{other}");
        }
    }
}
