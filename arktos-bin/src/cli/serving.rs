//! The flags of every role that serves the API: addresses, identities, admission. Those that Kubernetes has keep their
//! names and meaning.

use std::convert::Infallible;
use std::fmt::Display;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use arktos_api::{AdmissionConfig, NodePorts, ServiceCidr, TokenKeys, TokenTable};
use arktos_control::NetworkTemplate;
use arktos_core::catalog::Catalog;
use arktos_core::name::subdomain_fault;
use arktos_core::quantity::Quantity;
use arktos_store::{Client, Tasks};
use clap::Args;
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::net::TcpListener;

use super::audit::AuditArgs;
use super::authentication::AuthenticationArgs;
use super::credentials::{FollowedKubeconfig, OwnCertificate};
use super::serving_certificate::ServingCertificate;
use crate::metrics::Metrics;
use crate::net::kubeconfig::Kubeconfig;
use crate::net::pki::{Authority, Subject, private_directory};
use crate::net::remote::Remote;
use crate::net::serve::{Stop, serve, stopped};
use crate::net::tls::Shown;
use crate::net::webhooks::{AllowedRange, Webhooks};
use crate::net::{address, tls};
use crate::roles::ApiOptions;
use crate::traces::Traced;

/// What open requests get to end before a role's store closes.
const REQUEST_GRACE: Duration = Duration::from_millis(250);

/// Where the API is served.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Serving")]
pub struct ListenArgs {
    /// Address and port for HTTPS
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:6443", value_parser = address::resolve)]
    pub listen: SocketAddr,
    /// Address and port for plain HTTP, on loopback only; off when not given
    #[arg(long, value_name = "ADDR", value_parser = address::resolve_loopback)]
    pub insecure_listen: Option<SocketAddr>,
    /// Another name or address for which the server's certificate shall be valid; may be given more than once
    #[arg(long = "tls-san", value_name = "NAME")]
    pub names: Vec<String>,
}

/// Who may call the API.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "API")]
pub struct CallerArgs {
    /// File of bearer tokens: token,user,uid,"group1,group2",,tenant
    #[arg(long, value_name = "FILE")]
    pub token_auth_file: Option<PathBuf>,
    /// Take requests without credentials as the user system:anonymous, who may do next to nothing, instead of refusing
    /// them
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    #[arg(num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub anonymous_auth: bool,
    /// Serve Arktos's own clients (its kubectl 1.15) on Arktos's own paths: old versions, self links and the like
    #[arg(long)]
    pub arktos_compat: bool,
}

/// Who may call the API, and what it does with a request.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "API")]
pub struct ApiArgs {
    /// Who may call it.
    #[command(flatten)]
    pub callers: CallerArgs,
    /// Range of the addresses of services, for each tenant
    #[arg(long, value_name = "CIDR", default_value = "10.0.0.0/16", value_parser = ServiceCidr::parse)]
    pub service_cluster_ip_range: ServiceCidr,
    /// Range of the node ports of services, for each tenant
    #[arg(long, value_name = "FIRST-LAST", default_value = "30000-32767", value_parser = node_ports)]
    pub service_node_port_range: NodePorts,
    /// Admission plugins to run in addition to the default ones
    #[arg(long, value_name = "PLUGINS", value_delimiter = ',', value_parser = plugin)]
    pub enable_admission_plugins: Vec<String>,
    /// Default admission plugins not to run
    #[arg(long, value_name = "PLUGINS", value_delimiter = ',', value_parser = plugin)]
    pub disable_admission_plugins: Vec<String>,
    /// The issuer of service account tokens
    #[arg(long, value_name = "URL", default_value = "https://kubernetes.default.svc")]
    pub service_account_issuer: String,
    /// Address ranges, besides public ones, at which this server may call the webhooks of tenants, such as 10.0.0.0/8
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    pub webhook_allowed_ranges: Vec<AllowedRange>,
    /// File with the network that a partition creates for each of its tenants: JSON in which {{.}} stands for the
    /// tenant's name. Its kind must be one that a definition in `system` forces on all tenants
    #[arg(long, value_name = "FILE")]
    pub default_network_template_path: Option<PathBuf>,
    #[command(flatten)]
    audit: AuditArgs,
    #[command(flatten)]
    authentication: AuthenticationArgs,
}

impl ApiArgs {
    /// What the flags mean.
    ///
    /// # Errors
    /// A sentence that says which file is wrong, and how.
    pub fn options(&self) -> Result<ApiOptions, String> {
        for plugin in &self.enable_admission_plugins {
            if AdmissionConfig::NOT_BUILT.contains(&plugin.as_str()) {
                tracing::warn!("the admission plugin {plugin} does not exist here yet: enabling it has no effect");
            }
        }
        Ok(ApiOptions {
            tokens: self.callers.tokens()?,
            anonymous_auth: self.callers.anonymous_auth,
            admission: AdmissionConfig {
                enabled: self.enable_admission_plugins.iter().cloned().collect(),
                disabled: self.disable_admission_plugins.iter().cloned().collect(),
            },
            service_cidr: self.service_cluster_ip_range,
            node_ports: self.service_node_port_range,
            issuer: self.service_account_issuer.clone(),
            webhooks: Some(Arc::new(Webhooks::new(self.webhook_allowed_ranges.clone()))),
            audit: self.audit.open()?,
            authenticators: self.authentication.authenticators()?,
            network: self.network()?,
            arktos_compat: self.callers.arktos_compat,
            ..ApiOptions::default()
        })
    }

    fn network(&self) -> Result<Option<NetworkTemplate>, String> {
        let Some(path) = &self.default_network_template_path else { return Ok(None) };
        let wrong = |why: &dyn Display| format!("--default-network-template-path {}: {why}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
        NetworkTemplate::new(text).map(Some).map_err(|error| wrong(&error))
    }
}

impl CallerArgs {
    /// The tokens of the token file.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the file.
    pub fn tokens(&self) -> Result<TokenTable, String> {
        let Some(path) = &self.token_auth_file else { return Ok(TokenTable::default()) };
        let text =
            std::fs::read_to_string(path).map_err(|error| format!("--token-auth-file {}: {error}", path.display()))?;
        TokenTable::parse(&text).map_err(|error| format!("--token-auth-file {}: {error}", path.display()))
    }
}

/// Another role, as the command line names it: its name and how it is reached.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// The file that says how it is reached.
    pub path: PathBuf,
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((name, path)) if !name.is_empty() && !path.is_empty() => {
                Ok(Self { name: name.to_owned(), path: path.into() })
            }
            _ => Err(format!("{text:?} is not NAME=KUBECONFIG")),
        }
    }
}

impl Peer {
    /// How it is reached.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn kubeconfig(&self) -> Result<Kubeconfig, String> {
        Kubeconfig::read(&self.path).map_err(|error| self.unusable(&error))
    }

    /// What is said of a kubeconfig that is of no use.
    fn unusable(&self, error: &dyn Display) -> String {
        format!("the kubeconfig of {} ({}): {error}", self.name, self.path.display())
    }

    /// How it is reached, and what shows the certificate of that; a task follows the file.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn followed(&self, tasks: &Tasks) -> Result<(Kubeconfig, Option<Arc<Shown>>), String> {
        let config = self.kubeconfig()?;
        let followed = FollowedKubeconfig::of(self.path.clone(), &config);
        let followed = followed.map_err(|error| self.unusable(&error))?;
        let shown = followed.as_ref().map(FollowedKubeconfig::shown);
        if let Some(followed) = followed {
            tasks.add(format!("kubeconfig of {}", self.name), followed.follow());
        }
        Ok((config, shown))
    }
}

/// Clients of other roles, by the roles' names.
pub type NamedClients = Vec<(String, Arc<dyn Client>)>;

/// A client for each peer. Tasks follow their kubeconfigs: the certificates in those may be replaced.
///
/// # Errors
/// A sentence that names the peer whose kubeconfig is unusable.
pub fn peers(peers: &[Peer], catalog: &Arc<Catalog>, tasks: &Tasks) -> Result<NamedClients, String> {
    peers
        .iter()
        .map(|peer| {
            let (config, shown) = peer.followed(tasks)?;
            let remote = Remote::showing(&config, shown, catalog.clone());
            let remote = remote.map_err(|error| peer.unusable(&error))?;
            Ok((peer.name.clone(), Arc::new(remote) as Arc<dyn Client>))
        })
        .collect()
}

/// The sockets and the certificate of a role that serves.
pub struct RoleServer {
    authority: Arc<Authority>,
    listener: TcpListener,
    insecure: Option<TcpListener>,
    address: SocketAddr,
    certificate: ServingCertificate,
    tls: Arc<rustls::ServerConfig>,
    /// The certificates with which it comes to others. Written while it is set up.
    own: Mutex<Vec<OwnCertificate>>,
    /// Held for as long as the role runs, where it has a data directory.
    _lock: Option<std::fs::File>,
}

impl RoleServer {
    /// Binds a role's sockets, takes its data directory, if it has one, and gets its certificate.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what to do.
    pub async fn open(name: &str, data_dir: Option<&Path>, pki_dir: &Path, args: &ListenArgs) -> Result<Self, String> {
        let listener = bind(args.listen).await?;
        let insecure = match args.insecure_listen {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let take = |data_dir: &Path| {
            private_directory(data_dir)
                .map_err(|error| format!("cannot create the data directory {}: {error}", data_dir.display()))?;
            crate::roles::store::lock(data_dir)
        };
        let lock = data_dir.map(take).transpose()?;
        // in a data directory it is made with everything else; elsewhere the directory may be a wrong one
        if !Authority::is_in(pki_dir) && data_dir.is_none_or(|data_dir| !pki_dir.starts_with(data_dir)) {
            let place = pki_dir.display();
            tracing::warn!(%place, "there is no certificate authority yet: creating one; all roles must share it");
        }
        let authority = Arc::new(Authority::open(pki_dir).map_err(|error| error.to_string())?);
        let (addresses, mut names) = certificate_names(address, &args.names);
        // who finds the role in the directory knows it by its name
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
        let certificate = ServingCertificate::open(&authority, name, &addresses, &names)?;
        let tls = tls::server_showing(certificate.shown(), authority.certificate());
        let tls = tls.map_err(|error| error.to_string())?;
        let own = Mutex::default();
        Ok(Self { authority, listener, insecure, address, certificate, tls, own, _lock: lock })
    }

    /// The same; where `wanted`, it takes the certificates of Arktos's old clients as well.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn for_old_clients(mut self, wanted: bool) -> Result<Self, String> {
        if wanted {
            let tls = tls::server_for_old_clients(self.certificate.shown(), self.authority.certificate());
            self.tls = tls.map_err(|error| error.to_string())?;
        }
        Ok(self)
    }

    /// Where it serves.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it serves plain HTTP, if it does.
    #[must_use]
    pub fn insecure_address(&self) -> Option<SocketAddr> {
        self.insecure.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// The options of the API that is served here: what the flags say, with this server's addresses and authority, and
    /// the keys of service account tokens.
    ///
    /// # Errors
    /// A sentence that says which file is wrong, and how.
    pub fn api_options(&self, args: &ApiArgs, keys: &TokenKeys) -> Result<ApiOptions, String> {
        Ok(ApiOptions {
            token_keys: Some(keys.clone()),
            advertise: Some(self.address),
            endpoint: Some(address::found_at(self.address)),
            ca_certificate: self.authority.certificate().to_owned(),
            secret: Some(self.authority.secret()),
            signer: Some(self.authority.clone()),
            ..args.options()?
        })
    }

    /// Says on standard output where a role serves.
    pub fn announce(&self, role: &str) {
        println!("{role} serves at https://{}", self.address);
        if let Some(insecure) = self.insecure_address() {
            println!("Plain HTTP, for this machine only: http://{insecure}");
        }
    }

    /// Tells of its certificates, and of those that it has made by now.
    pub fn measure(&self, metrics: &Metrics) {
        let (shown, authority) = (self.certificate.shown(), self.authority.clone());
        metrics.certificate("serving", move || shown.ends());
        metrics.certificate("authority", move || authority.ends());
        for own in self.own.lock().iter() {
            let shown = own.shown();
            metrics.certificate("client", move || shown.ends());
        }
    }

    /// The region's certificate authority.
    #[must_use]
    pub fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }

    /// The certificate with which a gateway speaks for its clients, renewed for as long as this serves.
    ///
    /// # Errors
    /// A sentence that says why it could not be made.
    pub fn gateway_certificate(&self) -> Result<Arc<Shown>, String> {
        self.own_certificate(arktos_api::identity::GATEWAY, arktos_api::identity::COMPONENTS)
    }

    /// The certificate with which a role comes to others, as a component of the region, renewed for as long as this
    /// serves. (Its user is never the one whose word for others counts, whatever the role's name.)
    ///
    /// # Errors
    /// A sentence that says why it could not be made.
    pub fn member_certificate(&self, name: &str) -> Result<Arc<Shown>, String> {
        self.own_certificate(&format!("arktos:member:{name}"), arktos_api::identity::MASTERS)
    }

    fn own_certificate(&self, user: &str, group: &str) -> Result<Arc<Shown>, String> {
        let subject = Subject { user: user.to_owned(), tenant: None, groups: vec![group.to_owned()] };
        let own = OwnCertificate::make(&self.authority, subject)?;
        let shown = own.shown();
        self.own.lock().push(own);
        Ok(shown)
    }

    /// Serves until told to stop; then takes no more connections, lets open requests end, and runs `wind_up`, which
    /// ends the role's tasks and, with its store, all watches.
    pub async fn serve<S, B>(self, service: S, stop: Stop, wind_up: impl Future<Output = ()>)
    where
        S: tower::Service<http::Request<Incoming>, Response = http::Response<B>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send,
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let service = Traced::new(service);
        let mut stopping = stop.clone();
        let wind_up = async {
            stopped(&mut stopping).await;
            tokio::time::sleep(REQUEST_GRACE).await;
            wind_up.await;
        };
        let secure = serve(self.listener, Some(self.tls), service.clone(), stop.clone());
        let all = async {
            match self.insecure {
                Some(listener) => drop(tokio::join!(secure, serve(listener, None, service, stop), wind_up)),
                None => drop(tokio::join!(secure, wind_up)),
            }
        };
        let renewed = self.own.into_inner().into_iter().map(OwnCertificate::renew);
        tokio::select! {
            () = all => {}
            _ = futures::future::join(self.certificate.follow(), futures::future::join_all(renewed)) => {}
        }
        tracing::info!("stopped");
    }
}

/// Binds a socket.
///
/// # Errors
/// A sentence that says what to do.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    let advice = |error: &std::io::Error| match error.kind() {
        ErrorKind::AddrInUse => ": another process listens there; stop it, or choose another address",
        ErrorKind::AddrNotAvailable => ": this machine has no such address",
        ErrorKind::PermissionDenied => ": ports below 1024 need more rights; choose a higher port",
        _ => "",
    };
    let bound = TcpListener::bind(address).await;
    bound.map_err(|error| format!("cannot listen on {address}: {error}{}", advice(&error)))
}

/// The addresses and names a server at an address is reached by.
#[must_use]
pub fn certificate_names(address: SocketAddr, more: &[String]) -> (Vec<IpAddr>, Vec<String>) {
    let mut addresses = vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])];
    if !address.ip().is_unspecified() && !addresses.contains(&address.ip()) {
        addresses.push(address.ip());
    }
    let usual = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    let mut names: Vec<String> = usual.map(str::to_owned).to_vec();
    for name in more {
        match name.parse() {
            Ok(address) => addresses.push(address),
            Err(_) => names.push(name.clone()),
        }
    }
    (addresses, names)
}

/// Reads the name of a role: others know it by that, its certificate is valid for it, and files are called by it.
pub(super) fn role_name(text: &str) -> Result<String, String> {
    match subdomain_fault(text) {
        None => Ok(text.to_owned()),
        Some(fault) => Err(format!("{text:?} cannot name a role: {fault}")),
    }
}

fn plugin(text: &str) -> Result<String, String> {
    let known = AdmissionConfig::DEFAULT.contains(&text) || AdmissionConfig::NOT_BUILT.contains(&text);
    if known { Ok(text.to_owned()) } else { Err(format!("admission plugin {text:?} is unknown")) }
}

fn node_ports(text: &str) -> Result<NodePorts, String> {
    let fault = || format!("{text:?} is not a range of ports such as 30000-32767");
    let (first, last) = text.split_once('-').ok_or_else(fault)?;
    let (first, last) = (first.parse().map_err(|_| fault())?, last.parse().map_err(|_| fault())?);
    if first == 0 || first > last {
        return Err(fault());
    }
    Ok(NodePorts { first, last })
}

/// Reads a duration such as `5m`, `30s`, `1h30m`.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn duration(text: &str) -> Result<Duration, String> {
    let fault = || format!("{text:?} is not a duration such as 30s, 5m or 1h30m");
    let (mut total, mut number) = (Duration::ZERO, String::new());
    for letter in text.chars() {
        let unit = match letter {
            '0'..='9' | '.' => {
                number.push(letter);
                continue;
            }
            's' => 1.0,
            'm' => 60.0,
            'h' => 3600.0,
            _ => return Err(fault()),
        };
        let seconds: f64 = number.parse().map_err(|_| fault())?;
        total += Duration::try_from_secs_f64(seconds * unit).map_err(|_| fault())?;
        number.clear();
    }
    if !number.is_empty() || text.is_empty() {
        return Err(fault());
    }
    Ok(total)
}

/// The least memory for history: with less, a watch would miss what has just happened.
const HISTORY_LEAST: usize = 16 << 20;

/// How much memory history takes, in bytes, as Kubernetes writes quantities.
pub fn history_memory(text: &str) -> Result<usize, String> {
    let bytes = Quantity::parse(text).ok().and_then(|size| usize::try_from(size.value()).ok());
    let bytes = bytes.ok_or_else(|| format!("{text:?} is not a size such as 64Mi or 1Gi"))?;
    if bytes < HISTORY_LEAST { Err(format!("{text:?} is less than 16Mi")) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("0.5s"), Ok(Duration::from_millis(500)));
        for bad in ["", "5", "m", "5x", "1h2"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn memory_for_history_is_read_as_kubernetes_writes_sizes() {
        assert_eq!(history_memory("64Mi"), Ok(64 << 20));
        assert_eq!(history_memory("1G"), Ok(1_000_000_000));
        for bad in ["", "-1", "64 MB", "x", "0", "256m", "15Mi"] {
            assert!(history_memory(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn node_ports_are_a_range() {
        assert_eq!(node_ports("30000-32767"), Ok(NodePorts { first: 30_000, last: 32_767 }));
        for bad in ["30000", "2-1", "0-5", "a-b", "1-70000"] {
            assert!(node_ports(bad).is_err(), "{bad}");
        }
    }
}
