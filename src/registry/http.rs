//! One registry host: a single exchange with it, with authorization, redirects and time limits. Attempts are not
//! repeated here (see `retry.rs`), with one exception: a 401 with a challenge is answered once.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderName, HeaderValue, LOCATION};
use reqwest::{Method, Request, RequestBuilder, Response, StatusCode, Url};
use tokio::sync::{OnceCell, Semaphore};

use super::address::{host_of, is_link_local, is_loopback};
use super::advice::unreachable_help;
use super::answer::{Answer, Download};
use super::auth::{Account, Challenge, Scope};
use super::blob::BlobBody;
use super::error::{Cause, Error, words};
use super::forge::GitHub;
use super::retry::Attempts;
use super::{Limits, tls};
use crate::ui::Ui;

/// No answer that is read as a whole is larger; registries limit manifests to 4 MiB.
const MAX_ANSWER: u64 = 8 * 1024 * 1024;
/// As curl's and most registries' clients.
const MAX_REDIRECTS: usize = 5;
/// Slower than this over a whole upload is as good as not moving (bytes a second).
const SLOWEST: u64 = 50_000;

/// A registry host and everything that is known about it.
pub(super) struct Host {
    /// `host[:port]`, as it stands in references.
    pub(super) authority: String,
    pub(super) http: reqwest::Client,
    /// Whoever sends what needs GitHub's token, where this is GitHub.
    pub(super) github: Option<GitHub>,
    pub(super) limits: Limits,
    pub(super) ui: Ui,
    insecure: bool,
    /// The scheme and host of all URLs, once known.
    base: OnceCell<Url>,
    /// When it could not be reached, the last time: the cause, and what to look at.
    unreachable: Mutex<Option<(Instant, Cause, &'static str)>>,
    challenge: RwLock<Option<Challenge>>,
    accounts: Mutex<Vec<Arc<Account>>>,
    slots: Semaphore,
    pub(super) blobs: super::blob::Known,
    /// Whether the registry is known to keep no lists of what is attached to images.
    pub(super) no_referrers: AtomicBool,
}

/// One question.
pub(super) struct Ask<'a> {
    /// What is being done, for messages.
    pub(super) what: &'a str,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) account: &'a Account,
    pub(super) scope: &'a Scope,
    pub(super) headers: &'a [(HeaderName, String)],
    pub(super) body: Body<'a>,
    /// Where the body of a good answer goes; `None`: into the answer.
    pub(super) into: Option<&'a Download>,
}

/// What goes with a question.
#[derive(Clone, Copy)]
pub(super) enum Body<'a> {
    None,
    Bytes(&'a [u8]),
    Blob(&'a BlobBody<'a>),
}

impl Host {
    /// `trusted`: a PEM file with an authority that is trusted beside those of the machine.
    pub(super) fn new(
        authority: &str,
        insecure: bool,
        trusted: Option<&Path>,
        limits: Limits,
        ui: &Ui,
    ) -> Result<Self, Error> {
        let mut builder =
            tls::client(authority, trusted)?.connect_timeout(limits.connect).tls_danger_accept_invalid_certs(insecure);
        if is_loopback(authority) {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| Error::setup(authority, &error))?;
        Ok(Self {
            authority: authority.to_owned(),
            http,
            github: None,
            slots: Semaphore::new(limits.parallel),
            limits,
            ui: ui.clone(),
            insecure,
            base: OnceCell::new(),
            unreachable: Mutex::default(),
            challenge: RwLock::default(),
            accounts: Mutex::default(),
            blobs: super::blob::Known::default(),
            no_referrers: AtomicBool::default(),
        })
    }

    /// Whether this host may be spoken to over plain HTTP.
    pub(super) fn may_be_plain(&self) -> bool {
        self.insecure || is_loopback(&self.authority)
    }

    /// The account with this credential; the same one for the same credential.
    pub(super) fn account(&self, registry: &str, credential: Option<super::Credential>) -> Arc<Account> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = accounts.iter().find(|account| account.is(credential.as_ref())) {
            return Arc::clone(account);
        }
        // What comes from a file or a helper, the CI's log does not know as a secret.
        credential.iter().flat_map(super::Credential::secrets).for_each(|secret| self.ui.mask(&secret));
        let account = Arc::new(Account::new(registry, credential));
        accounts.push(Arc::clone(&account));
        account
    }

    /// `https://host[:port]/v2/`; found out with the first question, which carries no credentials.
    pub(super) async fn base(&self) -> Result<&Url, Error> {
        let asked = Instant::now();
        let probe = async || {
            // Whoever waited while another tried in vain need not try again.
            let failed = self.unreachable.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some((_, source, help)) = failed.filter(|(when, ..)| *when >= asked) {
                return Err(Error::Unreachable { host: self.authority.clone(), source, help });
            }
            let answer = self.probe().await;
            if let Err(Error::Unreachable { source, help, .. }) = &answer {
                let failure = (Instant::now(), source.clone(), *help);
                *self.unreachable.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
            }
            answer
        };
        self.base.get_or_try_init(probe).await
    }

    async fn probe(&self) -> Result<Url, Error> {
        let mut attempts = Attempts::new(&self.limits, &self.ui);
        loop {
            let error = match self.greet("https").await {
                Ok(url) => return Ok(url),
                Err(error) => error,
            };
            let error = match self.may_be_plain() {
                true => match self.greet("http").await {
                    Ok(url) => return Ok(url),
                    // Who does not speak TLS has said something all the same.
                    Err(plain @ (Error::Slow { .. } | Error::Refused { .. } | Error::Garbage { .. })) => plain,
                    Err(_) => error,
                },
                false => error,
            };
            attempts.wait_after(error).await?;
        }
    }

    /// Asks for the API's root (OCI distribution spec: end-1), and keeps the challenge that comes back.
    async fn greet(&self, scheme: &str) -> Result<Url, Error> {
        let text = format!("{scheme}://{}/v2/", self.authority);
        let url = Url::parse(&text).map_err(|_| Error::Name { text: self.authority.clone() })?;
        let what = format!("reaching the registry `{}`", self.authority);
        let answer = self.short_exchange(&what, self.http.get(url.clone())).await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => self.learn(&answer),
            status
                if status.is_redirection() || status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS =>
            {
                return Err(answer.refused(&what));
            }
            _ => {
                let source = Cause(format!("the answer is {}, as of something that is no OCI registry", answer.status));
                return Err(Error::Unreachable { host: self.authority.clone(), help: unreachable_help(""), source });
            }
        }
        Ok(url)
    }

    /// Where tokens for this host are given, once it has said so.
    pub(super) fn token_server(&self) -> Option<Url> {
        match self.challenge.read().unwrap_or_else(PoisonError::into_inner).as_ref()? {
            Challenge::Bearer { realm, .. } => Some(realm.clone()),
            Challenge::Basic => None,
        }
    }

    /// Asks with the account's credentials whether they are accepted at all.
    pub(super) async fn login(&self, account: &Account, scope: &Scope) -> Result<(), Error> {
        let url = self.base().await?.clone();
        let mut attempts = Attempts::new(&self.limits, &self.ui);
        loop {
            let what = format!("logging in to `{}`", self.authority);
            let ask = Ask {
                what: &what,
                method: Method::GET,
                url: url.clone(),
                account,
                scope,
                headers: &[],
                body: Body::None,
                into: None,
            };
            let error = match self.exchange(ask).await {
                // A token for one repository need not open the root: that it was given is enough.
                Ok(answer) if answer.status == StatusCode::OK || answer.status == StatusCode::FORBIDDEN => {
                    return Ok(());
                }
                Ok(answer) => answer.refused(&what),
                Err(error) => error,
            };
            attempts.wait_after(error).await?;
        }
    }

    /// Asks once. Any status is an answer but 401, which is answered with credentials once and is an error then.
    pub(super) async fn exchange(&self, ask: Ask<'_>) -> Result<Answer, Error> {
        let base = self.base().await?;
        // Where uploads go on, and where lists do, the registry says, too.
        let mut url = self.checked(ask.what, ask.url.clone())?;
        let mut redirects = 0;
        let mut answered = false;
        loop {
            // Credentials never leave for another host, port or scheme.
            let ours = url.origin() == base.origin();
            let challenge = self.challenge.read().unwrap_or_else(PoisonError::into_inner).clone();
            let authorization = match challenge.filter(|_| ours) {
                Some(challenge) => ask.account.authorization(self, &challenge, ask.scope).await?,
                None => None,
            };
            let answer = self.ask_once(&ask, url.clone(), authorization.clone()).await?;
            match answer.status {
                StatusCode::UNAUTHORIZED if ours => {
                    let challenge = Challenge::of(&answer.headers);
                    let basic = challenge == Some(Challenge::Basic) && authorization.is_some();
                    if challenge.is_none() || answered || basic {
                        let (code, message) = words(&answer.body);
                        let reason = [message, code].into_iter().find(|text| !text.is_empty());
                        let reason = reason.unwrap_or_else(|| "401 Unauthorized".to_owned());
                        return Err(ask.account.unauthorized(self, reason));
                    }
                    answered = true;
                    self.learn(&answer);
                    ask.account.forget(ask.scope, authorization.as_ref()).await;
                }
                status if redirects_to(status, &ask.method) && answer.headers.contains_key(LOCATION) => {
                    redirects += 1;
                    url = self.redirected(&ask, &answer, redirects)?;
                }
                _ => return Ok(answer),
            }
        }
    }

    /// An exchange with a token server, or with a registry whose challenge is not yet known.
    pub(super) async fn short_exchange(&self, what: &str, request: RequestBuilder) -> Result<Answer, Error> {
        let request = request.build().map_err(|error| Error::from_reqwest(what, &self.authority, &error))?;
        self.send(what, request, self.limits.whole, &AtomicU64::new(0), None).await
    }

    async fn ask_once(&self, ask: &Ask<'_>, url: Url, authorization: Option<HeaderValue>) -> Result<Answer, Error> {
        let mut request = self.http.request(ask.method.clone(), url);
        for (name, value) in ask.headers {
            request = request.header(name, value);
        }
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        self.transfer(ask.what, request, ask.body, ask.into).await
    }

    /// Sends a request with its body, once one of the host's slots is free.
    pub(super) async fn transfer(
        &self,
        what: &str,
        request: RequestBuilder,
        body: Body<'_>,
        into: Option<&Download>,
    ) -> Result<Answer, Error> {
        let nothing = AtomicU64::new(0);
        let (request, moved, size) = match body {
            Body::None => (request, &nothing, 0),
            Body::Bytes(bytes) => (request.body(bytes.to_vec()), &nothing, bytes.len() as u64),
            Body::Blob(blob) => {
                let request = request.header(CONTENT_LENGTH, blob.file.size);
                (request.body(blob.stream()), blob.moved.as_ref(), blob.file.size)
            }
        };
        let mut request = request.build().map_err(|error| Error::from_reqwest(what, &self.authority, &error))?;
        if request.body().is_none() && [Method::POST, Method::PUT].contains(request.method()) {
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let _slot = self.slots.acquire().await;
        let size = size + into.map_or(0, |download| download.size);
        let whole = self.limits.whole + Duration::from_secs(size / SLOWEST);
        self.send(what, request, whole, moved, into).await
    }

    /// Sends a request and reads the whole answer, within the limits.
    async fn send(
        &self,
        what: &str,
        request: Request,
        whole: Duration,
        moved: &AtomicU64,
        into: Option<&Download>,
    ) -> Result<Answer, Error> {
        let slow = |why: String| Error::Slow { what: what.to_owned(), why };
        let (method, url) = (request.method().clone(), request.url().clone());
        let exchange = async {
            let (target, host) = (request.url().clone(), request.url().authority().to_owned());
            let broken = |error: reqwest::Error| Error::from_reqwest(what, &host, &error);
            let idle = || slow(format!("nothing moved for {:?}", self.limits.idle));
            let sent = while_moving(moved, self.limits.idle, self.execute(what, request)).await;
            let mut response = sent.ok_or_else(idle)??;
            let into = into.filter(|_| response.status() == StatusCode::OK);
            let most = into.map_or(MAX_ANSWER, |download| download.size);
            let (mut body, mut read) = (Vec::new(), 0);
            loop {
                let piece = tokio::time::timeout(self.limits.idle, response.chunk()).await;
                let Some(piece) = piece.map_err(|_| idle())?.map_err(broken)? else { break };
                read += piece.len() as u64;
                if read > most {
                    let why = format!("the answer is larger than {most} bytes");
                    return Err(Error::Garbage { what: what.to_owned(), why });
                }
                match into {
                    Some(download) => download.write(&piece)?,
                    None => body.extend_from_slice(&piece),
                }
            }
            Ok(Answer { status: response.status(), headers: response.headers().clone(), body, url: target })
        };
        let answer =
            tokio::time::timeout(whole, exchange).await.map_err(|_| slow(format!("not finished after {whole:?}")))?;
        let status = answer.as_ref().map_or(0, |answer| answer.status.as_u16());
        tracing::debug!(%method, url = without_query(&url), status, "asked");
        answer
    }

    async fn execute(&self, what: &str, request: Request) -> Result<Response, Error> {
        let host = request.url().authority().to_owned();
        match self.github.as_ref().filter(|github| github.is_for(request.url())) {
            Some(github) => github.execute(request).await.map_err(|error| Error::of_exchange(what, &host, &*error)),
            None => self.http.execute(request).await.map_err(|error| Error::from_reqwest(what, &host, &error)),
        }
    }

    fn learn(&self, answer: &Answer) {
        if let Some(challenge) = Challenge::of(&answer.headers) {
            *self.challenge.write().unwrap_or_else(PoisonError::into_inner) = Some(challenge);
        }
    }

    fn redirected(&self, ask: &Ask<'_>, answer: &Answer, redirects: usize) -> Result<Url, Error> {
        let target = answer.location(ask.what)?;
        if redirects > MAX_REDIRECTS {
            let (what, to) = (ask.what.to_owned(), without_query(&target));
            return Err(Error::Redirect { what, to, why: "after five other redirects" });
        }
        self.checked(ask.what, target)
    }

    /// A URL that somebody else gave, if it is one to ask.
    pub(super) fn checked(&self, what: &str, target: Url) -> Result<Url, Error> {
        let why = if target.scheme() != "https" && !(target.scheme() == "http" && self.may_be_plain()) {
            "which is not https"
        } else if is_link_local(&target) && target.host_str() != host_of(&self.authority).as_deref() {
            "which is an address of this machine's own network only"
        } else {
            return Ok(target);
        };
        Err(Error::Redirect { what: what.to_owned(), to: without_query(&target), why })
    }
}

/// RFC 9110 15.4: 301 to 303 keep the method only for reading; a body goes elsewhere only with 307 and 308.
fn redirects_to(status: StatusCode, method: &Method) -> bool {
    match status.as_u16() {
        301..=303 => method == Method::GET || method == Method::HEAD,
        307 | 308 => true,
        _ => false,
    }
}

/// The future's outcome; `None` where it is not there and `moved` did not change for `idle` (or up to twice that).
async fn while_moving<T>(moved: &AtomicU64, idle: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    let mut seen = moved.load(Ordering::Relaxed);
    loop {
        if let Ok(outcome) = tokio::time::timeout(idle, &mut future).await {
            return Some(outcome);
        }
        let now = moved.load(Ordering::Relaxed);
        if now == seen {
            return None;
        }
        seen = now;
    }
}

/// Queries of upload URLs hold the state of the session, signed: not for logs.
fn without_query(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string()
}
