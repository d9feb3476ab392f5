//! Requests for resources: from verb and place to the function that does it.

use std::borrow::Cow;
use std::sync::Arc;

use arktos_core::catalog::Kind;
use arktos_core::{Dialect, Object, Reason, Scope, Status, TenantName};
use arktos_store::Stored;
use arktos_store::client::Patch;
use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderValue, Method, Response};

use crate::allowed::allowed;
use crate::authenticate::unauthorized;
use crate::body::Body;
use crate::call::Call;
use crate::conversion::{self, Converter};
use crate::fairness;
use crate::identity::Identity;
use crate::negotiate::{self, Endpoint, Form, PatchType};
use crate::query::{QueryMap, ReadOptions, WriteOptions, default_manager, method_not_allowed};
use crate::reply::{self, View};
use crate::request::{ResourceInfo, TenantPart, not_found};
use crate::server::{Head, State};
use crate::standing::Standing;
use crate::table::{Include, ListMeta};
use crate::verbs::modify::{self, Part, Source};
use crate::verbs::{connect, create, delete, evict, node_view, patch, read, scale, subresource, watch};
use crate::{compat, component_status, input, paths, reviews};

/// What a request does to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    pub(crate) fn of(method: &Method, named: bool, query: &QueryMap) -> Option<Self> {
        Some(match *method {
            Method::GET | Method::HEAD if !named && query.flag("watch") => Self::Watch,
            Method::GET | Method::HEAD if !named => Self::List,
            Method::GET | Method::HEAD => Self::Get,
            Method::POST => Self::Create,
            Method::PUT => Self::Update,
            Method::PATCH => Self::Patch,
            Method::DELETE if named => Self::Delete,
            Method::DELETE => Self::DeleteCollection,
            _ => return None,
        })
    }

    /// What a request for a resource asks: on the old paths of watches, for nothing else.
    pub(crate) fn on(resource: &ResourceInfo, method: &Method, query: &QueryMap) -> Option<Self> {
        match *method {
            _ if !resource.watched => Self::of(method, !resource.name.is_empty(), query),
            Method::GET => Some(Self::Watch),
            _ => None,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

/// Answers a request for a resource.
///
/// # Errors
/// What the verb answers.
pub(crate) async fn handle<B>(
    state: &State,
    head: &Head,
    resource: &ResourceInfo,
    body: B,
) -> Result<Response<Body>, Status>
where
    B: http_body::Body + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let verb = Verb::on(resource, &head.method, &head.query);
    let tenant = tenant_of(head)?;
    authorize(state, head, resource, verb, tenant.as_ref())?;
    at_home(state, head, tenant.as_ref())?;
    if let Some(record) = &head.record {
        record.allowed();
    }
    let known = tenant.as_ref().unwrap_or(&SYSTEM);
    let old = compat::serves(state, &head.info);
    let Some(kind) = state.kinds.find(known, &resource.group, &resource.version, &resource.resource) else {
        // Old clients' groups have routes of their own, where those are served.
        let served = state.kinds.old().filter(|_| old).and_then(|catalog| catalog.group(&resource.group));
        return if served.is_some() { Err(not_found()) } else { paths::absent(&head.info.path) };
    };
    if (kind.is_old() && !old)
        || resource.is_beyond()
        || !paths::view(head).shows(&kind) && kind.storage_resource.as_str() != "tenantquotas.region.arktos.io"
    {
        return Err(not_found());
    }
    let verb = match allowed(&kind, resource, verb, &head.method)? {
        Ok(verb) => verb,
        Err(nothing) => return Ok(nothing),
    };
    let writes = !matches!(verb, Verb::Get | Verb::List | Verb::Watch);
    let bytes = if writes { input::bytes(body, &*state.config.clock).await? } else { Bytes::new() };
    state.turns.has_read(&head.identity, bytes.len());
    if let Some(record) = &head.record {
        record.sent(&bytes);
    }
    let mut call = Call {
        state,
        identity: &head.identity,
        namespace: if kind.scope == Scope::Namespace { resource.namespace.as_str().into() } else { Cow::Borrowed("") },
        // What is posted is named by itself.
        name: if verb == Verb::Create && resource.subresource.is_empty() { "" } else { &*resource.name }.into(),
        tenant,
        kind,
        options: WriteOptions::default(),
        warnings: parking_lot::Mutex::default(),
        old,
        record: head.record.clone(),
        purse: arktos_core::cel::Purse::default(),
    };
    let request = ResourceRequest { head, resource, verb, bytes };
    // Whoever is refused is warned all the same.
    let mut response = request.answer(&mut call).await.unwrap_or_else(|refusal| {
        let mut response = reply::status(&refusal, negotiate::accept_error(&head.headers, &head.query));
        response.extensions_mut().insert(refusal);
        response
    });
    let of_kind = deprecated(&call.kind).filter(|_| negotiate::is_routed(&response));
    for warning in crate::warnings::shortened(of_kind, call.warnings.into_inner().into_told()) {
        let text = format!("299 - \"{}\"", warning.replace('\\', "\\\\").replace('"', "\\\""));
        if let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) {
            response.headers_mut().append(http::header::WARNING, value);
        }
    }
    Ok(response)
}

static SYSTEM: std::sync::LazyLock<TenantName> = std::sync::LazyLock::new(TenantName::system);

fn deprecated(kind: &Kind) -> Option<&str> {
    if let Some(own) = &kind.own {
        return own.deprecation.as_deref();
    }
    match kind.storage_resource.as_str() {
        "endpoints" => Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
        "componentstatuses" => Some("v1 ComponentStatus is deprecated in v1.19+"),
        _ => None,
    }
}

/// The tenant that is asked about; absent stands for all.
fn tenant_of(head: &Head) -> Result<Option<TenantName>, Status> {
    match &head.info.tenant {
        TenantPart::Named(tenant) => Ok(Some(tenant.clone())),
        TenantPart::All => Ok(None),
        TenantPart::Own => match &head.identity.tenant {
            Some(tenant) => Ok(Some(tenant.clone())),
            None if head.identity.user.is_empty() => Err(unauthorized()),
            None => {
                let text = format!("The tenant in the user info of {} is empty", head.identity.user);
                Err(Status::failure(Reason::Forbidden, text))
            }
        },
    }
}

fn authorize(
    state: &State,
    head: &Head,
    resource: &ResourceInfo,
    verb: Option<Verb>,
    tenant: Option<&TenantName>,
) -> Result<(), Status> {
    // What no verb stands for is asked for as none.
    let verb = verb.map_or("", Verb::name);
    let answer =
        state.authorize(&head.identity, tenant, verb, &resource.selected(verb, head.query.get("fieldSelector")));
    answer.map_err(|status| compat::refused(state, &head.info, tenant, status))
}

/// A user whose tenant is not here has nothing to ask of it, whatever a role says: an empty list would look as if there
/// were a tenant that has nothing. (Users of `system` see that, as in Arktos.)
///
/// # Errors
/// 404 for the tenant.
fn at_home(state: &State, head: &Head, tenant: Option<&TenantName>) -> Result<(), Status> {
    let own = head.identity.tenant.as_ref().filter(|own| !own.is_system() && tenant == Some(*own));
    match own.map(create::tenant_key) {
        Some(key) if state.config.engine.snapshot().get(&key).is_none() => {
            Err(Status::not_found(&key.resource, key.path.name()))
        }
        _ => Ok(()),
    }
}

/// A request for a resource, authorized and read.
struct ResourceRequest<'a> {
    head: &'a Head,
    resource: &'a ResourceInfo,
    verb: Verb,
    bytes: Bytes,
}

impl ResourceRequest<'_> {
    async fn answer(&self, call: &mut Call<'_>) -> Result<Response<Body>, Status> {
        match (self.resource.subresource.as_str(), self.verb) {
            ("", Verb::List) if !call.kind.can("list") => Err(method_not_allowed()),
            ("", Verb::Get) => self.get(call).await,
            ("", Verb::List) => self.list(call).await,
            ("", Verb::Watch) => self.watch(call).await,
            ("", Verb::Create) => self.create(call).await,
            ("", Verb::Update) => self.update(call, Part::Whole).await,
            ("", Verb::Patch) => self.patch(call, Part::Whole).await,
            ("", Verb::Delete) => self.delete(call).await,
            ("", Verb::DeleteCollection) => self.delete_collection(call).await,
            ("scale", _) => self.scale(call).await,
            (_, Verb::Get) if self.shows_object(call) => self.get(call).await,
            ("status", Verb::Update) => self.update(call, Part::Status).await,
            ("status", Verb::Patch) => self.patch(call, Part::Status).await,
            ("finalize" | "approval" | "resize" | "ephemeralcontainers", Verb::Update) => {
                self.update(call, Part::Other(&self.resource.subresource)).await
            }
            ("approval" | "resize" | "ephemeralcontainers", Verb::Patch) => {
                self.patch(call, Part::Other(&self.resource.subresource)).await
            }
            ("binding" | "eviction" | "token", Verb::Create) => self.act(call).await,
            _ => connect::connect(call, &self.resource.subresource, (&self.head.query, &self.head.headers)).await,
        }
    }

    /// Whether the subresource is a view of the whole object.
    fn shows_object(&self, call: &Call<'_>) -> bool {
        call.kind.subresource(&self.resource.subresource).is_some_and(|subresource| {
            subresource.kind == *call.kind.type_meta
                && !matches!(self.resource.subresource.as_str(), "log" | "exec" | "attach" | "portforward" | "proxy")
        })
    }

    fn view(&self, call: &Call<'_>, endpoint: Endpoint) -> Result<View, Status> {
        let mut accept = negotiate::accept(&self.head.headers, endpoint)?;
        accept.pretty |= negotiate::is_for_people(&self.head.headers, &self.head.query);
        let include = Include::parse(self.head.query.find("includeObject"));
        let wants_region = self.head.headers.get("arktos-dialect").is_some_and(|dialect| dialect == "region");
        let region = wants_region && self.head.identity.is_component();
        let dialect = if region { Dialect::Region } else { self.head.info.dialect };
        let (kind, links) = compat::shown(call, &self.head.path);
        // Arktos's own clients show the tenant by themselves.
        let names_tenant = call.tenant.is_none() && kind.scope != Scope::Region && dialect == Dialect::Plain;
        let clock = call.state.config.clock.clone();
        Ok(View { kind, accept, dialect, include, links, names_tenant, clock })
    }

    fn view_of_object(&self, call: &Call<'_>) -> Result<View, Status> {
        // Some parts of objects have no columns.
        let tables = !matches!(
            (call.kind.storage_resource.as_str(), self.resource.subresource.as_str()),
            ("pods", "ephemeralcontainers" | "resize")
                | ("namespaces", "finalize")
                | ("resourceclaims.resource.k8s.io", "status")
                | ("apiservices.apiregistration.k8s.io", "status")
                | ("customresourcedefinitions.apiextensions.k8s.io", "status")
                | ("certificatesigningrequests.certificates.k8s.io", "approval")
        );
        self.view(call, Endpoint { forms: true, tables, ..Endpoint::of(&call.kind) })
    }

    fn view_of_list(&self, call: &Call<'_>, watch: bool) -> Result<View, Status> {
        self.view(call, Endpoint { forms: true, tables: true, list: true, watch, ..Endpoint::of(&call.kind) })
    }

    async fn get(&self, call: &Call<'_>) -> Result<Response<Body>, Status> {
        let view = self.view_of_object(call)?;
        if !self.head.query.get("export").is_empty() && self.head.query.flag("export") {
            let text = "the export parameter, deprecated since v1.14, is no longer supported";
            return Err(Status::bad_request(text));
        }
        if component_status::are_asked(call) {
            return view.object(200, &component_status::get(call)?);
        }
        let stored = read::get(call, self.head.query.get("resourceVersion")).await?;
        Self::answered(call, &view, 200, stored).await
    }

    /// A stored object, in the version asked for.
    async fn answered(call: &Call<'_>, view: &View, code: u16, stored: Stored) -> Result<Response<Body>, Status> {
        view.object(code, &conversion::shown(call, stored).await?)
    }

    async fn list(&self, call: &Call<'_>) -> Result<Response<Body>, Status> {
        let view = self.view_of_list(call, false)?;
        let options = ReadOptions::parse(&self.head.query, false)?;
        if component_status::are_asked(call) {
            return view.items(&component_status::list(call, &options)?, &ListMeta::default()).await;
        }
        if let Some(listing) = node_view::list(call, &options).await? {
            let meta = ListMeta { revision: listing.revision, ..ListMeta::default() };
            return view.items(&listing.items, &meta).await;
        }
        let page = read::list(call, &options).await?;
        let Some(converter) = Converter::to(call, &call.kind) else { return view.list(page, call).await };
        let items = converter.stored(page.items(None).map(Arc::unwrap_or_clone).collect()).await?;
        view.items(&items, &page.meta()).await
    }

    async fn watch(&self, call: &Call<'_>) -> Result<Response<Body>, Status> {
        let view = self.view_of_list(call, true)?;
        let options = ReadOptions::parse(&self.head.query, true)?.of(&self.resource.name)?;
        let state = (call.state.config.clone(), call.state.authorizer.clone(), call.state.standings.clone());
        let (credentials, resource) =
            (self.head.credentials.clone(), self.resource.selected("watch", self.head.query.get("fieldSelector")));
        let flow = fairness::flow(&self.head.identity);
        let standing = (!credentials.last()).then(|| {
            let who = (credentials, &self.head.identity, flow.clone());
            Standing::new(state, who, call.tenant.clone(), "watch", resource.into_owned())
        });
        let many = fairness::watches(self.head);
        let counted = flow.map(|flow| call.state.turns.open_watch(&flow, many)).transpose()?;
        let frames = watch::watch(call, &options, standing).await?;
        if matches!(view.accept.form, Form::Table(_)) {
            view.include.clone()?;
        }
        negotiate::streams(view.accept)?;
        let frames = frames.inspect(move |_| {
            let _held = &counted; // for as long as the stream is
        });
        Ok(match Converter::to(call, &call.kind) {
            Some(converter) => view.watch(Box::pin(converter.watch(frames)), &call.state.lines),
            None => view.watch(frames, &call.state.lines),
        })
    }

    fn write_options(&self, call: &mut Call<'_>, kind: &str, apply: bool) -> Result<(), Status> {
        call.options = WriteOptions::parse(&self.head.query, kind, apply)?;
        call.options.applies = apply;
        if call.options.manager.is_empty() {
            let agent = self.head.headers.get(http::header::USER_AGENT);
            call.options.manager = default_manager(agent.and_then(|agent| agent.to_str().ok()).unwrap_or(""));
        }
        Ok(())
    }

    async fn create(&self, call: &mut Call<'_>) -> Result<Response<Body>, Status> {
        let answered = reviews::answers(call) || call.state.config.virtuals.contains_key(&call.kind.storage_resource);
        let view = if answered || call.kind.resource == "bindings" {
            self.view(call, Endpoint { forms: true, protobuf: true, ..Endpoint::default() })?
        } else {
            self.view_of_object(call)?
        };
        self.write_options(call, "CreateOptions", false)?;
        let encoding = negotiate::request_encoding(&self.head.headers)?;
        let body = input::new_object(call, &self.bytes, encoding)?;
        if let Some(handler) = call.state.config.virtuals.get(&call.kind.storage_resource) {
            return view.value(201, handler.create(call.identity, body).await?);
        }
        if answered {
            return view.value(201, reviews::answer_noted(call, body).await?);
        }
        if call.kind.resource == "bindings" {
            return self.bind_by_body(call, body).await;
        }
        let stored = create::create(call, body).await?;
        Self::answered(call, &view, 201, stored).await
    }

    async fn bind_by_body(&self, call: &Call<'_>, mut body: Object) -> Result<Response<Body>, Status> {
        create::place(call, &mut body)?;
        let name = body.name().to_owned();
        body.remove(&["metadata", "uid"]); // of what is made anew only the revision counts
        let pods = self.pods(call, name.into())?;
        let done = subresource::bind(&pods, body).await?;
        Ok(reply::status(&done, negotiate::accept_error(&self.head.headers, &self.head.query)))
    }

    fn pods<'b>(&self, call: &'b Call<'_>, name: Cow<'b, str>) -> Result<Call<'b>, Status> {
        let tenant = call.one_tenant()?;
        let kind = call.state.kinds.find(tenant, "", "v1", "pods").ok_or_else(not_found)?;
        Ok(Call {
            state: call.state,
            identity: call.identity,
            kind,
            tenant: call.tenant.clone(),
            namespace: Cow::Borrowed(&call.namespace),
            name,
            options: call.options.clone(),
            warnings: parking_lot::Mutex::default(),
            old: call.old,
            record: call.record.clone(),
            purse: call.purse.clone(),
        })
    }

    async fn update(&self, call: &mut Call<'_>, part: Part<'_>) -> Result<Response<Body>, Status> {
        let view = self.view_of_object(call)?;
        self.write_options(call, "UpdateOptions", false)?;
        let encoding = negotiate::request_encoding(&self.head.headers)?;
        let body = input::object(call, &self.bytes, encoding)?;
        let changed = modify::modify(call, part, Source::Body(body)).await?;
        Self::answered(call, &view, if changed.created { 201 } else { 200 }, changed.stored).await
    }

    async fn patch(&self, call: &mut Call<'_>, part: Part<'_>) -> Result<Response<Body>, Status> {
        let form = negotiate::patch_type(&self.head.headers, call.kind.builtin)?;
        if form == PatchType::Apply {
            return self.apply(call, part).await;
        }
        let view = self.view_of_object(call)?;
        self.write_options(call, "PatchOptions", false)?;
        let asked = match self.asked_patch(call) {
            Ok(asked) => asked,
            Err(refusal) => {
                call.found().await?; // who is not there cannot be patched, however
                return Err(refusal);
            }
        };
        let changed = patch::patch(call, part, &asked.0, &asked.1).await?;
        Self::answered(call, &view, 200, changed.stored).await
    }

    async fn apply(&self, call: &mut Call<'_>, part: Part<'_>) -> Result<Response<Body>, Status> {
        let view = self.view_of_object(call)?;
        self.write_options(call, "PatchOptions", true)?;
        let (config, repeated) = patch::read_config(call, &self.bytes)?;
        let changed = patch::apply_config(call, part, &config, repeated).await?;
        Self::answered(call, &view, if changed.created { 201 } else { 200 }, changed.stored).await
    }

    fn asked_patch(&self, call: &Call<'_>) -> Result<(Patch, Vec<String>), Status> {
        let form = negotiate::patch_type(&self.head.headers, call.kind.builtin)?;
        patch::asked(call, form, &self.bytes)
    }

    async fn scale(&self, call: &mut Call<'_>) -> Result<Response<Body>, Status> {
        let view = self.view(call, Endpoint { forms: true, tables: true, protobuf: true, ..Endpoint::default() })?;
        let shown = match self.verb {
            Verb::Get => scale::get(call).await?,
            Verb::Patch if negotiate::patch_type(&self.head.headers, call.kind.builtin)? == PatchType::Apply => {
                self.write_options(call, "PatchOptions", true)?;
                call.options.scale = true;
                scale::apply(call, &patch::read_config(call, &self.bytes)?.0).await?
            }
            Verb::Patch => {
                self.write_options(call, "PatchOptions", false)?;
                let asked = self.asked_patch(call)?;
                call.options.scale = true;
                scale::patch(call, &asked.0, &asked.1).await?
            }
            _ => {
                self.write_options(call, "UpdateOptions", false)?;
                call.options.scale = true;
                let read = self.typed_body(call, &scale::type_meta());
                let body = read.map_err(|refusal| scale::unread(call, refusal))?;
                scale::update(call, body).await?
            }
        };
        view.scale(200, shown)
    }

    fn typed_body(&self, call: &Call<'_>, types: &arktos_core::TypeMeta) -> Result<Object, Status> {
        let encoding = negotiate::request_encoding(&self.head.headers)?;
        let schema = call.state.kinds.builtin().schema(types);
        let schema = schema.ok_or_else(|| Status::internal(format!("{} is not known", types.kind)))?;
        input::typed(call, &schema, types, &self.bytes, encoding)
    }

    async fn act(&self, call: &mut Call<'_>) -> Result<Response<Body>, Status> {
        let view = self.view(call, Endpoint { forms: true, protobuf: true, ..Endpoint::default() })?;
        self.write_options(call, "CreateOptions", false)?;
        let types = call.kind.subresource(&self.resource.subresource).map(|subresource| subresource.kind.clone());
        let mut body = self.typed_body(call, &types.ok_or_else(not_found)?)?;
        create::in_namespace(call, body.namespace())?;
        let done = match self.resource.subresource.as_str() {
            "binding" => {
                body.remove(&["metadata", "tenant"]);
                subresource::bind(call, body).await?
            }
            "eviction" => evict::evict(call, &body).await?,
            _ => return view.value(201, crate::tokens::issue::request(call, body).await?),
        };
        Ok(reply::status(&done, view.accept))
    }

    fn delete_body(&self) -> Result<Option<Object>, Status> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let encoding = negotiate::request_encoding(&self.head.headers)?;
        input::delete_options(&self.bytes, encoding).map(Some)
    }

    async fn delete(&self, call: &mut Call<'_>) -> Result<Response<Body>, Status> {
        let view = self.view_of_object(call)?;
        let body = self.delete_body()?;
        let asked = delete::options(body.as_ref(), &self.head.query)?;
        call.options.dry_run = asked.dry;
        delete::warn(call, &asked.options);
        let deleted = delete::delete(call, &asked.options).await?;
        if deleted.gone && !delete::answers_object(&call.kind.storage_resource) {
            return Ok(reply::status(&delete::gone_status(call, &deleted.stored), view.accept));
        }
        let code = if asked.along && !deleted.gone { 202 } else { 200 };
        Self::answered(call, &view, code, deleted.stored).await
    }

    async fn delete_collection(&self, call: &mut Call<'_>) -> Result<Response<Body>, Status> {
        if call.kind.scope != Scope::Region {
            call.one_tenant()?; // writing to all tenants at once is more than anybody can mean
        }
        let endpoint = Endpoint { forms: true, tables: true, list: true, deletes: true, ..Endpoint::of(&call.kind) };
        let view = self.view(call, endpoint)?;
        let body = self.delete_body()?;
        let asked = delete::options(body.as_ref(), &self.head.query)?;
        call.options.dry_run = asked.dry;
        let selected = ReadOptions::parse(&self.head.query, false)?.in_pages();
        let page = read::list(call, &selected).await?;
        delete::warn(call, &asked.options);
        let (items, meta) = (page.items(None).map(Arc::unwrap_or_clone).collect(), page.meta());
        let mut items = delete::delete_all(call, items, &asked.options).await?;
        if let Some(converter) = Converter::to(call, &call.kind) {
            items = converter.stored(items).await?;
        }
        view.items(&items, &meta).await
    }
}

/// A call in process: no HTTP around it.
///
/// # Errors
/// 403, and 404 for a resource that is not known.
pub(crate) fn call<'a>(
    state: &'a State,
    identity: &'a Identity,
    verb: Verb,
    place: (&arktos_core::GroupResource, Option<TenantName>, &'a str, &'a str, &str),
) -> Result<Call<'a>, Status> {
    let (resource, tenant, namespace, name, subresource) = place;
    let kind: Arc<Kind> = state.kinds.stored(tenant.as_ref(), resource).ok_or_else(not_found)?;
    let info = ResourceInfo {
        group: kind.group.clone(),
        version: kind.version.clone(),
        namespace: if kind.resource == "namespaces" { name.to_owned() } else { namespace.to_owned() },
        resource: kind.resource.clone(),
        name: name.to_owned(),
        subresource: subresource.to_owned(),
        ..ResourceInfo::default()
    };
    let asked = if kind.scope == Scope::Region { identity.tenant.clone() } else { tenant };
    state.authorize(identity, asked.as_ref(), verb.name(), &info)?;
    Ok(Call {
        state,
        identity,
        kind,
        tenant: asked,
        namespace: namespace.into(),
        name: name.into(),
        options: WriteOptions { manager: default_manager(&identity.user), ..WriteOptions::default() },
        warnings: parking_lot::Mutex::default(),
        old: false,
        record: None,
        purse: arktos_core::cel::Purse::default(),
    })
}

/// Whether who makes a call may do something else to what it is about.
///
/// # Errors
/// 403.
pub(crate) fn authorize_one(call: &Call<'_>, verb: Verb, subresource: &str) -> Result<(), Status> {
    let info = ResourceInfo {
        group: call.kind.group.clone(),
        version: call.kind.version.clone(),
        namespace: call.namespace.clone().into_owned(),
        resource: call.kind.resource.clone(),
        name: call.name.clone().into_owned(),
        subresource: subresource.to_owned(),
        ..ResourceInfo::default()
    };
    call.state.authorize(call.identity, call.tenant.as_ref(), verb.name(), &info)
}
