//! What users do.

use super::*;

/// Password, second factor, and back, over what the web server asks.
#[tokio::test(flavor = "multi_thread")]
async fn from_a_protected_page_and_back() {
    let site = Arc::new(Portal::new().await);
    let mut alice = site.browser();
    let first = alice.visit("pay.example.com", "/salaries?year=2026&x=%3C", "otp").await;
    assert_eq!(first.code, 302, "{}", first.head);
    assert!(location(&first).starts_with("https://login.example.com/login?return_to="), "{}", first.head);
    let next = alice.type_password(location(&first), "alice", "Open-Sesame").await;
    assert_eq!(
        (next.code, split(&format!("{LOGIN}{}", location(&next))).1.split('?').next()),
        (303, Some("/verify"))
    );
    let url = format!("{LOGIN}{}", location(&next));
    let before = alice.cookies["login.example.com"]["__Host-ykweb-login"].clone();
    let back = alice.type_answer(&url, &site.codes[0]).await;
    assert_eq!(back.code, 303, "{}", back.body);
    assert_ne!(
        alice.cookies["login.example.com"]["__Host-ykweb-login"], before,
        "a planted key is worth nothing"
    );
    let (host, target) = split(location(&back));
    assert_eq!(host, "pay.example.com");
    let arrived = alice.visit(host, target, "otp").await;
    assert_eq!((arrived.code, location(&arrived)), (302, "https://pay.example.com/salaries?year=2026&x=%3C"));
    let passed = alice.visit(host, "/salaries?year=2026", "otp").await;
    assert_eq!((passed.code, header(&passed, "x-ykweb-user")), (200, vec!["alice"]));
    assert_eq!(header(&passed, "x-ykweb-means"), ["password recovery"]);
    assert_eq!(alice.visit(host, "/", "otp fresh=1h").await.code, 400, "no blank in a URL");
    assert_eq!(alice.visit(host, "/", "otp+fresh%3D1h").await.code, 200);
    assert_eq!(alice.visit(host, "/", "yubikey").await.code, 302, "a stronger factor");

    // The other host knows nothing of it, and learns it without another question.
    let other = alice.visit(WIKI, "/", "").await;
    let back = alice.get(location(&other)).await;
    assert_eq!(back.code, 303, "{}", back.body);
    let (host, target) = split(location(&back));
    assert_eq!(alice.visit(host, target, "").await.code, 302);
    assert_eq!(alice.visit(WIKI, "/", "otp").await.code, 200);

    // Signed out: everywhere.
    let page = alice.get(&format!("{LOGIN}/logout")).await;
    assert_eq!(alice.post("/logout", &form(&hidden(&page.body), &[])).await.code, 200);
    for host in [WIKI, "pay.example.com"] {
        assert_eq!(alice.visit(host, "/", "").await.code, 302);
    }
    let log = site.stop().await;
    for code in site.codes.iter().chain([&"Open-Sesame".to_owned(), &before]) {
        assert!(!log.contains(code.as_str()), "{log}");
    }
    assert!(
        log.contains("event=verify outcome=accepted user=alice means=recovery host=pay.example.com"),
        "{log}"
    );
}

/// A web server hands over a user whom it knows.
#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_of_kerberos_comes_first() {
    let site = Arc::new(Portal::new().await);
    let mut alice = site.browser();
    let page = alice.get(&format!("{LOGIN}/login")).await;
    let fields = form(&hidden(&page.body), &[]);
    let fields = fields.replace("page=1", "page=0");
    let headers = "X-Ykweb-User: alice@SITE.TEST\r\nX-Ykweb-Means: kerberos\r\n";
    assert_eq!(alice.post_with("/login/negotiate", &fields, headers).await.code, 403, "not on TCP");
    let mut wire = unix(site.socket("identity.sock")).await;
    let cookies = alice.cookie_line("login.example.com");
    wire.send(&format!(
        "POST /login/negotiate HTTP/1.1\r\nHost: login.example.com\r\n{headers}{cookies}Content-Length: {}\r\n\r\n{fields}",
        fields.len()
    ))
    .await;
    let reply = wire.reply().await;
    assert_eq!(reply.code, 200, "{} {}", reply.head, reply.body);
    alice.keep("login.example.com", &reply);
    let on = alice.get(&format!("{LOGIN}/login")).await;
    assert_eq!((on.code, location(&on)), (303, "/account"));
    assert_eq!(
        location(&alice.get(&format!("{LOGIN}/account")).await),
        "/verify",
        "the second factor comes second"
    );
    let mut wire = unix(site.socket("identity.sock")).await;
    assert_eq!(wire.get("/login").await.code, 403, "nothing else is answered there");
    site.stop().await;
}

/// Sessions end where they are ended, and are there again after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_ends_sessions() {
    let site = Arc::new(Portal::new().await);
    let mut bob = site.browser();
    let first = bob.visit(WIKI, "/", "").await;
    let back = bob.type_password(location(&first), "bob", "Open-Sesame").await;
    let (host, target) = split(location(&back));
    bob.visit(host, target, "").await;
    assert_eq!(bob.visit(WIKI, "/", "").await.code, 200);
    assert_eq!(site.store.sessions(Some(&name("bob"))).unwrap().len(), 1);
    assert_eq!(site.store.end_sessions_of(&name("bob")).unwrap(), 1);
    for _ in 0..500 {
        if bob.visit(WIKI, "/", "").await.code == 302 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(bob.visit(WIKI, "/", "").await.code, 302);
    site.stop().await;
}
