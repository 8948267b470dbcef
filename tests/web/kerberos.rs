//! A Kerberos ticket first, silently, and then the second factor: with a real KDC, mod_auth_gssapi and Chromium.

use std::path::Path;
use tests::skip;
use tests::web::browser::{Browser, ENTER};
use tests::web::front::{Front, Kind, open_folder};
use tests::web::kdc::Realm;
use tests::web::names::DOMAIN;
use tests::web::visitor::Visitor;
use tests::web::ykwebd::Site;

/// Alice's password at the KDC, which nobody types into a page.
const AT_THE_KDC: &str = "another horse of alice";

fn lent<'a, const N: usize>(
    environment: &'a [(&'static str, std::path::PathBuf); N],
) -> [(&'a str, &'a Path); N] {
    environment.each_ref().map(|(name, path)| (*name, path.as_path()))
}

#[test]
fn a_ticket_first_and_then_a_touch() {
    let site = Site::with_identity();
    let mut key = site.yubikey(1);
    let folder = open_folder("realm");
    // Chromium asks for the name that the host's address has, which is an address here.
    let services = [format!("HTTP/login.{DOMAIN}"), "HTTP/127.0.0.1".to_owned()];
    let services = services.each_ref().map(String::as_str);
    let started = Realm::start(folder.path(), &["alice", "carol"], AT_THE_KDC, &services).and_then(|realm| {
        let wiki = site.front(Kind::Nginx)?;
        let login =
            Front::kerberos(&site.certificate, &site.portal, &realm.keytab(), &lent(&realm.server()))?;
        Ok((realm, wiki, login))
    });
    let (realm, wiki, login) = match started {
        Ok(started) => started,
        Err(why) => return skip(&why),
    };
    let names = site.names(&[&wiki]).with("login", login.address);
    let page = Kind::Nginx.page("/admin/page");

    // With a ticket nothing is typed but the second factor.
    let browser = Browser::start(&names, &site.certificate, &lent(&realm.ticket("alice", AT_THE_KDC)));
    let browser = match browser {
        Ok(browser) => browser,
        Err(why) => return skip(&why),
    };
    browser.go(&page);
    browser.wait_for_url(&format!("https://login.{DOMAIN}/verify"));
    browser.photograph("kerberos-verify");
    let asked = browser.text();
    browser.keys(&format!("{}{ENTER}", key.press()));
    browser.wait_for_url(&page);
    let text = browser.text();
    assert!(
        text.contains("X-Ykweb-User: alice\n") && text.contains("X-Ykweb-Means: kerberos yubikey"),
        "{text}"
    );
    assert!(!text.contains("Negotiate"), "the ticket went on to the application: {text}");
    transcript(&site, &realm.tickets("alice"), [&page, &asked, &text]);

    // Without one: the form, no dialog, and no answer that frightens.
    let browser = Browser::start(&names, &site.certificate, &lent(&realm.no_ticket())).unwrap();
    browser.go(&page);
    browser.wait_for_url(&format!("https://login.{DOMAIN}/login"));
    std::thread::sleep(std::time::Duration::from_millis(500)); // the script has tried by then
    assert_eq!(browser.script("return document.querySelectorAll('[role=alert]').length"), 0);
    assert_eq!(browser.script("return document.activeElement.name"), "user");
    browser.photograph("kerberos-no-ticket");

    // A browser writes the headers itself, with and without a ticket of its own.
    let mut visitor = Visitor::new(&names);
    let form = visitor.get(&format!("https://login.{DOMAIN}/login"));
    let negotiate = form.forms().into_iter().find(|form| form.action == "/login/negotiate").unwrap();
    let hidden: Vec<_> = negotiate.hidden.iter().map(|(name, value)| (&**name, &**value)).collect();
    let body = tests::web::visitor::encoded(&hidden);
    let url = format!("https://login.{DOMAIN}/login/negotiate");
    let forged = [("X-Ykweb-User", "alice"), ("X-Ykweb-Means", "kerberos"), ("X_Ykweb_User", "alice")];
    for path in ["", "/", "/..%2fnegotiate", "?x", "/../negotiate"] {
        let reply = visitor.send("POST", &format!("{url}{path}"), &forged, Some(&body)).reply;
        assert!(matches!(reply.status, 400..=405), "{path}: {reply:?}");
        assert_eq!(reply.header("set-cookie"), None);
    }
    carol_stays_carol(&site, &names, &realm, &url);
}

/// Writes what was seen to `kerberos-transcript.txt` in the folder for temporary files of the build: docs/web.md has it.
fn transcript(site: &Site, tickets: &str, [page, asked, text]: [&str; 3]) {
    let log = site.ykwebd.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("outcome=accepted")).collect();
    assert_eq!(lines.len(), 2, "{log}");
    let (login, verify) = (lines[0], lines[1]);
    assert!(login.contains("event=login") && login.contains("means=kerberos"), "{login}");
    assert!(verify.contains("event=verify") && verify.contains("means=yubikey"), "{verify}");
    let headers: Vec<_> = text.lines().filter(|line| line.contains("X-Ykweb-")).collect();
    let sessions = site.must(&["session", "list"]);
    let written = format!(
        "$ klist\n{tickets}\n--- the browser opens {page}, and shows, without a question for a password:\n{asked}\n\n\
         --- after a touch it shows the page. The application got:\n{}\n\n--- the log of ykwebd:\n{login}\n{verify}\n\n\
         # ykwebd session list\n{sessions}",
        headers.join("\n")
    );
    std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join("kerberos-transcript.txt"), written).unwrap();
}

/// Carol has a ticket, and says that she is alice.
fn carol_stays_carol(site: &Site, names: &tests::web::names::Names, realm: &Realm, url: &str) {
    let browser =
        Browser::start(names, &site.certificate, &lent(&realm.ticket("carol", AT_THE_KDC))).unwrap();
    browser.go(&format!("https://login.{DOMAIN}/login?quiet"));
    let script = format!(
        "const fields = new URLSearchParams(new FormData(document.getElementById('negotiate'))); fields.delete('page');
         const ask = () => fetch('{url}', {{ method: 'POST', body: fields,
             headers: {{ 'X-Ykweb-User': 'alice', 'X-Ykweb-Means': 'certificate' }} }});
         return ask().then(ask).then(answer => answer.status);"
    );
    let status = browser.script(&script);
    browser.go(&format!("https://login.{DOMAIN}/account"));
    let text = browser.text();
    assert!(!text.contains("alice"), "{status}: {text}");
    assert!(text.contains("carol"), "{status}: {text}");
}
