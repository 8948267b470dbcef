//! HTTP Basic: the real mod_authnz_external, which asks `ykweb-check`.

use data_encoding::BASE64;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use tests::skip;
use tests::web::front::{EXTERNAL_METHODS, Front};
use tests::web::names::DOMAIN;
use tests::web::visitor::Visitor;
use tests::web::ykwebd::{PASSWORD, Site};

#[test]
fn a_password_with_an_otp_behind_it() {
    let mut site = Site::start();
    let mut key = site.yubikey(1);
    // Of the group ykweb, as the example says.
    let socket = site.path().join("check.sock");
    fs::set_permissions(&socket, Permissions::from_mode(0o666)).unwrap();
    let mut asked = 0;
    for method in EXTERNAL_METHODS {
        let front = match Front::external(method, &site.certificate, &socket, &site.backend) {
            Ok(front) => front,
            Err(why) => return skip(&why),
        };
        let names = site.names(&[]).with("api", front.address);
        let page = format!("https://api.{DOMAIN}/page");
        let ask_with = |name: &str, basic: Option<&str>| {
            let sent = basic.map(|basic| format!("Basic {}", BASE64.encode(basic.as_bytes())));
            let mut headers = vec![(name, "root")];
            headers.extend(sent.as_deref().map(|sent| ("Authorization", sent)));
            Visitor::new(&names).send("GET", &page, &headers, None).reply.status
        };
        let ask = |basic: Option<&str>| ask_with("X-Ykweb-User", basic);
        assert_eq!(ask(None), 401, "{method}: {}", front.log());
        let otp = key.press();
        // Who does not know the password uses up nothing.
        assert_eq!(ask(Some(&format!("alice:wrong{otp}"))), 401, "{method}: {}", front.log());
        assert_eq!(ask(Some(&format!("alice:{PASSWORD}"))), 401, "{method}: no OTP");
        assert_eq!(site.backend.seen().len(), asked, "{method}");
        for name in ["X_Ykweb_User", "X_Ykweb-User", "X.Ykweb.User"] {
            let status = ask_with(name, Some(&format!("alice:{PASSWORD}{}", key.press())));
            assert!(matches!(status, 401 | 403), "{method}: {name}: {status}");
        }
        assert_eq!(site.backend.seen().len(), asked, "{method}");
        let otp = key.press();
        let right = format!("alice:{PASSWORD}{otp}");
        assert_eq!(ask(Some(&right)), 200, "{method}: {}", front.log());
        let seen = site.backend.seen();
        let head = &seen[asked].to_ascii_lowercase();
        asked += 1;
        assert!(head.contains("x-ykweb-user: alice"), "{head}");
        assert!(!head.contains("root") && !head.contains("authorization"), "{head}");
        assert_eq!(ask(Some(&right)), 401, "{method}: an OTP for the second time");
        // Its line leads to the reason.
        let log = front.log();
        let line = log.lines().find(|line| line.contains("code=server-says-replayed")).unwrap();
        let id = line.split("id=").nth(1).unwrap().split_whitespace().next().unwrap();
        assert!(site.explain(id).contains("server-says-replayed"));
        assert!(!log.contains(PASSWORD) && !log.contains(&otp), "{log}");

        let otp = key.press();
        site.ykwebd.kill();
        assert_eq!(ask(Some(&format!("alice:{PASSWORD}{otp}"))), 401, "{method}: nobody answers");
        site.restart();
        fs::set_permissions(&socket, Permissions::from_mode(0o666)).unwrap();
    }
    assert_eq!(site.backend.seen().len(), asked);
}
