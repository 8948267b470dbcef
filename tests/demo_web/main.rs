//! `make demo-web`: one sign-on in front of two web servers, with a YubiKey where they ask for it: real nginx and Apache with the
//! files of `web-examples`, `ykwebd`, and `ykvald` behind it, in temporary folders.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "it is there to be watched"
)]

use std::process::ExitCode;
use tests::web::front::Kind;
use tests::web::visitor::{Page, Visitor};
use tests::web::ykwebd::{PASSWORD, Site};

/// Prints each step, and whether it ended as it must.
struct Story {
    as_expected: bool,
}

impl Story {
    fn step(&mut self, what: &str, seen: &str, as_expected: bool) {
        self.as_expected &= as_expected;
        println!("{what:<62} {seen}{}", if as_expected { "" } else { "   NOT AS IT SHOULD BE" });
    }

    fn shows(&mut self, what: &str, page: &Page, wanted: bool) {
        self.step(what, &seen(page), is_the_page(page) == wanted);
    }
}

/// Whether it is a page of an application, and not of the portal.
fn is_the_page(page: &Page) -> bool {
    page.reply.status == 200 && !page.host().starts_with("login.")
}

fn seen(page: &Page) -> String {
    let title = page.reply.body.split("<h1>").nth(1).and_then(|rest| rest.split("</h1>").next());
    format!("{} {}{}: {}", page.reply.status, page.host(), page.path(), title.unwrap_or("-").trim())
}

fn main() -> ExitCode {
    println!(
        "A site in temporary folders: ykvald, ykwebd, nginx in front of wiki.site.test, Apache in front of files.site.test.\n"
    );
    let site = Site::start();
    let (nginx, apache) = match (site.front(Kind::Nginx), site.front(Kind::Apache)) {
        (Ok(nginx), Ok(apache)) => (nginx, apache),
        (Err(why), _) | (_, Err(why)) => {
            println!("{why}");
            return ExitCode::FAILURE;
        }
    };
    let mut key = site.yubikey(1);
    let codes = site.recovery_codes();
    let mut story = Story { as_expected: true };
    let mut alice = Visitor::new(&site.names(&[&nginx, &apache]));
    let mut mallory = alice.stranger();

    let wiki = Kind::Nginx.page("/admin/page");
    let page = alice.get(&wiki);
    story.shows("alice opens a page of the wiki that needs a second factor", &page, false);
    let page = alice.submit(&page, &[("user", "alice"), ("password", "wrong")]);
    story.shows("she mistypes her password", &page, false);
    let page = alice.submit(&page, &[("user", "alice"), ("password", PASSWORD)]);
    story.shows("she types it right", &page, false);
    let otp = key.press();
    let page = alice.submit(&page, &[("answer", &otp)]);
    story.shows("she touches her YubiKey", &page, true);

    let page = mallory.sign_in(&wiki);
    let page = mallory.submit(&page, &[("answer", &otp)]);
    story.shows("mallory knows her password, and saw that OTP", &page, false);
    let id = page
        .reply
        .body
        .split("<code>")
        .nth(1)
        .and_then(|rest| rest.split('<').next())
        .unwrap_or("-")
        .to_owned();
    let said = site.check(&otp, "second");
    let seen = format!("{} [{}]", said["verdict"].as_str().unwrap(), said["code"].as_str().unwrap());
    story.step(
        "the same OTP by way of ykweb-check, as an old program asks",
        &seen,
        seen.starts_with("rejected"),
    );

    let files = Kind::Apache.page("/page");
    let page = alice.get(&files);
    story.shows("alice opens the files behind Apache: she is signed in", &page, true);
    let cookie = alice.cookie("wiki.site.test", "__Host-ykweb").unwrap().to_owned();
    let mut thief = alice.stranger();
    thief.set_cookie("files.site.test", "__Host-ykweb", &cookie);
    let page = thief.get(&files);
    story.shows("the wiki was broken into, and its cookie is tried there", &page, false);

    let mut lost = alice.stranger();
    let page = lost.sign_in(&wiki);
    let page = lost.submit(&page, &[("answer", &codes[0])]);
    story.shows("alice has lost her YubiKey, and types a recovery code", &page, true);

    println!("\nWho is signed in (ykwebd session list):\n{}", site.must(&["session", "list"]).trim_end());
    println!("\nWhy mallory was refused (ykwebd explain {id}):\n{}", site.explain(&id).trim_end());
    println!();
    site.must(&["session", "end", "--user", "alice"]);
    let ended = (0..50).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        !is_the_page(&alice.get(&files))
    });
    story.step("an administrator ends her sessions (ykwebd session end)", "signed out everywhere", ended);

    if story.as_expected {
        println!("\nAll as it should be. The folders are gone again.");
        return ExitCode::SUCCESS;
    }
    println!("\nNot as it should be.");
    ExitCode::FAILURE
}
