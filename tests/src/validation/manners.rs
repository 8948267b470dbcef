//! The ways in which a server may answer: lies, rejections, and unusual but right answers.

use super::{Answer, Exchange, Fields, Wire, hmac, honest, signature};
use data_encoding::BASE64;
use std::time::Duration;

/// A manner with a name, for tables.
pub type Named = (&'static str, fn(&Exchange) -> Answer);

/// Signed with the key, and about this request: a rejection that counts.
pub const NO: &[Named] = &[
    ("signed BAD_OTP", |x| x.signed(&vec![x.fields[0].clone(), field("status", "BAD_OTP")])),
    ("signed BAD_OTP with otp and nonce", |x| x.signed(&refusal(x, "BAD_OTP"))),
    ("signed REPLAYED_OTP", |x| x.signed(&refusal(x, "REPLAYED_OTP"))),
];

/// Other answers that a correct server may send.
pub const UNUSUAL: &[Named] = &[
    ("fields in another order", |x| {
        let mut fields = x.fields.clone();
        fields.reverse();
        x.signed(&fields)
    }),
    ("h at the end", |x| {
        let mut fields = x.fields.clone();
        fields.push(field("h", &signature(&x.key, &x.fields)));
        x.unsigned(&fields)
    }),
    ("LF for CRLF", |x| x.honest().replacing("\r\n", "\n")),
    ("no line at the end", |x| {
        let mut answer = x.honest();
        answer.body.truncate(answer.body.len() - 2);
        answer
    }),
    ("no line end at the end", |x| {
        let mut answer = x.honest();
        answer.body.truncate(answer.body.len() - 4);
        answer
    }),
    ("an empty line before it", |x| x.honest().replacing("h=", "\r\nh=")),
    ("extra fields under the signature", |x| x.signed(&x.but("info", "the server's own, = and & in it"))),
    ("a clock ten years off", |x| x.signed(&x.but("t", &honest::far_off()))),
    ("no milliseconds", |x| x.signed(&x.but("t", "2026-11-22T00:30:01Z"))),
    ("sl=100", |x| x.signed(&x.but("sl", "100"))),
    ("no sl", |x| x.signed(&x.without(&["sl"]))),
    ("chunked", |x| x.honest().by(Wire::Chunked)),
    ("HTTP/1.0", |x| x.honest().by(Wire::Http10)),
    ("another type", |x| x.honest().header("X-Powered-By: something").header("Set-Cookie: a=b; path=/")),
    ("late, by less than a hedge", |x| x.honest().by(Wire::Late(Duration::from_millis(50)))),
];

/// What no server may get a yes for. `x.fields` are an honest OK.
pub const LIES: &[Named] = &[
    // The signature
    ("no h", |x| x.unsigned(&x.fields)),
    ("OK and nothing else", |_| "status=OK\r\n".into()),
    ("h of another key", |x| x.with_h(&signature(b"another key", &x.fields), &x.fields)),
    ("h of the empty key", |x| x.with_h(&signature(b"", &x.fields), &x.fields)),
    ("h of the key in base64", |x| {
        x.with_h(&signature(BASE64.encode(&x.key).as_bytes(), &x.fields), &x.fields)
    }),
    ("h of one bit more", |x| {
        let mut h = hmac(&x.key, &x.fields);
        h[19] ^= 1;
        x.with_h(&BASE64.encode(&h), &x.fields)
    }),
    ("h in hex", |x| x.with_h(&data_encoding::HEXLOWER.encode(&hmac(&x.key, &x.fields)), &x.fields)),
    ("h of the request", |x| x.with_h(x.request.get("h").unwrap_or("none"), &x.fields)),
    ("h empty", |x| x.with_h("", &x.fields)),
    ("h with blanks around it", |x| x.with_h(&format!(" {} ", signature(&x.key, &x.fields)), &x.fields)),
    ("status not under the signature", |x| x.with_h(&signature(&x.key, &x.without(&["status"])), &x.fields)),
    ("otp not under the signature", |x| x.with_h(&signature(&x.key, &x.without(&["otp"])), &x.fields)),
    ("nonce not under the signature", |x| x.with_h(&signature(&x.key, &x.without(&["nonce"])), &x.fields)),
    ("a field beside the signature", |x| {
        x.with_h(&signature(&x.key, &x.fields), &x.but("info", "not signed"))
    }),
    ("h inside another value", |x| {
        let mut fields = x.fields.clone();
        fields.insert(0, field("info", &format!("&h={}", signature(&x.key, &x.fields))));
        x.unsigned(&fields)
    }),
    ("H for h", |x| x.honest().replacing("h=", "H=")),
    ("signed BAD_OTP, made OK", |x| {
        x.signed(&refusal(x, "BAD_OTP")).replacing("status=BAD_OTP", "status=OK")
    }),
    // Of another request
    ("nonce of another request", |x| x.signed(&x.but("nonce", "kakakakakakakakakakakakakakakaka"))),
    ("nonce in capitals", |x| {
        x.signed(&x.but("nonce", &flipped(x.request.get("nonce").unwrap_or_default())))
    }),
    ("nonce missing", |x| x.signed(&x.without(&["nonce"]))),
    ("nonce empty", |x| x.signed(&x.but("nonce", ""))),
    ("nonce cut short", |x| x.signed(&x.but("nonce", &x.request.get("nonce").unwrap_or_default()[..16]))),
    ("otp of another request", |x| x.signed(&x.but("otp", "idkfefrdhtrutjduvtcjbfeuvhehdvjjlbchtlenfgku"))),
    ("otp missing", |x| x.signed(&x.without(&["otp"]))),
    ("otp with more behind it", |x| {
        x.signed(&x.but("otp", &format!("{}c", x.request.get("otp").unwrap_or_default())))
    }),
    // Said twice
    ("status twice", |x| twice(x, &[("status", "OK")])),
    ("OK, then BAD_OTP", |x| twice(x, &[("status", "BAD_OTP")])),
    ("BAD_OTP, then OK", |x| {
        let mut fields = vec![field("status", "BAD_OTP")];
        fields.extend_from_slice(&x.fields);
        x.signed(&fields)
    }),
    ("signed BAD_OTP, and OK after it", |x| after(x.signed(&refusal(x, "BAD_OTP")), "status=OK\r\n")),
    ("signed BAD_OTP, and OK before it", |x| before("status=OK\r\n", x.signed(&refusal(x, "BAD_OTP")))),
    ("signed BAD_OTP, and a whole OK after an empty line", |x| {
        after(x.signed(&refusal(x, "BAD_OTP")), "\r\nstatus=OK\r\n")
    }),
    ("otp twice", |x| twice(x, &[("otp", x.request.get("otp").unwrap_or_default())])),
    ("nonce twice", |x| twice(x, &[("nonce", x.request.get("nonce").unwrap_or_default())])),
    ("sessioncounter twice", |x| twice(x, &[("sessioncounter", "32767")])),
    ("h twice, the same", |x| before(&h_line(x), x.honest())),
    ("h twice, the first wrong", |x| before("h=AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n", x.honest())),
    ("h twice, the last wrong", |x| after(x.honest(), "h=AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n")),
    // The status
    ("status ok", |x| x.signed(&x.but("status", "ok"))),
    ("status OK and a blank", |x| x.signed(&x.but("status", "OK "))),
    ("status a blank and OK", |x| x.signed(&x.but("status", " OK"))),
    ("status OK!", |x| x.signed(&x.but("status", "OK!"))),
    ("status empty", |x| x.signed(&x.but("status", ""))),
    ("no status", |x| x.signed(&x.without(&["status"]))),
    ("STATUS=OK", |x| {
        let mut fields = x.without(&["status"]);
        fields.push(field("STATUS", "OK"));
        x.signed(&fields)
    }),
    ("a status nobody knows", |x| x.signed(&x.but("status", "DELAYED_OTP"))),
    ("BACKEND_ERROR", |x| x.signed(&x.but("status", "BACKEND_ERROR"))),
    ("NOT_ENOUGH_ANSWERS", |x| x.signed(&x.but("status", "NOT_ENOUGH_ANSWERS"))),
    ("REPLAYED_REQUEST", |x| x.signed(&x.but("status", "REPLAYED_REQUEST"))),
    ("BAD_SIGNATURE", |x| x.signed(&x.but("status", "BAD_SIGNATURE"))),
    ("OPERATION_NOT_ALLOWED", |x| x.signed(&x.but("status", "OPERATION_NOT_ALLOWED"))),
    ("MISSING_PARAMETER, as YK-VAL signs it", |x| nobodys(x, "MISSING_PARAMETER")),
    ("NO_SUCH_CLIENT, as YK-VAL signs it", |x| nobodys(x, "NO_SUCH_CLIENT")),
    ("BAD_OTP of nobody's key", |x| nobodys(x, "BAD_OTP")),
    ("BAD_OTP without h", |x| x.unsigned(&refusal(x, "BAD_OTP"))),
    ("REPLAYED_OTP without h", |x| x.unsigned(&refusal(x, "REPLAYED_OTP"))),
    ("REPLAYED_OTP of another request", |x| {
        x.signed(&vec![field("nonce", "kakakakakakakakakakakakakakakaka"), field("status", "REPLAYED_OTP")])
    }),
    // The position
    ("no sessioncounter", |x| x.signed(&x.without(&["sessioncounter"]))),
    ("no sessionuse", |x| x.signed(&x.without(&["sessionuse"]))),
    ("another sessioncounter", |x| x.signed(&x.but("sessioncounter", "32000"))),
    ("another sessionuse", |x| x.signed(&x.but("sessionuse", "255"))),
    ("a sessioncounter out of range", |x| x.signed(&x.but("sessioncounter", "99999999999999999999"))),
    ("a sessioncounter below zero", |x| x.signed(&x.but("sessioncounter", "-1"))),
    ("a sessionuse that is no number", |x| x.signed(&x.but("sessionuse", "many"))),
    // Bytes
    ("an empty body", |_| "".into()),
    ("a page of a captive portal", |_| "<html><body>status=OK, please log in</body></html>\n".into()),
    ("NUL behind the status", |x| x.signed(&x.but("status", "OK\0"))),
    ("a line of NUL before it", |x| before("\0\0\0\r\n", x.honest())),
    ("control characters in the status", |x| x.signed(&x.but("status", "OK\x1b[2K\x07\x08"))),
    ("a line without =", |x| before("hello\r\n", x.honest())),
    ("not UTF-8", |x| Answer::from([b"\xff\xfe=\xc3\r\n".as_slice(), &x.honest().body].concat())),
    ("a body of 5,000 bytes", |x| x.signed(&x.but("info", &"x".repeat(5000)))),
    ("gzip", |x| {
        let answer = x.honest();
        Answer { body: gzip(&answer.body), ..answer }.header("Content-Encoding: gzip")
    }),
    // HTTP
    ("500 with a valid OK in it", |x| x.honest().status("500 Internal Server Error")),
    ("404 with a valid OK in it", |x| x.honest().status("404 Not Found")),
    ("204 with a valid OK in it", |x| x.honest().status("204 No Content")),
    ("206 with a valid OK in it", |x| x.honest().status("206 Partial Content")),
    ("401 with a valid OK in it", |x| {
        x.honest().status("401 Unauthorized").header("WWW-Authenticate: Basic realm=x")
    }),
    ("301 to a server that says OK", |x| away(x, "301 Moved Permanently")),
    ("302 to a server that says OK", |x| away(x, "302 Found")),
    ("307 to a server that says OK", |x| away(x, "307 Temporary Redirect")),
    ("308 to a server that says OK", |x| away(x, "308 Permanent Redirect")),
    ("a length of more than there is", |x| x.honest().by(Wire::Short(100))),
    ("reset in the middle", |x| x.honest().by(Wire::Reset)),
    ("closed without a word", |x| x.honest().by(Wire::Close)),
    ("not HTTP", |_| Answer::from("").by(Wire::Raw(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()))),
    ("no head, only the body", |x| Answer::from("").by(Wire::Raw(x.honest().body))),
    ("two lengths", |x| {
        let body = x.honest().body;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nContent-Length: 11\r\n\r\n", body.len());
        Answer::from("").by(Wire::Raw([head.into_bytes(), body].concat()))
    }),
    ("an endless header", |x| x.honest().by(Wire::EndlessHeader)),
    ("a body of 1 GB", |x| x.honest().by(Wire::Gigabyte)),
    ("a body without end", |x| x.honest().by(Wire::EndlessChunks)),
];

/// Lies that take time: only the deadline ends them.
pub const SLOW: &[Named] =
    &[("a byte every 100 ms", |x| x.honest().by(Wire::Drip)), ("hang", |x| x.honest().by(Wire::Hang))];

/// A signature of so many bytes, the right ones as far as they go: in base64, or as they are.
#[must_use]
pub fn h_of_length(x: &Exchange, length: usize, encoded: bool) -> Answer {
    let mut h = hmac(&x.key, &x.fields);
    h.resize(length, 0);
    if encoded {
        return x.with_h(&BASE64.encode(&h), &x.fields);
    }
    let line = [b"h=".as_slice(), &h, b"\r\n"].concat();
    Answer::from([line, x.unsigned(&x.fields).body].concat())
}

fn field(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// The fields of a no to this request.
fn refusal(x: &Exchange, status: &str) -> Fields {
    let mut fields = x.without(&["sl", "timestamp", "sessioncounter", "sessionuse", "status"]);
    fields.push(field("status", status));
    fields
}

/// Signed with the empty key, without otp and nonce.
fn nobodys(x: &Exchange, status: &str) -> Answer {
    let fields = vec![x.fields[0].clone(), field("status", status)];
    x.with_h(&signature(b"", &fields), &fields)
}

/// More fields at the end, all of them signed.
fn twice(x: &Exchange, more: &[(&str, &str)]) -> Answer {
    let mut fields = x.fields.clone();
    fields.extend(more.iter().map(|(name, value)| field(name, value)));
    x.signed(&fields)
}

fn h_line(x: &Exchange) -> String {
    format!("h={}\r\n", signature(&x.key, &x.fields))
}

/// A line added on the way.
fn before(line: &str, answer: Answer) -> Answer {
    Answer { body: [line.as_bytes(), &answer.body].concat(), ..answer }
}

fn after(mut answer: Answer, line: &str) -> Answer {
    answer.body.truncate(answer.body.len() - 2);
    answer.body.extend_from_slice(line.as_bytes());
    answer
}

fn away(x: &Exchange, status: &'static str) -> Answer {
    let url = x.elsewhere.as_deref().unwrap();
    x.honest().status(status).header(&format!("Location: {url}?{}", x.request.query()))
}

fn flipped(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() })
        .collect()
}

/// Not compressed, which is allowed.
fn gzip(body: &[u8]) -> Vec<u8> {
    let crc = !body.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 },
        )
    });
    let length = u16::try_from(body.len()).unwrap();
    let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    let lengths = [length.to_le_bytes(), (!length).to_le_bytes()].concat();
    [&head, lengths.as_slice(), body, &crc.to_le_bytes(), &u32::from(length).to_le_bytes()].concat()
}
