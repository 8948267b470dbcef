//! A real vsftpd on the private host, and as much of a client as a login takes.

use crate::ways::SOON;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tests::host::Host;

pub(crate) struct Ftp {
    port: u16,
    server: Child,
}

impl Ftp {
    /// Starts vsftpd on a free port of 127.0.0.1.
    pub(crate) fn start(host: &Host) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let empty = host.path().join("empty");
        std::fs::create_dir(&empty).unwrap();
        let config = format!(
            "listen=YES\nbackground=NO\nlisten_address=127.0.0.1\nlisten_port={port}\nanonymous_enable=NO\n\
             local_enable=YES\npam_service_name=vsftpd\nsecure_chroot_dir={}\nseccomp_sandbox=NO\n",
            empty.display()
        );
        host.write("/etc/vsftpd-site.conf", config, 0o600);
        let mut command = host.command("/usr/sbin/vsftpd");
        command.arg("/etc/vsftpd-site.conf").stdin(Stdio::null()).stdout(Stdio::null());
        let mut ftp = Self { port, server: command.spawn().unwrap() };
        let since = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = ftp.server.try_wait().unwrap();
            assert!(ended.is_none() && since.elapsed() < SOON, "vsftpd did not start: {ended:?}");
            thread::sleep(Duration::from_millis(5));
        }
        ftp
    }

    /// Whether a user gets in with this in the one field that FTP has.
    pub(crate) fn login(&self, user: &str, password: &str) -> bool {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let mut replies = BufReader::new(stream.try_clone().unwrap()).lines();
        let mut ask = |line: &str| {
            (&stream).write_all(line.as_bytes()).unwrap();
            replies.next().unwrap().unwrap()
        };
        let greeting = ask("");
        assert!(greeting.starts_with("220 "), "{greeting}");
        let wants = ask(&format!("USER {user}\r\n"));
        assert!(wants.starts_with("331 "), "{wants}");
        let said = ask(&format!("PASS {password}\r\n"));
        assert!(said.starts_with("230 ") || said.starts_with("530 "), "{said}");
        said.starts_with("230 ")
    }
}

impl Drop for Ftp {
    fn drop(&mut self) {
        let _gone = self.server.kill();
        self.server.wait().unwrap();
    }
}
