//! One OTP, one code: at once on the web, for old callers, for a host's login and for a client of the validation server.

use std::sync::Barrier;
use std::{fs, thread};
use tests::place::Place;
use tests::skip;
use tests::soft_app;
use tests::web::front::Kind;
use tests::web::visitor::Visitor;
use tests::web::ykwebd::{PASSWORD, Site};
use tests::ykvald::Question;

/// Who asks about an answer, and whether it was a yes.
type Asker<'a> = Box<dyn FnOnce() -> bool + Send + 'a>;

/// How many of them got a yes, asking at the same moment.
fn yeses(askers: Vec<Asker<'_>>) -> usize {
    let together = Barrier::new(askers.len());
    thread::scope(|scope| {
        let together = &together;
        let asked: Vec<_> = askers
            .into_iter()
            .map(|ask| {
                scope.spawn(move || {
                    together.wait();
                    ask()
                })
            })
            .collect();
        asked.into_iter().filter_map(|asked| asked.join().unwrap().then_some(())).count()
    })
}

#[test]
fn one_otp_is_one_yes_wherever_it_is_offered() {
    let (site, front) = match Site::behind(Kind::Nginx) {
        Ok(both) => both,
        Err(why) => return skip(&why),
    };
    let mut key = site.yubikey(1);
    // A host whose sshd asks the same server, through the real libpam.
    let place = Place::new();
    place.list("alice", &key);
    let client = site.validation.client();
    place.online_without_key("online", &[site.ykvald.url()], &format!("api_key = {:?}", client.key));
    let config = fs::read_to_string(place.config()).unwrap();
    let config = config.replace("client_id = 1\n", &format!("client_id = {}\n", client.id));
    place.write("config.toml", config, 0o600);

    let names = site.names(&[&front]);
    let admin = Kind::Nginx.page("/admin/page");
    for round in 0..6 {
        let otp = key.press();
        let browsers = [(); 2].map(|()| {
            let mut visitor = Visitor::new(&names);
            let page = visitor.sign_in(&admin);
            page.assert_portal("/verify");
            (visitor, page)
        });
        let (site, place, otp, admin) = (&site, &place, otp.as_str(), admin.as_str());
        let mut askers: Vec<Asker<'_>> = vec![
            Box::new(move || site.check(otp, "second")["verdict"] == "accepted"),
            Box::new(move || site.check(&format!("{PASSWORD}{otp}"), "both")["verdict"] == "accepted"),
            Box::new(move || place.login("otp", "alice", &[otp]).code("authenticate") == "PAM_SUCCESS"),
            Box::new(move || {
                let question = Question::new(client, otp).signed(&client.key);
                site.ykvald.connect().ask(&question).unwrap().says() == "OK"
            }),
        ];
        for (mut visitor, page) in browsers {
            askers.push(Box::new(move || visitor.submit(&page, &[("answer", otp)]).url == admin));
        }
        if round == 0 {
            // In turns, too: each asks about it, after the others.
            let first = askers.pop().unwrap()();
            assert!(first);
            assert!(askers.into_iter().all(|ask| !ask()));
        } else {
            assert_eq!(yeses(askers), 1, "round {round}");
        }
    }
}

#[test]
fn one_code_is_one_yes() {
    let (site, front) = match Site::behind(Kind::Nginx) {
        Ok(both) => both,
        Err(why) => return skip(&why),
    };
    let (app, _) = site.app();
    let recovery = site.recovery_codes();
    let names = site.names(&[&front]);
    let admin = Kind::Nginx.page("/admin/page");
    let code = app.code(soft_app::now());
    for answer in [&code, &recovery[0], &recovery[1]] {
        let askers = (0..4).map(|number| {
            let (site, answer, admin) = (&site, answer.as_str(), admin.as_str());
            let mut visitor = Visitor::new(&names);
            let page = visitor.sign_in(admin);
            let ask: Asker<'_> = if number == 0 {
                Box::new(move || site.check(answer, "second")["verdict"] == "accepted")
            } else {
                Box::new(move || visitor.submit(&page, &[("answer", answer)]).url == admin)
            };
            ask
        });
        assert_eq!(yeses(askers.collect()), 1, "{answer}");
        assert_eq!(site.check(answer, "second")["verdict"], "rejected");
    }
}

/// What was used before ykwebd crashed is used.
#[test]
fn used_is_used_after_a_crash() {
    let mut site = Site::start();
    let mut key = site.yubikey(1);
    let (app, _) = site.app();
    let recovery = site.recovery_codes();
    let answers = [key.press(), app.code(soft_app::now()), recovery[0].clone()];
    for answer in &answers {
        assert_eq!(site.check(answer, "second")["verdict"], "accepted");
        site.restart();
        assert_eq!(site.check(answer, "second")["verdict"], "rejected");
    }
    assert_eq!(site.check(&recovery[1], "second")["verdict"], "accepted");
}
