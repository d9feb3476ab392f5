//! The `csrapproving` controller: requests of nodes for their client certificates are approved when a role says so.

use std::sync::Arc;

use arktos_core::{GroupResource, Object, ObjectKey, ObjectPath, Status};
use arktos_store::{Client, Informer, Outcome, Stored};
use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::request::{Request, add_condition};
use super::signers::Signer;
use super::{CertificateSigner, requests};
use crate::kinds::{CERTIFICATE_SIGNING_REQUESTS, SUBJECT_ACCESS_REVIEWS};
use crate::reconcile::{Reconcile, run, synced};
use crate::setup::Setup;
use crate::write::amend;

struct Approving {
    client: Arc<dyn Client>,
    requests: Informer<Stored>,
    signer: Arc<dyn CertificateSigner>,
}

pub(crate) fn start(setup: &mut Setup) -> BoxFuture<'static, ()> {
    let Some(signer) = setup.options.signer.clone() else { return Box::pin(std::future::pending()) };
    let (requests, queue) = requests(setup);
    let informers = vec![synced(&requests)];
    let controller = Approving { client: setup.client.clone(), requests, signer };
    run(controller, queue, setup.options.workers, informers)
}

impl Reconcile for Approving {
    type Key = ObjectPath;
    const NAME: &'static str = "csrapproving";

    async fn reconcile(&self, path: &ObjectPath) -> Result<Outcome, Status> {
        let Some(stored) = self.requests.store().get(path) else { return Ok(Outcome::Done) };
        let request = Request::read(&stored)?;
        let decided = ["Approved", "Denied"].into_iter().any(|kind| request.condition(kind).is_some());
        if decided || !request.status.certificate.is_empty() {
            return Ok(Outcome::Done);
        }
        if Signer::of(&request.spec.signer_name) != Some(Signer::NodeClient) {
            return Ok(Outcome::Done);
        }
        let Ok(asked) = self.signer.read(&request.pem()) else { return Ok(Outcome::Done) };
        if Signer::NodeClient.check(&asked, &request.spec.usages, false).is_err() {
            return Ok(Outcome::Done); // a person may still look at it
        }
        let own = (request.spec.username == asked.user)
            .then_some(("selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview."));
        let any = ("nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview.");
        for (subresource, message) in own.into_iter().chain([any]) {
            if self.may(path, &request, subresource).await? {
                amend(&*self.client, &CERTIFICATE_SIGNING_REQUESTS.key(path), Some("approval"), |object| {
                    let open = object.at(&["status", "conditions"]).and_then(Value::as_array).is_none_or(Vec::is_empty);
                    if open {
                        add_condition(object, "Approved", "AutoApproved", message);
                    }
                    open
                })
                .await?;
                return Ok(Outcome::Done);
            }
        }
        Ok(Outcome::Retry) // the role may come
    }
}

impl Approving {
    /// Whether who asks may have certificates of a sort without anybody's looking.
    async fn may(&self, path: &ObjectPath, request: &Request, subresource: &str) -> Result<bool, Status> {
        let spec = &request.spec;
        let review = json!({"spec": {
            "user": spec.username, "uid": spec.uid, "groups": spec.groups, "extra": spec.extra,
            "resourceAttributes": {
                "group": "certificates.k8s.io", "version": "*", "resource": "certificatesigningrequests",
                "subresource": subresource, "verb": "create",
            },
        }});
        let review = Object::from_value(review).ok_or_else(|| Status::internal("a review is an object"))?;
        let resource: GroupResource = SUBJECT_ACCESS_REVIEWS.resource.clone();
        let key = ObjectKey { resource, path: ObjectPath::new(path.tenant(), "", "") };
        let answer = self.client.post(&key, "", review).await?;
        Ok(answer.at(&["status", "allowed"]) == Some(&Value::Bool(true)))
    }
}
