//! The answers, byte by byte: what deployed clients rely on.

use std::process::Command;
use tests::soft_yubikey::SoftYubiKey;
use tests::validation::{self, Fields};
use tests::ykvald::{Client, Connection, Question, Reply, Site, Ykvald};

on_both_stores!(the_first_thing_that_is_wrong_decides, ways_to_ask, against_an_independent_server);

/// The body has these fields in this order, a `t` of today, CRLF everywhere, an empty line at the end, and the
/// signature that goes with this key; the head is what libraries expect.
#[track_caller]
fn assert_exact(reply: &Reply, fields: &[(&str, &str)], key: &str, what: &str) {
    let value = |name: &str| reply.field(name).unwrap_or_else(|| panic!("{what}: no {name}: {reply:?}"));
    let (h, t) = (value("h"), value("t"));
    let expected: String = [("h", h.as_str()), ("t", t.as_str())]
        .iter()
        .chain(fields)
        .map(|(name, value)| format!("{name}={value}\r\n"))
        .collect();
    assert_eq!(reply.body, expected + "\r\n", "{what}");
    assert!(reply.is_signed_with(key), "{what}: the signature: {reply:?}");
    assert_eq!(reply.status, 200, "{what}: {reply:?}");
    let kind = reply.head.to_ascii_lowercase();
    assert!(kind.contains("\r\ncontent-type: text/plain"), "{what}: {}", reply.head);
    let digits = |range: std::ops::Range<usize>| t[range].bytes().all(|byte| byte.is_ascii_digit());
    assert!(t.len() == 24 && &t[19..21] == "Z0" && digits(21..24), "{what}: {t}");
}

fn minute() -> String {
    let date = Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M"]).output().unwrap();
    String::from_utf8(date.stdout).unwrap().trim().to_owned()
}

/// The fields of an OK.
fn ok(question: &Question) -> [(&str, &str); 4] {
    [("otp", question.value("otp")), ("nonce", question.value("nonce")), ("sl", "0"), ("status", "OK")]
}

fn the_first_thing_that_is_wrong_decides(site: &Site) {
    let mut keys = site.keys(1000..1003);
    let [mut key, mut disabled, mut idle] = [keys.remove(0), keys.remove(0), keys.remove(0)];
    let mut unknown = SoftYubiKey::numbered(1003);
    // The right public ID, and the key of another token.
    let mut forged = {
        let other = SoftYubiKey::numbered(1004);
        let bytes = |hex: &str| data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
        SoftYubiKey::new(
            &[0xff, 0, 0, 0, 3, 0xe8],
            bytes(&other.private_id_hex()).try_into().unwrap(),
            bytes(&other.aes_key_hex()).try_into().unwrap(),
        )
    };
    assert_eq!(forged.public_id(), key.public_id());
    site.must(&["key", "disable", &disabled.public_id()]);
    let off = site.add_client(&[]);
    site.must(&["client", "disable", &off.id.to_string()]);
    let server = site.start();
    let (mut connection, client) = (server.connect(), site.client());
    let (signing, none) = (client.key.as_str(), "");

    let wrong_h = "AAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let right = Question::new(client, &key.press());
    let short = |status| vec![("status", status)];
    for (what, question, status, signed) in [
        ("no nonce, and no otp", right.clone().without("nonce").without("otp"), "MISSING_PARAMETER", none),
        ("an empty nonce", right.clone().with("nonce", ""), "MISSING_PARAMETER", none),
        ("sl=-5, and a bad otp", right.clone().with("sl", "-5").with("otp", "x"), "MISSING_PARAMETER", none),
        ("sl=-1", right.clone().with("sl", "-1"), "MISSING_PARAMETER", none),
        ("sl=slow", right.clone().with("sl", "slow"), "MISSING_PARAMETER", none),
        ("timeout=soon", right.clone().with("timeout", "soon"), "MISSING_PARAMETER", none),
        ("no otp, and no id", right.clone().without("otp").without("id"), "BAD_OTP", none),
        ("a bad nonce, and a bad otp", right.clone().with("nonce", "-").with("otp", "x"), "BAD_OTP", none),
        ("an otp of 31 characters", right.clone().with("otp", &"c".repeat(31)), "BAD_OTP", none),
        ("an otp of 65 characters", right.clone().with("otp", &"c".repeat(65)), "BAD_OTP", none),
        (
            "an otp with a blank",
            right.clone().with("otp", &format!("x {}", right.value("otp"))),
            "BAD_OTP",
            none,
        ),
        ("no id", right.clone().without("id"), "MISSING_PARAMETER", none),
        ("id=x", right.clone().with("id", "x"), "MISSING_PARAMETER", none),
        ("id=-1", right.clone().with("id", "-1"), "MISSING_PARAMETER", none),
        ("id of 11 digits", right.clone().with("id", "00000000001"), "MISSING_PARAMETER", none),
        ("a nonce of 15", right.clone().with("nonce", &"a".repeat(15)), "MISSING_PARAMETER", none),
        ("a nonce of 41", right.clone().with("nonce", &"a".repeat(41)), "MISSING_PARAMETER", none),
        ("a nonce with a dash", right.clone().with("nonce", "aaaaaaaaaaaaaaaa-"), "MISSING_PARAMETER", none),
        (
            "an unknown client, and a wrong h",
            right.clone().with("id", "4711").with("h", wrong_h),
            "NO_SUCH_CLIENT",
            none,
        ),
        ("the client 9999999999", right.clone().with("id", "9999999999"), "NO_SUCH_CLIENT", none),
        (
            "a client switched off",
            Question::new(&off, right.value("otp")).signed(&off.key),
            "NO_SUCH_CLIENT",
            none,
        ),
        ("a wrong h", right.clone().with("h", wrong_h), "BAD_SIGNATURE", signing),
        ("an h that is no base64", right.clone().with("h", "%%%"), "BAD_SIGNATURE", signing),
        ("the key of another client", right.clone().signed(&off.key), "BAD_SIGNATURE", signing),
        (
            "something beside the signature",
            right.clone().signed(signing).with("app", "x"),
            "BAD_SIGNATURE",
            signing,
        ),
        (
            "a wrong h, and an unknown token",
            Question::new(client, &unknown.press()).with("h", wrong_h),
            "BAD_SIGNATURE",
            signing,
        ),
        ("an unknown token", Question::new(client, &unknown.press()), "BAD_OTP", signing),
        (
            "another key than the token's",
            Question::new(client, &forged.press()).signed(signing),
            "BAD_OTP",
            signing,
        ),
        ("a token switched off", Question::new(client, &disabled.press()), "BAD_OTP", signing),
    ] {
        let reply = connection.ask(&question).unwrap();
        assert_exact(&reply, &short(status), signed, what);
    }

    // None of it has used up the OTP.
    let (before, reply, after) = (minute(), connection.ask(&right).unwrap(), minute());
    assert_exact(&reply, &ok(&right), signing, "OK");
    let t = reply.field("t").unwrap();
    assert!(t.starts_with(&before) || t.starts_with(&after), "{t}, {before}, {after}");
    let with = |status| {
        let [otp, nonce, ..] = ok(&right);
        [otp, nonce, ("status", status)]
    };
    let reply = connection.ask(&right).unwrap();
    assert_exact(&reply, &with("REPLAYED_REQUEST"), signing, "the same question");
    let again = right.clone().with("nonce", "aaaaaaaaaaaaaaaaaaaa");
    let fields = [("otp", right.value("otp")), ("nonce", "aaaaaaaaaaaaaaaaaaaa"), ("status", "REPLAYED_OTP")];
    assert_exact(&connection.ask(&again).unwrap(), &fields, signing, "the same OTP");
    let late = Question::new(client, &key.press());
    assert_eq!(connection.ask(&Question::new(client, &key.press())).unwrap().says(), "OK");
    assert_eq!(connection.ask(&late).unwrap().says(), "REPLAYED_OTP", "pressed before one that was accepted");
    assert_eq!(connection.ask(&right).unwrap().says(), "REPLAYED_OTP", "the first question, too late");
    // Switched off and on, a token continues where it was.
    let old = Question::new(client, &idle.press());
    assert_eq!(connection.ask(&old).unwrap().says(), "OK");
    for (verb, says) in [("disable", "BAD_OTP"), ("enable", "OK")] {
        site.must(&["key", verb, &idle.public_id()]);
        assert_eq!(connection.ask(&Question::new(client, &idle.press())).unwrap().says(), says, "{verb}");
    }
    assert_eq!(connection.ask(&old).unwrap().says(), "REPLAYED_OTP");
}

/// Asks with something about the next OTP, which must be found right.
fn accepted(connection: &mut Connection, ask: impl FnOnce(&mut Connection) -> Reply, what: &str) -> Reply {
    let reply = ask(connection);
    assert_eq!(reply.says(), "OK", "{what}: {reply:?}");
    reply
}

fn ways_to_ask(site: &Site) {
    let mut key = site.keys(1010..1011).remove(0);
    let client = site.client().clone();
    let server = site.start();
    let mut connection = server.connect();
    let mut next = || Question::new(&client, &key.press());
    let signing = &client.key;

    for (name, value) in [
        ("sl", "1"),
        ("sl", "100"),
        ("sl", "fast"),
        ("sl", "secure"),
        ("sl", ""),
        ("sl", "101"),
        ("sl", "50%"),
        ("sl", "1.5"),
        ("sl", "0"),
        ("timeout", "8"),
        ("timeout", "12345678901"),
        ("timeout", ""),
        ("timestamp", "0"),
        ("timestamp", ""),
        ("app", "what & else = needs % escaping, ü + ö"),
        ("", ""),
    ] {
        let question = next().with(name, value).signed(signing);
        let reply = connection.ask(&question).unwrap();
        assert_exact(&reply, &ok(&question), signing, &format!("{name}={value}"));
    }
    for nonce in ["a".repeat(16), "Z9".repeat(20)] {
        let question = next().with("nonce", &nonce).signed(signing);
        assert_exact(&connection.ask(&question).unwrap(), &ok(&question), signing, &nonce);
    }

    let form = next().with("app", "a b").signed(signing);
    let reply = accepted(&mut connection, |c| c.post("/wsapi/2.0/verify", &form.query()).unwrap(), "POST");
    assert_exact(&reply, &ok(&form), signing, "POST");
    let form = next().signed(signing);
    let path = "/wsapi/2.0/verify?timestamp=1";
    let reply = connection.post(path, &form.query()).unwrap();
    assert_exact(&reply, &[("status", "MISSING_PARAMETER")], "", "a form beside a query");
    let query = next().signed(signing);
    let target = format!("/wsapi/2.0/verify?{}", query.query());
    assert_exact(&connection.post(&target, "").unwrap(), &ok(&query), signing, "POST with a query");
    let query = next().signed(signing);
    let head = format!("POST /wsapi/2.0/verify?{} HTTP/1.1\r\nHost: a\r\n", query.query());
    connection.send(head + "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}").unwrap();
    assert_exact(&connection.read().unwrap(), &ok(&query), signing, "something posted beside a query");
    let parts = next().with("app", "a b\r\nc").signed(signing);
    let part = |(name, value): &(String, String)| {
        format!("--x-1\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let body = parts.parameters.iter().map(part).collect::<String>() + "--x-1--\r\n";
    let head =
        "POST /wsapi/2.0/verify HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=x-1\r\n";
    connection.send(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())).unwrap();
    assert_exact(&connection.read().unwrap(), &ok(&parts), signing, "multipart");

    // Blanks and newlines around values do not count, but are signed; they do not come back. An empty h is none.
    let right = next();
    let [id, otp, nonce] = ["id", "otp", "nonce"].map(|name| right.value(name).to_owned());
    let blanks = right.clone().with("id", &format!(" {id}")).with("otp", &format!("{otp}\r\n"));
    let blanks = blanks.with("nonce", &format!("\t{nonce}\n\0")).with("sl", " 7 ");
    let h = blanks.clone().signed(signing).value("h").to_owned();
    let stripped = right.clone().with("h", &h);
    assert_exact(
        &connection.ask(&stripped).unwrap(),
        &[("status", "BAD_SIGNATURE")],
        signing,
        "blanks are signed",
    );
    let reply = connection.ask(&blanks.clone().with("h", &format!("{h}\n"))).unwrap();
    assert_exact(&reply, &ok(&right), signing, "blanks");
    for empty in ["", " ", "\r\n"] {
        let unsigned = next().with("h", empty);
        assert_exact(&connection.ask(&unsigned).unwrap(), &ok(&unsigned), signing, "an empty h");
    }
    for file in ["/wsapi/2.0/verify.php", "/wsapi/2.0/verify"] {
        let question = next().signed(signing);
        let reply = connection.get(&format!("{file}?{}", question.query())).unwrap();
        assert_exact(&reply, &ok(&question), signing, file);
    }
    // As browsers and old libraries write it.
    let plus = next().with("app", "a b").signed(signing);
    let query = plus.query().replace("%20", "+");
    let reply =
        accepted(&mut connection, |c| c.get(&format!("/wsapi/2.0/verify?{query}")).unwrap(), "a plus");
    assert_exact(&reply, &ok(&plus), signing, "a plus for a blank");
    let lower = next().signed(signing);
    let query = lower.query().replace("%3D", "%3d").replace("%2B", "%2b").replace("%2F", "%2f");
    accepted(&mut connection, |c| c.get(&format!("/wsapi/2.0/verify?{query}")).unwrap(), "small escapes");
    let bare = next().signed(signing);
    let query = bare.query().replace("%3D", "=").replace("%2F", "/");
    accepted(&mut connection, |c| c.get(&format!("/wsapi/2.0/verify?{query}")).unwrap(), "= not escaped");

    // Version 1 has no nonce, and echoes nothing.
    let first = next().without("nonce").signed(signing);
    let reply = connection.get(&format!("/wsapi/verify?{}", first.query())).unwrap();
    assert_exact(&reply, &[("status", "OK")], signing, "version 1");
    let reply = connection.get(&format!("/wsapi/verify?{}", first.query())).unwrap();
    assert_exact(&reply, &[("status", "REPLAYED_OTP")], signing, "version 1, again");
    let form = next().without("nonce");
    let reply = connection.post("/wsapi/verify.php", &form.query()).unwrap();
    assert_exact(&reply, &[("status", "OK")], signing, "version 1, POST");

    // A keyboard of another layout, or caps lock: read, and echoed as it was sent.
    let mut other = SoftYubiKey::numbered(1011);
    site.import(std::slice::from_ref(&other));
    for otp in [other.press_dvorak(), other.press_caps(), other.press().to_uppercase()] {
        let question = Question::new(&client, &otp).signed(signing);
        assert_exact(&connection.ask(&question).unwrap(), &ok(&question), signing, &otp);
    }
    // The one that YK-VAL takes for Dvorak.
    let mut ids = [0, 1, 2].map(|number| SoftYubiKey::new(&[number; 6], [7; 6], [9 + number; 16]));
    site.import(&ids);
    for key in &mut ids {
        let question = Question::new(&client, &key.press());
        assert_exact(&connection.ask(&question).unwrap(), &ok(&question), signing, "zeroes");
    }

    for (request, status) in [
        ("GET /wsapi/2.0/verif HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        ("GET /wsapi/3.0/verify HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        ("GET /wsapi/decrypt?otp=x HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        ("PUT /wsapi/2.0/verify HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 405),
        ("DELETE /wsapi/2.0/verify HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    ] {
        connection.send(request).unwrap();
        assert_eq!(connection.read().unwrap().status, status, "{request:?}");
    }
}

/// An independent server of the protocol is asked the same, and says the same but its clock and so its signature.
fn against_an_independent_server(site: &Site) {
    let mut keys = site.keys(1020..1022);
    let tokens: Vec<_> = keys.iter().collect();
    let reference = validation::Server::start(&tokens);
    let client = site.client();
    reference.client(client.id, &client.key);
    let server = site.start();
    let both = |question: &Question| compare(&server, &reference, client, question);
    for round in 0..6 {
        let key = &mut keys[round % 2];
        let question = Question::new(client, &key.press()).with("timestamp", "1").signed(&client.key);
        let fields = both(&question);
        assert!(fields.iter().any(|(name, _)| name == "sessionuse"), "{fields:?}");
        both(&question);
        both(&Question::new(client, question.value("otp")).with("timestamp", "1"));
        both(&Question::new(client, &key.press()));
        key.replug();
        both(&question);
        both(&question.clone().with("id", "4711"));
        both(&question.clone().with("h", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="));
        both(&question.clone().without("nonce"));
        both(&question.clone().without("otp"));
        both(&Question::new(client, &SoftYubiKey::numbered(1023).press()));
    }
    keys[0].set_counter(0x7fff); // the last one that there is
    both(&Question::new(client, &keys[0].press()).with("timestamp", "1"));
}

fn compare(server: &Ykvald, reference: &validation::Server, client: &Client, question: &Question) -> Fields {
    let [ours, theirs] = [server.address(), reference.address()].map(|address| {
        let reply = Connection::open(address).unwrap().ask(question).unwrap();
        let key = if reply.is_signed_with(&client.key) { "the client's" } else { "none" };
        assert!(key != "none" || reply.is_signed_with(""), "{reply:?}");
        let said: Fields =
            reply.fields().into_iter().filter(|(name, _)| name != "h" && name != "t").collect();
        (said, key)
    });
    assert_eq!(ours, theirs, "{question:?}");
    ours.0
}
