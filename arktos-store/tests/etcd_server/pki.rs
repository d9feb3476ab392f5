//! Certificates for etcd and its clients.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

/// An authority, a server's certificate and a client's, as PEM.
pub struct Pki {
    pub ca: String,
    pub server: (String, String),
    pub client: (String, String),
}

impl Pki {
    /// For a server with these names and addresses, and a client whose common name is `client`.
    pub fn new(names: &[&str], client: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([]).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "etcd-ca");
        let ca = params.self_signed(&key).expect("signs").pem();
        let issuer = Issuer::new(params, key);
        let server = certificate(&issuer, names, "etcd");
        Self { ca, server, client: certificate(&issuer, &[], client) }
    }

    pub(super) fn write(&self, directory: &Path) {
        let files = [("ca.crt", &self.ca), ("server.crt", &self.server.0), ("server.key", &self.server.1)];
        for (name, pem) in files {
            std::fs::write(directory.join(name), pem).expect("writes");
        }
    }
}

fn certificate(issuer: &Issuer<'_, KeyPair>, names: &[&str], common_name: &str) -> (String, String) {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("parameters");
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().expect("a key");
    (params.signed_by(&key, issuer).expect("signs").pem(), key.serialize_pem())
}
