//! Who may talk to whom: certificates, users, tokens.

use std::time::Duration;

use arktos_store::commit::{CommitError, Expect};
use arktos_store::etcd::{Etcd, EtcdOptions, EtcdTls};
use etcd_client::{Client, ConnectOptions, Permission, PermissionType};
use tokio::time::{sleep, timeout};

use crate::etcd_server::engines::{RuntimeClock, fed, listed, pods, put, told_until};
use crate::etcd_server::pki::Pki;
use crate::etcd_server::{EtcdCluster, EtcdServer};

const BOUND: Duration = Duration::from_secs(180);

fn tls(pki: &Pki) -> EtcdTls {
    let mut tls = EtcdTls::default();
    tls.ca = Some(pki.ca.clone().into_bytes());
    tls.identity = Some((pki.client.0.clone().into_bytes(), pki.client.1.clone().into_bytes()));
    tls
}

async fn refusal(options: &EtcdOptions) -> String {
    let refused = Etcd::connect(options, RuntimeClock::new()).await;
    let text = refused.err().expect("is refused").to_string();
    assert!(!text.contains('\n'), "one line: {text}");
    println!("{text}");
    text
}

/// A user who may do what a store needs, and root; from here on etcd asks who it is.
async fn guard(server: &EtcdServer) {
    let mut client = Client::connect([server.url()], None).await.expect("connects");
    client.user_add("root", "secret", None).await.expect("adds");
    client.user_grant_role("root", "root").await.expect("grants");
    client.role_add("store").await.expect("adds");
    let all = Permission::new(PermissionType::Readwrite, "/arktos/").with_prefix();
    client.role_grant_permission("store", all).await.expect("grants");
    client.user_add("arktos", "open sesame", None).await.expect("adds");
    client.user_grant_role("arktos", "store").await.expect("grants");
    client.auth_enable().await.expect("enables");
}

fn user(server: &EtcdServer, name: &str, password: &str) -> EtcdOptions {
    let mut options = EtcdOptions::new([server.url()]);
    options.user = Some((name.to_owned(), password.to_owned()));
    options.prefix = "/arktos/one".to_owned();
    options.request_timeout = Duration::from_secs(4);
    options
}

#[tokio::test]
async fn over_tls_both_sides_are_who_they_say_or_nothing_is_said() {
    let pki = Pki::new(&["127.0.0.1"], "arktos");
    let (good, stranger) = (tls(&pki), tls(&Pki::new(&["127.0.0.1"], "arktos")));
    let Some(mut cluster) = EtcdCluster::start_secure(pki, &[]) else { return };
    timeout(BOUND, async {
        let mut options = EtcdOptions::new(cluster.urls());
        options.request_timeout = Duration::from_secs(4);
        options.tls = Some(good.clone());
        let engine = fed(&options).await;
        engine.commit(put("a", Expect::Absent, 1)).await.expect("is there");
        cluster.kill(0);
        // It may have led, and while another is chosen a write can run out of time (see `cluster`).
        let mut tried = 0;
        while let Err(error) = engine.commit(put(&format!("b-{tried}"), Expect::Absent, 1)).await {
            assert!(matches!(error, CommitError::Unknown(_) | CommitError::Unavailable(_)), "{error}");
            tried += 1;
        }
        let there = listed(&engine).await;
        assert!(there.iter().any(|(name, _)| *name == format!("b-{tried}")), "another member has a certificate too");
        engine.close().await;
        cluster.revive(0);

        options.request_timeout = Duration::from_secs(2);
        let mut of_stranger = good.clone();
        of_stranger.ca.clone_from(&stranger.ca);
        options.tls = Some(of_stranger);
        assert!(refusal(&options).await.contains("invalid peer certificate"), "members of another authority");
        let mut as_stranger = good.clone();
        as_stranger.identity.clone_from(&stranger.identity);
        options.tls = Some(as_stranger);
        refusal(&options).await;
        let mut nobody = good.clone();
        nobody.identity = None;
        options.tls = Some(nobody);
        assert!(refusal(&options).await.contains("it may ask for a certificate: none is given"));
        let mut elsewhere = good.clone();
        elsewhere.server_name = Some("etcd.example".to_owned());
        options.tls = Some(elsewhere);
        assert!(refusal(&options).await.contains("etcd.example"), "a certificate for another name");
        options.tls = None;
        refusal(&options).await;
        let mut nonsense = good.clone();
        nonsense.ca = Some(b"no certificate".to_vec());
        options.tls = Some(nonsense);
        assert!(refusal(&options).await.contains("holds none"));
    })
    .await
    .expect("takes no longer");
}

#[tokio::test]
async fn a_members_certificate_may_have_a_name_that_is_not_in_its_url() {
    let pki = Pki::new(&["etcd.internal"], "arktos");
    let mut tls = tls(&pki);
    tls.server_name = Some("etcd.internal".to_owned());
    let Some(cluster) = EtcdCluster::start_secure(pki, &[]) else { return };
    let mut options = EtcdOptions::new(cluster.urls());
    options.tls = Some(tls);
    let engine = timeout(BOUND, fed(&options)).await.expect("takes no longer");
    engine.commit(put("a", Expect::Absent, 1)).await.expect("is there");
    engine.close().await;
}

#[tokio::test]
async fn a_user_is_asked_for_a_password_and_kept_to_its_rights() {
    let Some(server) = EtcdServer::start() else { return };
    guard(&server).await;
    timeout(BOUND, async {
        let engine = fed(&user(&server, "arktos", "open sesame")).await;
        engine.commit(put("a", Expect::Absent, 1)).await.expect("is there");
        assert!(refusal(&user(&server, "arktos", "guessed")).await.contains("invalid user ID or password"));
        let mut elsewhere = user(&server, "arktos", "open sesame");
        elsewhere.prefix = "/other".to_owned();
        assert!(refusal(&elsewhere).await.contains("permission denied"));
        assert!(refusal(&EtcdOptions::new([server.url()])).await.contains("user name is empty"));
        // what the user may do is taken away while it writes
        let root = ConnectOptions::new().with_user("root", "secret");
        let mut client = Client::connect([server.url()], Some(root)).await.expect("connects");
        client.user_revoke_role("arktos", "store").await.expect("revokes");
        let refused = engine.commit(put("b", Expect::Absent, 1)).await;
        assert!(
            matches!(&refused, Err(CommitError::Unavailable(why)) if why.contains("permission denied")),
            "{refused:?}"
        );
        client.user_grant_role("arktos", "store").await.expect("grants");
        engine.commit(put("b", Expect::Absent, 1)).await.expect("is there");
        engine.close().await;
    })
    .await
    .expect("takes no longer");
}

#[tokio::test]
async fn a_token_that_is_no_longer_good_is_renewed_for_writes_and_for_the_watch() {
    let Some(mut server) = EtcdServer::start_with(&["--auth-token-ttl", "1"]) else { return };
    guard(&server).await;
    timeout(BOUND, async {
        let options = user(&server, "arktos", "open sesame");
        let (engine, idle) = (fed(&options).await, fed(&options).await);
        let mut cursor = idle.watch(pods(), idle.snapshot().revision()).expect("watches");
        engine.commit(put("a", Expect::Absent, 1)).await.expect("is there");
        sleep(Duration::from_millis(2500)).await; // tokens live one second after their last use
        engine.commit(put("b", Expect::Absent, 1)).await.expect("a new token is got");
        // a server that starts anew knows no token at all; the idle engine only watches
        server.restart();
        while engine.commit(put("c", Expect::Anything, 1)).await.is_err() {}
        let told = told_until(&mut cursor, "c").await;
        assert_eq!(told.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
        engine.close().await;
        idle.close().await;
    })
    .await
    .expect("takes no longer");
}
