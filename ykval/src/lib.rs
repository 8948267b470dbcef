//! `ykvald`, a validation server for the one-time passwords of YubiKeys.
//!
//! In the order of one request: [`serve`] takes it from a connection, [`verify`] checks it and decides, [`store`] keeps
//! clients, keys and positions, in SQLite or PostgreSQL. Beside that path: [`config`] is the settings, [`guard`] remembers
//! what was accepted, [`compare`] notices a store that forgot it, [`moving`] moves one to another, [`ksm`] asks a key storage
//! module that a site has already, [`decrypt`] is one; [`sync`] tells a pool of YK-VAL servers what was accepted, [`cluster`]
//! asks the servers of a site how they are. [`mod@etcd`] is a client of the cluster
//! that may be the store. What every server needs, whatever it serves, is in [`ykserve`].
#![forbid(unsafe_code)]

pub mod capacity;
pub mod cluster;
pub mod compare;
pub mod config;
pub mod decrypt;
pub mod etcd;
pub mod guard;
pub mod import;
pub mod keys;
pub mod ksm;
pub mod limit;
pub mod moving;
pub mod serve;
pub mod store;
pub mod sync;
pub mod verify;

pub use ykserve::{certificates, clock, file, prefix, random};
