//! The one place where the program's TLS implementation is chosen (ring, which builds without cmake), and whom it
//! trusts.

use std::path::Path;

use reqwest::{Certificate, ClientBuilder};

use super::error::{Cause, Error};

/// Makes ring the provider of the whole process. Must run before any HTTP client is built, and may run again.
pub fn install() {
    // An error says that a provider is installed already, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// An HTTP client for `host` that follows no redirects and trusts the authorities of the machine (`SSL_CERT_FILE`) and
/// those in the PEM file `trusted`.
pub(super) fn client(host: &str, trusted: Option<&Path>) -> Result<ClientBuilder, Error> {
    install();
    let builder = reqwest::Client::builder()
        .user_agent(concat!("rhdh-pack/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none());
    let Some(path) = trusted else { return Ok(builder) };
    let unusable = |why: String| Error::Authority { host: host.to_owned(), path: path.to_owned(), source: Cause(why) };
    let text = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
    let certificates =
        Certificate::from_pem_bundle(&text).ok().filter(|certificates: &Vec<Certificate>| !certificates.is_empty());
    let certificates = certificates.ok_or_else(|| unusable("it holds no certificate in PEM form".to_owned()))?;
    Ok(builder.tls_certs_merge(certificates))
}
