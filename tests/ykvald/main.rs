//! The validation server's commands from outside: what they create, print, reject and do not touch. One topic a file.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that fails must stop"
)]

mod agrees;
mod alive;
mod check;
mod checksum;
mod clients;
mod clocks;
mod cluster;
mod completions;
mod desk;
mod etcd;
mod etcd_tls;
mod import;
mod init;
mod keys;
mod lost;
mod moving;
mod serve;
mod sync;
