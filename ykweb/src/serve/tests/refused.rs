//! What nobody gets by.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_and_answers() {
    let site = Arc::new(Portal::new().await);
    let mut eve = site.browser();
    let login = format!("{LOGIN}/login");
    for (user, password) in
        [("alice", "wrong"), ("nobody", "Open-Sesame"), ("a b", "Open-Sesame"), ("alice", "")]
    {
        let reply = eve.type_password(&login, user, password).await;
        assert_eq!(reply.code, 403, "{user}");
        assert!(reply.body.contains("<code>R-"), "{}", reply.body);
    }
    let reply = eve.type_password(&login, "alice", "Open-Sesame").await;
    let url = format!("{LOGIN}/verify");
    assert_eq!((reply.code, location(&reply)), (303, "/account"));
    let reply = eve.type_answer(&url, "4-AAAA-AAAA-AA").await;
    assert_eq!(reply.code, 403);
    // A used code stays used, and its number tells why.
    assert_eq!(eve.type_answer(&url, &site.codes[1]).await.code, 303);
    let again = eve.type_answer(&url, &site.codes[1]).await;
    assert_eq!(again.code, 403);
    let id = again.body.split("<code>").nth(1).unwrap().split('<').next().unwrap().to_owned();
    let log = site.lines.with(&id).await;
    assert!(log.contains("code=recovery-code-used"), "{log}");
    assert_eq!(site.event(&id).await.code, "recovery-code-used");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_of_other_sites() {
    let site = Arc::new(Portal::new().await);
    let mut eve = site.browser();
    let page = eve.get(&format!("{LOGIN}/login")).await;
    let fields = hidden(&page.body);
    let typed = [("user", "bob"), ("password", "Open-Sesame")];
    let good = form(&fields, &typed);
    let none = form(&[], &typed);
    let same = format!("Origin: {LOGIN}\r\n");
    for (form, headers) in [
        (&none, same.as_str()),
        (&good, "Origin: https://evil.example\r\n"),
        (&good, "Origin: null\r\n"),
        (&good, "Sec-Fetch-Site: cross-site\r\n"),
        (&good, "Sec-Fetch-Site: same-site\r\n"),
    ] {
        assert_eq!(eve.post_with("/login", form, headers).await.code, 403, "{headers}");
    }
    let mut other = site.browser();
    other.get(&format!("{LOGIN}/login")).await;
    assert_eq!(other.post_with("/login", &good, &same).await.code, 403, "the word of another browser");
    assert_eq!(eve.post_with("/login", &good, &same).await.code, 303);
    // No other form changes anything without its word either.
    for path in ["/logout", "/account/end-session", "/verify"] {
        eve.post_with(path, "session=1&answer=x", &same).await;
    }
    assert_eq!(site.store.sessions(Some(&name("bob"))).unwrap().len(), 1, "the session is still there");
    for path in ["/login", "/verify", "/logout", "/account", "/account/end-session", "/nothing"] {
        let reply = eve.post_with(path, &"x".repeat(20_000), &same).await;
        assert!([404, 405, 413].contains(&reply.code), "{path} {}", reply.code);
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_of_others() {
    let site = Arc::new(Portal::new().await);
    let (mut bob, mut eve) = (site.browser(), site.browser());
    let first = bob.visit(WIKI, "/", "").await;
    let back = bob.type_password(location(&first), "bob", "Open-Sesame").await;
    let (host, target) = split(location(&back));
    // Another browser, with a start cookie of its own, or none.
    assert_eq!(eve.visit(host, target, "").await.code, 403);
    assert_eq!(bob.visit(host, target, "").await.code, 403, "spoilt by the one who tried it");

    let again = bob.visit(WIKI, "/", "").await;
    let back = bob.get(location(&again)).await;
    let (_, target) = split(location(&back));
    assert_eq!(bob.visit("pay.example.com", target, "").await.code, 403, "another host");

    // Whom a host does not allow gets no ticket.
    let pay = bob.visit("pay.example.com", "/", "").await;
    let reply = bob.get(location(&pay)).await;
    assert_eq!(reply.code, 403);
    assert!(reply.body.contains("may not use pay.example.com"), "{}", reply.body);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_lead_elsewhere() {
    let site = Arc::new(Portal::new().await);
    let mut bob = site.browser();
    let encoded = |to: &str| form(&[("return_to".to_owned(), to.to_owned())], &[]);
    assert_eq!(bob.type_password(&format!("{LOGIN}/login"), "bob", "Open-Sesame").await.code, 303);
    for to in [
        "https://evil.example/",
        "//evil.example/",
        "https:evil.example",
        "https://wiki.example.com@evil.example/",
        "https://wiki.example.com.evil.example/",
        "https://evil.example\\@wiki.example.com/",
        "http://wiki.example.com/",
        "javascript:alert(1)",
        "https://wiki.example.com:444/",
        "https://login.example.com/",
    ] {
        let reply = bob.get(&format!("{LOGIN}/login?{}", encoded(to))).await;
        assert_eq!((reply.code, location(&reply)), (303, "/account"), "{to}");
    }
    // Without the hash of a browser, the host begins anew; what no URL has becomes its first page.
    for (to, at) in [
        ("https://wiki.example.com/a", "https://wiki.example.com/a"),
        ("https://WIKI.example.com:443/a", "https://wiki.example.com/a"),
        ("https://wiki.example.com", "https://wiki.example.com/"),
        ("https://wiki.example.com/a\r\nSet-Cookie: x", "https://wiki.example.com/"),
        ("https://wiki.example.com/\\evil", "https://wiki.example.com/"),
        ("https://wiki.example.com/_ykweb/logout", "https://wiki.example.com/"),
    ] {
        let reply = bob.get(&format!("{LOGIN}/login?{}", encoded(to))).await;
        assert_eq!((reply.code, location(&reply)), (303, at), "{to}");
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_web_servers_are_told() {
    let site = Arc::new(Portal::new().await);
    let mut nobody = site.browser();
    let (page, script) = ("Accept: text/html,*/*\r\n", "Sec-Fetch-Mode: cors\r\nAccept: */*\r\n");
    let nginx = "/authorize/nginx?require=otp";
    let asked = nobody.ask(nginx, WIKI, "/a?b=c", page).await;
    assert_eq!(
        (asked.code, header(&asked, "x-ykweb-location")),
        (401, vec!["/_ykweb/start?to=%2Fa%3Fb%3Dc&need=otp"])
    );
    let asked = nobody.ask(nginx, WIKI, "/a", script).await;
    assert_eq!((asked.code, header(&asked, "x-ykweb-location").len()), (401, 0));
    let asked = nobody.ask("/authorize/forward", WIKI, "/a", script).await;
    assert_eq!((asked.code, header(&asked, "set-cookie").len()), (401, 0));
    for (way, host) in [
        ("/authorize/nginx", "other.example.com"),
        ("/authorize/nginx?require=webauthn", WIKI),
        ("/authorize/nginx?require=opt", WIKI),
        ("/authorize/forward?require=otp&require=none", WIKI),
    ] {
        assert_eq!(nobody.ask(way, host, "/", page).await.code, 403, "{way} {host}");
    }
    // The way that nginx takes: a page of the host itself sets the cookie.
    let start = nobody.ask("/_ykweb/start?to=%2Fa&need=otp", WIKI, "", page).await;
    assert_eq!(start.code, 302);
    assert!(location(&start).contains("return_to=https%3A%2F%2Fwiki.example.com%2Fa"), "{}", start.head);
    assert_eq!(nobody.ask("/login", WIKI, "/", page).await.code, 404, "the portal is not here");
    assert_eq!(nobody.get(&format!("{LOGIN}/authorize/nginx")).await.code, 404, "nor is this there");
    site.stop().await;
}

/// The number in a page, or at the end of an address.
fn number(text: &str) -> Option<String> {
    let at = text.find("R-")?;
    text.get(at..at + 10).map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_has_one_number_everywhere() {
    let site = Arc::new(Portal::new().await);
    let mut eve = site.browser();
    let page = "Accept: text/html\r\n";
    for (way, host, code) in [
        ("/authorize/nginx?require=webauthn", WIKI, "requirement-invalid"),
        ("/authorize/forward?require=webauthn", "pay.example.com", "requirement-invalid"),
        ("/authorize/forward", "other.example.com", "host-not-protected"),
        ("/_ykweb/callback?ticket=x&to=%2F", WIKI, "ticket-invalid"),
    ] {
        let first = eve.ask(way, host, "/", page).await;
        assert_eq!(first.code, 403, "{way}");
        let shown =
            header(&first, "x-ykweb-location").first().map_or(first.body.as_str(), |to| *to).to_owned();
        let id = number(&shown).unwrap_or_else(|| panic!("{way}: {shown}"));
        let log = site.lines.with(&id).await;
        assert!(log.contains(code), "{log}");
        assert_eq!(site.event(&id).await.code, code);
        // The next request is the same denial, and not a line and an event of its own.
        let second = eve.ask(way, host, "/", page).await;
        let same =
            header(&second, "x-ykweb-location").first().map_or(second.body.as_str(), |to| *to).to_owned();
        assert_eq!(number(&same), Some(id), "{way}");
        if let Some(to) = shown.strip_prefix(LOGIN) {
            let reply = eve.get(&format!("{LOGIN}{to}")).await;
            assert_eq!(number(&reply.body), number(&shown), "{}", reply.body);
        }
    }
    // What is no number of ours is not shown.
    let reply = eve.get(&format!("{LOGIN}/denied?host={WIKI}&code=requirement-invalid&id=R-<b>45678")).await;
    assert!(!reply.body.contains("R-"), "{}", reply.body);
    let lines = site.stop().await;
    assert_eq!(lines.matches("event=authorize").count(), 4, "{lines}");
}

/// The number that a page shows.
fn shown(reply: &Reply) -> String {
    reply.body.split("<code>").nth(1).unwrap().split('<').next().unwrap().to_owned()
}

/// Somebody who sends a flood fills neither store nor log, and takes no number from others behind the same address.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_one_event_a_minute() {
    let site = Arc::new(Portal::new().await);
    let (mut eve, mut bob) = (site.browser(), site.browser());
    let login = format!("{LOGIN}/login");
    let same = format!("Origin: {LOGIN}\r\n");
    let mut ids = BTreeMap::<String, u32>::new();
    for _ in 0..90 {
        let reply = eve.post_with("/login", "word=none&user=bob&password=x", &same).await;
        *ids.entry(shown(&reply)).or_default() += 1;
    }
    let most = ids.iter().max_by_key(|(_, times)| **times).unwrap();
    assert!(*most.1 > 20 && ids.len() < 70, "{ids:?}");
    let event = site.event(most.0).await;
    assert_eq!((event.code.as_str(), event.user), ("form-not-ours", None));

    // Bob, from the same address, has no second factor. His page has a number of its own.
    assert_eq!(bob.type_password(&login, "bob", "Open-Sesame").await.code, 303);
    let url = format!("{LOGIN}/verify");
    let reply = bob.get(&url).await;
    assert_eq!(reply.code, 403);
    let event = site.event(&shown(&reply)).await;
    assert_eq!((event.code.as_str(), event.user.as_deref()), ("user-without-token", Some("bob")));
    let before = site.store.last_events(Some("bob"), 1000).unwrap().len();
    for _ in 0..90 {
        assert_eq!(bob.get(&url).await.code, 403);
    }
    assert_eq!(site.event(&shown(&bob.get(&url).await)).await.user.as_deref(), Some("bob"));
    assert!(site.store.last_events(Some("bob"), 1000).unwrap().len() < before + 70);
    site.stop().await;
}

/// What web servers have in one header line.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_address_is_cut() {
    let site = Arc::new(Portal::new().await);
    let mut eve = site.browser();
    for (target, to) in [
        ("/a?b=c".to_owned(), "/a?b=c"),
        (format!("/a?{}", "&=".repeat(1500)), "/a"),
        (format!("/a?{}", "b".repeat(5000)), "/a"),
        (format!("/{}", "a".repeat(5000)), "/"),
    ] {
        let page = "Accept: text/html\r\n";
        let reply = eve.ask("/authorize/nginx", WIKI, &target, page).await;
        assert_eq!(reply.code, 401);
        let to = form(&[("to".to_owned(), to.to_owned())], &[]);
        assert!(header(&reply, "x-ykweb-location")[0].contains(&format!("?{to}&")), "{}", reply.head);
        let reply = eve.ask("/authorize/forward", WIKI, &target, page).await;
        assert!(reply.code == 302 && reply.head.len() < 4096, "{}", reply.head);
    }
    site.stop().await;
}
