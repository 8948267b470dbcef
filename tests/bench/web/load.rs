//! The load: one thread, and as many connections as are wanted, each of which asks again when its answer came.

use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The protocol.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http,
    FastCgi,
}

/// The server that is asked, and how.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub address: SocketAddr,
    pub connections: usize,
    /// Before anything is counted.
    pub warm: Duration,
    pub time: Duration,
    pub speaks: Speaks,
    /// What each right answer has.
    pub right: &'static str,
}

/// What came of it.
pub(crate) struct Loaded {
    /// Right answers, while it was counted.
    pub ok: u64,
    /// Sorted, in nanoseconds.
    latencies: Vec<u32>,
    time: Duration,
}

impl Loaded {
    /// Answers a second.
    pub(crate) fn rate(&self) -> f64 {
        self.ok as f64 / self.time.as_secs_f64()
    }

    /// In milliseconds; 1 is the longest.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        let index = (self.latencies.len().saturating_sub(1) as f64 * part).round() as usize;
        self.latencies.get(index).map_or(0.0, |nanoseconds| f64::from(*nanoseconds) / 1e6)
    }
}

/// Runs it. `edge` is called when counting begins, and when it ends.
pub(crate) fn run(load: Load, ask: &[u8], mut edge: impl FnMut()) -> Loaded {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let begun = Instant::now();
        let (from, to) = (begun + load.warm, begun + load.warm + load.time);
        let askers: Vec<_> = (0..load.connections)
            .map(|_| tokio::task::spawn(connection(load, ask.to_vec(), [from, to])))
            .collect();
        tokio::time::sleep_until(from.into()).await;
        edge();
        tokio::time::sleep_until(to.into()).await;
        edge();
        let mut latencies = Vec::new();
        for asker in askers {
            latencies.extend(asker.await.unwrap());
        }
        latencies.sort_unstable();
        Loaded { ok: latencies.len() as u64, latencies, time: load.time }
    })
}

/// One connection, until the end: what each answer took, in nanoseconds.
async fn connection(load: Load, ask: Vec<u8>, [from, to]: [Instant; 2]) -> Vec<u32> {
    let mut stream = TcpStream::connect(load.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut latencies, mut heard) = (Vec::new(), Vec::with_capacity(4096));
    loop {
        let since = Instant::now();
        if since >= to {
            return latencies;
        }
        heard.clear();
        stream.write_all(&ask).await.unwrap();
        while !is_whole(load.speaks, &heard) {
            assert!(stream.read_buf(&mut heard).await.unwrap() > 0, "the server closed the connection");
        }
        let right = memchr::memmem::find(&heard, load.right.as_bytes()).is_some();
        assert!(right, "{}", String::from_utf8_lossy(&heard));
        let now = Instant::now();
        if since >= from && now < to {
            latencies.push((now - since).as_nanos().try_into().unwrap_or(u32::MAX));
        }
    }
}

fn is_whole(speaks: Speaks, heard: &[u8]) -> bool {
    match speaks {
        Speaks::Http => {
            let Some(end) = memchr::memmem::find(heard, b"\r\n\r\n") else { return false };
            let length = memchr::memmem::find(&heard[..end], b"content-length: ").map_or(0, |at| {
                let digits = heard[at + 16..].iter().take_while(|byte| byte.is_ascii_digit());
                digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0'))
            });
            heard.len() >= end + 4 + length
        }
        // Its last record is FCGI_END_REQUEST, of 8 bytes.
        Speaks::FastCgi => heard.len() >= 16 && heard[heard.len() - 16..][..2] == [1, 3],
    }
}

/// A request that keeps the connection, to a FastCGI program in this role: 1 responds, and gets what a browser sends (nothing
/// here); 2 authorizes, and gets none (FastCGI specification, sections 5.1 and 6).
pub(crate) fn fastcgi(role: u8, params: &[(&str, &str)]) -> Vec<u8> {
    let record = |kind: u8, content: &[u8]| {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[1, kind, 0, 1, length[0], length[1], 0, 0], content].concat()
    };
    let mut pairs = Vec::new();
    for (name, value) in params {
        pairs.extend([u8::try_from(name.len()).unwrap(), u8::try_from(value.len()).unwrap()]);
        pairs.extend_from_slice(name.as_bytes());
        pairs.extend_from_slice(value.as_bytes());
    }
    // FCGI_BEGIN_REQUEST with FCGI_KEEP_CONN, FCGI_PARAMS, its end, and the end of FCGI_STDIN.
    let stdin = if role == 1 { record(5, &[]) } else { Vec::new() };
    [record(1, &[0, role, 1, 0, 0, 0, 0, 0]), record(4, &pairs), record(4, &[]), stdin].concat()
}
