//! https: whom it trusts, and who it says it is.

use crate::asker::{ask, question, why};
use crate::certificates::{Ca, Folder, Pair, Wants, config, expired, not_yet, serve};
use crate::server::Server;
use rustls::ServerConnection;
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;
use yubiotp::ask::{Event, FailureKind, Question};

fn url(host: &str, server: &Server) -> String {
    format!("https://{host}:{}/wsapi/2.0/verify", server.port)
}

fn with_ca(folder: &Folder, ca: &Ca, url: String) -> Question {
    Question { ca: Some(folder.file("ca.pem", &ca.certificate.pem())), ..question(&[url]) }
}

fn replies(question: &Question) {
    let events = ask(question);
    assert!(matches!(&events[..], [_, Event::Reply { body, .. }] if **body == *b"status=OK"), "{events:?}");
}

#[test]
fn both_versions_and_both_kinds_of_name() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    for versions in [[&rustls::version::TLS12].as_slice(), &[&rustls::version::TLS13]] {
        for host in ["localhost", "127.0.0.1"] {
            let server = serve(&ca.signs(host), &Wants { versions, ..Wants::default() });
            replies(&with_ca(&folder, &ca, url(host, &server)));
        }
    }
}

/// What came through TLS before the connection was cut is an answer, although the request could not be sent.
#[test]
fn an_answer_before_the_request_counts() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let wants = Wants { versions: &[&rustls::version::TLS12], ..Wants::default() };
    let config = Arc::new(config(&ca.signs("localhost"), &wants));
    let server = Server::new(move |mut stream| {
        let mut tls = ServerConnection::new(Arc::clone(&config)).unwrap();
        while tls.is_handshaking() {
            while tls.wants_write() {
                tls.write_tls(&mut stream).unwrap();
            }
            tls.read_tls(&mut stream).unwrap();
            tls.process_new_packets().unwrap();
        }
        // Together with the end of the handshake, so that the client has all of it before it can send its request.
        tls.writer().write_all(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").unwrap();
        tls.write_tls(&mut stream).unwrap();
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap(); // closing is a reset
    });
    for _ in 0..20 {
        let events = ask(&with_ca(&folder, &ca, url("localhost", &server)));
        let [Event::Asked { .. }, Event::Failed { kind, why, .. }] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(*kind, FailureKind::Http, "{why}");
    }
}

#[test]
fn each_fault_of_a_certificate_has_its_words() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let why = |pair: &Pair| {
        let server = serve(pair, &Wants::default());
        why(&with_ca(&folder, &ca, url("localhost", &server)))
    };
    assert_eq!(
        why(&ca.signs("other.example")),
        "its certificate is not for localhost, but for other.example"
    );
    assert_eq!(why(&ca.signs("192.0.2.1")), "its certificate is not for localhost, but for 192.0.2.1");
    let none = "its certificate is not for localhost: it has no subjectAltName, and the common name is not looked at";
    assert_eq!(why(&ca.signs("")), none);
    let old = why(&ca.signs_with("localhost", expired));
    assert!(
        old.starts_with("its certificate expired ")
            && old.ends_with("renew it; if it has not, this host's clock is wrong"),
        "{old}"
    );
    assert_eq!(
        why(&ca.signs_with("localhost", not_yet)),
        "its certificate is not valid yet: if it should be, this host's clock is wrong"
    );
    let unknown = why(&Ca::new("other").signs("localhost"));
    assert!(
        unknown.starts_with("its certificate is not signed by a CA in ") && unknown.contains("ca.pem"),
        "{unknown}"
    );
    let same_name = why(&Ca::new("ca").signs("localhost"));
    assert!(same_name.contains("ca.pem"), "{same_name}");
    let authority = ca.signs_with("localhost", |params| {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    });
    assert!(why(&authority).starts_with("its certificate is a CA's"), "{}", why(&authority));
}

#[test]
fn what_is_no_tls_has_its_words() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let plain = Server::new(|mut stream| {
        let mut hello = [0; 4096];
        let _ = stream.read(&mut hello);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let why_plain = why(&with_ca(&folder, &ca, url("localhost", &plain)));
    assert_eq!(why_plain, "what it speaks is not TLS: is it http, or another port?");
    let closes = Server::new(drop);
    let why_closed = why(&with_ca(&folder, &ca, url("localhost", &closes)));
    assert!(why_closed.contains("closed") || why_closed.contains("cut off"), "{why_closed}");
    assert!(why_closed.ends_with(" (does it speak TLS?)"), "{why_closed}");
}

#[test]
fn client_certificates() {
    let (folder, ca, clients) = (Folder::new(), Ca::new("ca"), Ca::new("clients"));
    let client = clients.signs("client");
    let stranger = Ca::new("strangers").signs("client");
    for versions in [[&rustls::version::TLS12].as_slice(), &[&rustls::version::TLS13]] {
        let server = serve(&ca.signs("localhost"), &Wants { clients_of: Some(&clients), versions });
        let plain = || with_ca(&folder, &ca, url("localhost", &server));
        let as_client = |pair: &Pair| Question {
            client_cert: Some(folder.file("client.pem", &pair.certificate.pem())),
            client_key: Some(folder.file("client.key", &pair.key.serialize_pem())),
            ..plain()
        };
        replies(&as_client(&client));
        let without = why(&plain());
        assert!(without.contains("client_cert and client_key"), "{versions:?}: {without}");
        let with_another = why(&as_client(&stranger));
        assert!(with_another.contains("client_cert"), "{versions:?}: {with_another}");
    }
    // One file for both.
    let server = serve(&ca.signs("localhost"), &Wants { clients_of: Some(&clients), ..Wants::default() });
    let both =
        folder.file("both.pem", &format!("{}{}", client.key.serialize_pem(), client.certificate.pem()));
    let client_cert = Some(both.clone());
    replies(&Question {
        client_cert,
        client_key: Some(both),
        ..with_ca(&folder, &ca, url("localhost", &server))
    });
}
