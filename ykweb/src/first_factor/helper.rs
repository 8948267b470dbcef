//! Asks `ykweb-password` over its socket.

use super::PasswordVerdict;
use crate::user::UserName;
use std::io;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program, cause};
use yubiotp::password::{MAX_ANSWER, PasswordAnswer, PasswordQuestion};
use zeroize::Zeroizing;

/// How long an answer may take. The program ends after as long.
const DEADLINE: Duration = Duration::from_secs(10);

/// Maximum concurrent questions: each is a process of root's, which waits two seconds after a wrong password.
const MOST: usize = 32;

/// Bytes of an answer beside the groups in it.
const HEAD: usize = 64;

/// The socket of `ykweb-password`.
pub struct Helper {
    socket: PathBuf,
    places: Semaphore,
    deadline: Duration,
}

impl Helper {
    /// This socket.
    #[must_use]
    pub fn new(socket: PathBuf) -> Self {
        Self { socket, places: Semaphore::new(MOST), deadline: DEADLINE }
    }

    /// Asks about a password. `from`: the address of the browser.
    ///
    /// # Errors
    /// Nothing was decided.
    pub async fn check(
        &self,
        user: &UserName,
        password: &Zeroizing<Vec<u8>>,
        from: Option<IpAddr>,
    ) -> Result<PasswordVerdict, Diagnostic> {
        let question = PasswordQuestion { user: user.as_str().to_owned(), password: password.clone(), from };
        // Empty, longer than any password, or with a NUL in it: nobody has such a password, and PAM takes none.
        let Ok(question) = question.write() else { return Ok(PasswordVerdict::Wrong) };
        let asked = tokio::time::timeout(self.deadline, self.ask(&question)).await;
        let answer = asked.map_err(|_| {
            self.not_asked(format!("ykweb-password did not answer within {} seconds", DEADLINE.as_secs()))
        })??;
        let read = PasswordAnswer::read(&answer).map_err(|bad| match answer.is_empty() {
            true => self.not_asked("ykweb-password closed the connection without an answer".to_owned()),
            false => self.not_asked(format!("ykweb-password: {bad}")),
        })?;
        match read {
            PasswordAnswer::Right { groups } => Ok(PasswordVerdict::Right { groups }),
            PasswordAnswer::Wrong => Ok(PasswordVerdict::Wrong),
            PasswordAnswer::NotAllowed { reason } => Ok(PasswordVerdict::NotAllowed(reason)),
            PasswordAnswer::Failed { why } => Err(Diagnostic::error(Code::PasswordUndecided, why).run_when(
                "to see what PAM logged",
                Program::System,
                "journalctl -t ykweb-password",
            )),
        }
    }

    /// The whole answer.
    async fn ask(&self, question: &[u8]) -> Result<Vec<u8>, Diagnostic> {
        let fault = |doing: &str, why: &io::Error| {
            self.not_asked(format!("cannot {doing} ykweb-password: {}", cause(why)))
        };
        let _place = self.places.acquire().await;
        let stream = UnixStream::connect(&self.socket).await;
        let mut stream = stream.map_err(|why| fault("connect to", &why))?;
        let peer = stream.peer_cred().map_err(|why| fault("identify", &why))?.uid();
        // Whoever else listens there wants the passwords.
        if peer != 0 && peer != rustix::process::geteuid().as_raw() {
            return Err(
                self.not_asked(format!("the process that listens there is of uid {peer}, and not root's"))
            );
        }
        // The answer counts, also if it came before all of the question was taken.
        let written = stream.write_all(question).await;
        let mut answer = Vec::new();
        let most = u64::try_from(MAX_ANSWER.saturating_add(HEAD)).unwrap_or(u64::MAX);
        let read = stream.take(most).read_to_end(&mut answer).await;
        if answer.is_empty() {
            written.map_err(|why| fault("ask", &why))?;
        }
        read.map_err(|why| fault("read from", &why))?;
        Ok(answer)
    }

    fn not_asked(&self, problem: String) -> Diagnostic {
        Diagnostic::error(Code::PasswordNotAsked, problem)
            .at(Location::file(self.socket.as_os_str().as_bytes()))
            .run_when(
                "to see whether systemd listens there",
                Program::System,
                "systemctl status ykweb-password.socket",
            )
            .run_when("to see what it said", Program::System, "journalctl -u 'ykweb-password@*'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use tokio::net::UnixListener;
    use yubiotp::password::Restriction;

    async fn check(socket: &Path) -> Result<PasswordVerdict, Code> {
        let user = UserName::parse("alice").unwrap();
        let from = Some("192.0.2.1".parse().unwrap());
        let checked = Helper::new(socket.to_owned()).check(&user, &b"p\nw".to_vec().into(), from).await;
        checked.map_err(|found| found.code)
    }

    #[tokio::test]
    async fn what_was_answered() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        assert_eq!(check(&socket).await, Err(Code::PasswordNotAsked), "nobody listens");
        let listener = UnixListener::bind(&socket).unwrap();
        let failed = PasswordAnswer::Failed { why: "no".into() };
        let restricted = PasswordAnswer::NotAllowed { reason: Restriction::AccountExpired };
        let right = PasswordAnswer::Right { groups: vec!["staff".into()] };
        for (text, verdict) in [
            (right.write(), Ok(PasswordVerdict::Right { groups: vec!["staff".into()] })),
            (PasswordAnswer::Wrong.write(), Ok(PasswordVerdict::Wrong)),
            (restricted.write(), Ok(PasswordVerdict::NotAllowed(Restriction::AccountExpired))),
            (failed.write(), Err(Code::PasswordUndecided)),
            (vec![], Err(Code::PasswordNotAsked)),
            (right.write()[..30].to_vec(), Err(Code::PasswordNotAsked)),
            ([right.write(), vec![b'x'; 100_000]].concat(), Err(Code::PasswordNotAsked)),
        ] {
            let answers = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut asked = Vec::new();
                let question = loop {
                    stream.read_buf(&mut asked).await.unwrap();
                    if let Some(question) = PasswordQuestion::read(&asked).unwrap() {
                        break question;
                    }
                };
                assert_eq!((question.user.as_str(), &**question.password), ("alice", &b"p\nw"[..]));
                assert_eq!(question.from, Some("192.0.2.1".parse().unwrap()));
                let _ = stream.write_all(&text).await;
            };
            assert_eq!(tokio::join!(check(&socket), answers).0, verdict, "{text:?}");
        }
    }

    #[tokio::test]
    async fn a_silent_one_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        let helper = Helper { deadline: Duration::from_millis(50), ..Helper::new(socket) };
        let checked = helper.check(&UserName::parse("alice").unwrap(), &b"x".to_vec().into(), None).await;
        assert_eq!(checked.map_err(|found| found.code), Err(Code::PasswordNotAsked));
    }

    #[tokio::test]
    async fn what_nobody_has_is_not_asked() {
        let helper = Helper::new("/nonexistent".into());
        for password in [vec![], vec![0], vec![b'x'; 1025]] {
            let user = UserName::parse("alice").unwrap();
            assert_eq!(helper.check(&user, &password.into(), None).await, Ok(PasswordVerdict::Wrong));
        }
    }
}
