//! Makes documents apart from the threads that answer requests: a tenant with many definitions keeps nobody else
//! waiting.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};

use futures::channel::oneshot;
use futures::lock;
use http::HeaderMap;
use parking_lot::Mutex;

use super::OpenApi;
use crate::config::Aside;
use crate::discovery::View;

/// How many documents of v2 are kept, of all tenants' kinds.
const KEPT: usize = 16;

/// Makes documents, one after the other, and each once for all who ask for it at the same time. Of each tenant's, one
/// waits for that: whose kinds change all the time does not stand in line with a document of each time.
pub(crate) struct Builds {
    aside: Arc<dyn Aside>,
    turn: Arc<lock::Mutex<()>>,
    /// The next of each tenant. Written by whoever asks.
    next: Mutex<HashMap<Box<str>, Weak<lock::Mutex<()>>>>,
    /// Written by whoever has made a document of v2.
    kept: Arc<Mutex<Kept>>,
}

/// Where there is a document of v2, the oldest first.
type Kept = VecDeque<(Weak<OpenApi>, View)>;

impl Builds {
    pub(crate) fn new(aside: Arc<dyn Aside>) -> Self {
        Self { aside, turn: Arc::default(), next: Mutex::default(), kept: Arc::default() }
    }

    fn next_of(&self, tenant: &str) -> Arc<lock::Mutex<()>> {
        let mut next = self.next.lock();
        if let Some(known) = next.get(tenant).and_then(Weak::upgrade) {
            return known;
        }
        next.retain(|_, known| known.strong_count() > 0);
        let new = Arc::default();
        next.insert(tenant.into(), Arc::downgrade(&new));
        new
    }

    /// Waits until all is there that an answer about a tenant's kinds needs.
    pub(crate) async fn ready(
        &self,
        openapi: &Arc<OpenApi>,
        tenant: &str,
        (view, path, headers): (View, &str, &HeaderMap),
    ) {
        if openapi.is_made(view, path, headers) {
            return;
        }
        let next = self.next_of(tenant);
        let _next = next.lock().await;
        // Whoever goes away does not let the next one begin before this one has ended: the work has the turn.
        let turn = self.turn.clone().lock_owned().await;
        if openapi.is_made(view, path, headers) {
            return;
        }
        let (done, wait) = oneshot::channel();
        let (openapi, path, headers, kept) = (openapi.clone(), path.to_owned(), headers.clone(), self.kept.clone());
        self.aside.run(Box::new(move || {
            drop(openapi.answer(view, &path, None, &headers));
            if path == "/openapi/v2" {
                keep(&kept, &openapi, view);
            }
            drop(turn);
            let _ = done.send(()); // nobody may be there any more
        }));
        let _ = wait.await; // if the work has failed, the answer says so
    }
}

/// Notes that there is a document of v2, and lets go of those that were there long before.
fn keep(kept: &Mutex<Kept>, openapi: &Arc<OpenApi>, view: View) {
    let mut kept = kept.lock();
    kept.retain(|(other, of)| other.strong_count() > 0 && (*of != view || other.as_ptr() != Arc::as_ptr(openapi)));
    kept.push_back((Arc::downgrade(openapi), view));
    while kept.len() > KEPT {
        if let Some((old, view)) = kept.pop_front()
            && let Some(old) = old.upgrade()
        {
            old.forget_v2(view);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use arktos_core::catalog::Catalog;
    use futures::FutureExt;
    use futures::future::join_all;

    use super::*;
    use crate::config::InPlace;
    use crate::openapi::Document;
    use crate::openapi::packed::Packed;

    /// Keeps work until somebody does it.
    #[derive(Default)]
    struct Later {
        work: Mutex<Vec<Box<dyn FnOnce() + Send>>>,
        given: AtomicUsize,
    }

    impl Aside for Later {
        fn run(&self, work: Box<dyn FnOnce() + Send>) {
            self.given.fetch_add(1, Ordering::Relaxed);
            self.work.lock().push(work);
        }
    }

    impl Later {
        fn work(&self) {
            let work: Vec<_> = self.work.lock().drain(..).collect();
            work.into_iter().for_each(|work| work());
        }
    }

    fn own() -> Arc<OpenApi> {
        let builtin = Catalog::builtin();
        OpenApi::beside(&OpenApi::of(&builtin), &Arc::new(Catalog::new(builtin.kinds().cloned())))
    }

    #[test]
    fn a_document_is_made_once_apart_from_all_who_ask_for_it() {
        let later = Arc::new(Later::default());
        let (builds, openapi, headers) = (Builds::new(later.clone()), own(), HeaderMap::new());
        let ready = || builds.ready(&openapi, "acme", (View::Tenant, "/openapi/v2", &headers)).boxed();
        let mut all = join_all((0..5).map(|_| ready()));
        assert!((&mut all).now_or_never().is_none(), "they wait");
        assert_eq!(later.given.load(Ordering::Relaxed), 1);
        later.work();
        assert!(all.now_or_never().is_some(), "one was enough for all");
        assert!(ready().now_or_never().is_some(), "it is there");
        assert_eq!(later.given.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn work_of_which_nobody_waits_for_the_end_keeps_its_turn() {
        let later = Arc::new(Later::default());
        let (builds, headers) = (Builds::new(later.clone()), HeaderMap::new());
        let (one, two) = (own(), own());
        assert!(builds.ready(&one, "acme", (View::Tenant, "/openapi/v3", &headers)).now_or_never().is_none());
        let mut other = builds.ready(&two, "acme", (View::Tenant, "/openapi/v3", &headers)).boxed();
        assert!((&mut other).now_or_never().is_none());
        assert_eq!(later.given.load(Ordering::Relaxed), 1, "one at a time");
        later.work();
        assert!((&mut other).now_or_never().is_none());
        later.work();
        assert!(other.now_or_never().is_some());
        assert_eq!(later.given.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_tenant_has_one_document_in_line() {
        let later = Arc::new(Later::default());
        let (builds, headers) = (Builds::new(later.clone()), HeaderMap::new());
        let (noisy, quiet): (Vec<_>, _) = ((0..20).map(|_| own()).collect(), own());
        let ready = |openapi, tenant| builds.ready(openapi, tenant, (View::Tenant, "/openapi/v3", &headers)).boxed();
        let mut all = join_all(noisy.iter().map(|openapi| ready(openapi, "noisy")));
        assert!((&mut all).now_or_never().is_none());
        let mut asked = ready(&quiet, "quiet");
        assert!((&mut asked).now_or_never().is_none());
        assert_eq!(later.given.load(Ordering::Relaxed), 1);
        later.work();
        assert!((&mut asked).now_or_never().is_none(), "it alone is woken, and begins");
        assert!((&mut all).now_or_never().is_none());
        assert_eq!(later.given.load(Ordering::Relaxed), 2);
        later.work();
        assert!(asked.now_or_never().is_some(), "behind one of the other's, and not behind twenty");
    }

    #[test]
    fn few_documents_of_v2_are_kept() {
        let (builds, headers) = (Builds::new(Arc::new(InPlace)), HeaderMap::new());
        let all: Vec<Arc<OpenApi>> = (0..=KEPT).map(|_| own()).collect();
        let is_made = |openapi: &OpenApi| openapi.is_made(View::Tenant, "/openapi/v2", &headers);
        // The document is put there by hand: it is large, and made above.
        let document = Document::new(Packed::new(b"{}"));
        for openapi in &all {
            *openapi.documents(View::Tenant).v2.lock() = Some(document.clone());
            keep(&builds.kept, openapi, View::Tenant);
        }
        assert!(!is_made(&all[0]));
        assert!(all[1..].iter().all(|openapi| is_made(openapi)));
    }
}
