//! How connections are encrypted.

use std::{error::Error as StdError, sync::Arc};

use abyme_core::{Error, ErrorKind, Result};
use reqwest::{Client, ClientBuilder, Url};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use rustls_platform_verifier::Verifier;

use crate::url::is_loopback;

/// A client for what is no model. It connects to `url` as the clients of models do: with the root
/// certificates of this machine, and to this machine itself without a proxy.
///
/// # Errors
/// `Unavailable` if this machine has no root certificates.
pub fn http_client(url: &Url, configure: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Result<Client> {
    let mut builder = Client::builder()
        .user_agent(concat!("abyme/", env!("CARGO_PKG_VERSION")))
        .tls_backend_preconfigured(encryption(url, "")?);
    if is_loopback(url) {
        builder = builder.no_proxy();
    }
    configure(builder).build().map_err(|error| not_set_up(error.without_url()))
}

/// The encryption of connections to `url`, where the certificates in `extra` (PEM) count beside those of this
/// machine.
///
/// The provider is named here, since a default one would be a setting of the whole process, which is the
/// program's.
pub(crate) fn encryption(url: &Url, extra: &str) -> Result<ClientConfig> {
    let extra = certificates(extra)?;
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone());
    let config = config.with_safe_default_protocol_versions().map_err(not_set_up)?;
    let config = if url.scheme() == "http" {
        // Nothing is encrypted, so a machine without root certificates will do.
        config.with_root_certificates(RootCertStore::empty())
    } else {
        let verifier = Verifier::new_with_extra_roots(extra, provider).map_err(not_set_up)?;
        config.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
    };
    Ok(config.with_no_client_auth())
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let wrong = |why: &str| Error::new(ErrorKind::Config, format!("`certificate_authorities` {why}"));
    match found {
        Ok(found) if found.is_empty() && !pem.trim().is_empty() => {
            Err(wrong("holds no certificate: it has to be the text of a PEM file"))
        }
        Ok(found) => Ok(found),
        Err(error) => Err(wrong(&format!("is not PEM: {error}"))),
    }
}

/// What fails here on a machine is its root certificates; small containers often have none.
pub(crate) fn not_set_up(error: impl StdError + Send + Sync + 'static) -> Error {
    let message = "HTTPS cannot be set up: are there root certificates (`ca-certificates`, `SSL_CERT_FILE`)?";
    Error::new(ErrorKind::Unavailable, message).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_that_are_none_are_refused() {
        let url = Url::parse("https://x.test").unwrap();
        for (wrong, part) in
            [("/etc/ca.pem", "no certificate"), ("-----BEGIN CERTIFICATE-----\n!", "not PEM")]
        {
            let error = encryption(&url, wrong).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
