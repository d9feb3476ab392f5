//! The `csrsigning` controller: what is approved is signed.

use std::sync::Arc;
use std::time::Duration;

use arktos_core::{ObjectPath, Status, Timestamp};
use arktos_store::{Client, Clock, Informer, Outcome, Stored};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::BoxFuture;

use super::request::{Request, add_condition};
use super::signers::Signer;
use super::{Asked, Certificate, CertificateSigner, requests};
use crate::kinds::{CERTIFICATE_SIGNING_REQUESTS, TENANTS};
use crate::reconcile::{Reconcile, run, synced};
use crate::setup::Setup;
use crate::write::{amend, found};

/// How long a certificate is valid at most, in seconds: a year.
const LONGEST: i64 = 365 * 24 * 3600;
/// The least, in seconds.
const SHORTEST: i64 = 600;
/// How far its beginning is in the past, for clocks that are behind.
const BACKDATE: Duration = Duration::from_secs(300);

struct Signing {
    client: Arc<dyn Client>,
    clock: Arc<dyn Clock>,
    requests: Informer<Stored>,
    signer: Arc<dyn CertificateSigner>,
}

pub(crate) fn start(setup: &mut Setup) -> BoxFuture<'static, ()> {
    let Some(signer) = setup.options.signer.clone() else { return Box::pin(std::future::pending()) };
    let (requests, queue) = requests(setup);
    let informers = vec![synced(&requests)];
    let controller = Signing { client: setup.client.clone(), clock: setup.clock.clone(), requests, signer };
    run(controller, queue, setup.options.workers, informers)
}

impl Reconcile for Signing {
    type Key = ObjectPath;
    const NAME: &'static str = "csrsigning";

    async fn reconcile(&self, path: &ObjectPath) -> Result<Outcome, Status> {
        let Some(stored) = self.requests.store().get(path) else { return Ok(Outcome::Done) };
        let request = Request::read(&stored)?;
        let waits = request.condition("Approved").is_some()
            && request.condition("Denied").is_none()
            && request.condition("Failed").is_none()
            && request.status.certificate.is_empty();
        let Some(signer) = Signer::of(&request.spec.signer_name).filter(|_| waits) else { return Ok(Outcome::Done) };
        let of_tenant = path.tenant() != "system";
        let pem = request.pem();
        let asked = self.signer.read(&pem).and_then(|asked| {
            signer.check(&asked, &request.spec.usages, of_tenant)?;
            Ok(asked)
        });
        let asked = match asked {
            Ok(asked) => asked,
            Err(why) => return self.fail(path, "SignerValidationFailure", &why).await,
        };
        let tenant = if of_tenant { Some(self.tenant(path).await?) } else { None };
        let certificate = self.certificate(signer, &request, asked, tenant);
        match self.signer.sign(&pem, &certificate) {
            Ok(signed) => {
                self.amend(path, |object| {
                    object.set(&["status", "certificate"], STANDARD.encode(&signed));
                })
                .await
            }
            Err(why) => self.fail(path, "SigningError", &why).await,
        }
    }
}

impl Signing {
    fn certificate(&self, signer: Signer, request: &Request, asked: Asked, tenant: Option<String>) -> Certificate {
        let seconds = request.spec.expiration_seconds.unwrap_or(LONGEST).clamp(SHORTEST, LONGEST);
        let now = self.clock.now();
        let before = Timestamp::from_micros(now.as_micros() - BACKDATE.as_micros() as i64);
        Certificate {
            user: asked.user,
            tenant,
            groups: asked.groups,
            serves: signer == Signer::NodeServer,
            enciphers: request.spec.usages.iter().any(|usage| usage == "key encipherment"),
            begins: before,
            ends: now.later(Duration::from_secs(seconds.cast_unsigned())),
        }
    }

    /// The tenant that a request is in, with its uid: the certificate ends with it.
    async fn tenant(&self, path: &ObjectPath) -> Result<String, Status> {
        let key = TENANTS.key(&ObjectPath::new("", "", path.tenant()));
        let tenant = found(self.client.get(&key).await)?;
        let tenant = tenant.ok_or_else(|| Status::not_found(&TENANTS.resource, path.tenant()))?;
        Ok(format!("{}:{}", path.tenant(), tenant.object.header().uid()))
    }

    async fn fail(&self, path: &ObjectPath, reason: &str, why: &str) -> Result<Outcome, Status> {
        self.amend(path, |object| add_condition(object, "Failed", reason, why)).await
    }

    /// Changes the status of a request that has no certificate yet.
    async fn amend(
        &self,
        path: &ObjectPath,
        mut edit: impl FnMut(&mut arktos_core::Object) + Send,
    ) -> Result<Outcome, Status> {
        amend(&*self.client, &CERTIFICATE_SIGNING_REQUESTS.key(path), Some("status"), |object| {
            let waits = object.str_at(&["status", "certificate"]).is_empty();
            if waits {
                edit(object);
            }
            waits
        })
        .await?;
        Ok(Outcome::Done)
    }
}
