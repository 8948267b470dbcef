//! The parameters of a request, from its query and its form.

use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap};
use std::borrow::Cow;
use std::time::Duration;
use yubiotp::ykval::MOST_PARAMETERS;
use zeroize::Zeroizing;

/// A form that is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoForm {
    /// It is something else.
    Kind,
    /// It has too many bytes.
    TooLarge,
    /// It did not come in time.
    TooSlow,
    /// The connection broke.
    Broken,
}

/// Reads the body of a request that has a form. Wiped on drop.
pub(super) async fn form(
    headers: &HeaderMap,
    body: Incoming,
    most: usize,
    time: Duration,
) -> Result<Zeroizing<Vec<u8>>, NoForm> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.map(|kind| kind.split(';').next().unwrap_or_default().trim());
    if !kind.is_some_and(|kind| kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")) {
        return Err(NoForm::Kind);
    }
    let said = body.size_hint();
    if said.lower() > u64::try_from(most).unwrap_or(u64::MAX) {
        return Err(NoForm::TooLarge);
    }
    let room = said.exact().and_then(|exact| usize::try_from(exact).ok()).unwrap_or(most);
    let mut body = Limited::new(body, most);
    // Room for all of it, so that no part stays behind in memory that was too small.
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

/// The parameters of a query and of a form, unescaped; no more than tell that there are too many.
pub(super) fn parameters<'a>(query: Option<&'a str>, form: &'a [u8]) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
    let query = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let mut all = Vec::with_capacity(8);
    all.extend(query.chain(form_urlencoded::parse(form)).take(MOST_PARAMETERS.saturating_add(1)));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_and_form_together() {
        let all = parameters(Some("id=1&otp=a%2Bb+c"), b"nonce=%C3%A9&h");
        let all: Vec<(&str, &str)> = all.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(all, [("id", "1"), ("otp", "a+b c"), ("nonce", "é"), ("h", "")]);
        assert!(parameters(None, b"").is_empty());
    }

    #[test]
    fn no_more_than_tell_that_there_are_too_many() {
        let query = "a&".repeat(5000);
        assert_eq!(parameters(Some(&query), b"").len(), MOST_PARAMETERS + 1);
    }
}
