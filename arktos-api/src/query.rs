//! Query parameters, and the options they stand for.

use std::num::IntErrorKind;

use arktos_core::media::go_quoted;
use arktos_core::{FieldSelector, LabelSelector, Reason, Status, StatusCause};

use crate::request::percent_decode;

/// The query of a request, decoded; keys may repeat.
#[derive(Debug, Clone, Default)]
pub(crate) struct QueryMap(Vec<(String, String)>);

impl QueryMap {
    /// Reads a query. What is not UTF-8, or has a semicolon, is dropped.
    pub(crate) fn parse(query: &str) -> Self {
        let pair = |part: &str| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            Some((percent_decode(key, true)?.into_owned(), percent_decode(value, true)?.into_owned()))
        };
        Self(query.split('&').filter(|part| !part.is_empty() && !part.contains(';')).filter_map(pair).collect())
    }

    /// The first value of a key; empty when there is none.
    pub(crate) fn get(&self, key: &str) -> &str {
        self.find(key).unwrap_or("")
    }

    pub(crate) fn find(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    pub(crate) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// A flag, as upstream reads one: there and empty is true, `0` and `false` are not.
    pub(crate) fn flag(&self, key: &str) -> bool {
        self.find(key).is_some_and(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
    }

    pub(crate) fn int(&self, key: &str) -> Result<Option<i64>, Status> {
        let Some(text) = self.find(key) else { return Ok(None) };
        text.parse().map(Some).map_err(|fault: std::num::ParseIntError| {
            let why = match fault.kind() {
                IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
                _ => "invalid syntax",
            };
            Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: {why}"))
        })
    }
}

/// `resourceVersionMatch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VersionMatch {
    Exact,
    NotOlderThan,
}

/// The options of get, list and watch.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReadOptions {
    pub(crate) labels: LabelSelector,
    pub(crate) fields: FieldSelector,
    pub(crate) limit: usize,
    pub(crate) continue_token: String,
    pub(crate) version: String,
    pub(crate) version_match: Option<VersionMatch>,
    pub(crate) bookmarks: bool,
    pub(crate) send_initial_events: Option<bool>,
    /// How long a watch lasts; one that lasts less than nothing ends at once.
    pub(crate) timeout_seconds: Option<i64>,
}

impl ReadOptions {
    /// Reads and checks the options of a list or a watch.
    ///
    /// # Errors
    /// 400 and 422 in upstream's words.
    pub(crate) fn parse(query: &QueryMap, watch: bool) -> Result<Self, Status> {
        let selector_fault = |error: arktos_core::selector::SelectorError| Status::bad_request(error.0);
        let options = Self {
            labels: LabelSelector::parse(query.get("labelSelector")).map_err(selector_fault)?,
            fields: FieldSelector::parse(query.get("fieldSelector")).map_err(selector_fault)?,
            limit: usize::try_from(query.int("limit")?.unwrap_or(0)).unwrap_or(0),
            continue_token: query.get("continue").to_owned(),
            version: query.get("resourceVersion").to_owned(),
            version_match: match query.get("resourceVersionMatch") {
                "Exact" => Some(VersionMatch::Exact),
                "NotOlderThan" => Some(VersionMatch::NotOlderThan),
                _ => None,
            },
            bookmarks: query.flag("allowWatchBookmarks"),
            send_initial_events: query.find("sendInitialEvents").map(|_| query.flag("sendInitialEvents")),
            timeout_seconds: query.int("timeoutSeconds")?,
        };
        let asked = query.get("resourceVersionMatch");
        let causes = if watch { options.watch_faults(asked) } else { options.list_faults(asked) };
        if causes.is_empty() { Ok(options) } else { Err(Status::invalid("meta.k8s.io", "ListOptions", "", causes)) }
    }

    /// The same, of what is to be deleted: that is read in pages, and so as it was at the revision that is said.
    pub(crate) fn in_pages(mut self) -> Self {
        if !self.version.trim_start_matches('0').is_empty() {
            self.version_match.get_or_insert(VersionMatch::Exact);
        }
        self
    }

    /// Whether a watch is told where what there is from the start ends: whoever asks for that, and whoever does not
    /// know to ask and begins with what there is.
    pub(crate) fn marks_end(&self) -> bool {
        let begins = match self.send_initial_events {
            Some(asked) => asked,
            None => self.version_match.is_none() && matches!(self.version.as_str(), "" | "0"),
        };
        begins && self.bookmarks
    }

    /// The same, of one object alone where there is a name.
    ///
    /// # Errors
    /// 400 for fields that are not those of an object of this name.
    pub(crate) fn of(self, name: &str) -> Result<Self, Status> {
        if name.is_empty() {
            return Ok(self);
        }
        if self.fields.terms.is_empty() {
            return Ok(Self { fields: FieldSelector::equal("metadata.name", name), ..self });
        }
        if self.fields.required("metadata.name") != Some(name) {
            return Err(Status::bad_request("fieldSelector metadata.name doesn't match requested name"));
        }
        Ok(self)
    }

    fn watch_faults(&self, asked: &str) -> Vec<StatusCause> {
        let mut faults = Vec::new();
        // Who begins with what there is asks for that in so many words, as upstream takes it.
        let begins = self.send_initial_events.is_none() && matches!(self.version.as_str(), "" | "0");
        if !self.continue_token.is_empty() && (begins || !asked.is_empty()) {
            faults
                .push(forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided"));
        }
        if self.send_initial_events.is_some() && self.version_match != Some(VersionMatch::NotOlderThan) {
            let text = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            faults.push(forbidden("resourceVersionMatch", text));
        }
        if asked.is_empty() {
            return faults;
        }
        if self.send_initial_events.is_none() {
            let text = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            faults.push(forbidden("resourceVersionMatch", text));
        }
        if self.version_match != Some(VersionMatch::NotOlderThan) {
            faults.push(unsupported("resourceVersionMatch", &format!("{asked:?}"), &["NotOlderThan"]));
        }
        faults
    }

    fn list_faults(&self, asked: &str) -> Vec<StatusCause> {
        let mut faults = Vec::new();
        if !asked.is_empty() {
            if self.version.is_empty() {
                let text = "resourceVersionMatch is forbidden unless resourceVersion is provided";
                faults.push(forbidden("resourceVersionMatch", text));
            }
            if !self.continue_token.is_empty() {
                faults.push(forbidden(
                    "resourceVersionMatch",
                    "resourceVersionMatch is forbidden when continue is provided",
                ));
            }
            if self.version_match.is_none() {
                faults.push(unsupported("resourceVersionMatch", &format!("{asked:?}"), &["Exact", "NotOlderThan", ""]));
            }
            if self.version_match == Some(VersionMatch::Exact) && self.version == "0" {
                let text = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
                faults.push(forbidden("resourceVersionMatch", text));
            }
        }
        if self.send_initial_events.is_some() {
            faults.push(forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
        }
        faults
    }
}

/// What is done about unknown and repeated fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

/// The options of create, update and patch.
#[derive(Debug, Clone, Default)]
pub(crate) struct WriteOptions {
    pub(crate) dry_run: bool,
    pub(crate) field_validation: FieldValidation,
    /// The field manager; the name of the client where it does not say.
    pub(crate) manager: String,
    /// Whether an apply may take fields from others.
    pub(crate) force: bool,
    /// Whether what is written was applied, so that it says itself who manages it.
    pub(crate) applies: bool,
    /// Whether the object is written through its scale.
    pub(crate) scale: bool,
    /// Whether the body is a controller's revision with data that Go would write otherwise
    /// ([`arktos_core::rules::DATA_AS_WRITTEN`]).
    pub(crate) data_as_written: bool,
    /// Whether the body is a job without labels of its own ([`arktos_core::rules::LABELS_OF_TEMPLATE`]).
    pub(crate) labels_of_template: bool,
}

/// The longest name of a manager.
const MANAGER_MAX: usize = 128;

/// The field manager that a client is when it does not say: the first part of what it calls itself.
pub(crate) fn default_manager(user_agent: &str) -> String {
    let mut name = String::new();
    for found in user_agent.split('/').next().unwrap_or("").chars().filter(|found| !found.is_control()) {
        if name.len() + found.len_utf8() > MANAGER_MAX {
            break;
        }
        name.push(found);
    }
    name
}

impl WriteOptions {
    /// Reads and checks the options of a write; `kind` is `CreateOptions`, `UpdateOptions` or `PatchOptions`, and
    /// `apply` says whether the patch is an apply.
    ///
    /// # Errors
    /// 422 in upstream's words.
    pub(crate) fn parse(query: &QueryMap, kind: &str, apply: bool) -> Result<Self, Status> {
        let mut faults = Vec::new();
        let manager = query.get("fieldManager");
        if kind == "PatchOptions" && apply && manager.is_empty() {
            faults.push(no_manager());
        }
        if kind == "PatchOptions" && !apply && query.find("force").is_some() {
            faults.push(forbidden("force", "may not be specified for non-apply patch"));
        }
        check_manager(manager, &mut faults);
        let dry_run = dry_run(query.all("dryRun"), &mut faults);
        let field_validation = match query.get("fieldValidation") {
            "" | "Warn" => FieldValidation::Warn,
            "Ignore" => FieldValidation::Ignore,
            "Strict" => FieldValidation::Strict,
            other => {
                let supported = ["", "Ignore", "Strict", "Warn"];
                faults.push(unsupported("fieldValidation", &format!("{other:?}"), &supported));
                FieldValidation::Warn
            }
        };
        if !faults.is_empty() {
            return Err(Status::invalid("meta.k8s.io", kind, "", faults));
        }
        let force = query.flag("force");
        Ok(Self { dry_run, field_validation, manager: manager.to_owned(), force, ..Self::default() })
    }

    /// Makes them those of an apply, of a client in process.
    ///
    /// # Errors
    /// 422, as [`parse`](Self::parse).
    pub(crate) fn applied_by(&mut self, manager: &str, force: bool) -> Result<(), Status> {
        let mut faults = Vec::new();
        if manager.is_empty() {
            faults.push(no_manager());
        }
        check_manager(manager, &mut faults);
        if !faults.is_empty() {
            return Err(Status::invalid("meta.k8s.io", "PatchOptions", "", faults));
        }
        (self.manager, self.force, self.applies) = (manager.to_owned(), force, true);
        Ok(())
    }
}

fn no_manager() -> StatusCause {
    cause("FieldValueRequired", "fieldManager", "Required value: is required for apply patch")
}

fn check_manager(manager: &str, faults: &mut Vec<StatusCause>) {
    if manager.len() > MANAGER_MAX {
        faults.push(cause("FieldValueTooLong", "fieldManager", "Too long: may not be more than 128 bytes"));
    }
    if let Some((at, found)) = manager.char_indices().find(|(_, found)| found.is_control()) {
        let text = format!(
            "Invalid value: {}: invalid character U+{:04X} (at position {at})",
            go_quoted(manager),
            u32::from(found)
        );
        faults.push(cause("FieldValueInvalid", "fieldManager", &text));
    }
}

/// Reads the values of `dryRun`.
pub(crate) fn dry_run<'a>(values: impl Iterator<Item = &'a str>, faults: &mut Vec<StatusCause>) -> bool {
    let values: Vec<&str> = values.collect();
    if values.iter().any(|value| *value != "All") {
        let list = values.iter().map(|value| format!("{value:?}")).collect::<Vec<_>>().join(",");
        faults.push(unsupported("dryRun", &format!("[{list}]"), &["All"]));
    }
    !values.is_empty()
}

pub(crate) fn cause(reason: &str, field: &str, message: &str) -> StatusCause {
    StatusCause { reason: reason.to_owned(), message: message.to_owned(), field: field.to_owned() }
}

pub(crate) fn forbidden(field: &str, message: &str) -> StatusCause {
    cause("FieldValueForbidden", field, &format!("Forbidden: {message}"))
}

pub(crate) fn unsupported(field: &str, value: &str, supported: &[&str]) -> StatusCause {
    let list = supported.iter().map(|value| format!("{value:?}")).collect::<Vec<_>>().join(", ");
    cause("FieldValueNotSupported", field, &format!("Unsupported value: {value}: supported values: {list}"))
}

/// 405 for a verb that a resource does not have.
pub(crate) fn method_not_allowed() -> Status {
    let text = "the server does not allow this method on the requested resource";
    let mut status = Status::failure(Reason::MethodNotAllowed, text);
    status.details = Some(arktos_core::status::StatusDetails::default());
    status
}
