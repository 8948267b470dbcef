//! Proxies: http and https by CONNECT, socks5 with names resolved by the proxy.

use crate::asker::{ask, question, why};
use crate::certificates::{Ca, Folder, Wants, config, serve};
use crate::server::{Server, read_request, refusing};
use rustls::{ServerConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use yubiotp::ask::{Event, FailureKind, Question};
use zeroize::Zeroizing;

fn through(proxy: &str, urls: &[String]) -> Question {
    Question { proxy: Some(Zeroizing::new(proxy.into())), ..question(urls) }
}

fn replies(question: &Question) {
    let events = ask(question);
    assert!(matches!(&events[..], [_, Event::Reply { body, .. }] if **body == *b"status=OK"), "{events:?}");
}

/// Both ways, until either ends.
fn pump(mut client: TcpStream, port: u16) {
    let mut server = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || io::copy(&mut from_client, &mut to_server));
    let _ = io::copy(&mut server, &mut client);
    let _ = client.shutdown(std::net::Shutdown::Both);
}

/// A proxy that leads every CONNECT for `name.invalid` to one port, and tells what it was asked.
fn connect_proxy(to: u16) -> (Server, std::sync::mpsc::Receiver<String>) {
    let (tell, told) = std::sync::mpsc::channel();
    let proxy = Server::new(move |mut stream| {
        tell.send(read_request(&mut stream)).unwrap();
        let _ = stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n");
        pump(stream, to);
    });
    (proxy, told)
}

#[test]
fn http_and_https_through_connect() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let plain = Server::replies("status=OK");
    let (proxy, told) = connect_proxy(plain.port);
    replies(&through(
        &format!("http://user:p%40ss@localhost:{}", proxy.port),
        &["http://name.invalid/x".into()],
    ));
    let request = told.recv().unwrap();
    assert!(request.starts_with("CONNECT name.invalid:80 HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("Basic dXNlcjpwQHNz"), "{request}");

    let server = serve(&ca.signs("name.invalid"), &Wants::default());
    let (proxy, told) = connect_proxy(server.port);
    let ca = Some(folder.file("ca.pem", &ca.certificate.pem()));
    let url = ["https://name.invalid/x".into()];
    replies(&Question { ca, ..through(&format!("http://127.0.0.1:{}", proxy.port), &url) });
    assert!(told.recv().unwrap().starts_with("CONNECT name.invalid:443 HTTP/1.1\r\n"));
}

#[test]
fn an_https_proxy() {
    let (folder, ca) = (Folder::new(), Ca::new("ca"));
    let server = serve(&ca.signs("name.invalid"), &Wants::default());
    let to = server.port;
    let secured = Arc::new(config(&ca.signs("localhost"), &Wants::default()));
    let proxy = Server::new(move |stream| {
        let connection = ServerConnection::new(Arc::clone(&secured)).unwrap();
        let mut client = StreamOwned::new(connection, stream);
        let asked = read_request(&mut client);
        assert!(asked.starts_with("CONNECT name.invalid:443 "), "{asked}");
        let _ = client.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        let mut server = TcpStream::connect(("127.0.0.1", to)).unwrap();
        // By turns: enough for one handshake and one request.
        client.sock.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        server.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let mut piece = [0; 16384];
        for _ in 0..50 {
            if let Ok(length) = client.read(&mut piece) {
                server.write_all(&piece[..length]).unwrap();
            }
            if let Ok(length) = server.read(&mut piece) {
                client.write_all(&piece[..length]).unwrap();
                client.flush().unwrap();
            }
        }
    });
    let ca = Some(folder.file("ca.pem", &ca.certificate.pem()));
    let url = ["https://name.invalid/x".into()];
    replies(&Question { ca, ..through(&format!("https://localhost:{}", proxy.port), &url) });
}

/// The proxy's fault is not the server's, and the proxy is not told who the client is.
#[test]
fn a_fault_of_the_proxys_own_is_told_as_such() {
    let (folder, ca, clients) = (Folder::new(), Ca::new("ca"), Ca::new("clients"));
    let client = clients.signs("client");
    let ask = |port: u16| {
        let question = through(&format!("https://localhost:{port}"), &["https://name.invalid/x".into()]);
        why(&Question {
            ca: Some(folder.file("ca.pem", &ca.certificate.pem())),
            client_cert: Some(folder.file("client.pem", &client.certificate.pem())),
            client_key: Some(folder.file("client.key", &client.key.serialize_pem())),
            ..question
        })
    };
    let other = serve(&ca.signs("other.example"), &Wants::default());
    let told = format!(
        "the proxy localhost:{}: its certificate is not for localhost, but for other.example",
        other.port
    );
    assert_eq!(ask(other.port), told);

    let plain = Server::new(|mut stream| {
        let mut hello = [0; 4096];
        let _ = stream.read(&mut hello);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let told = format!(
        "the proxy localhost:{}: what it speaks is not TLS: is it http, or another port?",
        plain.port
    );
    assert_eq!(ask(plain.port), told);

    for versions in [[&rustls::version::TLS12].as_slice(), &[&rustls::version::TLS13]] {
        let wants = serve(&ca.signs("localhost"), &Wants { clients_of: Some(&clients), versions });
        let told = ask(wants.port);
        let begins =
            format!("the proxy localhost:{}: it refuses the handshake: a proxy is offered no", wants.port);
        assert!(told.starts_with(&begins), "{versions:?}: {told}");
    }
}

/// What came from the server before the connection was cut is an answer, although the request could not be sent.
#[test]
fn an_answer_before_the_request_counts() {
    let answers = [
        ("HTTP/1.1 503 Service Unavailable\r\n\r\n", FailureKind::Http),
        ("HT", FailureKind::Http),
        ("", FailureKind::Connect),
    ];
    for (said, expected) in answers {
        let proxy = Server::new(move |mut stream| {
            // The last byte stays unread, which makes closing a reset.
            let (mut request, mut byte) = (Vec::new(), [0]);
            while !request.ends_with(b"\r\n\r") && stream.read(&mut byte).is_ok_and(|length| length == 1) {
                request.push(byte[0]);
            }
            let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n\r\n{said}").as_bytes());
        });
        // The request is sent sometimes before the reset, sometimes after it.
        for _ in 0..20 {
            let proxy = format!("http://127.0.0.1:{}", proxy.port);
            let events = ask(&through(&proxy, &["http://name.invalid/x".into()]));
            let [Event::Asked { .. }, Event::Failed { kind, why, .. }] = &events[..] else {
                panic!("{events:?}")
            };
            assert_eq!(*kind, expected, "{said:?}: {why}");
        }
    }
}

#[test]
fn a_proxy_that_hangs() {
    let silent = Server::silent();
    let question = Question {
        deadline: 400.try_into().unwrap(),
        ..through(&format!("http://127.0.0.1:{}", silent.port), &["http://name.invalid/x".into()])
    };
    let told = format!("no answer (the proxy 127.0.0.1:{} has not connected to it)", silent.port);
    assert_eq!(why(&question), told);
}

#[test]
fn socks5_resolves_at_the_proxy() {
    let server = Server::replies("status=OK");
    let to = server.port;
    let proxy = Server::new(move |mut stream| {
        let mut greeting = [0; 4];
        stream.read_exact(&mut greeting).unwrap();
        assert_eq!(greeting, [5, 2, 2, 0]);
        stream.write_all(&[5, 2]).unwrap();
        let mut login = [0; 3 + 4 + 4];
        stream.read_exact(&mut login).unwrap();
        assert_eq!(&login, b"\x01\x04user\x04pass");
        stream.write_all(&[1, 0]).unwrap();
        let mut request = [0; 5 + 12 + 2];
        stream.read_exact(&mut request).unwrap();
        assert_eq!(&request[..17], b"\x05\x01\x00\x03\x0cname.invalid");
        stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
        pump(stream, to);
    });
    replies(&through(
        &format!("socks5://user:pass@127.0.0.1:{}", proxy.port),
        &["http://name.invalid/x".into()],
    ));
}

#[test]
fn a_proxy_that_will_not() {
    let proxy = Server::says("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
    let url = ["http://name.invalid/x".to_string()];
    let refused = why(&through(&format!("http://127.0.0.1:{}", proxy.port), &url));
    let place = format!("127.0.0.1:{}", proxy.port);
    assert_eq!(
        refused,
        format!("the proxy wants a user and password: proxy = \"http://USER:PASSWORD@{place}\"")
    );
    let refused = why(&through(&format!("http://user:wrong@{place}"), &url));
    assert_eq!(refused, format!("the proxy {place} does not take the user and password in proxy"));
    let nowhere = refusing();
    let refused = why(&through(&nowhere, &url));
    let place = nowhere.trim_start_matches("http://").trim_end_matches('/');
    assert_eq!(refused, format!("connection refused (through the proxy {place})"));
    let none = why(&through("socks4://127.0.0.1", &url));
    assert!(none.starts_with("proxy is not a URL of the form"), "{none}");
}
