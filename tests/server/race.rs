//! One OTP and many who ask at the same time: one of them gets OK.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Barrier;
use std::thread;
use tests::soft_yubikey::SoftYubiKey;
use tests::ykvald::{Client, Connection, Question, Site};

const CLIENTS: usize = 64;

/// Each round has one OTP: all clients ask at the same time, on open connections, at these servers in turn. Returns the
/// answers of each round, and how often each came.
fn race(
    servers: &[SocketAddr],
    client: &Client,
    key: &mut SoftYubiKey,
    rounds: usize,
    one_nonce: bool,
) -> Vec<BTreeMap<String, usize>> {
    let otps: Vec<_> = (0..rounds)
        .map(|round| {
            if round % 10 == 9 {
                key.replug();
            }
            Question::new(client, &key.press())
        })
        .collect();
    let start = Barrier::new(CLIENTS);
    let told: Vec<Vec<String>> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (start, otps) = (&start, &otps);
                let address = servers[number % servers.len()];
                scope.spawn(move || {
                    let mut connection = Connection::open(address).unwrap();
                    let requests: Vec<_> =
                        otps.iter()
                            .map(|one| {
                                if one_nonce { one.clone() } else { Question::new(client, one.value("otp")) }
                            })
                            .map(|question| question.signed(&client.key).request())
                            .collect();
                    let ask = |request: &String| {
                        start.wait();
                        connection.send(request).unwrap();
                        connection.read().unwrap().says()
                    };
                    requests.iter().map(ask).collect()
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    (0..rounds)
        .map(|round| {
            let mut counts = BTreeMap::new();
            for client in &told {
                *counts.entry(client[round].clone()).or_default() += 1;
            }
            counts
        })
        .collect()
}

#[track_caller]
fn assert_one(rounds: &[BTreeMap<String, usize>], others: &str) {
    for (round, counts) in rounds.iter().enumerate() {
        let expected = BTreeMap::from([("OK".to_owned(), 1), (others.to_owned(), CLIENTS - 1)]);
        assert_eq!(*counts, expected, "round {round} of {}", rounds.len());
    }
}

on_both_stores!(different_nonces, one_nonce, two_servers);
on_etcd!(different_nonces, one_nonce, two_servers);

fn rounds(site: &Site) -> usize {
    if site.is_sqlite() { 60 } else { 40 }
}

fn different_nonces(site: &Site) {
    let mut key = site.keys(1100..1101).remove(0);
    let server = site.start();
    assert_one(&race(&[server.address()], site.client(), &mut key, rounds(site), false), "REPLAYED_OTP");
}

/// A client that asks again because it got no answer in time.
fn one_nonce(site: &Site) {
    let mut key = site.keys(1101..1102).remove(0);
    let server = site.start();
    assert_one(
        &race(&[server.address()], site.client(), &mut key, rounds(site) / 2, true),
        "REPLAYED_REQUEST",
    );
}

/// Two processes on one store: several servers behind one name; with SQLite, one that is started while the old one
/// runs.
fn two_servers(site: &Site) {
    let mut key = site.keys(1102..1103).remove(0);
    let servers = [site.start(), site.start_another()];
    let addresses = [servers[0].address(), servers[1].address()];
    assert_one(&race(&addresses, site.client(), &mut key, rounds(site), false), "REPLAYED_OTP");
}
