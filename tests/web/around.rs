//! Through each web server, from no cookie to a second factor and back; and what no browser may make of it.

use tests::skip;
use tests::soft_yubikey::SoftYubiKey;
use tests::web::backend::header;
use tests::web::front::{Front, Kind};
use tests::web::names::DOMAIN;
use tests::web::visitor::{Page, Visitor};
use tests::web::ykwebd::{PASSWORD, Site};

/// Names under which programs believe who a user is, or where a request comes from.
const BELIEVED: [&str; 16] = [
    "X-Ykweb-User",
    "X-Ykweb-Groups",
    "X-Ykweb-Means",
    "X-Remote-User",
    "Remote-User",
    "X-Forwarded-User",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-Uri",
    "X-Forwarded-Method",
    "X-Forwarded-Server",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "Forwarded",
    "X-Real-IP",
];
/// Those of them that name a user: also with underscores, which programs take for hyphens.
const IDENTITY: usize = 6;

/// Names by which some programs choose a page or a method.
const ROUTING: [&str; 3] = ["X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override"];

/// What the backend got as the identity: user, groups and means.
fn identity(page: &Page) -> [Vec<&str>; 3] {
    assert!(page.reply.status == 200 && page.reply.body.contains("<h1>The page</h1>"), "{page:#?}");
    ["X-Ykweb-User", "X-Ykweb-Groups", "X-Ykweb-Means"].map(|name| header(&page.reply.body, name))
}

fn around(kind: Kind) {
    let (site, front) = match Site::behind(kind) {
        Ok(both) => both,
        Err(why) => return skip(&why),
    };
    let mut key = site.yubikey(1);
    let mut visitor = Visitor::new(&site.names(&[&front]));
    from_no_cookie(&site, kind, &mut visitor, &mut key);
    scripts(kind, &visitor);
    forged(&site, kind, &mut visitor);
    if kind == Kind::Apache {
        htaccess(&front, &mut visitor, &mut key);
    }
    ykwebd_dies(site, kind, &mut visitor);
}

fn from_no_cookie(site: &Site, kind: Kind, visitor: &mut Visitor, key: &mut SoftYubiKey) {
    let url = kind.page("/page?x=1&y=a%20b");
    let page = visitor.get(&url);
    page.assert_portal("/login");
    assert_eq!(site.backend.seen(), Vec::<String>::new());
    let page = visitor.submit(&page, &[("user", "alice"), ("password", "wrong")]);
    page.assert_portal("/login");
    assert_eq!(page.reply.status, 403);
    let page = visitor.submit(&page, &[("user", "alice"), ("password", PASSWORD)]);
    assert_eq!(page.url, url);
    assert_eq!(identity(&page), [vec!["alice"], vec!["staff"], vec!["password"]]);

    let admin = kind.page("/admin/page");
    let page = visitor.get(&admin);
    page.assert_portal("/verify");
    let page = visitor.submit(&page, &[("answer", &SoftYubiKey::numbered(99).press())]);
    page.assert_portal("/verify");
    assert_eq!(page.reply.status, 403);
    let page = visitor.submit(&page, &[("answer", &key.press())]);
    assert_eq!(page.url, admin);
    assert_eq!(identity(&page), [vec!["alice"], vec!["staff"], vec!["password yubikey"]]);
    // Once is enough, for the whole host.
    for path in ["/admin/page", "/page"] {
        let page = visitor.send("GET", &kind.page(path), &[], None);
        assert_eq!(identity(&page)[2], ["password yubikey"]);
    }
}

/// A script gets 401, not a page of the portal.
fn scripts(kind: Kind, signed_in: &Visitor) {
    let reply = Visitor::clone(signed_in).fetch(&kind.page("/page"));
    assert_eq!(reply.status, 200);
    let mut stranger = signed_in.stranger();
    let reply = stranger.fetch(&kind.page("/page"));
    assert_eq!((reply.status, reply.header("location")), (401, None), "{reply:?}");
    let page = stranger.send("GET", &kind.page("/page"), &[("X-Requested-With", "XMLHttpRequest")], None);
    assert_eq!(page.reply.status, 401);
    let page = stranger.send("POST", &kind.page("/page"), &[("Sec-Fetch-Mode", "cors")], Some("{}"));
    assert_eq!(page.reply.status, 401);
}

/// What a browser sends under a name that is believed does not arrive.
fn forged(site: &Site, kind: Kind, visitor: &mut Visitor) {
    let mut names: Vec<String> = BELIEVED.iter().chain(&ROUTING).map(|name| (*name).to_owned()).collect();
    for name in BELIEVED[..IDENTITY].iter().chain(&ROUTING) {
        names.extend([name.replace('-', "_"), name.replacen('-', "_", 1), name.to_ascii_lowercase()]);
        names.extend([name.replace('-', "."), name.replacen('-', "~", 1)]);
    }
    for name in &names {
        for value in ["root", "127.0.0.9, root"] {
            let page = visitor.send("GET", &kind.page("/page"), &[(name, value)], None);
            // Apache can remove no header by a pattern: it refuses the request.
            if kind == Kind::Apache && name.contains(['_', '.', '~']) && page.reply.status == 403 {
                continue;
            }
            assert_eq!(identity(&page)[0], ["alice"], "{name}");
            let got = BELIEVED.iter().chain(&ROUTING).flat_map(|name| header(&page.reply.body, name));
            assert!(got.clone().all(|value| !value.contains("root")), "{name}: {}", page.reply.body);
        }
        let mut stranger = visitor.stranger();
        let page = stranger.send("GET", &kind.page("/page"), &[(name, "alice")], None);
        assert_ne!(page.reply.status, 200, "{name}");
    }
    // An empty one does not hide another.
    for first in ["X_Ykweb_User", "A_Real", "X.Ykweb.User"] {
        let page = visitor.send(
            "GET",
            &kind.page("/page"),
            &[(first, ""), ("X_Ykweb_User", "root"), (first, "")],
            None,
        );
        assert!(!header(&page.reply.body, "X-Ykweb-User").contains(&"root"), "{first}: {page:?}");
    }
    // A browser can have headers left out, by naming them as those of one hop only. Nobody else comes in their place.
    let hop = "close, X-Ykweb-User, X-Ykweb-Groups, X-Ykweb-Means, Cookie, X-Forwarded-Host, X-Forwarded-Uri";
    let forged = [("Connection", hop), ("X-Ykweb-User", "root")];
    let page = visitor.send("GET", &kind.page("/page"), &forged, None);
    assert!(!page.reply.body.contains("root"), "{page:?}");
    let before = site.backend.seen().len();
    let page = visitor.stranger().send("GET", &kind.page("/page"), &forged, None);
    assert_ne!(page.reply.status, 200);
    assert_eq!(site.backend.seen().len(), before);
}

/// A folder asks for more by its own file, and so do those below it.
fn htaccess(front: &Front, visitor: &mut Visitor, key: &mut SoftYubiKey) {
    let url = |path: &str| format!("https://files.{DOMAIN}{path}");
    let is_file = |page: &Page| page.reply.status == 200 && page.reply.body.contains("A file");
    // The OTP of before is fresh for ten minutes.
    for path in ["/", "/secret/", "/secret/below/index.html"] {
        let page = visitor.get(&url(path));
        assert!(is_file(&page), "{page:#?}");
    }
    let mut password_only = visitor.stranger();
    assert!(is_file(&password_only.sign_in(&url("/index.html"))));
    for path in
        ["/secret/", "/secret/index.html", "/secret/below/", "//secret//", "/%73ecret/", "/below/../secret/"]
    {
        let page = password_only.get(&url(path));
        page.assert_portal("/verify");
    }
    assert_eq!(password_only.fetch(&url("/secret/")).status, 401);
    // Debian's apache2.conf denies this, and still does.
    for path in ["/secret/.htaccess", "/.htpasswd", "//secret//.htaccess", "/secret/%2ehtaccess"] {
        let reply = visitor.send("GET", &url(path), &[], None).reply;
        assert!(matches!(reply.status, 403 | 404), "{path}: {reply:?}");
    }
    // Somebody who may write there writes what nobody can show, or nonsense: nobody gets in.
    let file = front.file("files/secret/.htaccess");
    for words in ["webauthn", "nonsense", "otp otp", "fresh=0"] {
        std::fs::write(&file, format!("SetEnvIf Request_URI \".*\" \"YK_REQUIRE={words}\"\n")).unwrap();
        assert_eq!(visitor.send("GET", &url("/secret/"), &[], None).reply.status, 403, "{words}");
    }
    // Shown more than a second ago: it is asked for again.
    std::fs::write(&file, "SetEnvIf Request_URI \".*\" \"YK_REQUIRE=otp fresh=1s\"\n").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let page = visitor.get(&url("/secret/"));
    page.assert_portal("/verify");
    assert!(is_file(&visitor.submit(&page, &[("answer", &key.press())])));
}

/// In the middle of a session.
fn ykwebd_dies(mut site: Site, kind: Kind, visitor: &mut Visitor) {
    assert_eq!(visitor.send("GET", &kind.page("/page"), &[], None).reply.status, 200);
    let before = site.backend.seen().len();
    site.ykwebd.kill();
    for path in ["/page", "/admin/page", "/_ykweb/start"] {
        let reply = visitor.send("GET", &kind.page(path), &[], None).reply;
        assert!(reply.status >= 500, "{path}: {reply:?}");
    }
    assert_eq!(site.backend.seen().len(), before);
    // Sessions survive.
    site.restart();
    assert_eq!(identity(&visitor.send("GET", &kind.page("/page"), &[], None))[0], ["alice"]);
}

#[test]
fn nginx() {
    around(Kind::Nginx);
}

#[test]
fn caddy() {
    around(Kind::Caddy);
}

#[test]
fn traefik() {
    around(Kind::Traefik);
}

#[test]
fn apache() {
    around(Kind::Apache);
}
