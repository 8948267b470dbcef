//! Tickets, cookies, forms and URLs in the hands of others.

use tests::skip;
use tests::web::front::{Front, Kind};
use tests::web::http;
use tests::web::names::DOMAIN;
use tests::web::visitor::{Page, Visitor, encoded, escaped, split};
use tests::web::ykwebd::{BOBS_PASSWORD, PASSWORD, Site};

const LOGIN_COOKIE: &str = "__Host-ykweb-login";
const HOST_COOKIE: &str = "__Host-ykweb";

fn portal(path: &str) -> String {
    format!("https://login.{DOMAIN}{path}")
}

fn host_of(kind: Kind) -> String {
    format!("{}.{DOMAIN}", kind.host())
}

/// With nginx and Caddy: two hosts.
fn two_hosts() -> Result<(Site, Front, Front), String> {
    let (site, nginx) = Site::behind(Kind::Nginx)?;
    let caddy = site.front(Kind::Caddy)?;
    Ok((site, nginx, caddy))
}

macro_rules! two_hosts {
    () => {
        match two_hosts() {
            Ok(all) => all,
            Err(why) => return skip(&why),
        }
    };
}

/// Signs in, and stops where the portal sends the browser back with a ticket: the URL with it.
fn ticket(visitor: &mut Visitor, kind: Kind) -> String {
    let page = visitor.get(&kind.page("/page"));
    page.assert_portal("/login");
    let page = visitor.submit_once(&page, &[("user", "alice"), ("password", PASSWORD)], "same-origin");
    let url = page.reply.location().to_owned();
    assert!(url.starts_with(&format!("https://{}/_ykweb/callback?", host_of(kind))), "{url}");
    url
}

fn is_in(visitor: &mut Visitor, kind: Kind) -> bool {
    visitor.send("GET", &kind.page("/page"), &[], None).reply.status == 200
}

#[test]
fn a_ticket_is_for_one_browser_one_host_and_one_time() {
    let (site, nginx, caddy) = two_hosts!();
    let names = site.names(&[&nginx, &caddy]);
    let wiki = Kind::Nginx;

    // Used by its own browser, once.
    let mut alice = Visitor::new(&names);
    let url = ticket(&mut alice, wiki);
    let start = alice.clone();
    assert_eq!(alice.send("GET", &url, &[], None).reply.location(), wiki.page("/page"));
    assert!(is_in(&mut alice, wiki));
    assert_eq!(alice.send("GET", &url, &[], None).reply.status, 403);
    let mut again = start;
    assert_eq!(again.send("GET", &url, &[], None).reply.status, 403);
    assert!(!is_in(&mut again, wiki));

    // Another browser, that of somebody who looked over a shoulder; it spoils the ticket. One that is on its own way to the
    // portal is another browser, too.
    for is_on_its_way in [false, true] {
        let mut alice = Visitor::new(&names);
        let url = ticket(&mut alice, wiki);
        let mut thief = Visitor::new(&names);
        if is_on_its_way {
            thief.get(&wiki.page("/page"));
        }
        assert_eq!(thief.send("GET", &url, &[], None).reply.status, 403);
        assert!(!is_in(&mut thief, wiki));
        assert_eq!(alice.send("GET", &url, &[], None).reply.status, 403);
    }

    // Another host, to which the same browser is on its way.
    let mut alice = Visitor::new(&names);
    alice.get(&Kind::Caddy.page("/page"));
    let url = ticket(&mut alice, wiki).replace(&host_of(wiki), &host_of(Kind::Caddy));
    assert_eq!(alice.send("GET", &url, &[], None).reply.status, 403);
    assert!(!is_in(&mut alice, Kind::Caddy));

    // Two at once.
    let mut alice = Visitor::new(&names);
    let url = ticket(&mut alice, wiki);
    let taken = std::thread::scope(|scope| {
        let takers = [(); 4].map(|()| {
            let mut alice = alice.clone();
            let url = url.as_str();
            scope.spawn(move || alice.send("GET", url, &[], None).reply.status == 302)
        });
        takers.into_iter().filter_map(|taker| taker.join().unwrap().then_some(())).count()
    });
    assert_eq!(taken, 1);
    // Nonsense.
    for query in ["", "?ticket=", "?ticket=x&to=/", "?to=/page"] {
        let url = format!("https://{}/_ykweb/callback{query}", host_of(wiki));
        assert_eq!(alice.send("GET", &url, &[], None).reply.status, 403);
    }
}

#[test]
fn a_cookie_is_worth_something_on_its_own_host_only() {
    let (site, nginx, caddy) = two_hosts!();
    let mut alice = Visitor::new(&site.names(&[&nginx, &caddy]));
    assert_eq!(alice.sign_in(&Kind::Nginx.page("/page")).reply.status, 200);
    let of_wiki = alice.cookie(&host_of(Kind::Nginx), HOST_COOKIE).unwrap().to_owned();
    let of_portal = alice.cookie(&format!("login.{DOMAIN}"), LOGIN_COOKIE).unwrap().to_owned();
    assert_ne!(of_wiki, of_portal);
    for stolen in [&of_wiki, &of_portal] {
        let mut thief = alice.stranger();
        thief.set_cookie(&host_of(Kind::Caddy), HOST_COOKIE, stolen);
        assert!(!is_in(&mut thief, Kind::Caddy));
        assert!(!is_in(&mut thief, Kind::Nginx));
    }
    // An attacker who has taken over the wiki is nobody at the portal.
    let mut thief = alice.stranger();
    thief.set_cookie(&format!("login.{DOMAIN}"), LOGIN_COOKIE, &of_wiki);
    thief.get(&portal("/account")).assert_portal("/login");
    thief.set_cookie(&host_of(Kind::Nginx), HOST_COOKIE, &of_portal);
    assert!(!is_in(&mut thief, Kind::Nginx));
    // The portal knows alice: the other host asks nothing.
    let page = alice.get(&Kind::Caddy.page("/page"));
    assert_eq!(page.url, Kind::Caddy.page("/page"));
    assert!(is_in(&mut alice, Kind::Caddy));

    // Signing out ends all of it, wherever the cookies are by now.
    let mut copy = alice.clone();
    let page = alice.get(&portal("/logout"));
    assert!(is_in(&mut copy, Kind::Caddy), "a GET ends nothing");
    assert_eq!(alice.submit(&page, &[]).reply.status, 200);
    for visitor in [&mut alice, &mut copy] {
        assert!(!is_in(visitor, Kind::Nginx) && !is_in(visitor, Kind::Caddy));
        visitor.get(&portal("/account")).assert_portal("/login");
    }
}

/// An attacker who plants a cookie in a browser does not have its session afterwards.
#[test]
fn sessions_are_not_fixed() {
    let (site, front) = match Site::behind(Kind::Nginx) {
        Ok(both) => both,
        Err(why) => return skip(&why),
    };
    let mut key = site.yubikey(1);
    let names = site.names(&[&front]);
    let login = format!("login.{DOMAIN}");
    // The attacker is bob, who has a session of his own.
    let mut bob = Visitor::new(&names);
    let page = bob.get(&portal("/login"));
    bob.submit(&page, &[("user", "bob"), ("password", BOBS_PASSWORD)]).assert_portal("/account");
    let planted = bob.cookie(&login, LOGIN_COOKIE).unwrap().to_owned();

    for planted in [planted, "A".repeat(43)] {
        let mut alice = Visitor::new(&names);
        let page = alice.get(&portal("/login"));
        alice.set_cookie(&login, LOGIN_COOKIE, &planted);
        let page = alice.submit(&page, &[("user", "alice"), ("password", PASSWORD)]);
        assert!(page.reply.body.contains("alice"), "{page:#?}");
        assert_ne!(alice.cookie(&login, LOGIN_COOKIE), Some(planted.as_str()));
        let mut attacker = Visitor::new(&names);
        attacker.set_cookie(&login, LOGIN_COOKIE, &planted);
        let page = attacker.get(&portal("/account"));
        assert!(!page.reply.body.contains("alice"), "{page:#?}");
    }

    // The second factor makes a new cookie, too.
    let mut alice = Visitor::new(&names);
    alice.sign_in(&Kind::Nginx.page("/admin/page")).assert_portal("/verify");
    let first = alice.clone();
    let page = alice.get(&Kind::Nginx.page("/admin/page"));
    assert_eq!(alice.submit(&page, &[("answer", &key.press())]).reply.status, 200);
    assert_ne!(alice.cookie(&login, LOGIN_COOKIE), first.cookie(&login, LOGIN_COOKIE));
    let mut thief = first;
    thief.get(&portal("/account")).assert_portal("/login");
    thief.get(&Kind::Nginx.page("/admin/page")).assert_portal("/login");
}

/// URLs to which nobody may be sent.
const ELSEWHERE: [&str; 22] = [
    "https://evil.test/",
    "http://evil.test/",
    "//evil.test/",
    "///evil.test/",
    "/\\evil.test/",
    "\\\\evil.test/",
    "https:evil.test/",
    "https:/evil.test/",
    "https:///evil.test/",
    "https://wiki.site.test@evil.test/",
    "https://evil.test\\@wiki.site.test/",
    "https://wiki.site.test\\.evil.test/",
    "https://wiki.site.test.evil.test/",
    "https://wiki.site.test:evil@evil.test/",
    "https://wiki.site.test:8443/",
    "http://wiki.site.test/",
    "javascript:alert(1)",
    "data:text/html,x",
    " https://evil.test/",
    "https://wiki.site.test/\r\nSet-Cookie: a=b",
    "https://wiki.site.test/\nLocation: https://evil.test/",
    "https://evil.test#https://wiki.site.test/",
];

/// It leads nowhere but to the portal or a protected host.
#[track_caller]
fn stays(page: &Page, said: &str) {
    let Some(to) = page.reply.header("location") else {
        assert!(!page.reply.body.contains("href=\"https://evil"), "{said:?}: {page:#?}");
        return;
    };
    let is_ours = to.starts_with('/') && !to.starts_with("//") && !to.contains('\\')
        || [portal("/"), Kind::Nginx.page("/")].iter().any(|ours| to.starts_with(ours));
    assert!(is_ours && !to.contains(['\r', '\n']), "{said:?} leads to {to:?}");
    let names: Vec<_> = page.reply.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert!(!page.reply.all("set-cookie").any(|cookie| cookie.starts_with("a=b")), "{said:?}: {names:?}");
    if to.starts_with("https:") {
        let _is_absolute = split(to);
    }
}

#[test]
fn nobody_is_sent_elsewhere() {
    let (site, front) = match Site::behind(Kind::Nginx) {
        Ok(both) => both,
        Err(why) => return skip(&why),
    };
    let names = site.names(&[&front]);
    let mut alice = Visitor::new(&names);
    assert_eq!(alice.sign_in(&Kind::Nginx.page("/page")).reply.status, 200);
    let mut stranger = alice.stranger();
    let browser = "A".repeat(43);
    for url in ELSEWHERE {
        let query = encoded(&[("return_to", url), ("browser", &browser), ("need", "login")]);
        // Before, at, and after signing in.
        for path in ["/login", "/verify", "/account", "/logout"] {
            for visitor in [&mut alice, &mut stranger] {
                stays(&visitor.send("GET", &portal(&format!("{path}?{query}")), &[], None), url);
            }
        }
        let mut other = alice.stranger();
        let page = other.get(&portal(&format!("/login?{query}")));
        stays(&other.submit_once(&page, &[("user", "bob"), ("password", BOBS_PASSWORD)], "same-origin"), url);
        // On the protected host.
        for visitor in [&mut alice, &mut stranger] {
            for path in ["start?to=", "callback?ticket=x&to=", "logout?to="] {
                let page = Kind::Nginx.page(&format!("/_ykweb/{path}{}", escaped(url)));
                stays(&visitor.send("GET", &page, &[], None), url);
            }
        }
        // With a right ticket, and another place to go on to.
        let mut alice = alice.stranger();
        let right = ticket(&mut alice, Kind::Nginx);
        let (start, _) = right.split_once("to=").unwrap();
        stays(&alice.send("GET", &format!("{start}to={}", escaped(url)), &[], None), url);
    }
}

/// Whatever web server is in front: on TCP nobody is believed.
#[test]
fn an_identity_header_on_tcp_is_nothing() {
    let site = Site::with_identity();
    let front = match site.front(Kind::Nginx) {
        Ok(front) => front,
        Err(why) => return skip(&why),
    };
    let mut visitor = Visitor::new(&site.names(&[&front]));
    let page = visitor.get(&portal("/login"));
    let word = page.form().hidden.into_iter().find(|(name, _)| name == "word").unwrap().1;
    let cookie = format!(
        "__Host-ykweb-form={}",
        visitor.cookie(&format!("login.{DOMAIN}"), "__Host-ykweb-form").unwrap()
    );
    let body = encoded(&[("word", &word)]);
    let origin = format!("https://login.{DOMAIN}");
    for means in ["kerberos", "certificate"] {
        let headers = [
            ("Host", "login.site.test"),
            ("Origin", origin.as_str()),
            ("Cookie", cookie.as_str()),
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("X-Ykweb-User", "alice"),
            ("X-Ykweb-Means", means),
            ("X-Remote-User", "alice"),
            ("X-Forwarded-For", "127.0.0.1"),
        ];
        let request = http::request("POST", "/login/negotiate", &headers, Some(&body));
        let mut direct = std::net::TcpStream::connect(site.portal.listen).unwrap();
        let direct = http::exchange(&mut direct, &request).unwrap();
        assert_eq!((direct.status, direct.header("set-cookie")), (403, None));
        let through = visitor.send("POST", &portal("/login/negotiate"), &headers[1..], Some(&body)).reply;
        assert_eq!((through.status, through.header("set-cookie")), (403, None));
        for path in ["/account", "/login", "/verify"] {
            let page = visitor.send("GET", &portal(path), &headers[4..], None);
            assert!(!page.reply.body.contains("alice"), "{page:#?}");
        }
    }
    // Nor is another user of this host at the socket for the web server.
    if tests::said::is_root() {
        let headers = [("Host", "login.site.test"), ("Origin", origin.as_str()), ("Cookie", cookie.as_str())];
        let headers = [&headers[..], &[("X-Ykweb-User", "alice"), ("X-Ykweb-Means", "kerberos")]].concat();
        let request = http::request("POST", "/login/negotiate", &headers, Some(&body));
        let mut socket = std::os::unix::net::UnixStream::connect(&site.portal.identity).unwrap();
        let reply = http::exchange(&mut socket, &request).unwrap();
        assert_eq!((reply.status, reply.header("set-cookie")), (403, None));
    }
    // The authorizer believes cookies only.
    for target in ["/authorize/nginx", "/authorize/forward"] {
        let reply =
            site.authorize(target, "wiki", &[("X-Ykweb-User", "alice"), ("X-Ykweb-Means", "kerberos")]);
        assert_ne!(reply.status, 200);
    }
}

/// Who sends which form, with what in its fields.
type Case<'a> = (&'a mut Visitor, &'a Page, Vec<(&'a str, &'a str)>);

/// A form of the portal, sent as an attacker's page can make a browser send it.
#[test]
fn no_form_works_from_elsewhere() {
    let (site, front) = match Site::behind(Kind::Nginx) {
        Ok(both) => both,
        Err(why) => return skip(&why),
    };
    let mut key = site.yubikey(1);
    let names = site.names(&[&front]);
    let mut alice = Visitor::new(&names);
    alice.sign_in_with(&Kind::Nginx.page("/admin/page"), &key.press());
    // The right word, of another browser.
    let mut other = alice.stranger();
    let others = other.get(&portal("/login")).form().hidden;
    let others = others.iter().find(|(name, _)| name == "word").unwrap().1.clone();

    let mut fresh = alice.stranger();
    let login = fresh.get(&portal("/login"));
    let mut first_only = alice.stranger();
    let verify = first_only.sign_in(&Kind::Nginx.page("/admin/page"));
    let logout = alice.get(&portal("/logout"));
    let account = alice.get(&portal("/account"));
    let otp = key.press();
    let forms: [Case<'_>; 3] = [
        (&mut fresh, &login, vec![("user", "alice"), ("password", PASSWORD)]),
        (&mut first_only, &verify, vec![("answer", &otp)]),
        (&mut alice.clone(), &logout, vec![]),
    ];
    for (visitor, page, fields) in forms {
        let before = visitor.clone();
        // No word, a wrong one, another browser's; another site, or a sibling; another origin.
        for word in ["", "x", &others] {
            let fields = [&fields[..], &[("word", word)]].concat();
            let mut tries = before.clone();
            let sent = tries.submit_once(page, &fields, "same-origin");
            assert_same(&before, &tries, &sent);
        }
        for site in ["cross-site", "same-site"] {
            let mut tries = before.clone();
            let sent = tries.submit_once(page, &fields, site);
            assert_same(&before, &tries, &sent);
        }
        for headers in [
            [("Origin", "https://evil.test"), ("Sec-Fetch-Site", "same-origin")],
            [("Origin", "null"), ("Sec-Fetch-Site", "same-origin")],
            [("Origin", "https://wiki.site.test"), ("Sec-Fetch-Site", "same-site")],
            [("Origin", "https://login.site.test"), ("Sec-Fetch-Site", "none")],
        ] {
            let form = page.form();
            let hidden: Vec<_> = form.hidden.iter().map(|(name, value)| (&**name, &**value)).collect();
            let body = encoded(&[&hidden[..], &fields[..]].concat());
            let kind = [("Content-Type", "application/x-www-form-urlencoded")];
            let mut tries = before.clone();
            let sent =
                tries.send("POST", &page.resolve(&form.action), &[&headers[..], &kind].concat(), Some(&body));
            assert_same(&before, &tries, &sent);
        }
    }
    // Nor does a session end on the account page.
    let end = account.forms().into_iter().find(|form| form.action.ends_with("end-session")).unwrap();
    let number = end.hidden.iter().find(|(name, _)| name == "session").unwrap().1.clone();
    for (word, from) in [(others.as_str(), "same-origin"), ("", "same-origin"), ("", "cross-site")] {
        let fields = [("word", word), ("session", number.as_str())];
        alice.post(&portal("/account/end-session"), &fields, from);
        assert_eq!(alice.send("GET", &portal("/account"), &[], None).reply.status, 200);
    }
    // The OTP of all those tries was not used up, and alice is still in.
    let page = first_only.submit(&verify, &[("answer", &otp)]);
    assert_eq!(page.reply.status, 200, "{page:#?}");
    assert!(is_in(&mut alice, Kind::Nginx));
}

/// Nothing came of it: no cookie of a session, none ended.
#[track_caller]
fn assert_same(before: &Visitor, after: &Visitor, sent: &Page) {
    let login = format!("login.{DOMAIN}");
    assert_eq!(after.cookie(&login, LOGIN_COOKIE), before.cookie(&login, LOGIN_COOKIE), "{sent:#?}");
    let mut now = before.clone();
    let (was, is) = (now.get(&portal("/account")), after.clone().get(&portal("/account")));
    assert_eq!(was.url, is.url);
}
