//! A terminal with a program in it, and someone who waits for words and types.

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// A program on a pseudo-terminal of its own, a dumb one of 24 lines by 80 columns. Dropping it kills the program,
/// if it still runs, and its process group.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    keyboard: File,
    screen: Arc<Screen>,
    waited_to: usize,
}

/// The text that has been printed, filled by a thread that reads all the time, so that the program never waits for us.
#[derive(Debug, Default)]
struct Screen {
    content: Mutex<Content>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    closed: bool,
}

impl Terminal {
    /// Starts `command` in a session of its own with the terminal as its controlling one, and as its standard
    /// input, output and error. Arguments, folder and variables of `command` are kept; `env_clear` is not.
    #[must_use]
    pub fn spawn(command: Command) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let keyboard = openpt(flags).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        tcsetwinsize(&keyboard, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let slave = ioctl_tiocgptpeer(&keyboard, flags).unwrap();

        let mut session = Command::new("env");
        // A runner in the background of a script ignores these, and what it starts would too.
        session.args(["--default-signal=INT,QUIT", "setsid"]);
        session.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
        session.env("TERM", "dumb"); // the same everywhere
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => session.env(name, value),
                None => session.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            session.current_dir(folder);
        }
        session.stdin(Stdio::from(slave.try_clone().unwrap()));
        session.stdout(Stdio::from(slave.try_clone().unwrap()));
        let child = session.stderr(Stdio::from(slave)).spawn().unwrap();

        let keyboard = File::from(keyboard);
        let screen = Arc::new(Screen::default());
        let (reader, filled) = (keyboard.try_clone().unwrap(), Arc::clone(&screen));
        thread::spawn(move || filled.fill_from(reader));
        Self { child, keyboard, screen, waited_to: 0 }
        // `session` and with it our copies of the slave go here: else the end would never show
    }

    /// Waits until `text` is printed, after the text of the last call.
    ///
    /// # Panics
    /// With the transcript, where it does not come in time or the program ends without it.
    pub fn wait_for(&mut self, text: &str, timeout: Duration) {
        let comes = self.comes(text, timeout);
        assert!(comes, "{text:?} was not printed; the terminal shows:\n{}", self.transcript());
    }

    /// The same, where it need not come; `false` if the program ended without it, or the time was over.
    pub fn comes(&mut self, text: &str, timeout: Duration) -> bool {
        let from = self.waited_to;
        let find = |bytes: &[u8]| {
            let place = bytes[from..].windows(text.len()).position(|window| window == text.as_bytes());
            place.map(|place| from + place + text.len())
        };
        let done = |content: &Content| content.closed || find(&content.bytes).is_some();
        let end = find(&self.screen.wait(timeout, done));
        self.waited_to = end.unwrap_or(from);
        end.is_some()
    }

    /// Types `line` and the return key. Wait for the prompt first: programs that hide what is typed throw away
    /// what came before it.
    pub fn type_line(&mut self, line: &str) {
        self.type_keys(&format!("{line}\r"));
    }

    /// Types just that: `"\x03"` is Ctrl-C, `"\x04"` Ctrl-D.
    pub fn type_keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// All that was printed so far, echoes of typed lines included; lines end in `\r\n`.
    #[must_use]
    pub fn transcript(&self) -> String {
        String::from_utf8_lossy(&self.screen.content.lock().unwrap().bytes).into_owned()
    }

    /// Whether the program has ended, and all that it printed is in the transcript.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.screen.content.lock().unwrap().closed
    }

    /// Waits until the program ends: its exit code, or `None` where a signal ended it, and the transcript.
    ///
    /// # Panics
    /// With the transcript, where it does not end in time.
    pub fn finish(mut self, timeout: Duration) -> (Option<i32>, String) {
        let deadline = Instant::now() + timeout;
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
                None => panic!("the program goes on; the terminal shows:\n{}", self.transcript()),
            }
        };
        // What it printed last may still be on its way. Something in the background may hold the terminal open.
        self.screen.wait(Duration::from_secs(1), |content| content.closed);
        (status.code(), self.transcript())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let leader = Pid::from_child(&self.child);
            // before setsid(1) has run there is no such group yet
            if kill_process_group(leader, Signal::KILL).is_err() {
                let _gone = kill_process(leader, Signal::KILL);
            }
            self.child.wait().unwrap();
        }
    }
}

impl Screen {
    fn fill_from(&self, mut reader: File) {
        let mut buffer = [0; 4096];
        loop {
            // EIO is how the kernel says that nobody has the other side open any more
            let length = reader.read(&mut buffer).unwrap_or(0);
            let mut content = self.content.lock().unwrap();
            content.bytes.extend_from_slice(&buffer[..length]);
            content.closed = length == 0;
            self.changed.notify_all();
            if content.closed {
                return;
            }
        }
    }

    /// The bytes when `done` says so, or when time is up.
    fn wait(&self, timeout: Duration, done: impl Fn(&Content) -> bool) -> Vec<u8> {
        let content = self.content.lock().unwrap();
        let waited = self.changed.wait_timeout_while(content, timeout, |content| !done(content)).unwrap();
        waited.0.bytes.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn shell(script: &str) -> Terminal {
        let mut command = Command::new("sh");
        command.args(["-c", script]).env("WORD", "marmalade");
        Terminal::spawn(command)
    }

    #[test]
    fn types_and_reads() {
        let mut terminal = shell(r#"printf 'name? '; read -r x; echo "hello $x, $WORD"; exit 3"#);
        terminal.wait_for("name? ", SOON);
        terminal.type_line("world");
        terminal.wait_for("hello world, marmalade", SOON);
        let (code, transcript) = terminal.finish(SOON);
        assert_eq!(code, Some(3));
        assert_eq!(transcript, "name? world\r\nhello world, marmalade\r\n");
    }

    #[test]
    fn is_a_controlling_terminal() {
        let (code, transcript) = shell("tty; echo direct >/dev/tty; stty size").finish(SOON);
        assert_eq!(code, Some(0));
        assert!(transcript.starts_with("/dev/pts/"), "{transcript}");
        assert!(transcript.ends_with("direct\r\n24 80\r\n"), "{transcript}");
    }

    #[test]
    fn waits_for_each_occurrence() {
        let mut terminal = shell("echo again; read -r x; echo again; kill -TERM $$");
        terminal.wait_for("again", SOON);
        terminal.type_line("");
        terminal.wait_for("again", SOON);
        assert_eq!(terminal.finish(SOON).0, None);
    }

    #[test]
    #[should_panic(expected = "terminal shows:\nfirst")]
    fn shows_the_transcript_when_words_do_not_come() {
        shell("echo first; sleep 60").wait_for("second", Duration::from_millis(300));
    }

    #[test]
    #[should_panic(expected = "\"second\" was not printed")]
    fn does_not_wait_for_the_dead() {
        shell("echo first").wait_for("second", Duration::from_secs(600));
    }

    #[test]
    fn interrupts() {
        let mut terminal = shell("trap 'echo stopped; exit 4' INT; echo ready; while :; do sleep 1; done");
        terminal.wait_for("ready", SOON);
        terminal.type_keys("\x03");
        terminal.wait_for("stopped", SOON);
        assert_eq!(terminal.finish(SOON).0, Some(4));
    }

    #[test]
    fn kills_what_is_left() {
        let mut terminal = Terminal::spawn(Command::new("cat"));
        terminal.type_line("echoed");
        terminal.wait_for("echoed", SOON);
        let started = Instant::now();
        drop(terminal);
        assert!(started.elapsed() < SOON);
    }
}
