//! A private host's log daemon: a datagram socket and a thread that empties it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Datagrams that only this file sends: syslog(3) begins with `<`.
const MARK: &[u8] = b"mark";
const STOP: &[u8] = b"stop";

/// The socket's other end, and what came in.
#[derive(Debug)]
pub struct Log {
    sender: UnixDatagram,
    lines: Arc<Mutex<Vec<String>>>,
    marks: Mutex<Receiver<()>>,
}

impl Log {
    /// Listens at `path`, for everyone.
    #[must_use]
    pub fn bind(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o666)).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        sender.connect(PathBuf::from(path)).unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (mark, marks) = channel();
        let filled = Arc::clone(&lines);
        thread::spawn(move || collect(&socket, &filled, &mark));
        Self { sender, lines, marks: Mutex::new(marks) }
    }

    /// All that was sent before this call: a mark goes through the socket after it.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let marks = self.marks.lock().unwrap();
        self.sender.send(MARK).unwrap();
        marks.recv_timeout(Duration::from_secs(10)).unwrap();
        self.lines.lock().unwrap().clone()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.sender.send(STOP).unwrap();
    }
}

fn collect(socket: &UnixDatagram, lines: &Mutex<Vec<String>>, mark: &Sender<()>) {
    let mut buffer = [0; 16 * 1024];
    loop {
        let length = socket.recv(&mut buffer).unwrap();
        match &buffer[..length] {
            MARK => mark.send(()).unwrap(),
            STOP => return,
            line => {
                let line = String::from_utf8_lossy(line);
                lines.lock().unwrap().push(line.trim_end_matches(['\n', '\0']).to_owned());
            }
        }
    }
}
