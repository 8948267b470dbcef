//! The parameters of a request, from its query and its form.

use super::multipart;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use std::borrow::Cow;
use yubiotp::diagnostic::Code;
use yubiotp::protocol::{MOST_PARAMETERS, Malformed};

/// Names and values, unescaped.
pub(super) type Parameters<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

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
