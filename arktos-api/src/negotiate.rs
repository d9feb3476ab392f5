//! Media types: what a client wants to be answered in, and what it sent.

use arktos_core::catalog::Kind;
use arktos_core::status::StatusDetails;
use arktos_core::{Reason, Status};
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue};

use crate::query::QueryMap;

/// `application/json`.
pub const JSON: &str = "application/json";
/// `application/yaml`.
pub const YAML: &str = "application/yaml";
/// `application/vnd.kubernetes.protobuf`.
pub const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// The media type of a watch in protobuf.
pub(crate) const PROTOBUF_STREAM: &str = "application/vnd.kubernetes.protobuf;stream=watch";

const OBJECT_TYPES: [&str; 3] = [JSON, YAML, PROTOBUF];
/// The media types of watches.
pub(crate) const STREAM_TYPES: [&str; 2] = ["application/json;stream=watch", PROTOBUF_STREAM];

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// Kubernetes' protobuf envelope.
    Protobuf,
}

impl Encoding {
    /// The media type, as `Content-Type` says it.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => JSON,
            Self::Yaml => YAML,
            Self::Protobuf => PROTOBUF,
        }
    }

    fn of(media_type: &str) -> Option<Self> {
        [Self::Json, Self::Yaml, Self::Protobuf].into_iter().find(|encoding| encoding.content_type() == media_type)
    }
}

/// The version of the forms in `meta.k8s.io`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MetaVersion {
    /// `meta.k8s.io/v1`.
    V1,
    /// `meta.k8s.io/v1beta1`.
    V1beta1,
}

impl MetaVersion {
    /// As `apiVersion` says it.
    #[must_use]
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "meta.k8s.io/v1",
            Self::V1beta1 => "meta.k8s.io/v1beta1",
        }
    }
}

/// What is made of an object before it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// Nothing: the object itself.
    Object,
    /// A table, for people.
    Table(MetaVersion),
    /// Only its metadata.
    Metadata(MetaVersion),
    /// Only the metadata of each item of a list.
    MetadataList(MetaVersion),
}

impl Form {
    /// Refuses the form of a list for one object, and the other way round. `type_name` is what upstream calls the type
    /// of what is to be shown. Upstream finds this out when all else is done, so that what was asked for has happened.
    ///
    /// # Errors
    /// 406.
    pub(crate) fn fits(self, list: bool, type_name: impl FnOnce() -> String) -> Result<(), Status> {
        match (self, list) {
            (Self::MetadataList(_), false) => Err(not_acceptable(format!(
                "you requested PartialObjectMetadataList, but the requested object is not a list ({})",
                type_name()
            ))),
            (Self::Metadata(_), true) => Err(not_acceptable(format!(
                "you requested PartialObjectMetadata, but the requested object is a list ({})",
                type_name()
            ))),
            _ => Ok(()),
        }
    }
}

/// What a client is answered in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Accept {
    /// The encoding.
    pub encoding: Encoding,
    /// What is made of the object first.
    pub form: Form,
    /// Whether JSON is indented.
    pub pretty: bool,
}

impl Accept {
    /// Plain JSON.
    pub const JSON: Self = Self { encoding: Encoding::Json, form: Form::Object, pretty: false };
}

/// What can be had at a path.
#[derive(Debug, Clone, Copy, Default)]
pub struct Endpoint {
    /// Whether the metadata of objects can be had alone.
    pub forms: bool,
    /// Whether objects can be had as tables too (not those that are answered and never stored).
    pub tables: bool,
    /// Whether it is a list, which can be watched too.
    pub list: bool,
    /// Whether this request is a watch.
    pub watch: bool,
    /// Whether it is the deletion of a list, which cannot be watched.
    pub deletes: bool,
    /// Whether it is of a custom kind, which no route has its say about.
    pub custom: bool,
    /// Whether protobuf can be written. Where it cannot, JSON is taken if the client takes that as well.
    pub protobuf: bool,
}

impl Endpoint {
    /// What can be had of a kind's objects at least.
    pub(crate) fn of(kind: &Kind) -> Self {
        let protobuf = arktos_core::media::protobuf::knows(&kind.type_meta);
        Self { protobuf, custom: !kind.builtin, ..Self::default() }
    }
}

/// What to answer a request in.
///
/// # Errors
/// 406, when nothing that the client accepts can be had.
pub fn accept(headers: &HeaderMap, endpoint: Endpoint) -> Result<Accept, Status> {
    let mut available = OBJECT_TYPES.to_vec();
    if endpoint.list && !endpoint.deletes {
        available.extend(STREAM_TYPES);
    }
    if !endpoint.custom {
        produces(headers, &available)?;
    }
    negotiated(headers, endpoint)
}

/// Refuses what takes none of the media types that a route has, whatever their parameters.
///
/// # Errors
/// 406.
pub(crate) fn produces(headers: &HeaderMap, available: &[&str]) -> Result<(), Status> {
    let header = header_text(headers, ACCEPT);
    if header.is_empty() || header.split(',').map(media_type).any(|one| one == "*/*" || available.contains(&one)) {
        return Ok(());
    }
    let message = format!("{UNROUTED}\n\nAvailable representations: {}", available.join(", "));
    Err(not_acceptable(message).with_details(StatusDetails::default()))
}

/// How a refusal begins of what no route takes.
const UNROUTED: &str = "406: Not Acceptable";

/// Whether a request was refused by more than its route: nobody else is told of the kind that it is about.
pub(crate) fn is_routed<B>(response: &http::Response<B>) -> bool {
    response.extensions().get::<Status>().is_none_or(|refusal| !refusal.message.starts_with(UNROUTED))
}

/// As [`accept`], where no route has had its say.
///
/// # Errors
/// 406.
pub(crate) fn negotiated(headers: &HeaderMap, endpoint: Endpoint) -> Result<Accept, Status> {
    let header = header_text(headers, ACCEPT);
    if header.is_empty() {
        return Ok(Accept::JSON);
    }
    for clause in clauses(&header) {
        let encodings = [Encoding::Json, Encoding::Yaml, Encoding::Protobuf];
        for encoding in encodings.into_iter().filter(|encoding| clause.takes(encoding.content_type())) {
            if let Some(form) = form(&clause, encoding, endpoint) {
                if encoding == Encoding::Protobuf && !has_message(form, endpoint) {
                    continue;
                }
                return Ok(Accept { encoding, form, pretty: clause.get("pretty") == Some("1") });
            }
        }
    }
    Err(only_these())
}

/// Whether what is asked for can be written in protobuf: metadata has a message of its own, whatever it is of.
fn has_message(form: Form, endpoint: Endpoint) -> bool {
    match form {
        Form::Metadata(version) | Form::MetadataList(version) => version == MetaVersion::V1,
        Form::Object | Form::Table(_) => endpoint.protobuf,
    }
}

/// Refuses what no stream of events is written in. Upstream finds this out when the watch is open.
///
/// # Errors
/// 406.
pub(crate) fn streams(accept: Accept) -> Result<(), Status> {
    if accept.encoding == Encoding::Yaml { Err(only(&STREAM_TYPES)) } else { Ok(()) }
}

/// What to answer an error in: errors are written in any encoding that the client takes, or else in JSON, indented.
#[must_use]
pub(crate) fn accept_error(headers: &HeaderMap, query: &QueryMap) -> Accept {
    let header = header_text(headers, ACCEPT);
    let pretty = is_for_people(headers, query);
    if header.is_empty() {
        return Accept { pretty, ..Accept::JSON };
    }
    let encodings = [Encoding::Json, Encoding::Yaml, Encoding::Protobuf];
    let plain = |clause: &&Clause<'_>| form(clause, Encoding::Json, Endpoint::default()) == Some(Form::Object);
    let found = clauses(&header).iter().filter(plain).find_map(|clause| {
        let encoding = encodings.into_iter().find(|encoding| clause.takes(encoding.content_type()))?;
        Some(Accept { encoding, form: Form::Object, pretty: pretty || clause.get("pretty") == Some("1") })
    });
    found.unwrap_or(Accept { pretty: true, ..Accept::JSON })
}

/// Whether JSON is to be read by people: the query says so, or else who asks is a browser or one of two commands.
pub(crate) fn is_for_people(headers: &HeaderMap, query: &QueryMap) -> bool {
    match query.get("pretty") {
        "" => {
            let agent = headers.get(USER_AGENT).map_or(&b""[..], HeaderValue::as_bytes);
            ["curl", "Wget", "Mozilla/5.0"].iter().any(|known| agent.starts_with(known.as_bytes()))
        }
        said => matches!(said, "1" | "t" | "T" | "TRUE" | "true" | "True"),
    }
}

/// The form that a clause asks for, when it can be had.
fn form(clause: &Clause<'_>, encoding: Encoding, endpoint: Endpoint) -> Option<Form> {
    if clause.get("stream").is_some_and(|stream| stream != "watch") {
        return None;
    }
    if clause.get("as").is_none() && clause.get("g").is_none() && clause.get("v").is_none() {
        return Some(Form::Object);
    }
    let version = match (clause.get("g"), clause.get("v")) {
        (Some("meta.k8s.io"), Some("v1")) => MetaVersion::V1,
        (Some("meta.k8s.io"), Some("v1beta1")) => MetaVersion::V1beta1,
        _ => return None,
    };
    match clause.get("as") {
        _ if !endpoint.forms => None,
        Some("Table") => (endpoint.tables && encoding != Encoding::Protobuf).then_some(Form::Table(version)),
        Some("PartialObjectMetadata") => Some(Form::Metadata(version)),
        Some("PartialObjectMetadataList") => Some(Form::MetadataList(version)),
        _ => None,
    }
}

/// How the body of a request is written. No content type means JSON.
///
/// # Errors
/// 415, when it is none of the encodings.
pub fn request_encoding(headers: &HeaderMap) -> Result<Encoding, Status> {
    let header = header_text(headers, CONTENT_TYPE);
    match media_type(&header) {
        "" if header.is_empty() => Ok(Encoding::Json),
        given => Encoding::of(&given.to_ascii_lowercase()).ok_or_else(|| unknown_format(&OBJECT_TYPES)),
    }
}

/// The kinds of patches, by media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PatchType {
    /// `application/json-patch+json`.
    Json,
    /// `application/merge-patch+json`.
    Merge,
    /// `application/strategic-merge-patch+json`.
    Strategic,
    /// `application/apply-patch+yaml`.
    Apply,
}

impl PatchType {
    const ALL: [Self; 4] = [Self::Json, Self::Merge, Self::Strategic, Self::Apply];

    /// The media type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json-patch+json",
            Self::Merge => "application/merge-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
            Self::Apply => "application/apply-patch+yaml",
        }
    }
}

/// What kind of patch a request carries. Custom resources (`builtin` false) know no strategic merge patch.
///
/// # Errors
/// 415.
pub fn patch_type(headers: &HeaderMap, builtin: bool) -> Result<PatchType, Status> {
    let header = header_text(headers, CONTENT_TYPE);
    let given = media_type(&header);
    let known = PatchType::ALL.into_iter().filter(|patch| builtin || *patch != PatchType::Strategic);
    known.clone().find(|patch| patch.content_type() == given).ok_or_else(|| {
        // Several types at once find their way upstream, and nobody knows them there.
        let several = header.contains(',')
            && header.split(',').any(|one| known.clone().any(|patch| patch.content_type() == media_type(one)));
        if builtin && !several {
            Status::failure(Reason::UnsupportedMediaType, "415: Unsupported Media Type")
                .with_details(StatusDetails::default())
        } else {
            unknown_format(&known.map(PatchType::content_type).collect::<Vec<_>>())
        }
    })
}

/// One of the things that a client accepts.
pub(crate) struct Clause<'a> {
    main: &'a str,
    sub: &'a str,
    quality: f32,
    parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> Clause<'a> {
    /// Whether it covers a media type.
    pub(crate) fn takes(&self, media_type: &str) -> bool {
        let (main, sub) = media_type.split_once('/').unwrap_or((media_type, ""));
        match (self.main, self.sub) {
            ("*", "*") => true,
            (wanted, "*") => wanted == main,
            wanted => wanted == (main, sub),
        }
    }

    /// A parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let whole = parts.next()?;
        let (main, sub) = if whole == "*" { ("*", "*") } else { whole.split_once('/')? };
        if sub.is_empty() || sub.contains('/') {
            return None;
        }
        let given = parts.filter_map(|part| part.split_once('='));
        let parameters: Vec<(&str, &str)> = given
            .map(|(name, value)| (name.trim(), value.trim()))
            .filter(|(_, value)| !value.is_empty() && !value.contains('='))
            .collect();
        let quality = parameters.iter().rfind(|(name, _)| *name == "q");
        // Upstream takes what weighs nothing, last.
        let quality = quality.map_or(1.0, |(_, value)| value.parse().unwrap_or(0.0));
        Some(Self { main: main.trim(), sub: sub.trim(), quality, parameters })
    }
}

/// What an `Accept` header asks for, the most wanted first; what weighs the same, in the order it was written in.
pub(crate) fn clauses(header: &str) -> Vec<Clause<'_>> {
    let mut clauses: Vec<Clause<'_>> = header.split(',').filter_map(Clause::parse).collect();
    clauses.sort_by(|one, other| {
        let wide = |clause: &Clause<'_>| (clause.main == "*", clause.sub == "*");
        other.quality.total_cmp(&one.quality).then_with(|| wide(one).cmp(&wide(other)))
    });
    clauses
}

/// All values of a header, as one list.
pub(crate) fn header_text(headers: &HeaderMap, name: http::HeaderName) -> String {
    let values: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    values.join(",")
}

fn media_type(text: &str) -> &str {
    text.split(';').next().unwrap_or_default().trim()
}

fn not_acceptable(message: impl Into<String>) -> Status {
    Status::failure(Reason::NotAcceptable, message)
}

fn only_these() -> Status {
    only(&OBJECT_TYPES)
}

fn only(accepted: &[&str]) -> Status {
    not_acceptable(format!("only the following media types are accepted: {}", accepted.join(", ")))
}

/// 415 for a body that is written otherwise.
pub(crate) fn unknown_format(accepted: &[&str]) -> Status {
    let accepted = accepted.join(", ");
    let message =
        format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
    Status::failure(Reason::UnsupportedMediaType, message)
}

/// What upstream calls the type of a kind, in its own language.
pub(crate) fn go_type(kind: &Kind, list: bool) -> String {
    let list = if list { "List" } else { "" };
    if !kind.builtin {
        return format!("*unstructured.Unstructured{list}");
    }
    format!("{}{list}", go_name(kind.storage_resource.group(), &kind.kind))
}

/// What upstream calls the type of an object that is not stored.
pub(crate) fn go_name(group: &str, kind: &str) -> String {
    let package = if group.is_empty() { "core" } else { group.split('.').next().unwrap_or(group) };
    format!("*{package}.{kind}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(accept: &str) -> HeaderMap {
        HeaderMap::from_iter([(ACCEPT, accept.parse().expect("a header value"))])
    }

    fn accepted(header: &str) -> Result<Accept, String> {
        let endpoint = Endpoint { forms: true, tables: true, list: true, ..Endpoint::default() };
        accept(&headers(header), endpoint).map_err(|status| status.message)
    }

    #[test]
    fn the_first_that_can_be_had_is_taken() {
        let table = |version| Ok(Accept { form: Form::Table(version), ..Accept::JSON });
        assert_eq!(accepted("application/json;as=Table;v=v1;g=meta.k8s.io,application/json"), table(MetaVersion::V1));
        assert_eq!(
            accepted("application/json;as=Table;v=v9;g=meta.k8s.io, application/json;as=Table;v=v1beta1;g=meta.k8s.io"),
            table(MetaVersion::V1beta1)
        );
        assert_eq!(accepted("application/json,application/json;as=Table;v=v1;g=meta.k8s.io"), Ok(Accept::JSON));
        assert_eq!(accepted("text/html,application/json"), Ok(Accept::JSON));
        assert_eq!(accepted("*/*"), Ok(Accept::JSON));
        assert_eq!(accepted(""), Ok(Accept::JSON));
    }

    #[test]
    fn weights_come_before_order() {
        let yaml = Accept { encoding: Encoding::Yaml, ..Accept::JSON };
        assert_eq!(accepted("application/json;q=0.5, application/yaml"), Ok(yaml));
        assert_eq!(accepted("*/*, application/yaml"), Ok(yaml));
        assert_eq!(accepted("application/json;q=0, application/yaml;q=0.1"), Ok(yaml));
    }

    #[test]
    fn protobuf_falls_back_to_json() {
        let header = "application/vnd.kubernetes.protobuf,application/json";
        assert_eq!(accepted(header), Ok(Accept::JSON));
        let endpoint = Endpoint { protobuf: true, ..Endpoint::default() };
        let chosen = accept(&headers(header), endpoint).expect("acceptable");
        assert_eq!(chosen.encoding, Encoding::Protobuf);
        let alone = accepted("application/vnd.kubernetes.protobuf").expect_err("not yet");
        assert!(alone.starts_with("only the following media types are accepted: application/json,"));
    }

    #[test]
    fn what_cannot_be_had_is_refused_in_the_words_of_the_api() {
        let routes = accepted("application/*").expect_err("no route");
        assert!(routes.starts_with("406: Not Acceptable\n\nAvailable representations: application/json, "));
        assert!(routes.ends_with("application/vnd.kubernetes.protobuf;stream=watch"));
        let forms = accepted("application/json;as=Nothing;v=v1;g=meta.k8s.io").expect_err("no form");
        assert!(forms.starts_with("only the following media types are accepted"));
        let mut response = http::Response::new(());
        assert!(is_routed(&response));
        response.extensions_mut().insert(accept(&headers("image/png"), Endpoint::default()).expect_err("no route"));
        assert!(!is_routed(&response), "it is not told what else there is to say of the kind");
        let answered_only = accept(&headers("application/json;as=Table;v=v1;g=meta.k8s.io"), Endpoint::default());
        assert_eq!(answered_only.expect_err("no table").code, 406);
        let watch = Endpoint { list: true, watch: true, ..Endpoint::default() };
        let yaml = accept(&headers("application/yaml"), watch).expect("known when the watch is open");
        assert_eq!(streams(yaml).expect_err("no stream").code, 406);
    }

    #[test]
    fn of_what_is_only_answered_there_is_the_metadata_and_no_table() {
        let answered = Endpoint { forms: true, ..Endpoint::default() };
        let metadata = accept(&headers("application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"), answered);
        assert_eq!(metadata.map(|accept| accept.form), Ok(Form::Metadata(MetaVersion::V1)));
        let table = accept(&headers("application/json;as=Table;v=v1;g=meta.k8s.io"), answered);
        assert_eq!(table.expect_err("no table").code, 406);
    }

    #[test]
    fn errors_are_indented_for_people_and_where_nothing_else_is_taken() {
        let asked = |accept: &str, agent: &str, query: &str| {
            let mut headers = headers(accept);
            headers.insert(USER_AGENT, agent.parse().expect("a header value"));
            let found = accept_error(&headers, &QueryMap::parse(query));
            (found.encoding, found.pretty)
        };
        for (accept, agent, query, answer) in [
            ("application/json", "kubectl/v1", "", (Encoding::Json, false)),
            ("application/json", "curl/8", "", (Encoding::Json, true)),
            ("application/json", "curl/8", "pretty=false", (Encoding::Json, false)),
            ("application/json", "kubectl/v1", "pretty=1", (Encoding::Json, true)),
            ("text/html", "kubectl/v1", "", (Encoding::Json, true)),
            ("application/yaml", "kubectl/v1", "", (Encoding::Yaml, false)),
            ("application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io", "x", "", (Encoding::Json, true)),
        ] {
            assert_eq!(asked(accept, agent, query), answer, "{accept} {agent} {query}");
        }
    }

    #[test]
    fn bodies_and_patches_are_told_by_their_content_type() {
        let typed =
            |content_type: &str| HeaderMap::from_iter([(CONTENT_TYPE, content_type.parse().expect("a header value"))]);
        assert_eq!(request_encoding(&HeaderMap::new()), Ok(Encoding::Json));
        assert_eq!(request_encoding(&typed("application/yaml; charset=utf-8")), Ok(Encoding::Yaml));
        assert_eq!(request_encoding(&typed("text/plain")).expect_err("unknown").code, 415);
        let strategic = typed("application/strategic-merge-patch+json");
        assert_eq!(patch_type(&strategic, true), Ok(PatchType::Strategic));
        let refused = patch_type(&strategic, false).expect_err("custom resources have none");
        assert!(
            refused
                .message
                .ends_with("application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml")
        );
        assert_eq!(patch_type(&typed(JSON), true).expect_err("no patch").message, "415: Unsupported Media Type");
        let two = patch_type(&typed("application/merge-patch+json,application/json"), true).expect_err("no type");
        assert!(two.message.starts_with("the body of the request was in an unknown format"), "{}", two.message);
    }
}
