//! The web login from outside: real web servers with the files of `web-examples`, a real KDC, a real browser, and a client that
//! sends what no browser would. Nothing here uses the code under test; [`ykwebd`] runs what was built of it.
//!
//! All hosts are below `site.test`. Clients reach them at 127.0.0.1 by [`Names`](names::Names), each on its server's free port, so
//! that URLs, cookies and `Host` headers are those of a real site, without a port.

pub mod apache;
pub mod backend;
pub mod browser;
pub mod caddy;
pub mod daemon;
pub mod example;
pub mod front;
pub mod http;
pub mod kdc;
pub mod names;
pub mod nginx;
pub mod traefik;
pub mod visitor;
pub mod ykwebd;
