use super::*;
use proptest::prelude::*;

const ALL: usize = usize::MAX;

/// How the parameter A of each request reads, what was answered, and what ended it.
fn read(text: &[u8]) -> (Vec<Option<String>>, Vec<Record>, Option<BadRecord>) {
    let (found, answered, bad) = requests(text, ALL, "A");
    (found, records(&answered), bad)
}

fn ended(request: u16, protocol_status: u8) -> Record {
    (kind::END_REQUEST, request, vec![0, 0, 0, 0, protocol_status, 0, 0, 0])
}

#[test]
fn requests_are_read() {
    let some = |value: &str| Some(value.to_owned());
    let long = "x".repeat(40_000);
    for (text, found) in [
        (request(1, false, &[("A", "1"), ("B", "")]), vec![some("1")]),
        (request(1, false, &[]), vec![None]),
        (request(0xffff, true, &[("AA", "1"), ("A", &long)]), vec![some(&long)]),
        // One after the other, as connections that are kept have it.
        (
            [request(1, true, &[("A", "1")]), request(1, false, &[("A", "2")])].concat(),
            vec![some("1"), some("2")],
        ),
        // In small records with padding, and with the end of a body, which lighttpd sends.
        (
            [begin(3, 2, 0), params(3, &pairs(&[("A", &long)]), 1000, 255), record(kind::STDIN, 3, &[], 8)]
                .concat(),
            vec![some(&long)],
        ),
    ] {
        assert_eq!(read(&text), (found, vec![], None));
    }
    let mut bytes = Vec::new();
    params::write(&mut bytes, b"A", &[0xff]);
    let text = [begin(1, 2, 0), params(1, &bytes, 99, 0)].concat();
    assert_eq!(read(&text).0, [None], "not UTF-8");
}

#[test]
fn what_is_answered_without_a_decision() {
    let a = pairs(&[("A", "1")]);
    let cases = [
        ("a responder", begin(1, 1, 0), ended(1, 3)),
        ("a filter", begin(1, 3, 1), ended(1, 3)),
        ("aborted", [begin(9, 2, 1), record(kind::ABORT_REQUEST, 9, &[], 0)].concat(), ended(9, 0)),
        ("a type of later days", record(77, 0, b"?", 0), (11, 0, vec![77, 0, 0, 0, 0, 0, 0, 0])),
        (
            "values",
            record(
                kind::GET_VALUES,
                0,
                &pairs(&[("FCGI_MAX_CONNS", ""), ("FCGI_MPXS_CONNS", ""), ("OTHER", "")]),
                3,
            ),
            (10, 0, pairs(&[("FCGI_MAX_CONNS", "64"), ("FCGI_MPXS_CONNS", "0")])),
        ),
    ];
    for (what, text, answer) in cases {
        assert_eq!(read(&text), (vec![], vec![answer], None), "{what}");
    }
    // Two at a time: the first goes on, and what belongs to the second is not looked at.
    let two = [
        begin(1, 2, 1),
        begin(2, 2, 1),
        params(2, &a, 99, 0),
        record(kind::STDIN, 2, b"a body", 0),
        params(1, &pairs(&[("A", "one")]), 2, 1),
        record(kind::ABORT_REQUEST, 1, &[], 0),
    ];
    assert_eq!(read(&two.concat()), (vec![Some("one".into())], vec![ended(2, 1)], None));
}

#[test]
fn what_closes_the_connection() {
    let many: Vec<(String, &str)> = (0..257).map(|number| (format!("N{number}"), "")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let large = "x".repeat(33_000);
    let version = [&[2], &request(1, false, &[])[1..]].concat();
    let cases = [
        (version, BadRecord::Version(2)),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), BadRecord::Version(b'G')),
        (record(kind::PARAMS, 0, b"", 0), BadRecord::Kind(4)),
        (record(kind::GET_VALUES, 1, b"", 0), BadRecord::Kind(9)),
        (record(kind::STDOUT, 1, b"", 0), BadRecord::Kind(6)),
        (record(kind::BEGIN_REQUEST, 1, b"", 0), BadRecord::Length(0)),
        (record(kind::GET_VALUES, 0, &[0; 1025], 0), BadRecord::Length(1025)),
        ([begin(1, 2, 0), begin(1, 2, 0)].concat(), BadRecord::BegunTwice),
        ([begin(1, 2, 0), record(kind::STDIN, 1, b"a", 0)].concat(), BadRecord::Body),
        (request(1, false, &many), BadRecord::TooManyParameters),
        (request(1, false, &[("A", &large), ("B", &large)]), BadRecord::TooManyParameters),
        (request(1, false, &[("A", "1"), ("B", ""), ("A", "1")]), BadRecord::RepeatedParameter),
        ([begin(1, 2, 0), params(1, &[1, 1, b'A'], 9, 0)].concat(), BadRecord::CutParameters),
        ([begin(1, 2, 0), params(1, &[0xff; 8], 9, 0)].concat(), BadRecord::CutParameters),
    ];
    for (text, bad) in cases {
        let (found, answered, why) = read(&text);
        assert_eq!((found, answered, why), (vec![], vec![], Some(bad)));
    }
    assert_eq!(read(&request(1, false, &many[..256])).0.len(), 1);
}

/// The limit is noticed before the bytes are stored.
#[test]
fn little_is_held() {
    let mut text = begin(1, 2, 0);
    for _ in 0..8 {
        text.extend(record(kind::PARAMS, 2, &[0; 65_535], 255));
    }
    text.extend(record(kind::PARAMS, 1, &[b'x'; 65_000], 0));
    let mut most = 0;
    feed(&text, 700, |input, capacity| {
        while input.next().unwrap().is_some() {}
        most = most.max(capacity);
    });
    assert!(most <= 128 << 10, "{most}");
}

fn write(reply: AuthorizerReply) -> (Vec<Record>, bool) {
    let (bytes, written) = reply::write(5, &reply);
    (records(&bytes), written.is_ok())
}

fn reply(status: u16, headers: &[(&str, &str)], body: &[u8]) -> AuthorizerReply {
    let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    AuthorizerReply { status, headers, body: body.to_vec() }
}

#[test]
fn replies_are_written() {
    let end = [(6, 5, vec![]), ended(5, 0)];
    let stream = |text: &str| [vec![(6, 5, text.as_bytes().to_vec())], end.to_vec()].concat();
    for (reply, text) in [
        (
            reply(302, &[("Location", "https://a/"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")], b"<p>"),
            "Status: 302 Found\r\nLocation: https://a/\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n<p>",
        ),
        (
            reply(200, &[("Variable-REMOTE_USER", "ä")], b""),
            "Status: 200 OK\r\nVariable-REMOTE_USER: ä\r\n\r\n",
        ),
        // Apache would take them for what ErrorDocument names.
        (reply(403, &[], b"/etc"), "Status: 403 Forbidden\r\n\r\n\n/etc"),
        (reply(403, &[], b"a:b"), "Status: 403 Forbidden\r\n\r\n\na:b"),
    ] {
        assert_eq!(write(reply), (stream(text), true));
    }
    for bad in [
        reply(200, &[("Variable-REMOTE_USER", "alice\r\nVariable-X: y")], b""),
        reply(200, &[("Variable-REMOTE_USER", "alice\n")], b""),
        reply(302, &[("Location", "a\0b")], b""),
        reply(302, &[("Loca tion", "a")], b""),
        reply(302, &[("", "a")], b""),
        reply(403, &[("status", "200")], b""),
        reply(99, &[], b""),
        reply(1000, &[], b""),
    ] {
        assert_eq!(write(bad), (stream("Status: 500 Internal Server Error\r\n\r\n"), false));
    }
    let (all, written) = write(reply(403, &[], &[b'\n'; 200_000]));
    assert!(written && all.len() == 4 + 2 && all[3].2.len() < 65_535);
    assert_eq!(all.iter().map(|(_, _, content)| content.len()).sum::<usize>(), 200_000 + 25 + 8);
}

fn names() -> impl Strategy<Value = Vec<(String, String)>> {
    let pair = ("[A-Z_]{1,4}|[A-Z]{120,140}", "\\PC{0,200}");
    proptest::collection::vec(pair, 0..20).prop_map(|mut pairs| {
        pairs.sort();
        pairs.dedup_by(|one, other| one.0 == other.0);
        pairs
    })
}

proptest! {
    #[test]
    fn never_panics(text: Vec<u8>, piece in 1usize..50) {
        let _ = requests(&text, piece, "A");
        let _ = Pairs::of(&text).count();
    }

    /// Records that are nearly right.
    #[test]
    fn never_panics_within(
        parts in proptest::collection::vec((0u8..13, 0u16..3, proptest::collection::vec(any::<u8>(), 0..20), any::<u8>()), 0..12),
        piece in 1usize..50,
    ) {
        let text: Vec<u8> = parts
            .iter()
            .flat_map(|(kind, id, content, padding)| match kind {
                0 => begin(*id, 2, *padding),
                kind => record(*kind, *id, content, *padding),
            })
            .collect();
        prop_assert_eq!(requests(&text, piece, "A"), requests(&text, ALL, "A"), "in pieces");
    }

    #[test]
    fn requests_come_back(of in names(), id in 1u16.., keep: bool, most in 1usize..3000, piece in 1usize..5000, padding: u8) {
        let borrowed: Vec<(&str, &str)> = of.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let one = [begin(id, 2, keep.into()), params(id, &pairs(&borrowed), most, padding)].concat();
        let two = [one.clone(), one].concat();
        for (name, value) in &of {
            let (found, answered, bad) = requests(&two, piece, name);
            prop_assert_eq!((found, answered.len(), bad), (vec![Some(value.clone()); 2], 0, None));
        }
        prop_assert_eq!(requests(&two, piece, "absent").0, [None, None]);
    }

    #[test]
    fn no_line_end_leaves(name in "[A-Z\r\n: a]{0,6}", value in "[a\r\n\0ä]{0,6}", status: u16) {
        let (bytes, written) = reply::write(1, &reply(status, &[(&name, &value)], b""));
        let text = String::from_utf8(records(&bytes)[0].2.clone()).unwrap();
        let lines: Vec<&str> = text.strip_suffix("\r\n\r\n").unwrap().split("\r\n").collect();
        prop_assert_eq!(lines.len(), if written.is_ok() { 2 } else { 1 });
        prop_assert!(!lines.iter().any(|line| line.contains(['\r', '\n', '\0'])));
    }
}
