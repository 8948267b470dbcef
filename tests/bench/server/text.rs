//! The part of the page that says how it was measured.

use crate::machine::machine;
use std::process::Command;
use std::time::Duration;
use tests::postgres::Cluster;

const HEAD: &str = "\
# What a validation costs

Written by `make bench-server`: do not edit. `ykvald` is the program as it is released, set up by its own commands, with
its own settings but one: a token may be asked about 1,000 times a second instead of ten, for a thousand tokens cannot
be pressed by so many people at once. It logs to a file, a line a question, as to a journal. Plain HTTP on 127.0.0.1.

Every question is one that no server has seen: another token's OTP, or a later one, from a YubiKey in software that
shares no code with the server; signed by the client, with `timestamp=1`. Every answer has to say OK and to repeat the
OTP, and one in 97 is checked whole, with its signature: anything else ends the run without a page. OK is durable: the
position is on the disk before it is answered.

The ceiling is a server of the same crates (hyper, hyper-util, tokio) that answers every request with as many bytes that
never change: no parameters, no keys, no disk. It is measured before each figure of ours, with the same questions. One
thread asks, over epoll, without a pause between an answer and the next question of a connection; what it takes of the
processors, which it shares with the server, is in the tables. Processor time is user and system, of all threads.
";

/// Measured on two such cores, elsewhere.
const SCALE: &str = "\
For scale, YK-VAL 2.41 with YK-KSM on two such cores shared with the client, 8 connections, measured apart from this run:

| | OK a second | p99, ms | processor time, ms |
|---|---:|---:|---:|
| PostgreSQL, as shipped | 95 | 143 | 21 |
| SQLite | 332–499 | 390–600 | – |
| MariaDB, the best tuned | 761 | 35 | 2.5 |
";

/// All of it. `time` is how long each figure was measured.
pub(crate) fn head(cluster: Option<&Cluster>, time: Duration) -> String {
    let database = cluster.map_or_else(String::new, |cluster| {
        let log = cluster.log();
        let version = log.lines().find_map(|line| line.split_once("starting ")?.1.split(" on ").next());
        format!(
            "{}, a cluster of its own with the settings that it comes with (fsync, full_page_writes and \
             synchronous_commit on, shared_buffers 128 MB), reached by TCP without TLS. Its memory is that of all its \
             processes, shared pages counted once.\n\n",
            version.unwrap_or("PostgreSQL")
        )
    });
    let etcd = Command::new("etcd").arg("--version").output().map_or_else(|_| String::new(), |output| {
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = said.lines().next().and_then(|line| line.split_once(": ")).map_or("", |(_, version)| version);
        format!(
            "etcd {version}, of which each member has a process of its own, all on this machine and its one disk, reached \
             by TCP without TLS. A synchronous standby of PostgreSQL is a second cluster here, for which each commit \
             waits.\n\n"
        )
    });
    format!(
        "{HEAD}\n{}\n\n{database}{etcd}The bare disk is one thread that writes as much as SQLite does for one step (4,120 \
         bytes, over a file that has its length) and `fdatasync`s it. Each figure was measured for {} s, after a fifth \
         of that.\n\n{SCALE}",
        machine(&["yubiserver"]),
        time.as_secs()
    )
}
