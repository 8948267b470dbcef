//! Users who are signed in, and may not use a host any more.

use tests::skip;
use tests::web::front::Kind;
use tests::web::names::DOMAIN;
use tests::web::visitor::Visitor;
use tests::web::ykwebd::Site;

#[test]
fn a_user_who_was_taken_off_a_host_gets_the_reason_and_no_page() {
    let mut site = Site::start();
    for kind in Kind::ALL {
        let front = match site.front(kind) {
            Ok(front) => front,
            Err(why) => {
                skip(&why);
                continue;
            }
        };
        let mut alice = Visitor::new(&site.names(&[&front]));
        assert_eq!(alice.sign_in(&kind.page("/page")).reply.status, 200);
        let url = format!("url = \"https://{}.{DOMAIN}\"\n", kind.host());
        site.reconfigure(|config| config.replace(&url, &format!("{url}allow = [\"carol\"]\n")));
        let before = site.backend.seen().len();

        let page = alice.get(&kind.page("/page"));
        assert_eq!(page.reply.status, 403, "{kind:?}: {page:#?}");
        // nginx has a page of its own for 403; it leads to the portal's.
        assert_eq!(page.is_portal("/denied"), kind == Kind::Nginx, "{kind:?}: {page:#?}");
        assert!(page.reply.body.contains("<h1>"), "{kind:?}: {page:#?}");
        let reply = alice.fetch(&kind.page("/page"));
        assert_eq!((reply.status, reply.header("location")), (403, None), "{kind:?}");
        assert_eq!(site.backend.seen().len(), before);
    }
}
