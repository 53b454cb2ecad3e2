//! Requests to GitHub by octocrab: it knows the version of the API, and which hosts the token is for.
//!
//! octocrab (0.54) sends them over our own client, so that proxies, certificate authorities, time limits and the bound
//! of an answer are those of registries, too. Of octocrab's typed calls only the shapes are used (`Release`, `Asset`):
//! the calls keep `Retry-After` and the rate limit's headers to themselves, and hand a file over as a whole in memory.

use octocrab::{OctoBody, Octocrab};
use reqwest::{Body, Request, Response, Url};
use secrecy::{ExposeSecret as _, SecretString};

/// One account at GitHub's API.
pub(in crate::registry) struct GitHub {
    octocrab: Octocrab,
    api: Url,
}

impl GitHub {
    /// `api` over `http`, for `token`. Must be called in a tokio runtime.
    pub(super) fn new(api: &Url, http: reqwest::Client, token: &SecretString) -> Result<Self, octocrab::Error> {
        // octocrab joins paths to its base by their beginnings; whole URLs on the base's host need no joining.
        let base = api.origin().ascii_serialization();
        let builder = Octocrab::builder().base_uri(base.as_str())?.upload_uri(uploads(api).unwrap_or(base))?;
        let octocrab = builder.personal_token(token.expose_secret()).build_with_reqwest(http)?;
        Ok(Self { octocrab, api: api.clone() })
    }

    /// Whether the token is for `url`. octocrab would look at the host only, and send it over plain HTTP, too.
    pub(in crate::registry) fn is_for(&self, url: &Url) -> bool {
        let origin = url.origin();
        origin == self.api.origin() || uploads(&self.api) == Some(origin.ascii_serialization())
    }

    /// Sends a request with the token.
    pub(in crate::registry) async fn execute(&self, request: Request) -> Result<Response, Box<dyn std::error::Error>> {
        let request = http::Request::<Body>::try_from(request)?;
        let answer = self.octocrab.execute(request.map(OctoBody::new)).await?;
        Ok(answer.map(Body::wrap).into())
    }
}

/// GitHub takes files at a host of its own: `uploads.` in the place of `api.`.
fn uploads(api: &Url) -> Option<String> {
    let domain = api.host_str()?.strip_prefix("api.")?;
    (api.scheme() == "https").then(|| format!("https://uploads.{domain}"))
}
