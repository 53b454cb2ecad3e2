//! When to try again, and how long to wait before: exponentially longer, with jitter, bounded in number and time.

use std::time::{Duration, Instant, SystemTime};

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

use super::Limits;
use super::error::Error;
use crate::ui::Ui;

/// The attempts at one piece of work.
pub struct Attempts<'a> {
    limits: &'a Limits,
    ui: &'a Ui,
    made: u32,
    /// The first failure: from then on, `limits.patience` runs.
    since: Option<Instant>,
}

impl<'a> Attempts<'a> {
    pub(super) fn new(limits: &'a Limits, ui: &'a Ui) -> Self {
        Self { limits, ui, made: 0, since: None }
    }

    /// Waits until the next attempt is due.
    ///
    /// # Errors
    /// With `error` itself, where another attempt would not help or there are no more.
    pub async fn wait_after(&mut self, error: Error) -> Result<(), Error> {
        self.made += 1;
        if !error.transient() || self.made >= self.limits.attempts {
            return Err(error);
        }
        let wait = error.retry_after().unwrap_or_else(|| backoff(self.limits.first_wait, self.made));
        let since = *self.since.get_or_insert_with(Instant::now);
        // A registry may ask for any wait.
        if since.elapsed().saturating_add(wait) > self.limits.patience {
            return Err(error);
        }
        let cause = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
        self.ui.note(&format!(
            "{error}{cause}; trying again in {:.1} s ({} of {})",
            wait.as_secs_f64(),
            self.made + 1,
            self.limits.attempts
        ));
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

/// The wait after the `made`th attempt: `first`, doubled each time, at most a minute; of that between a half and all,
/// so that many clients that failed together do not come back together.
fn backoff(first: Duration, made: u32) -> Duration {
    let full = first.saturating_mul(1 << made.saturating_sub(1).min(16)).min(Duration::from_secs(60));
    full.mul_f64(0.5 + 0.5 * fastrand::f64())
}

/// What `Retry-After` asks for. A date is compared with the answer's own `Date`: this machine's clock may be wrong.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let wanted = text(RETRY_AFTER)?;
    if let Ok(seconds) = wanted.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| jiff::fmt::rfc2822::parse(text).ok().map(|date| SystemTime::from(date.timestamp()));
    let now = text(DATE).and_then(date).unwrap_or_else(SystemTime::now);
    Some(date(wanted)?.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    #[test]
    fn retry_after_is_seconds_or_a_date_on_the_servers_clock() {
        let headers = |wanted: &'static str| {
            let date = HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT");
            HeaderMap::from_iter([(DATE, date), (RETRY_AFTER, HeaderValue::from_static(wanted))])
        };
        assert_eq!(retry_after(&headers("7")), Some(Duration::from_secs(7)));
        assert_eq!(retry_after(&headers("Sun, 06 Nov 1994 08:50:00 GMT")), Some(Duration::from_secs(23)));
        assert_eq!(retry_after(&headers("Sun, 06 Nov 1994 08:00:00 GMT")), Some(Duration::ZERO));
        assert_eq!(retry_after(&headers("soon")), None);
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn waits_grow_and_stay_bounded() {
        let first = Duration::from_millis(500);
        for made in 1..40 {
            let wait = backoff(first, made);
            assert!(wait >= first / 2 && wait <= Duration::from_secs(60));
        }
        assert!(backoff(first, 4) >= Duration::from_secs(2));
    }
}
