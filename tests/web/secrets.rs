//! What nobody may read in a log, a page or a file.

use tests::skip;
use tests::soft_app;
use tests::soft_yubikey::SoftYubiKey;
use tests::web::front::{Front, Kind};
use tests::web::names::DOMAIN;
use tests::web::visitor::{Page, Visitor};
use tests::web::ykwebd::{PASSWORD, Site};

/// A whole life of sessions, through every web server; then a search.
#[test]
fn no_secret_is_in_a_log_a_page_or_the_store() {
    let site = Site::start();
    let mut fronts = Vec::new();
    for kind in Kind::ALL {
        match site.front(kind) {
            Ok(front) => fronts.push(front),
            Err(why) => skip(&why),
        }
    }
    let mut key = site.yubikey(1);
    let (app, app_secret) = site.app();
    let recovery = site.recovery_codes();
    let (mut secrets, mut pages) = (vec![PASSWORD.to_owned(), key.aes_key_hex()], Vec::new());
    secrets.extend(recovery.iter().cloned());
    let answers = [key.press(), app.code(soft_app::now()), recovery[0].clone(), key.press()];
    for (front, answer) in fronts.iter().zip(answers) {
        session(&site, front, &answer, &mut secrets, &mut pages);
        secrets.push(answer);
    }
    // A code of six digits is in many numbers. Its name is not: `answer=`.
    secrets.retain(|secret| secret.len() > 6);
    secrets.extend([app_secret.clone(), "answer=".to_owned(), "password=".to_owned()]);
    let mut binary: Vec<Vec<u8>> = secrets.iter().map(|secret| secret.clone().into_bytes()).collect();
    binary.push(app.secret().to_vec());
    binary.extend(recovery.iter().map(|code| code.replace('-', "").into_bytes()));

    let mut places: Vec<(String, Vec<u8>)> =
        site.files().into_iter().map(|(path, text)| (path.display().to_string(), text)).collect();
    assert!(places.iter().any(|(name, text)| name.ends_with("ykweb.db") && !text.is_empty()));
    let log = site.ykwebd.log();
    assert!(log.contains("code=") && log.contains("user=alice"), "{log}");
    places.extend(fronts.iter().map(|front| (format!("{:?}", front.kind), front.log().into_bytes())));
    places.push(("ykvald".to_owned(), site.ykvald.log().into_bytes()));
    places.extend(pages.iter().map(|page| (page.url.clone(), page.reply.body.clone().into_bytes())));
    for (place, text) in &places {
        for secret in &binary {
            let is_there = text.windows(secret.len()).any(|window| window.eq_ignore_ascii_case(secret));
            assert!(!is_there, "{} is in {place}", String::from_utf8_lossy(secret));
        }
    }
}

/// Signs in with everything, wrong and right, and out again. Collects what is secret, and every page of the portal.
fn session(site: &Site, front: &Front, answer: &str, secrets: &mut Vec<String>, pages: &mut Vec<Page>) {
    let mut visitor = Visitor::new(&site.names(&[front]));
    let mut keep = |visitor: &Visitor, page: &Page, secrets: &mut Vec<String>| {
        secrets.extend(visitor.secrets().map(str::to_owned));
        if page.host().starts_with("login.") {
            pages.push(page.clone());
        }
    };
    let admin = front.kind.page("/admin/page");
    let page = visitor.get(&admin);
    page.assert_portal("/login");
    keep(&visitor, &page, secrets);
    let wrong = "wrong horse of alice".to_owned();
    let page = visitor.submit(&page, &[("user", "alice"), ("password", &wrong)]);
    secrets.push(wrong);
    keep(&visitor, &page, secrets);
    // A password in the field of the name must not be in the log.
    let page = visitor.submit(&page, &[("user", PASSWORD), ("password", "x")]);
    secrets.extend(visitor.secrets().map(str::to_owned));
    let page = if page.is_portal("/login") { visitor.get(&admin) } else { page };
    let page = visitor.submit(&page, &[("user", "alice"), ("password", PASSWORD)]);
    keep(&visitor, &page, secrets);
    page.assert_portal("/verify");
    // Somebody else's.
    let others = SoftYubiKey::numbered(99).press();
    let page = visitor.submit(&page, &[("answer", &others)]);
    secrets.push(others);
    keep(&visitor, &page, secrets);
    let again = page.clone();
    let page = visitor.submit(&page, &[("answer", answer)]);
    keep(&visitor, &page, secrets);
    // Twice, as after a double click.
    let again = visitor.submit(&again, &[("answer", answer)]);
    keep(&visitor, &again, secrets);
    assert_eq!(page.url, admin, "{page:#?}");
    for path in ["/account", "/logout"] {
        let page = visitor.get(&format!("https://login.{DOMAIN}{path}"));
        keep(&visitor, &page, secrets);
    }
    let page = visitor.get(&format!("https://login.{DOMAIN}/logout"));
    let page = visitor.submit(&page, &[]);
    keep(&visitor, &page, secrets);
    let _decided = site.check(&format!("{PASSWORD}{answer}"), "both");
}
