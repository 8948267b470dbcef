//! A host's library: settings, mapping file, token store, module arguments, and asking validation servers.
//!
//! A login process loads it: the module `pam_yubiotp.so` decides through it. So does the command `ykmap`, which can
//! therefore say beforehand what a login will do. In the order of a login: [`options`], [`settings`], [`policy`],
//! [`mapping`], [`decide`], by the [`store`] or [`online`]; [`enrolled`] changes who has which token; [`mod@file`] opens
//! every file of them. [`Fault`] is what each of them
//! says when the world fails.
#![forbid(unsafe_code)]

pub mod clock;
pub mod decide;
pub mod enroll;
pub mod enrolled;
pub mod fault;
pub mod file;
pub mod mapping;
pub mod online;
pub mod options;
pub mod policy;
mod program;
pub mod random;
pub mod remedies;
pub mod sandbox;
pub mod settings;
pub mod store;
mod user_path;

pub use fault::Fault;
