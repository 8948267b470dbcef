//! Who owns which token on this host: the settings, the mapping and the token store.
//!
//! The command `ykmap` and the module `pam_yubiotp.so` both decide through this library, so that the command says
//! beforehand what a login will do. In the order of a login: [`options`], [`settings`], [`mapping`], [`decide`], by the
//! [`store`] or [`online`]; [`mod@file`] opens every file of them. [`Fault`] is what each of them says when the world
//! fails.
#![forbid(unsafe_code)]

pub mod decide;
pub mod fault;
pub mod file;
pub mod mapping;
pub mod online;
pub mod options;
pub mod random;
pub mod sandbox;
pub mod settings;
pub mod store;

pub use fault::Fault;
