//! If ykwebd does not answer, nobody gets in.

use tests::skip;
use tests::web::backend::Backend;
use tests::web::front::{Front, Kind, Portal, open_folder};
use tests::web::names::{Certificate, DOMAIN, Names};
use tests::web::visitor::Visitor;

fn is_closed(kind: Kind) {
    let folder = open_folder("closed");
    let (certificate, backend) = (Certificate::new(), Backend::start());
    let nobody = Portal::somewhere(folder.path());
    let front = match Front::start(kind, &certificate, &nobody, &backend) {
        Ok(front) => front,
        Err(why) => return skip(&why),
    };
    let mut visitor = Visitor::new(&front.among(Names::new(&certificate)));
    visitor.set_cookie(&format!("{}.{DOMAIN}", kind.host()), "__Host-ykweb", &"A".repeat(43));
    let own = ["/", "/page", "/admin/page", "/admin/danger/page", "/_ykweb/start", "/_ykweb_authorize"];
    let mut urls: Vec<_> = own.into_iter().map(|path| kind.page(path)).collect();
    // Beside the program, Apache has files.
    urls.extend(
        ["/", "/secret/", "/_ykweb/start"].map(|path| format!("https://{}.{DOMAIN}{path}", kind.host())),
    );
    urls.push(format!("https://login.{DOMAIN}/login"));
    for method in ["GET", "POST", "OPTIONS"] {
        for url in &urls {
            let reply = visitor.send(method, url, &[("X-Ykweb-User", "root")], None).reply;
            let is_refused = reply.status >= 500 || url.ends_with("/_ykweb_authorize") && reply.status == 404;
            assert!(is_refused, "{method} {url}: {reply:?}");
        }
    }
    assert_eq!(backend.seen(), Vec::<String>::new());
}

#[test]
fn nginx() {
    is_closed(Kind::Nginx);
}

#[test]
fn caddy() {
    is_closed(Kind::Caddy);
}

#[test]
fn traefik() {
    is_closed(Kind::Traefik);
}

#[test]
fn apache() {
    is_closed(Kind::Apache);
}
