//! What protects the forms of the portal: a page of another site can make a browser send one, but not with the word that
//! belongs to the browser's cookie.

use crate::authorize::{key_in, set_cookie};
use crate::config::Origin;
use crate::random::NoRandom;
use crate::session::Key;
use hyper::header::{self, HeaderMap};
use zeroize::Zeroizing;

/// The cookie that the word in a form belongs to.
pub(super) const FORM_COOKIE: &str = "__Host-ykweb-form";

/// The word of a browser's forms, and the cookie to set, unless the browser has it.
pub(super) fn word(server: &Key, cookies: &str) -> Result<(String, Option<String>), NoRandom> {
    if let Some(key) = key_in(cookies, FORM_COOKIE) {
        return Ok((server.word_for(&key), None));
    }
    let key = Key::new()?;
    Ok((server.word_for(&key), Some(set_cookie(FORM_COOKIE, &key))))
}

/// Whether a request that changes something was made by a page of the portal.
pub(super) fn is_ours(server: &Key, portal: &Origin, headers: &HeaderMap, word: &str) -> bool {
    let text = |name| headers.get(name).map(|value: &header::HeaderValue| value.to_str().unwrap_or_default());
    let from_us = text(header::ORIGIN).is_none_or(|origin| origin == portal.to_string());
    let same_site = headers.get("sec-fetch-site").is_none_or(|site| site == "same-origin");
    from_us
        && same_site
        && key_in(&cookies(headers), FORM_COOKIE).is_some_and(|key| server.is_word_for(&key, word))
}

/// The headers `Cookie`, joined: HTTP/2 may split one.
pub(super) fn cookies(headers: &HeaderMap) -> Zeroizing<String> {
    // Others may have cookies that are no text.
    let all = headers.get_all(header::COOKIE).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    Zeroizing::new(all.collect::<Vec<_>>().join("; "))
}

/// The fields of a form. Wiped on drop.
pub(super) struct Form(Vec<(String, Zeroizing<String>)>);

impl Form {
    pub(super) fn read(body: &[u8]) -> Self {
        Self(
            form_urlencoded::parse(body)
                .map(|(name, value)| (name.into_owned(), Zeroizing::new(value.into_owned())))
                .collect(),
        )
    }

    /// The first value of a name; empty: there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value)
    }
}
