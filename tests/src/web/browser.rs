//! Chromium without a screen, driven by WebDriver (W3C) through chromedriver.

use super::daemon::Daemon;
use super::http::{self, Reply};
use super::names::{Certificate, DOMAIN, Names};
use crate::ykvald::free_port;
use data_encoding::BASE64;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs};
use tempfile::TempDir;

/// Tab, as a key.
pub const TAB: &str = "\u{e004}";
/// Enter, as a key.
pub const ENTER: &str = "\u{e007}";

/// What longest a test waits for a page.
const PATIENCE: Duration = Duration::from_secs(20);
/// The name of an element's ID, by the standard.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with a fresh profile. Closed when dropped.
#[derive(Debug)]
pub struct Browser {
    driver: Daemon,
    address: SocketAddr,
    session: String,
    #[expect(dead_code, reason = "goes away with the browser: profile and log")]
    folder: TempDir,
}

/// An element of a page.
#[derive(Clone, Debug)]
pub struct Element(String);

impl Browser {
    /// Starts one that finds its hosts by `names`, and proves itself by Kerberos with the tickets that `environment` leads to.
    ///
    /// # Errors
    /// What this machine lacks for it.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn start(
        names: &Names,
        certificate: &Certificate,
        environment: &[(&str, &Path)],
    ) -> Result<Self, String> {
        let programs = ["chromium", "chromedriver"].map(program);
        let [Some(chromium), Some(chromedriver)] = programs else {
            return Err("needs chromium and chromedriver (chromium-driver)".to_owned());
        };
        let folder = tempfile::Builder::new().prefix("browser").tempdir().unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let mut command = Command::new(chromedriver);
        command.arg(format!("--port={}", address.port()));
        // It writes beside its profile, too: .pki and .config in HOME.
        command.env("HOME", folder.path()).env("TMPDIR", folder.path()).envs(environment.iter().copied());
        let driver = Daemon::start(command, &folder.path().join("log"), &[address]);
        let rules: Vec<_> = names.all().map(|(host, server)| format!("MAP {host} {server}")).collect();
        let profile = folder.path().join("profile");
        let arguments = [
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            // Nothing leaves this machine.
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-quic".to_owned(),
            format!("--host-resolver-rules={}, MAP * 127.0.0.1:9", rules.join(", ")),
            format!("--ignore-certificate-errors-spki-list={}", certificate.public_key_hash),
            format!("--auth-server-allowlist=*.{DOMAIN}"),
            format!("--user-data-dir={}", profile.display()),
            "--lang=en".to_owned(),
        ];
        let options = json!({ "binary": chromium, "args": arguments });
        let capabilities = json!({
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let mut browser = Self { driver, address, session: String::new(), folder };
        let made =
            browser.ask("POST", "/session", &json!({ "capabilities": { "alwaysMatch": capabilities } }));
        let made = made.unwrap_or_else(|why| panic!("no browser: {why}: {}", browser.driver.log()));
        browser.session = format!("/session/{}", made["sessionId"].as_str().unwrap());
        Ok(browser)
    }

    /// Opens a URL, and waits until the page is loaded.
    #[track_caller]
    pub fn go(&self, url: &str) {
        self.must("POST", "/url", &json!({ "url": url }));
    }

    /// The URL that it shows.
    #[must_use]
    #[track_caller]
    pub fn url(&self) -> String {
        text(&self.must("GET", "/url", &Value::Null))
    }

    /// The title of the page.
    #[must_use]
    #[track_caller]
    pub fn title(&self) -> String {
        text(&self.must("GET", "/title", &Value::Null))
    }

    /// Waits until the URL begins like this.
    ///
    /// # Panics
    /// Where it does not.
    #[track_caller]
    pub fn wait_for_url(&self, begins: &str) {
        let begun = Instant::now();
        while !self.url().starts_with(begins) {
            assert!(begun.elapsed() < PATIENCE, "is at {}, not {begins}: {}", self.url(), self.text());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The first element for a CSS selector, when it is there.
    ///
    /// # Panics
    /// Where it does not come.
    #[must_use]
    #[track_caller]
    pub fn find(&self, selector: &str) -> Element {
        let begun = Instant::now();
        loop {
            let found = self.call("POST", "/element", &json!({ "using": "css selector", "value": selector }));
            match found {
                Ok(found) => return Element(text(&found[ELEMENT])),
                Err(why) => assert!(
                    begun.elapsed() < PATIENCE,
                    "no {selector} at {}: {why}: {}",
                    self.url(),
                    self.text()
                ),
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Types into an element.
    #[track_caller]
    pub fn type_into(&self, selector: &str, typed: &str) {
        let Element(id) = self.find(selector);
        self.must("POST", &format!("/element/{id}/value"), &json!({ "text": typed }));
    }

    /// Clicks an element.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        let Element(id) = self.find(selector);
        self.must("POST", &format!("/element/{id}/click"), &json!({}));
    }

    /// Presses keys, one after the other, wherever the focus is.
    #[track_caller]
    pub fn keys(&self, keys: &str) {
        let press =
            |key| [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })];
        let actions: Vec<_> = keys.chars().flat_map(|key| press(key.to_string())).collect();
        let keyboard = json!([{ "type": "key", "id": "keyboard", "actions": actions }]);
        self.must("POST", "/actions", &json!({ "actions": keyboard }));
    }

    /// The text that a user sees.
    #[must_use]
    #[track_caller]
    pub fn text(&self) -> String {
        text(&self.script("return document.body ? document.body.innerText : ''"))
    }

    /// The page, as it is now.
    #[must_use]
    #[track_caller]
    pub fn source(&self) -> String {
        text(&self.must("GET", "/source", &Value::Null))
    }

    /// What a script returns.
    #[track_caller]
    pub fn script(&self, script: &str) -> Value {
        self.must("POST", "/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The cookies of the host that it shows, by name.
    ///
    /// # Panics
    /// Where the driver refuses.
    #[must_use]
    #[track_caller]
    pub fn cookies(&self) -> BTreeMap<String, String> {
        let cookies = self.must("GET", "/cookie", &Value::Null);
        let pair = |cookie: &Value| (text(&cookie["name"]), text(&cookie["value"]));
        cookies.as_array().unwrap().iter().map(pair).collect()
    }

    /// Sets the size of the window, in pixels: `(390, 844)` is a phone.
    #[track_caller]
    pub fn resize(&self, (width, height): (u32, u32)) {
        // The window itself is never narrower than 500; this is what the tools for developers do.
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        let command = json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": metrics });
        self.must("POST", "/goog/cdp/execute", &command);
    }

    /// Keeps a picture of the page as `NAME.png` in the folder that `YUBIOTP_TEST_PICTURES` names, if it does.
    ///
    /// # Panics
    /// Where it cannot be written.
    #[track_caller]
    pub fn photograph(&self, name: &str) {
        let Some(folder) = env::var_os("YUBIOTP_TEST_PICTURES").map(PathBuf::from) else { return };
        let picture = text(&self.must("GET", "/screenshot", &Value::Null));
        fs::create_dir_all(&folder).unwrap();
        let picture = BASE64.decode(picture.as_bytes()).unwrap();
        fs::write(folder.join(name).with_extension("png"), picture).unwrap();
    }

    /// What pages wrote to the console since the last time, and what was wrong with them: each with its level.
    ///
    /// # Panics
    /// Where the driver refuses.
    #[must_use]
    #[track_caller]
    pub fn console(&self) -> Vec<String> {
        let lines = self.must("POST", "/se/log", &json!({ "type": "browser" }));
        let line = |line: &Value| format!("{} {}", text(&line["level"]), text(&line["message"]));
        lines.as_array().unwrap().iter().map(line).collect()
    }

    /// Its process.
    #[must_use]
    pub const fn driver(&self) -> &Daemon {
        &self.driver
    }

    #[track_caller]
    fn must(&self, method: &str, path: &str, parameters: &Value) -> Value {
        match self.call(method, path, parameters) {
            Ok(value) => value,
            Err(why) => panic!("{method} {path} {parameters}: {why}"),
        }
    }

    fn call(&self, method: &str, path: &str, parameters: &Value) -> Result<Value, String> {
        self.ask(method, &format!("{}{path}", self.session), parameters)
    }

    fn ask(&self, method: &str, target: &str, parameters: &Value) -> Result<Value, String> {
        let host = self.address.to_string();
        let body = parameters.to_string();
        let headers = [("Host", host.as_str()), ("Content-Type", "application/json")];
        let body = (!parameters.is_null()).then_some(body.as_str());
        let request = http::request(method, target, &headers, body);
        let reply = self.exchange(&request).map_err(|why| why.to_string())?;
        let mut reply_body: Value = serde_json::from_str(&reply.body).map_err(|why| why.to_string())?;
        let value = reply_body["value"].take();
        if reply.status == 200 { Ok(value) } else { Err(format!("{}: {}", value["error"], value["message"])) }
    }

    fn exchange(&self, request: &[u8]) -> io::Result<Reply> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        http::exchange(&mut stream, request)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _driver_is_gone = self.call("DELETE", "", &Value::Null); // closes Chromium, which a signal to its driver does not
    }
}

/// A text of an answer.
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Where a program is.
#[must_use]
pub fn program(name: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH")?;
    let sbin = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&folders).chain(sbin).map(|folder| folder.join(name)).find(|path| path.is_file())
}
