//! What `ykwebd user` and `ykwebd session` do on a site that serves.

use std::fs;
use std::process::Output;
use std::time::Duration;
use tests::skip;
use tests::soft_app;
use tests::web::front::Kind;
use tests::web::visitor::Visitor;
use tests::web::ykwebd::Site;

fn says(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Nobody is asked for a touch that nothing could check.
#[test]
fn without_validation_servers_no_touch_is_asked_for() {
    let site = Site::start();
    let path = site.path().join("config.toml");
    let config = fs::read_to_string(&path).unwrap();
    let (before, rest) = config.split_once("[validation]\n").unwrap();
    let (_, after) = rest.split_once("\n\n").unwrap();
    fs::write(&path, format!("{before}{after}")).unwrap();

    let (status, said) = says(&site.command(&["user", "add-yubikey", "alice"]).output().unwrap());
    assert!(status == Some(2) && said.contains("[no-servers]") && !said.contains("Touch"), "{said}");
    let (status, said) =
        says(&site.command(&["user", "add-yubikey", "alice", "ccccccdbjrgf"]).output().unwrap());
    assert!(status == Some(0) && said.contains("[no-servers]"), "{said}");
}

#[test]
fn all_sessions_end_at_once() {
    let (site, front) = match Site::behind(Kind::Nginx) {
        Ok(both) => both,
        Err(why) => return skip(&why),
    };
    let url = Kind::Nginx.page("/page");
    let mut visitors: Vec<_> = (0..3).map(|_| Visitor::new(&site.names(&[&front]))).collect();
    for visitor in &mut visitors {
        assert_eq!(visitor.sign_in(&url).reply.status, 200);
    }
    assert_eq!(site.must(&["session", "end", "--all"]).trim(), "3 sessions ended");
    std::thread::sleep(Duration::from_secs(2));
    for visitor in &mut visitors {
        visitor.get(&url).assert_portal("/login");
    }
    let both = site.command(&["session", "end", "--all", "--user", "alice"]).output().unwrap();
    assert_eq!(both.status.code(), Some(2));
}

/// After too many wrong codes one is not enough; then it is again, and a used one is not.
#[test]
fn a_user_gets_tries_back() {
    let site = Site::start();
    let (app, _) = site.app();
    let step = soft_app::now();
    let used = app.code(step);
    assert_eq!(site.check(&used, "second")["verdict"], "accepted");
    for wrong in app.wrong(step, 6, 10) {
        assert_eq!(site.check(&wrong, "second")["code"], "code-wrong");
    }
    let next = app.code(step + 1);
    assert_eq!(site.check(&next, "second")["code"], "two-codes-needed");
    assert!(site.must(&["user", "unlock", "alice"]).contains("had 0 of 10"));
    assert_eq!(site.check(&used, "second")["code"], "code-used");
    assert_eq!(site.check(&next, "second")["verdict"], "accepted");
}
