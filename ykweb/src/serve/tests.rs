//! The server, asked over real sockets as browsers and web servers do.

mod flow;
mod refused;

use super::Server;
use crate::config::Config;
use crate::first_factor::file::set_password;
use crate::store::{NewCodes, Store, StoredEvent};
use crate::user::UserName;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use ykserve::listen::Given;
use ykserve::log::Sink;
use ykserve::stop::Order;
use ykserve::testing::{Lines, Reply, Wire};
use yubiotp::seal::StoreKey;

const LOGIN: &str = "https://login.example.com";
const WIKI: &str = "wiki.example.com";

/// A server that runs in this process. Alice has a password, and recovery codes; bob a password.
struct Portal {
    portal: SocketAddr,
    authorizer: SocketAddr,
    store: Store,
    codes: Vec<String>,
    lines: Lines,
    orders: mpsc::Sender<Order>,
    ended: JoinHandle<()>,
    folder: TempDir,
}

fn name(text: &str) -> UserName {
    UserName::parse(text).unwrap()
}

impl Portal {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let text = format!(
            "public_url = \"{LOGIN}\"\nlisten = \"127.0.0.1:0\"\n[password]\nfile = \"passwords\"\n\
             [authorizer]\nhttp = \"127.0.0.1:0\"\n[check]\nsocket = \"check.sock\"\n\
             [identity]\nsocket = \"identity.sock\"\nusers = \"{}\"\nrealm = \"SITE.TEST\"\n\
             [[host]]\nurl = \"https://{WIKI}\"\n\
             [[host]]\nurl = \"https://pay.example.com\"\nrequire = \"otp\"\nallow = [\"alice\", \"@staff\"]\n",
            rustix::process::getuid().as_raw(),
        );
        std::fs::write(at("config.toml"), text).unwrap();
        std::fs::set_permissions(at("config.toml"), std::fs::Permissions::from_mode(0o600)).unwrap();
        for user in ["alice", "bob"] {
            set_password(&at("passwords"), &name(user), b"Open-Sesame", None).unwrap();
        }
        let key = StoreKey::new([7; 32]);
        let store = Store::create(&at("ykweb.db"), key.id()).unwrap();
        assert!(store.add_user(&name("alice"), 1).unwrap());
        let codes = NewCodes::draw(&key).unwrap();
        assert!(store.new_recovery_codes(&name("alice"), &codes, 1).unwrap());
        let codes = codes.texts().map(|text| text.to_string()).collect();

        let config = Config::load(&at("config.toml"), &[]).unwrap();
        let lines = Lines::default();
        let sink = Sink::Lines(Box::new(lines.clone()));
        let server = Server::bind(config, store.clone(), key.into(), sink, Given::default()).await.unwrap();
        let (portal, authorizer) = (server.started.addresses[0], server.started.http.unwrap());
        let (orders, told) = mpsc::channel(4);
        let ended = tokio::spawn(server.run(told));
        Self { portal, authorizer, store, codes, lines, orders, ended, folder }
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The event of this number, once it is stored.
    async fn event(&self, id: &str) -> StoredEvent {
        for _ in 0..500 {
            if let Some(event) = self.store.event(id).unwrap() {
                return event;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("no event {id}");
    }

    fn browser(self: &Arc<Self>) -> Browser {
        Browser { site: Arc::clone(self), cookies: BTreeMap::new() }
    }

    async fn stop(&self) -> String {
        self.orders.send(Order::Stop).await.unwrap();
        for _ in 0..500 {
            if self.ended.is_finished() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        self.lines.text()
    }
}

/// A browser: cookies by host, and no more.
struct Browser {
    site: Arc<Portal>,
    cookies: BTreeMap<String, BTreeMap<String, String>>,
}

/// The part of a URL behind scheme and host, and the host.
fn split(url: &str) -> (&str, &str) {
    let rest = url.strip_prefix("https://").unwrap();
    rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash))
}

fn header<'r>(reply: &'r Reply, name: &str) -> Vec<&'r str> {
    let lines = reply.head.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
}

fn location(reply: &Reply) -> &str {
    header(reply, "location")[0]
}

/// The hidden fields of a page, as a form sends them.
fn hidden(page: &str) -> Vec<(String, String)> {
    let field = |tag: &str| {
        let part = |name: &str| {
            let (_, rest) = tag.split_once(&format!("{name}=\""))?;
            Some(rest.split('"').next()?.replace("&amp;", "&").replace("&#38;", "&"))
        };
        tag.contains("type=\"hidden\"").then(|| Some((part(" name")?, part(" value")?))).flatten()
    };
    let mut fields: Vec<_> =
        page.split("<input").skip(1).filter_map(|tag| field(tag.split('>').next()?)).collect();
    fields.dedup_by(|one, other| one.0 == other.0);
    fields
}

fn form(fields: &[(String, String)], more: &[(&str, &str)]) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields {
        form.append_pair(name, value);
    }
    for (name, value) in more {
        form.append_pair(name, value);
    }
    form.finish()
}

impl Browser {
    fn cookie_line(&self, host: &str) -> String {
        let all: Vec<_> = self
            .cookies
            .get(host)
            .into_iter()
            .flatten()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if all.is_empty() { String::new() } else { format!("Cookie: {}\r\n", all.join("; ")) }
    }

    fn keep(&mut self, host: &str, reply: &Reply) {
        for cookie in header(reply, "set-cookie") {
            let (pair, flags) = cookie.split_once("; ").unwrap();
            assert!(flags.starts_with("Path=/; Secure; HttpOnly; SameSite=Lax"), "{cookie}");
            let (name, value) = pair.split_once('=').unwrap();
            let jar = self.cookies.entry(host.to_owned()).or_default();
            match flags.contains("Max-Age=0") {
                true => _ = jar.remove(name),
                false => _ = jar.insert(name.to_owned(), value.to_owned()),
            }
        }
    }

    /// A page of the portal.
    async fn get(&mut self, url: &str) -> Reply {
        let (host, path) = split(url);
        assert_eq!(host, split(LOGIN).0);
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{}\r\n", self.cookie_line(host));
        let mut wire = Wire::connect(self.site.portal).await;
        wire.send(&head).await;
        let reply = wire.reply().await;
        self.keep(host, &reply);
        reply
    }

    async fn post_with(&mut self, path: &str, form: &str, headers: &str) -> Reply {
        let (host, _) = split(LOGIN);
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\n{headers}{}Content-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\n\r\n{form}",
            self.cookie_line(host),
            form.len()
        );
        let mut wire = Wire::connect(self.site.portal).await;
        wire.send(&head).await;
        let reply = wire.reply().await;
        self.keep(host, &reply);
        reply
    }

    async fn post(&mut self, path: &str, form: &str) -> Reply {
        self.post_with(path, form, &format!("Origin: {LOGIN}\r\nSec-Fetch-Site: same-origin\r\n")).await
    }

    /// What the web server of a protected host asks about a page.
    async fn ask(&mut self, way: &str, host: &str, target: &str, headers: &str) -> Reply {
        let head = format!(
            "GET {way} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-Host: {host}\r\nX-Forwarded-Uri: {target}\r\n\
             X-Forwarded-Method: GET\r\n{headers}{}\r\n",
            self.cookie_line(host)
        );
        let mut wire = Wire::connect(self.site.authorizer).await;
        wire.send(&head).await;
        let reply = wire.reply().await;
        self.keep(host, &reply);
        reply
    }

    /// A page of a protected host behind Caddy.
    async fn visit(&mut self, host: &str, target: &str, require: &str) -> Reply {
        let way = format!("/authorize/forward?require={require}");
        self.ask(&way, host, target, "Sec-Fetch-Mode: navigate\r\n").await
    }

    /// Types a password on the page at this URL.
    async fn type_password(&mut self, url: &str, user: &str, password: &str) -> Reply {
        let page = self.get(url).await;
        assert_eq!(page.code, 200, "{}", page.body);
        self.post("/login", &form(&hidden(&page.body), &[("user", user), ("password", password)])).await
    }

    /// Types an answer on the page of the second factor.
    async fn type_answer(&mut self, url: &str, answer: &str) -> Reply {
        let page = self.get(url).await;
        assert_eq!(page.code, 200, "{}", page.body);
        self.post("/verify", &form(&hidden(&page.body), &[("answer", answer)])).await
    }
}

/// A connection to one of the sockets in the file system.
async fn unix(path: PathBuf) -> Wire<UnixStream> {
    Wire::over(UnixStream::connect(path).await.unwrap())
}
