use super::*;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

const LONG: Duration = Duration::from_mins(1);

/// An authorizer that says who asked. The user `slow` waits until `go` is notified.
struct Authorizer {
    at: SocketAddr,
    stop: CancellationToken,
    ended: JoinHandle<()>,
    events: Arc<Mutex<Vec<FastCgiEvent>>>,
    /// Notified when `slow` asked.
    asked: Arc<Notify>,
    go: Arc<Notify>,
}

async fn start(limits: FastCgiLimits) -> Authorizer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (stop, events) = (CancellationToken::new(), Arc::<Mutex<Vec<_>>>::default());
    let (asked, go) = (Arc::<Notify>::default(), Arc::<Notify>::default());
    let both = (Arc::clone(&asked), Arc::clone(&go));
    let answer = move |request: AuthorizerRequest| {
        let (asked, go) = both.clone();
        async move {
            let user = request.get("USER").unwrap_or("nobody").to_owned();
            if user == "slow" {
                asked.notify_one();
                go.notified().await;
            }
            AuthorizerReply {
                status: 200,
                headers: vec![("Variable-REMOTE_USER".into(), user)],
                body: vec![],
            }
        }
    };
    let told = Arc::clone(&events);
    let tell = move |event| told.lock().unwrap().push(event);
    let ended = tokio::spawn(serve(listener, limits, stop.clone(), answer, tell));
    Authorizer { at, stop, ended, events, asked, go }
}

fn limits(connections: usize, read: Duration, idle: Duration) -> FastCgiLimits {
    FastCgiLimits { connections, read, idle }
}

fn ask(user: &str, keep: bool) -> Vec<u8> {
    request(1, keep, &[("USER", user)])
}

/// Reads one reply: its stream.
async fn reply(stream: &mut TcpStream) -> io::Result<String> {
    let mut text = String::new();
    loop {
        let mut head = [0; 8];
        stream.read_exact(&mut head).await?;
        let head = Head::read(&head).unwrap().unwrap();
        let mut content = vec![0; head.length()];
        stream.read_exact(&mut content).await?;
        match head.kind {
            kind::END_REQUEST => return Ok(text),
            _ => text.push_str(str::from_utf8(&content).unwrap()),
        }
    }
}

fn of(user: &str) -> String {
    format!("Status: 200 OK\r\nVariable-REMOTE_USER: {user}\r\n\r\n")
}

/// Whether it was closed, without another byte.
async fn is_closed(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0; 1]).await, Ok(0) | Err(_))
}

#[tokio::test]
async fn answers_and_closes_or_keeps() {
    let server = start(limits(8, LONG, LONG)).await;
    let mut once = TcpStream::connect(server.at).await.unwrap();
    // The end of a body comes late.
    once.write_all(&[ask("alice", false), record(kind::STDIN, 1, &[], 0)].concat()).await.unwrap();
    assert_eq!(reply(&mut once).await.unwrap(), of("alice"));
    assert!(is_closed(&mut once).await);
    let mut kept = TcpStream::connect(server.at).await.unwrap();
    for user in ["bob", "carol"] {
        kept.write_all(&ask(user, true)).await.unwrap();
        assert_eq!(reply(&mut kept).await.unwrap(), of(user));
    }
    // Two at once, in one piece.
    kept.write_all(&[ask("dave", true), ask("eve", false)].concat()).await.unwrap();
    assert_eq!(reply(&mut kept).await.unwrap(), of("dave"));
    assert_eq!(reply(&mut kept).await.unwrap(), of("eve"));
    assert!(is_closed(&mut kept).await);
    let mut other = TcpStream::connect(server.at).await.unwrap();
    other.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    assert!(is_closed(&mut other).await);
    let events = server.events.lock().unwrap();
    assert!(
        matches!(events[..], [FastCgiEvent::BadRecord { why: BadRecord::Version(b'G'), .. }]),
        "{events:?}"
    );
}

#[tokio::test]
async fn a_line_end_is_a_fault_of_ours() {
    let server = start(limits(8, LONG, LONG)).await;
    let mut stream = TcpStream::connect(server.at).await.unwrap();
    stream.write_all(&ask("a\r\nVariable-REMOTE_USER: root", false)).await.unwrap();
    assert_eq!(reply(&mut stream).await.unwrap(), "Status: 500 Internal Server Error\r\n\r\n");
    assert!(matches!(server.events.lock().unwrap()[..], [FastCgiEvent::BadReply]));
}

#[tokio::test]
async fn who_is_slow_is_closed() {
    let short = Duration::from_millis(50);
    let server = start(limits(8, short, LONG)).await;
    let mut slow = TcpStream::connect(server.at).await.unwrap();
    slow.write_all(&ask("alice", true)[..20]).await.unwrap();
    assert!(is_closed(&mut slow).await);
    assert!(matches!(server.events.lock().unwrap()[..], [FastCgiEvent::TooSlow { .. }]));
    // One that never says anything, and one that is idle.
    let mut silent = TcpStream::connect(server.at).await.unwrap();
    assert!(is_closed(&mut silent).await);
    let server = start(limits(8, LONG, short)).await;
    let mut idle = TcpStream::connect(server.at).await.unwrap();
    idle.write_all(&ask("alice", true)).await.unwrap();
    assert_eq!(reply(&mut idle).await.unwrap(), of("alice"));
    assert!(is_closed(&mut idle).await);
    assert!(server.events.lock().unwrap().is_empty());
}

/// Who waits longest gives way; who is being answered does not.
#[tokio::test]
async fn nobody_holds_all_places() {
    let server = start(limits(2, LONG, LONG)).await;
    let mut busy = TcpStream::connect(server.at).await.unwrap();
    busy.write_all(&ask("slow", false)).await.unwrap();
    server.asked.notified().await;
    let mut silent = Vec::new();
    for number in 0..5 {
        let mut stream = TcpStream::connect(server.at).await.unwrap();
        stream.write_all(&ask("alice", true)[..number]).await.unwrap();
        silent.push(stream);
    }
    let mut late = TcpStream::connect(server.at).await.unwrap();
    late.write_all(&ask("bob", false)).await.unwrap();
    assert_eq!(reply(&mut late).await.unwrap(), of("bob"));
    for mut stream in silent {
        assert!(is_closed(&mut stream).await);
    }
    server.go.notify_one();
    assert_eq!(reply(&mut busy).await.unwrap(), of("slow"));
    assert!(matches!(server.events.lock().unwrap()[0], FastCgiEvent::Crowded { limit: 2 }));
}

#[tokio::test]
async fn stops_when_all_are_answered() {
    let server = start(limits(8, LONG, LONG)).await;
    let mut idle = TcpStream::connect(server.at).await.unwrap();
    idle.write_all(&ask("alice", true)).await.unwrap();
    assert_eq!(reply(&mut idle).await.unwrap(), of("alice"));
    let mut busy = TcpStream::connect(server.at).await.unwrap();
    busy.write_all(&ask("slow", true)).await.unwrap();
    server.asked.notified().await;
    server.stop.cancel();
    assert!(is_closed(&mut idle).await);
    assert!(!server.ended.is_finished());
    server.go.notify_one();
    assert_eq!(reply(&mut busy).await.unwrap(), of("slow"));
    server.ended.await.unwrap();
    assert!(TcpStream::connect(server.at).await.is_err());
}
