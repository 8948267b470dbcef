//! The parameters of a request, from its query and its form.

use super::multipart;
use super::peer::From;
use super::places::{Share, Shares};
use crate::config::Limits;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use yubiotp::diagnostic::Code;
use yubiotp::protocol::{MOST_PARAMETERS, Malformed};
use zeroize::Zeroizing;

/// Limits the bodies that are being read: each holds memory while it arrives.
pub(super) struct Bodies {
    places: Semaphore,
    shares: Arc<Shares>,
}

impl Bodies {
    /// As many as concurrent verifications, because each body becomes one.
    pub(super) fn new(limits: &Limits) -> Self {
        let most = limits.in_flight.clamp(LEAST_BODIES, Semaphore::MAX_PERMITS);
        Self { places: Semaphore::new(most), shares: Shares::new(most / 8, &limits.unlimited_from) }
    }

    /// A place for one more body, unless all are taken, or the host has its share.
    pub(super) fn take(&self, from: From) -> Option<(SemaphorePermit<'_>, Share)> {
        let share = self.shares.take(from)?;
        Some((self.places.try_acquire().ok()?, share))
    }
}

/// The minimum of concurrent bodies.
const LEAST_BODIES: usize = 256;

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoForm {
    /// It has too many bytes.
    TooLarge,
    /// It did not arrive in time.
    TooSlow,
    /// The connection broke.
    Broken,
}

/// Names and values, unescaped.
pub(super) type Parameters<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// Reads the body of a request. Wiped on drop.
pub(super) async fn body(body: Incoming, most: usize, time: Duration) -> Result<Zeroizing<Vec<u8>>, NoForm> {
    let said = body.size_hint();
    if said.lower() > u64::try_from(most).unwrap_or(u64::MAX) {
        return Err(NoForm::TooLarge);
    }
    let room = said.exact().and_then(|exact| usize::try_from(exact).ok()).unwrap_or(most);
    let mut body = Limited::new(body, most);
    // Enough capacity for all of it, so that the buffer never moves and leaves a copy.
    let mut form = Zeroizing::new(Vec::with_capacity(room));
    let read = async {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|fault| match fault.is::<http_body_util::LengthLimitError>() {
                true => NoForm::TooLarge,
                false => NoForm::Broken,
            })?;
            if let Some(data) = frame.data_ref() {
                form.extend_from_slice(data);
            }
        }
        Ok(())
    };
    tokio::time::timeout(time, read).await.map_err(|_| NoForm::TooSlow)??;
    Ok(form)
}

/// The parameters of a request: of its query, or of its form if the query has none. This is how YK-VAL reads them: a form
/// beside a query is ignored. Stops at one more than the maximum.
pub(super) fn parameters<'a>(
    query: Option<&'a str>,
    headers: &HeaderMap,
    form: &'a [u8],
) -> Result<Parameters<'a>, Malformed> {
    let escaped = |text| form_urlencoded::parse(text).take(MOST_PARAMETERS.saturating_add(1)).collect();
    let of_query: Parameters<'_> = escaped(query.unwrap_or_default().as_bytes());
    if !of_query.is_empty() || form.is_empty() {
        return Ok(of_query);
    }
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if let Some(boundary) = multipart::boundary(kind) {
        return multipart::fields(form, boundary).ok_or(Malformed::missing(
            Code::RequestUnreadable,
            "the multipart/form-data form cannot be read",
        ));
    }
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        Ok(escaped(form))
    } else {
        Err(Malformed::missing(
            Code::RequestUnreadable,
            "the form is neither application/x-www-form-urlencoded nor multipart/form-data",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn read(query: Option<&str>, kind: &str, form: &str) -> Result<Vec<(String, String)>, &'static str> {
        let mut headers = HeaderMap::new();
        if !kind.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_str(kind).unwrap());
        }
        let all = parameters(query, &headers, form.as_bytes()).map_err(|malformed| malformed.why)?;
        Ok(all.into_iter().map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    const FORM: &str = "application/x-www-form-urlencoded";

    #[test]
    fn a_query_or_a_form() {
        let pairs = |list: &[(&str, &str)]| {
            Ok(list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
        };
        let query = pairs(&[("id", "1"), ("otp", "a+b c"), ("h", "")]);
        for (kind, form) in [("", ""), (FORM, "id=2&x=y"), ("application/json", "{}"), ("", "x")] {
            assert_eq!(read(Some("id=1&otp=a%2Bb+c&h"), kind, form), query, "{kind} {form}");
        }
        for empty in [None, Some(""), Some("&&")] {
            assert_eq!(read(empty, FORM, "nonce=%C3%A9&h"), pairs(&[("nonce", "é"), ("h", "")]));
            assert_eq!(read(empty, "", ""), pairs(&[]));
            assert!(read(empty, "application/json", "{}").unwrap_err().contains("neither"));
        }
        let kind = "Application/X-WWW-Form-URLencoded; charset=utf-8";
        assert_eq!(read(None, kind, "id=1"), pairs(&[("id", "1")]));
        let part = "--b\r\nContent-Disposition: form-data; name=\"id\"\r\n\r\n1\r\n--b--\r\n";
        assert_eq!(read(None, "multipart/form-data; boundary=b", part), pairs(&[("id", "1")]));
        assert!(read(None, "multipart/form-data; boundary=c", part).is_err());
    }

    #[test]
    fn no_more_than_tell_that_there_are_too_many() {
        let query = "a&".repeat(5000);
        assert_eq!(read(Some(&query), "", "").map(|all| all.len()), Ok(MOST_PARAMETERS + 1));
    }
}
