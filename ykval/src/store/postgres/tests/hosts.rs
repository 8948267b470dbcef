//! Several hosts, some of which are silent, or cannot be written to.

#![expect(clippy::disallowed_methods, reason = "threads of the test, which end with it")]

use super::super::cluster::settings;
use super::*;
use rustix::process::Signal;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Accepts connections, says nothing, and counts them.
fn silent() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, count) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming() {
            counted.fetch_add(1, Ordering::Relaxed);
            held.push(stream);
        }
    });
    (port, count)
}

/// Answers no SYN: its queue is full.
struct BlackHole {
    port: u16,
    _held: (rustix::fd::OwnedFd, Vec<std::thread::JoinHandle<()>>),
}

impl BlackHole {
    fn new() -> Self {
        use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        listen(&socket, 0).unwrap();
        let address = SocketAddr::try_from(getsockname(&socket).unwrap()).unwrap();
        let connect = move || {
            if let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_secs(30)) {
                std::thread::sleep(Duration::from_secs(30));
                drop(stream);
            }
        };
        let fill = (0..4).map(|_| std::thread::spawn(connect)).collect();
        let begun = Instant::now();
        while TcpStream::connect_timeout(&address, Duration::from_millis(100)).is_ok() {
            assert!(begun.elapsed() < Duration::from_secs(10), "its queue does not fill");
        }
        Self { port: address.port(), _held: (socket, fill) }
    }
}

/// A database that a role reaches with a password by TCP, and how, behind these hosts.
async fn by_tcp(cluster: &Cluster) -> impl Fn(&str) -> config::PostgresConfig + use<> {
    let at = cluster.database("owner").await;
    let (database, port) = (name(&at).to_owned(), cluster.port());
    let owner = cluster.connect(&database).await;
    let role = format!("CREATE ROLE tcp_{database} SUPERUSER LOGIN PASSWORD 'secret'");
    owner.batch_execute(&role).await.unwrap();
    move |before: &str| {
        let hosts = format!("{before}127.0.0.1:{port}");
        settings(format!("postgres://tcp_{database}:secret@{hosts}/{database}?sslmode=disable"))
    }
}

#[test]
fn silent_hosts_delay_nobody() {
    let Some(cluster) = shared() else { return };
    let holes = [BlackHole::new(), BlackHole::new()];
    let ((mute, count), (_, nobody)) = (silent(), nobody_there());
    wait(async {
        let behind = by_tcp(cluster).await;
        Postgres::create(&behind(""), KEY).await.unwrap();
        let [one, two] = holes.each_ref().map(|hole| format!("127.0.0.1:{},", hole.port));
        for before in
            [format!("127.0.0.1:{mute},"), format!("{one}{two}"), format!("{one}{nobody}127.0.0.1:{mute},")]
        {
            let begun = Instant::now();
            let store = Postgres::open(&behind(&before), KEY).await.unwrap();
            assert!(
                fresh(&store, 1, Fingerprint::ELSEWHERE, u64::from(mute) + 2).await || before.contains(&one)
            );
            assert!(begun.elapsed() < Duration::from_secs(4), "{before}: took {:?}", begun.elapsed());
        }
        // Who was fit is asked first from then on: where each answers in time, nobody else is asked.
        let store = Postgres::open(&behind(&format!("127.0.0.1:{mute},")), KEY).await.unwrap();
        let before = count.load(Ordering::Relaxed);
        let (mut slow, mut held) = (0, Vec::new());
        for _ in 0..8 {
            let begun = Instant::now();
            held.push(store.link.pool.get().await.unwrap());
            slow += usize::from(begun.elapsed() > Duration::from_millis(240));
        }
        let asked = count.load(Ordering::Relaxed) - before;
        assert!(asked <= slow, "the silent one was asked {asked} times, and {slow} connections were slow");
    });
}

fn nobody_there() -> (u16, String) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    (port, format!("127.0.0.1:{port},"))
}

#[test]
fn a_name_with_several_addresses() {
    let Some(cluster) = shared() else { return };
    // Another server with the name localhost.
    let Ok(other) = TcpListener::bind(("::1", cluster.port())) else {
        println!("skipped: no IPv6 here");
        return;
    };
    wait(async {
        let behind = by_tcp(cluster).await;
        let at = settings(behind("").url.replace("127.0.0.1", "localhost"));
        let begun = Instant::now();
        let store = Postgres::create(&at, KEY).await.unwrap();
        assert!(fresh(&store, 1, Fingerprint::ELSEWHERE, 1).await);
        assert!(begun.elapsed() < Duration::from_secs(4), "took {:?}", begun.elapsed());
        assert_eq!(store.traps().await, [], "one of its addresses is enough");
    });
    drop(other);
}

/// A server that is slow is not dead.
#[test]
fn a_slow_host_is_waited_for() {
    let Some(cluster) = shared() else { return };
    wait(async {
        let behind = by_tcp(cluster).await;
        Postgres::create(&behind(""), KEY).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, server) = (listener.local_addr().unwrap().port(), cluster.port());
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(1600)).await;
                    let mut server = tokio::net::TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        let (mute, _) = silent();
        let url = behind(&format!("127.0.0.1:{mute},")).url;
        let at = settings(url.replace(&format!(":{server}/"), &format!(":{port}/")));
        let store = Postgres::open(&at, KEY).await.unwrap();
        assert!(fresh(&store, 1, Fingerprint::ELSEWHERE, 1).await);
    });
}

#[test]
fn nobody_is_fit_and_each_says_why() {
    let Some(mut cluster) = Cluster::start() else { return };
    let behind = wait(by_tcp(&cluster));
    wait(Postgres::create(&behind(""), KEY)).unwrap();
    cluster.stop(Signal::INT);
    cluster.write("standby.signal", "");
    cluster.again();
    let ((mute, _), (_, nobody), hole) = (silent(), nobody_there(), BlackHole::new());
    let before = format!("127.0.0.1:{mute},{nobody}127.0.0.1:{},", hole.port);
    let begun = Instant::now();
    let told = wait(Postgres::open(&behind(&before), KEY)).map(|_| ()).unwrap_err().to_string();
    assert!(begun.elapsed() < Duration::from_secs(6), "took {:?}", begun.elapsed());
    let said: Vec<_> = told.rsplit_once(": 127.0.0.1:").map(|_| told.split("; ").collect()).unwrap();
    assert_eq!(said.len(), 4, "{told}");
    let is = ["gave no answer within 3 seconds", "refused", "timed out", "is a standby"];
    for ((said, is), port) in said.iter().zip(is).zip([mute, 0, hole.port, cluster.port()]) {
        assert!(said.contains(is), "{is}: {told}");
        assert!(port == 0 || said.contains(&format!("127.0.0.1:{port}: ")), "{port}: {told}");
    }
    assert!(!told.contains("secret"), "{told}");
}
