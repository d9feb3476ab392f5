//! Roles of neighbouring versions understand each other. What the roles of a region say to each other is recorded, word
//! by word, in `recorded/`: gateways' requests in the name of others, reviews of claims, hosts and pods as they are
//! followed, the directory. This version must answer it all as before, with more at most; it must do the same when
//! there is something in it that it does not know; its clients must ask in the same words, and be able to read what was
//! answered then.
//!
//! A recorded exchange is never changed for as long as the version that it is of may be met. What is new is recorded
//! beside it: write the request and the code of its answer into a new file, and run this with `ARKTOS_RECORD=1`, which
//! adds the answer where there is none.

mod answers;
mod exchange;
#[path = "../process/mod.rs"]
mod process;
mod requests;

use std::time::Instant;

use arktos_bin::net::kubeconfig::Kubeconfig;
use arktos_bin::net::pki::{Authority, Subject};
use arktos_bin::net::remote::{Http, connect};
use bytes::Bytes;
use exchange::{Answer, Exchange, To, Who, lacks, of_later, recorded};
use http::Request;
use http_body_util::{BodyExt, Full};
use process::PATIENCE;
use process::roles::{Place, Process};

/// How the last line of a watch's initial state begins.
const END: &str = "k8s.io/initial-events-end";

/// A region of three roles, and who come to them.
struct Region {
    place: Place,
    roles: [Process; 3],
}

impl Region {
    fn start() -> Self {
        let mut place = Place::new();
        let directory = place.keeper("directory", "directory", &[]);
        place.found_at = format!("https://{}", directory.address.expect("it serves"));
        let manager = place.member("resource-manager", "rm-1", &[]);
        let partition = place.member("partition", "tp-1", &[]);
        Self { place, roles: [partition, manager, directory] }
    }

    fn at(&self, to: To) -> String {
        let process = match to {
            To::Partition => &self.roles[0],
            To::Manager => &self.roles[1],
            To::Directory => &self.roles[2],
        };
        format!("https://{}", process.address.expect("it serves"))
    }

    fn come(&self, to: To, who: Who) -> Http<Full<Bytes>> {
        let authority = Authority::open(&self.place.path("pki")).expect("an authority");
        let (user, group) = match who {
            Who::Gateway => (arktos_api::identity::GATEWAY, arktos_api::identity::COMPONENTS),
            Who::Member => ("arktos:member:tp-0", arktos_api::identity::MASTERS),
        };
        let subject = Subject { user: user.to_owned(), tenant: None, groups: vec![group.to_owned()] };
        let credential = Some(authority.client(&subject).expect("a certificate"));
        let authority = authority.certificate().to_owned();
        connect(&Kubeconfig { server: self.at(to), authority, credential, token: None }).expect("usable")
    }

    async fn ask(&self, asked: &Exchange) -> Answer {
        let mut request = Request::builder().method(asked.method.as_str());
        request = request.uri(format!("{}{}", self.at(asked.to), asked.path));
        for (name, value) in &asked.headers {
            for value in value.as_array().unwrap_or(&vec![value.clone()]) {
                request = request.header(name, value.as_str().expect("text"));
            }
        }
        let body = if asked.body.is_null() { String::new() } else { asked.body.to_string() };
        let request = request.body(Full::from(body)).expect("a request");
        let response = self.come(asked.to, asked.who).request(request).await.expect("an answer");
        let (code, mut body) = (response.status().as_u16(), response.into_body());
        let mut read = Vec::new();
        let watched = asked.path.contains("watch=1");
        while let Some(frame) = body.frame().await {
            read.extend_from_slice(frame.expect("a frame").data_ref().unwrap_or(&Bytes::new()));
            if watched && read.ends_with(b"\n") && String::from_utf8_lossy(&read).contains(END) {
                break;
            }
        }
        let text = String::from_utf8(read).expect("text");
        if watched && code == 200 {
            let lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
            return Answer { code, body: None, lines };
        }
        Answer { code, body: Some(serde_json::from_str(&text).expect("JSON")), lines: Vec::new() }
    }

    /// Asks until the answer is as expected: what controllers make may not be there yet. Gives the answer back.
    #[allow(clippy::disallowed_methods)] // other processes have no clock that could be stepped
    async fn play(&self, asked: &Exchange) -> Answer {
        let expected = &asked.answer;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask(asked).await;
            let fault = match answer.code == expected.code {
                true if expected.is_unknown() => None,
                true => lacks(&answer.value(), &expected.value(), ""),
                false => Some(format!("{} instead of {}: {}", answer.code, expected.code, answer.text())),
            };
            match fault {
                None => return answer,
                // What was done is not done again.
                Some(fault) if answer.code == expected.code && asked.method != "GET" => {
                    panic!("{}: {fault}", asked.about)
                }
                Some(fault) => assert!(Instant::now() < deadline, "{}: {fault}", asked.about),
            }
            process::pause();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_roles_of_this_version_ask_is_answered_as_before() {
    let region = Region::start();
    for (path, mut asked) in recorded() {
        let answer = region.play(&asked).await;
        if asked.answer.is_unknown() {
            assert!(std::env::var_os("ARKTOS_RECORD").is_some(), "{} has no answer", path.display());
            asked.answer = answer;
            std::fs::write(&path, serde_json::to_string_pretty(&asked).expect("JSON") + "\n").expect("written");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_later_version_says_beside_it_changes_nothing() {
    let region = Region::start();
    for (_, mut asked) in recorded() {
        asked.body = of_later(&asked.body);
        asked.headers.insert("x-arktos-of-later".to_owned(), "more".into());
        if asked.who == Who::Gateway {
            asked.headers.insert("x-remote-extra-arktos-of-later".to_owned(), "more".into());
        }
        region.play(&asked).await;
    }
}

#[test]
fn what_is_gone_or_different_is_found_and_what_is_new_is_not() {
    use serde_json::json;
    let recorded = json!({"a": [{"b": 1, "uid": "x"}], "c": "d"});
    assert_eq!(lacks(&json!({"a": [{"b": 1, "uid": "y", "new": 2}], "c": "d", "more": 1}), &recorded, ""), None);
    for (now, fault) in [
        (json!({"a": [{"b": 1, "uid": "y"}]}), ".c is gone"),
        (json!({"a": [{"b": 2, "uid": "y"}], "c": "d"}), ".a[0].b was 1 and is 2"),
        (json!({"a": [{"b": 1, "uid": 7}], "c": "d"}), ".a[0].uid is of another sort: 7"),
        (json!({"a": [], "c": "d"}), ".a was [{\"b\":1,\"uid\":\"x\"}] and is []"),
    ] {
        assert_eq!(lacks(&now, &recorded, ""), Some(fault.to_owned()));
    }
}
