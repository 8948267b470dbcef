//! What users see: Chromium, keyboard only, on a desk and on a phone. Pictures go to the folder that `YUBIOTP_TEST_PICTURES`
//! names.

use tests::skip;
use tests::soft_yubikey::SoftYubiKey;
use tests::web::browser::{Browser, ENTER, TAB};
use tests::web::front::Kind;
use tests::web::names::DOMAIN;
use tests::web::ykwebd::{PASSWORD, Site};

const DESK: (u32, u32) = (1280, 800);
const PHONE: (u32, u32) = (390, 844);

/// Takes pictures of a page for desk and phone, and checks what can be measured: nothing is wider than the screen, every field has
/// a label, text and buttons are large enough to be read and hit.
fn look(browser: &Browser, name: &str) {
    for (size, suffix) in [(DESK, "desk"), (PHONE, "phone")] {
        browser.resize(size);
        browser.photograph(&format!("{name}-{suffix}"));
        let wide = browser.script("return document.documentElement.scrollWidth - window.innerWidth").as_i64();
        assert!(wide.unwrap() <= 0, "{name} is {wide:?} pixels wider than a {suffix}");
        let bare = browser.script(
            "return [...document.querySelectorAll('input:not([type=hidden])')].filter(field => !field.labels.length).length",
        );
        assert_eq!(bare, 0, "{name} has a field without a label");
        let small = browser.script(
            "return [...document.querySelectorAll('button')].filter(button => button.offsetHeight < 24).length",
        );
        assert_eq!(small, 0, "{name} has a button that is too small");
    }
    browser.resize(DESK);
    assert_eq!(browser.console(), Vec::<String>::new(), "{name}");
}

#[test]
fn signing_in_by_keyboard() {
    let (site, front) = match Site::behind(Kind::Nginx) {
        Ok(both) => both,
        Err(why) => return skip(&why),
    };
    let mut key = site.yubikey(1);
    let browser = match Browser::start(&site.names(&[&front]), &site.certificate, &[]) {
        Ok(browser) => browser,
        Err(why) => return skip(&why),
    };
    let portal = |path: &str| format!("https://login.{DOMAIN}{path}");
    browser.go(&Kind::Nginx.page("/admin/page"));
    browser.wait_for_url(&portal("/login"));
    assert_eq!(browser.script("return document.activeElement.name"), "user");
    look(&browser, "login");

    browser.keys(&format!("alice{TAB}wrong{ENTER}"));
    let _problem = browser.find("[role=alert]");
    assert_eq!(browser.script("return document.activeElement.name"), "password");
    // What the browser itself says of a status of 403 is no fault of the page.
    let console = browser.console();
    assert!(console.iter().all(|line| line.contains("403")), "{console:?}");
    look(&browser, "login-wrong");

    browser.keys(&format!("{PASSWORD}{ENTER}"));
    browser.wait_for_url(&portal("/verify"));
    assert_eq!(browser.script("return document.activeElement.name"), "answer");
    look(&browser, "verify");
    // A YubiKey types its OTP, and Enter.
    browser.keys(&format!("{}{ENTER}", SoftYubiKey::numbered(99).press()));
    let _problem = browser.find("[role=alert]");
    let _of_the_status = browser.console();
    look(&browser, "verify-wrong");
    browser.keys(&format!("{}{ENTER}", key.press()));
    browser.wait_for_url(&Kind::Nginx.page("/admin/page"));
    assert!(browser.text().contains("X-Ykweb-Means: password yubikey"), "{}", browser.text());
    assert_eq!(browser.console(), Vec::<String>::new());
    assert_eq!(browser.script("return document.cookie"), "");

    browser.go(&portal("/account"));
    assert!(browser.text().contains("alice"));
    look(&browser, "account");
    // A host that alice may not use.
    site_denies(&browser, &portal);
    browser.go(&portal("/logout"));
    look(&browser, "logout");
    browser.keys(ENTER);
    let _signed_out = browser.find("a[href='/login']");
    look(&browser, "signed-out");
    browser.go(&Kind::Nginx.page("/page"));
    browser.wait_for_url(&portal("/login"));
}

fn site_denies(browser: &Browser, portal: &impl Fn(&str) -> String) {
    browser.go(&portal(&format!("/login?return_to=https%3A%2F%2Fpayroll.{DOMAIN}%2F&browser=x&need=otp")));
    assert!(browser.text().contains("R-"), "{}", browser.text());
    let _of_the_status = browser.console();
    look(browser, "denied");
}
