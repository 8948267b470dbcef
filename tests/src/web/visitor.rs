//! A browser without a screen or scripts: keeps cookies as browsers do, follows redirects, sends forms. Where a real browser would
//! hide what a server did wrong with a cookie, this one panics.

use super::http::{self, Reply};
use super::names::Names;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU16, Ordering};

/// One browser profile.
#[derive(Clone, Debug)]
pub struct Visitor {
    names: Names,
    from: Ipv4Addr,
    /// By host, then by name.
    cookies: BTreeMap<String, BTreeMap<String, String>>,
}

/// A page, and where it came from.
#[derive(Clone, Debug)]
pub struct Page {
    /// Its URL.
    pub url: String,
    /// What was answered.
    pub reply: Reply,
}

/// Scheme and host, and path with query, of an absolute URL on https.
///
/// # Panics
/// Where it is none.
#[must_use]
#[track_caller]
pub fn split(url: &str) -> (&str, &str) {
    let rest = url.strip_prefix("https://").unwrap_or_else(|| panic!("{url} is not on https"));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, target) = rest.split_at(end);
    (host, if target.is_empty() { "/" } else { target })
}

impl Visitor {
    /// A fresh profile, on a computer of its own: in a network that no other visitor is in.
    ///
    /// # Panics
    /// After some 65,000.
    #[must_use]
    pub fn new(names: &Names) -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(1);
        let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).checked_add(1 << 8).unwrap().to_be_bytes();
        Self { names: names.clone(), from: Ipv4Addr::new(127, high, low, 1), cookies: BTreeMap::new() }
    }

    /// Another visitor, without cookies.
    #[must_use]
    pub fn stranger(&self) -> Self {
        Self::new(&self.names)
    }

    /// The same cookies, where other servers answer.
    #[must_use]
    pub fn among(&self, names: &Names) -> Self {
        Self { names: names.clone(), from: self.from, cookies: self.cookies.clone() }
    }

    /// The value of a cookie.
    #[must_use]
    pub fn cookie(&self, host: &str, name: &str) -> Option<&str> {
        Some(self.cookies.get(host)?.get(name)?.as_str())
    }

    /// Sets a cookie, as a test does that stole it.
    pub fn set_cookie(&mut self, host: &str, name: &str, value: &str) {
        self.cookies.entry(host.to_owned()).or_default().insert(name.to_owned(), value.to_owned());
    }

    /// The values of all cookies.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.cookies.values().flat_map(BTreeMap::values).map(String::as_str)
    }

    /// One request, with the cookies of its host. Redirects are not followed.
    ///
    /// # Panics
    /// Where no whole answer comes, or a cookie is set as it must not be.
    #[track_caller]
    pub fn send(&mut self, method: &str, url: &str, more: &[(&str, &str)], body: Option<&str>) -> Page {
        let (host, target) = split(url);
        let cookies: Vec<_> = self.cookies.get(host).into_iter().flatten().collect();
        let cookies = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
        let cookies = cookies.join("; ");
        let mut headers = vec![("Host", host)];
        if !cookies.is_empty() {
            headers.push(("Cookie", &cookies));
        }
        headers.extend_from_slice(more);
        let request = http::request(method, target, &headers, body);
        let reply =
            self.names.exchange(self.from, host, &request).unwrap_or_else(|why| panic!("{url}: {why}"));
        let set: Vec<_> = reply.all("set-cookie").map(str::to_owned).collect();
        set.iter().for_each(|line| self.keep(host, line));
        Page { url: url.to_owned(), reply }
    }

    /// Opens a page as a browser does whose user typed its URL, and follows redirects.
    ///
    /// # Panics
    /// As [`send`](Self::send) does, and after ten redirects.
    #[track_caller]
    pub fn get(&mut self, url: &str) -> Page {
        self.get_from(url, "none")
    }

    /// Opens a page from another one: `site` is what `Sec-Fetch-Site` says.
    ///
    /// # Panics
    /// As [`get`](Self::get) does.
    #[track_caller]
    pub fn get_from(&mut self, url: &str, site: &str) -> Page {
        let page = self.send("GET", url, &navigation(site), None);
        self.followed(page)
    }

    /// Asks as a script does.
    ///
    /// # Panics
    /// As [`send`](Self::send) does.
    #[track_caller]
    pub fn fetch(&mut self, url: &str) -> Reply {
        let script = [
            ("Accept", "application/json"),
            ("Sec-Fetch-Site", "same-origin"),
            ("Sec-Fetch-Mode", "cors"),
            ("Sec-Fetch-Dest", "empty"),
        ];
        self.send("GET", url, &script, None).reply
    }

    /// Sends the form of a page, with its hidden fields, and follows redirects.
    ///
    /// # Panics
    /// Where the page has no form.
    #[track_caller]
    pub fn submit(&mut self, page: &Page, fields: &[(&str, &str)]) -> Page {
        let page = self.submit_once(page, fields, "same-origin");
        self.followed(page)
    }

    /// The same, from a page of another site if `site` is `cross-site`. Redirects are not followed.
    ///
    /// # Panics
    /// Where the page has no form.
    #[track_caller]
    pub fn submit_once(&mut self, page: &Page, fields: &[(&str, &str)], site: &str) -> Page {
        let form = page.form();
        let mut all: Vec<_> =
            form.hidden.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        all.retain(|(name, _)| !fields.iter().any(|(own, _)| own == name));
        all.extend_from_slice(fields);
        self.post(&page.resolve(&form.action), &all, site)
    }

    /// Sends these fields to a URL.
    ///
    /// # Panics
    /// As [`send`](Self::send) does.
    #[track_caller]
    pub fn post(&mut self, url: &str, fields: &[(&str, &str)], site: &str) -> Page {
        let (host, _) = split(url);
        let origin =
            if site == "same-origin" { format!("https://{host}") } else { "https://evil.test".into() };
        let mut headers = navigation(site).to_vec();
        headers.push(("Origin", &origin));
        headers.push(("Content-Type", "application/x-www-form-urlencoded"));
        self.send("POST", url, &headers, Some(&encoded(fields)))
    }

    /// The page where the redirects of this one end.
    ///
    /// # Panics
    /// After ten.
    #[track_caller]
    pub fn followed(&mut self, mut page: Page) -> Page {
        for _ in 0..10 {
            if !matches!(page.reply.status, 301..=303 | 307 | 308) {
                return page;
            }
            let next = page.resolve(page.reply.header("location").unwrap());
            page = self.send("GET", &next, &navigation("same-site"), None);
        }
        panic!("redirected without an end: {page:#?}");
    }

    /// Keeps a cookie as RFC 6265bis has it for the prefix `__Host-`, which each of ours must have.
    fn keep(&mut self, host: &str, line: &str) {
        let mut parts = line.split(';').map(str::trim);
        let (name, value) = parts.next().unwrap().split_once('=').unwrap();
        let attributes: Vec<_> = parts.map(str::to_ascii_lowercase).collect();
        let has = |attribute: &str| attributes.iter().any(|own| own == attribute);
        assert!(name.starts_with("__Host-"), "{line}");
        assert!(has("secure") && has("httponly") && has("path=/") && has("samesite=lax"), "{line}");
        assert!(!attributes.iter().any(|own| own.starts_with("domain")), "{line}");
        let jar = self.cookies.entry(host.to_owned()).or_default();
        if has("max-age=0") {
            jar.remove(name);
        } else {
            jar.insert(name.to_owned(), value.to_owned());
        }
    }
}

/// What a browser says of a request that opens a page.
const fn navigation(site: &str) -> [(&str, &str); 4] {
    [
        ("Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"),
        ("Sec-Fetch-Site", site),
        ("Sec-Fetch-Mode", "navigate"),
        ("Sec-Fetch-Dest", "document"),
    ]
}

/// As `application/x-www-form-urlencoded`.
#[must_use]
pub fn encoded(fields: &[(&str, &str)]) -> String {
    let pairs = fields.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// As in a query.
#[must_use]
pub fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

/// A form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// Where it goes to.
    pub action: String,
    /// Its hidden fields.
    pub hidden: Vec<(String, String)>,
    /// The names of the others.
    pub fields: Vec<String>,
}

impl Page {
    /// Its forms.
    #[must_use]
    pub fn forms(&self) -> Vec<Form> {
        let mut forms: Vec<Form> = Vec::new();
        for tag in self.reply.body.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
            let of = |name: &str| attribute(tag, name);
            if tag.starts_with("form") {
                let action = of("action").unwrap_or_else(|| self.url.clone());
                forms.push(Form { action, hidden: Vec::new(), fields: Vec::new() });
            } else if (tag.starts_with("input") || tag.starts_with("button"))
                && let (Some(form), Some(name)) = (forms.last_mut(), of("name"))
            {
                if of("type").as_deref() == Some("hidden") {
                    form.hidden.push((name, of("value").unwrap_or_default()));
                } else {
                    form.fields.push(name);
                }
            }
        }
        forms
    }

    /// Its one form, or the first of several.
    ///
    /// # Panics
    /// Where it has none.
    #[must_use]
    #[track_caller]
    pub fn form(&self) -> Form {
        self.forms().into_iter().next().unwrap_or_else(|| panic!("no form in {self:#?}"))
    }

    /// The path of its URL, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        split(&self.url).1.split(['?', '#']).next().unwrap()
    }

    /// Its host.
    #[must_use]
    pub fn host(&self) -> &str {
        split(&self.url).0
    }

    /// An absolute URL of one in it.
    #[must_use]
    pub fn resolve(&self, url: &str) -> String {
        let host = self.host();
        match url {
            "" => self.url.clone(),
            _ if url.contains("://") => url.to_owned(),
            _ if url.starts_with("//") => format!("https:{url}"),
            _ if url.starts_with('/') => format!("https://{host}{url}"),
            _ => format!("https://{host}{}/{url}", self.path().rsplit_once('/').unwrap().0),
        }
    }
}

/// The value of an attribute of a tag, unescaped.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let rest = tag.split_once(&format!(" {name}=")).or_else(|| tag.split_once(&format!("\n{name}=")))?.1;
    let value = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => rest.split([' ', '\n', '/']).next(),
    };
    let entities = [("&quot;", "\""), ("&#34;", "\""), ("&#39;", "'"), ("&lt;", "<"), ("&gt;", ">")];
    let entities =
        entities.into_iter().chain([("&#60;", "<"), ("&#62;", ">"), ("&#38;", "&"), ("&amp;", "&")]);
    Some(entities.fold(value?.to_owned(), |text, (entity, is)| text.replace(entity, is)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_page() {
        let body = r#"<form method="post" action="/verify"><input type="hidden" name="form" value="a&amp;b&#34;">
            <input name=answer autofocus><button>Go</button></form><form><input type=hidden name=x></form>"#;
        let reply = Reply { status: 200, headers: Vec::new(), body: body.to_owned() };
        let page = Page { url: "https://login.site.test/login?rd=1".to_owned(), reply };
        let forms = page.forms();
        assert_eq!(forms[0].action, "/verify");
        assert_eq!(forms[0].hidden, [("form".to_owned(), "a&b\"".to_owned())]);
        assert_eq!(forms[0].fields, ["answer"]);
        assert_eq!((forms[1].action.as_str(), forms[1].hidden[0].0.as_str()), (page.url.as_str(), "x"));
        assert_eq!(page.resolve("/a"), "https://login.site.test/a");
        assert_eq!(encoded(&[("a b", "c&d/é")]), "a%20b=c%26d%2F%C3%A9");
    }
}
