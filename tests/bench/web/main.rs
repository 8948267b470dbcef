//! `make bench-web`: what `ykwebd` takes to decide about a request to a protected host, beside a server of the same crates that
//! only says hello, in one run.
//!
//! It prints a page, and fails only where an answer is not the right one: no figure is a test. With `--write` the page goes to
//! `tests/bench/WEB.md`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a benchmark prints, and stops where it cannot measure"
)]

#[path = "../server/hello.rs"]
mod hello;
mod lemonldap;
mod load;
#[expect(dead_code, reason = "where libpam has its modules: another benchmark asks")]
#[path = "../machine.rs"]
mod machine;
#[path = "../page.rs"]
mod page;
#[expect(dead_code, reason = "of memory: another benchmark asks")]
#[path = "../server/process.rs"]
mod process;
mod sessions;

use hello::Hello;
use lemonldap::LemonLdap;
use load::{Load, Loaded, Speaks};
use page::{Aim, Limit, Section};
use std::env;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use tests::built;
use tests::web::ykwebd::Site;

const CONNECTIONS: [usize; 3] = [1, 8, 64];
const SESSIONS: [usize; 2] = [1, 100_000];
const HOST: &str = "wiki.site.test";

/// How each is asked, and what its right answer has.
const HTTP: (Speaks, &str) = (Speaks::Http, " 200 ");
const FASTCGI: (Speaks, &str) = (Speaks::FastCgi, "Variable-REMOTE_USER: alice");
const LEMONLDAP: (Speaks, &str) = (Speaks::FastCgi, "Lm-Remote-User: alice");

/// One row of figures: a server, and how it did at each number of connections.
struct Row {
    name: String,
    loaded: Vec<(Loaded, Duration)>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == hello::HELLO) {
        hello::serve();
        return ExitCode::SUCCESS;
    }
    let write = arguments.iter().any(|argument| argument == "--write");
    if write && !built::program("ykwebd").parent().is_some_and(|folder| folder.ends_with("release")) {
        eprintln!("ykwebd is not the released one: cargo bench");
        return ExitCode::FAILURE;
    }
    let full = env::var("BENCH_FULL").is_ok_and(|full| full == "1");
    let time = Duration::from_secs(if full { 15 } else { 3 });

    let hello = Hello::start();
    let say = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".to_vec();
    let pid = hello.pid();
    let mut rows = vec![row("a server that only says hello", hello.address, &say, HTTP, time, || {
        process::processor_time(pid)
    })];
    drop(hello);
    let mut site = Site::start();
    for number in SESSIONS {
        let cookie = sessions::add(site.path(), number, HOST);
        site.restart();
        let pid = site.ykwebd.pid();
        let name =
            |what: &str| format!("{what}, {number} {}", if number == 1 { "session" } else { "sessions" });
        let processor = || process::processor_time(pid);
        rows.push(row(&name("`auth_request`"), site.portal.http, &http(&cookie), HTTP, time, processor));
        let ask =
            [("HTTP_HOST", HOST), ("REQUEST_URI", "/page"), ("HTTP_COOKIE", &cookie), ("YK_REQUIRE", "otp")];
        let ask = load::fastcgi(2, &ask);
        rows.push(row(&name("FastCGI"), site.portal.fastcgi, &ask, FASTCGI, time, processor));
    }
    drop(site);
    let ours = rows.len();
    match LemonLdap::start(CONNECTIONS[2], HOST) {
        Some(peer) => {
            let ask = load::fastcgi(1, &lemonldap(&peer.cookie));
            let processor = || process::family_time(peer.pid());
            rows.push(row("LemonLDAP::NG, 1 session", peer.address, &ask, LEMONLDAP, time, processor));
        }
        None => eprintln!("LemonLDAP::NG is not installed, and left out"),
    }
    let page = page::page(&text(time), &[section(&rows, ours)]);
    println!("{page}");
    if write {
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/WEB.md"), page).unwrap();
    }
    ExitCode::SUCCESS
}

/// What nginx asks, with `proxy_set_header` as in the example.
fn http(cookie: &str) -> Vec<u8> {
    format!(
        "GET /authorize/nginx?require=otp HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-Host: {HOST}\r\nX-Forwarded-Uri: /page\r\n\
         X-Forwarded-Method: GET\r\nX-Forwarded-Proto: https\r\nSec-Fetch-Mode: navigate\r\nCookie: {cookie}\r\n\r\n"
    )
    .into_bytes()
}

/// What nginx asks it, as in its example: the address is in a parameter of its own.
fn lemonldap(cookie: &str) -> [(&str, &str); 9] {
    [
        ("REQUEST_METHOD", "GET"),
        ("HTTP_HOST", HOST),
        ("HOST", HOST),
        ("X_ORIGINAL_URI", "/page"),
        ("REQUEST_URI", "/lmauth"),
        ("SERVER_PORT", "443"),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("HTTP_COOKIE", cookie),
    ]
}

/// At each number of connections; `processor` says what processor time the server has taken.
fn row(
    name: &str,
    address: SocketAddr,
    ask: &[u8],
    (speaks, right): (Speaks, &'static str),
    time: Duration,
    processor: impl Fn() -> Duration,
) -> Row {
    let loaded = CONNECTIONS.map(|connections| {
        let load = Load { address, connections, warm: time / 5, time, speaks, right };
        let mut at = [Duration::ZERO; 2];
        let mut edges = at.iter_mut();
        let loaded = load::run(load, ask, || *edges.next().unwrap() = processor());
        let took = at[1].saturating_sub(at[0]);
        eprintln!(
            "{name}, {connections} connections: {:.0} a second, p99 {:.2} ms",
            loaded.rate(),
            loaded.quantile(0.99)
        );
        (loaded, took)
    });
    Row { name: name.to_owned(), loaded: loaded.into() }
}

fn text(time: Duration) -> String {
    format!(
        "# What a decision about a request costs\n\nWritten by `make bench-web`: do not edit. `ykwebd` is the program as it is \
         released, with the example's settings. Each question has the cookie of a session that showed a password and a second \
         factor, and is about a page that needs both; each answer has to let it pass. The ceiling is a server of the same crates \
         that says hello to everybody, measured before. LemonLDAP::NG of Debian is a peer: the FastCGI server that nginx asks, with \
         {} processes, its session in files, and all of them in its processes' memory. One thread asks, and shares the processors with the server. Each figure \
         was measured for {} s, after a fifth of that.\n\n{}",
        CONNECTIONS[2],
        time.as_secs(),
        machine::machine(&["lemonldap-ng-fastcgi-server"])
    )
}

fn section(rows: &[Row], ours: usize) -> Section {
    let most = |row: &Row| {
        row.loaded.last().map_or((0.0, 0.0), |(loaded, _)| (loaded.rate(), loaded.quantile(0.99)))
    };
    let mut aims = Vec::new();
    for row in rows.iter().take(ours).skip(1) {
        let (rate, p99) = most(row);
        let name = &row.name;
        let bound = format!("the ceiling is {:.0} a second", most(&rows[0]).0);
        let what = format!("{name}, 64 connections: decisions a second");
        aims.push(Aim { what, limit: Limit::AtLeast(20_000.0), measured: rate, unit: "", bound });
        let what = format!("{name}, 64 connections: p99");
        aims.push(Aim { what, limit: Limit::AtMost(5.0), measured: p99, unit: " ms", bound: String::new() });
        let alone = row.loaded.first().map_or(0.0, |(loaded, _)| loaded.quantile(0.99));
        let (what, bound) =
            (format!("{name}: p99 of a lone one, which is added to its request"), String::new());
        aims.push(Aim { what, limit: Limit::AtMost(1.0), measured: alone, unit: " ms", bound });
    }
    let mut text = String::from("## Decisions a second\n\n");
    let columns: Vec<String> = CONNECTIONS.iter().map(ToString::to_string).collect();
    let columns: Vec<&str> =
        std::iter::once("connections").chain(columns.iter().map(String::as_str)).collect();
    text.push_str(&page::head(&columns));
    for row in rows {
        let of = |figure: fn(&Loaded, Duration) -> f64| -> Vec<f64> {
            row.loaded.iter().map(|(loaded, took)| figure(loaded, *took)).collect()
        };
        text.push_str(&page::row(&format!("**{}**: a second", row.name), &of(|loaded, _| loaded.rate())));
        text.push_str(&page::row("p50, ms", &of(|loaded, _| loaded.quantile(0.5))));
        text.push_str(&page::row("p99, ms", &of(|loaded, _| loaded.quantile(0.99))));
        let each = of(|loaded, took| took.as_secs_f64() * 1e6 / loaded.ok as f64);
        text.push_str(&page::row("processor time of the server for each, µs", &each));
    }
    if let Some(peer) = rows.get(ours) {
        let (theirs, ceiling) = (most(peer).0, most(&rows[0]).0);
        for row in rows.iter().take(ours).skip(1) {
            let rate = most(row).0;
            writeln!(
                text,
                "\n{}: {:.2} of the hello, and {:.0} times {}, at {} connections.",
                row.name,
                rate / ceiling,
                rate / theirs,
                peer.name,
                CONNECTIONS[2]
            )
            .unwrap();
        }
    }
    writeln!(text).unwrap();
    Section { aims, text }
}
