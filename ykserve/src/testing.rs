//! What servers are tested with: a client that speaks byte by byte, a log in memory, certificates.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that fails must stop"
)]

mod authority;
mod wire;

pub use authority::{Authority, Identity, put};
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;
pub use wire::{Reply, Wire};

/// What was logged. A clone is the same log.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// What was logged so far.
    ///
    /// # Panics
    /// It is not UTF-8.
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The same, once a line has this in it.
    ///
    /// # Panics
    /// None has within 5 s.
    pub async fn with(&self, what: &str) -> String {
        for _ in 0..500 {
            let text = self.text();
            if text.contains(what) {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{what:?} was not logged: {}", self.text());
    }
}
