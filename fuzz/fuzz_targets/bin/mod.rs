//! What the fuzz targets of `arktos-bin` check. `arktos-bin/tests/fuzz_smoke.rs` includes this file and runs the same
//! functions on a stable toolchain.

use arktos_bin::net::oidc::{Oidc, OidcOptions};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

const ISSUER: &str = "https://id.example.com";
const NOW: i64 = 500;

/// A provider, and the key that it signs with.
struct Provider {
    oidc: Oidc,
    pair: EcdsaKeyPair,
    keys: Value,
}

thread_local! {
    static PROVIDER: Provider = Provider::new();
}

impl Provider {
    fn new() -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).expect("a key");
        let point = pair.public_key().as_ref();
        let part = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
        let key = json!({"kty": "EC", "crv": "P-256", "kid": "k1", "x": part(1..33), "y": part(33..65)});
        let oidc = Oidc::new(OidcOptions {
            issuer: ISSUER.to_owned(),
            client_id: "arktos".to_owned(),
            username_claim: "sub".to_owned(),
            groups_claim: "groups".to_owned(),
            groups_prefix: "oidc:".to_owned(),
            tenant_claim: "org".to_owned(),
            required: vec![("hd".to_owned(), "example.com".to_owned())],
            ..OidcOptions::default()
        });
        Self { oidc, pair, keys: json!({"keys": [key]}) }
    }

    /// A token with these claims, whatever they are.
    fn signed(&self, claims: &[u8]) -> String {
        let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256","kid":"k1"}"#);
        let text = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims));
        let signature = self.pair.sign(&SystemRandom::new(), text.as_bytes()).expect("signs");
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Whoever it is has a tenant, and a name and groups that are the provider's to give.
    fn judge(&self, token: &str, keys: &Value) {
        let Some(Ok(found)) = self.oidc.whose(token, keys, NOW) else { return };
        assert!(found.tenant.is_some(), "{found:?}");
        assert!(found.user.starts_with("https://id.example.com#"), "{found:?}");
        let given = |group: &String| group.starts_with("oidc:") || group == "system:authenticated";
        assert!(found.groups.iter().all(given), "{found:?}");
    }
}

/// A token that the provider has not signed, which is nobody's; the claims of one that it has; and a set of keys with a
/// token, each on a line.
pub fn oidc(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    PROVIDER.with(|provider| {
        let found = provider.oidc.whose(text, &provider.keys, NOW);
        assert!(!matches!(found, Some(Ok(_))), "{text}");
        provider.judge(&provider.signed(bytes), &provider.keys);
        let Some((keys, token)) = text.split_once('\n') else { return };
        let Ok(keys) = serde_json::from_str::<Value>(keys) else { return };
        provider.judge(token, &keys);
    });
}
