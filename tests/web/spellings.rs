//! However an address is written, a password does not lead to a page that needs a second factor. Programs differ in what they
//! make of an address: the page counts as reached if any of them could take what arrived for it.

use tests::skip;
use tests::web::front::Kind;
use tests::web::visitor::Visitor;
use tests::web::ykwebd::Site;

/// Spellings that some program takes for a page below `/admin`.
const ODD: [&str; 62] = [
    "/admin",
    "/admin/",
    "/admin?x",
    "/admin;x",
    "/ADMIN/page",
    "/%61dmin/page",
    "/%41DMIN",
    "//admin/page",
    "///admin",
    "/x//../admin/page",
    "/admin//..//x",
    "//evil/../admin",
    // Dots.
    "/./admin/page",
    "/x/../admin/page",
    "/admin/../x",
    "/admin/..",
    "/admin/x/../../x",
    "/admin/delete/bob/../../../x",
    "/x/%2e%2e/admin/page",
    "/x/.%2E/admin",
    "/%2e/admin",
    "/admin/%2e%2e/x",
    "/admin/%2E%2E",
    // Slashes that are encoded.
    "/admin%2fpage",
    "/%2fadmin",
    "/page/..%2fadmin",
    "/x/%2e%2e%2fadmin",
    "/admin/..%2fx",
    "/admin%2F..%2Fx",
    "/admin/delete/bob/..%2f..%2f..%2fx",
    "/x/..%2f..%2fadmin",
    // Backslashes.
    "/\\admin/page",
    "/x/..\\admin/x",
    "/x\\..\\admin",
    "/admin\\..\\x",
    "/x/..%5cadmin",
    "/x%5C..%5Cadmin",
    "/admin/..%5cx",
    // Parameters of a segment.
    "/;/admin",
    "/;x/admin",
    "/.;/admin",
    "/x/.;x/../admin",
    "/x/..;/admin",
    "/x/..;y=z/admin",
    "/x;y/../admin",
    "/x/..%3b/admin",
    "/x%0a/..;/admin",
    "/%0a;%0a/admin",
    "/%3b/admin",
    "/admin/..;/x",
    "/admin/..;",
    // Encoded twice.
    "/%2561dmin",
    "/%25%36%31dmin",
    "/x/%252e%252e/admin",
    "/x/..%252fadmin",
    "/admin/%252e%252e/x",
    // Fragments, and what is cut off or left out.
    "/x#/../admin",
    "/admin#/../x",
    "/admin%3f/../../x",
    "/admin%00/../x",
    "/x%0a/../admin",
    "/ad\tmin",
];

/// Addresses as sites have them, and what arrives.
const USUAL: [&str; 12] = [
    "/page",
    "/a%20b/c",
    "/%C3%BCber/%E2%82%AC",
    "/a.b/..c/d..",
    "/.well-known/x",
    "/~alice/a-b_c/",
    "/page;v=1",
    "/c%23/x",
    "/a+b,c:d@e!(f)*",
    "/page?a=%2f..%5c&b=%25%2e",
    "/page?next=https://x.example//y/../z",
    "/x?/admin",
];

fn spellings(kind: Kind) {
    let (site, front) = match Site::behind(kind) {
        Ok(both) => both,
        Err(why) => return skip(&why),
    };
    let mut visitor = Visitor::new(&site.names(&[&front]));
    assert_eq!(visitor.sign_in(&kind.page("/page")).reply.status, 200);
    let mut get = |path: &str| {
        let before = site.backend.seen().len();
        let status = visitor.send("GET", &kind.page(path), &[], None).reply.status;
        let seen = site.backend.seen().split_off(before);
        let targets: Vec<_> = seen.iter().map(|head| head.split(' ').nth(1).unwrap().to_owned()).collect();
        (status, targets)
    };
    let admin = format!("{}/admin", kind.program());
    let is_admin = |target: &String| readings(target).iter().any(|path| path.starts_with(&admin));
    let reached: Vec<_> = ODD.iter().map(|path| (path, get(path).1)).collect();
    let reached: Vec<_> = reached.iter().filter(|(_, targets)| targets.iter().any(is_admin)).collect();
    assert!(reached.is_empty(), "with a password only: {reached:#?}");
    for path in USUAL {
        let shall_be = format!("{}{path}", kind.program());
        assert_eq!(get(path), (200, vec![shall_be]), "{path}");
    }
}

/// Every path that some program makes of a target: by what they do to it, in any order.
fn readings(target: &str) -> Vec<String> {
    let path = target.split('?').next().unwrap().to_ascii_lowercase();
    let mut all = vec![path];
    for _ in 0..4 {
        for path in all.clone() {
            let new = [
                decoded(&path),
                path.replace('\\', "/"),
                path.split('/').map(|part| part.split(';').next().unwrap()).collect::<Vec<_>>().join("/"),
                path.split('#').next().unwrap().to_owned(),
                path.replace(['\t', '\n', '\r'], ""),
                without_dots(&path),
            ];
            new.into_iter().for_each(|path| {
                if !all.contains(&path) {
                    all.push(path)
                }
            });
        }
    }
    all
}

fn decoded(path: &str) -> String {
    let mut parts = path.split('%');
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        match part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(u8::is_ascii) {
            Some(byte) => {
                text.extend([char::from(byte).to_ascii_lowercase().to_string().as_str(), &part[2..]])
            }
            None => text.extend(["%", part]),
        }
    }
    text
}

fn without_dots(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/').filter(|part| !matches!(*part, "" | ".")) {
        if part == ".." { _ = parts.pop() } else { parts.push(part) }
    }
    format!("/{}", parts.join("/"))
}

#[test]
fn nginx() {
    spellings(Kind::Nginx);
}

#[test]
fn caddy() {
    spellings(Kind::Caddy);
}

#[test]
fn traefik() {
    spellings(Kind::Traefik);
}

#[test]
fn apache() {
    spellings(Kind::Apache);
}
