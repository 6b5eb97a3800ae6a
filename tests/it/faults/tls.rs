//! Certificates, right and wrong, and the servers that show them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// What a server shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Our name, valid, of the authority the daemon was told of.
    Good,
    /// Of that authority, for another name.
    WrongName,
    /// Of that authority, for our name, years ago.
    Expired,
    /// Our name, signed by itself.
    SelfSigned,
    /// Our name, of an authority nobody told the daemon of.
    Stranger,
}

/// A private authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // A name of its own: two authorities of one name are told apart by their signatures only.
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        params.distinguished_name.push(DnType::CommonName, format!("Authority {number}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// The configuration of a server called `localhost` that shows this.
    pub(crate) fn server(&self, shown: Shown) -> Arc<ServerConfig> {
        let name = if shown == Shown::WrongName { "api.another.example" } else { "localhost" };
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        // Not `localhost`: some machines have an authority of their own by that name.
        params.distinguished_name.push(DnType::CommonName, format!("Server {name}"));
        if shown == Shown::Expired {
            (params.not_before, params.not_after) = (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 1, 1));
        }
        let key = KeyPair::generate().unwrap();
        let certificate = match shown {
            Shown::Good | Shown::WrongName | Shown::Expired => params.signed_by(&key, &self.issuer),
            Shown::SelfSigned => params.self_signed(&key),
            Shown::Stranger => params.signed_by(&key, &Self::new().issuer),
        };
        let chain: Vec<CertificateDer<'static>> = vec![certificate.unwrap().der().clone()];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Arc::new(ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap())
    }
}
