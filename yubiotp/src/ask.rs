//! The messages between a login process and `yubiotp-ask`, over a socket between them.
//!
//! The login process writes one [`Question`], whose URLs are complete: the program asks them, and knows neither the
//! client's key nor what a right answer looks like, so an attacker who has compromised it from the network cannot make
//! it say yes. It answers with [`Event`]s as they happen, and ends when there is nothing more to report, when the
//! deadline has passed, or when the socket is closed. In between the login process may write [`NEXT`]: the last reply
//! was no answer, ask the next server now.

use crate::diagnostic::Code;
use crate::shown;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::num::NonZeroU32;
use zeroize::Zeroizing;

/// The first line of a question.
const HEAD: &str = "yubiotp-ask 2";

/// The login process writes this after the question to have the next server asked.
pub const NEXT: &[u8] = b"next\n";

/// The longest body of a reply that is handed on, in bytes. A reply of YK-VAL has about 200.
pub const MAX_REPLY: usize = 4096;

/// The most servers that can be asked in one question.
pub const MAX_SERVERS: usize = 16;

/// The longest question, in bytes.
pub const MAX_QUESTION: usize = 64 << 10;

/// The longest text that explains a failure, in bytes; a longer text is cut.
const MAX_WHY: usize = 512;

/// The servers to ask, and how. Its URLs contain an OTP and its proxy may hold a password: it is never printed.
pub struct Question {
    /// How long all of it may take, in milliseconds, from when the program has read the question. Shortly before, it
    /// tells of every server that is silent still.
    pub deadline: NonZeroU32,
    /// How long the first server may be silent before all others are asked too, in milliseconds.
    pub hedge: NonZeroU32,
    /// The complete URLs, at most [`MAX_SERVERS`], in the order of asking.
    pub urls: Vec<Zeroizing<String>>,
    /// A file or folder of certificate authorities (PEM), instead of the system's.
    pub ca: Option<String>,
    /// A file with the client's certificate and those above it (PEM).
    pub client_cert: Option<String>,
    /// A file with the client's private key (PEM).
    pub client_key: Option<String>,
    /// A file with the passphrase of that key.
    pub client_key_passphrase_file: Option<String>,
    /// The URL of a proxy: http, https or socks5.
    pub proxy: Option<Zeroizing<String>>,
}

/// Why a question cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the question cannot be read: {0}")]
pub struct BadQuestion(&'static str);

impl Question {
    /// The question as it is written: lines of `name value`, and an empty one.
    ///
    /// A value that holds a line end is left out with all that follows it, so that it cannot say something else.
    #[must_use]
    pub fn write(&self) -> Zeroizing<String> {
        // Room for all of it, so that no part stays behind in memory that was too small.
        let mut text = Zeroizing::new(String::with_capacity(MAX_QUESTION));
        let mut line = |name: &str, value: &str| {
            for part in [name, " ", value.split(['\n', '\r']).next().unwrap_or_default(), "\n"] {
                text.push_str(part);
            }
        };
        let (name, version) = HEAD.split_once(' ').unwrap_or_default();
        line(name, version);
        line("deadline", &self.deadline.to_string());
        line("hedge", &self.hedge.to_string());
        let files = [
            ("ca", &self.ca),
            ("client_cert", &self.client_cert),
            ("client_key", &self.client_key),
            ("client_key_passphrase_file", &self.client_key_passphrase_file),
        ];
        for (name, value) in files {
            if let Some(value) = value {
                line(name, value);
            }
        }
        if let Some(proxy) = &self.proxy {
            line("proxy", proxy);
        }
        for url in &self.urls {
            line("url", url);
        }
        text.push('\n');
        text
    }

    /// Reads a whole question, its empty line included.
    ///
    /// # Errors
    /// Something in it is not as [`Question::write`] makes it.
    pub fn read(text: &[u8]) -> Result<Self, BadQuestion> {
        let text = str::from_utf8(text).map_err(|_| BadQuestion("not UTF-8"))?;
        let text = text.strip_suffix("\n\n").ok_or(BadQuestion("it has no end"))?;
        let mut lines = text.split('\n');
        if lines.next() != Some(HEAD) {
            return Err(BadQuestion("it is of another version of pam_yubiotp"));
        }
        let (mut deadline, mut hedge) = (None, None);
        let (mut ca, mut client_cert, mut client_key, mut passphrase) = (None, None, None, None);
        let (mut proxy, mut urls) = (None, Vec::new());
        for line in lines {
            let (name, value) = line.split_once(' ').ok_or(BadQuestion("a line without a value"))?;
            let file = match name {
                "ca" => &mut ca,
                "client_cert" => &mut client_cert,
                "client_key" => &mut client_key,
                "client_key_passphrase_file" => &mut passphrase,
                "deadline" | "hedge" => {
                    let slot = if name == "hedge" { &mut hedge } else { &mut deadline };
                    *slot = Some(value.parse().map_err(|_| BadQuestion("a time that is no number"))?);
                    continue;
                }
                "proxy" => {
                    proxy = Some(Zeroizing::new(value.to_string()));
                    continue;
                }
                "url" => {
                    urls.push(Zeroizing::new(value.to_string()));
                    continue;
                }
                _ => return Err(BadQuestion("an unknown line")),
            };
            *file = Some(value.to_string());
        }
        let (Some(deadline), Some(hedge)) = (deadline, hedge) else {
            return Err(BadQuestion("no deadline or no hedge"));
        };
        if urls.is_empty() || urls.len() > MAX_SERVERS {
            return Err(BadQuestion("no server, or too many"));
        }
        Ok(Self {
            deadline,
            hedge,
            urls,
            ca,
            client_cert,
            client_key,
            client_key_passphrase_file: passphrase,
            proxy,
        })
    }
}

/// An event that the program reports. Servers are counted from 0, in the order of the question's URLs; times are
/// milliseconds since that server was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A server is being asked.
    Asked {
        /// Its index.
        server: usize,
    },
    /// A server sent a whole reply, with status 200. It is not checked.
    Reply {
        /// The index of the server.
        server: usize,
        /// The time since it was asked.
        ms: u32,
        /// Its body, at most [`MAX_REPLY`] bytes. Wiped on drop: it repeats the OTP.
        body: Zeroizing<Vec<u8>>,
    },
    /// A server could not be reached, or sent no whole reply.
    Failed {
        /// The index of the server.
        server: usize,
        /// The kind of failure.
        kind: FailureKind,
        /// The time since it was asked.
        ms: u32,
        /// Why, in words for the log.
        why: String,
    },
    /// Something that the administrator should know. It changes nothing.
    Note {
        /// The note, in words for the log.
        what: String,
    },
    /// Nobody can be asked: a file that the question names cannot be used, or the host lacks the resources.
    Unable {
        /// The kind of obstacle.
        kind: Obstacle,
        /// Why, in words for the log.
        why: String,
    },
}

/// The reason why the program can ask nobody. The text of the event has the problem; the login process adds the remedy
/// for each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// A file that the question names, or the proxy's URL, cannot be used, for a reason that has no kind of its own.
    File,
    /// Others may read a file that holds a secret.
    FileReadable,
    /// Group or others may write to a file of certificate authorities.
    FileWritable,
    /// A file of certificate authorities belongs to another user.
    FileOwner,
    /// A file grew while it was read.
    FileChanging,
    /// A file of certificates is DER, not PEM.
    DerCertificate,
    /// A file of a private key is DER, not PEM.
    DerKey,
    /// A file is PKCS#12, not PEM.
    Pkcs12,
    /// The private key is encrypted in a way that is not supported.
    KeyEncryption,
    /// The private key is encrypted, and no passphrase file is named.
    NoPassphrase,
    /// The private key is of a kind or size that is not supported.
    KeyType,
    /// Certificate, private key and passphrase file are not all named that are needed together.
    IdentityParts,
    /// There are no certificate authorities.
    NoAuthorities,
    /// The host lacks processes, memory, descriptors or time.
    Limit,
    /// The question cannot be read: program and module are of different versions.
    Protocol,
    /// Anything else, and every kind that is not known here.
    Other,
}

impl Obstacle {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::File,
        Self::FileReadable,
        Self::FileWritable,
        Self::FileOwner,
        Self::FileChanging,
        Self::DerCertificate,
        Self::DerKey,
        Self::Pkcs12,
        Self::KeyEncryption,
        Self::NoPassphrase,
        Self::KeyType,
        Self::IdentityParts,
        Self::NoAuthorities,
        Self::Limit,
        Self::Protocol,
        Self::Other,
    ];

    /// The word for it in an event.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::FileReadable => "file-readable",
            Self::FileWritable => "file-writable",
            Self::FileOwner => "file-owner",
            Self::FileChanging => "file-changing",
            Self::DerCertificate => "der-certificate",
            Self::DerKey => "der-key",
            Self::Pkcs12 => "pkcs-twelve",
            Self::KeyEncryption => "key-encryption",
            Self::NoPassphrase => "no-passphrase",
            Self::KeyType => "key-type",
            Self::IdentityParts => "identity-parts",
            Self::NoAuthorities => "no-authorities",
            Self::Limit => "limit",
            Self::Protocol => "protocol",
            Self::Other => "other",
        }
    }

    /// The code of a finding about it.
    #[must_use]
    pub const fn code(self) -> Code {
        match self {
            Self::File
            | Self::FileReadable
            | Self::FileWritable
            | Self::FileOwner
            | Self::FileChanging
            | Self::DerCertificate
            | Self::DerKey
            | Self::Pkcs12
            | Self::KeyEncryption
            | Self::NoPassphrase
            | Self::KeyType
            | Self::IdentityParts
            | Self::NoAuthorities => Code::AskFileInvalid,
            Self::Limit => Code::AskLimit,
            Self::Protocol => Code::AskVersionMismatch,
            Self::Other => Code::CannotAsk,
        }
    }

    fn read(word: &str) -> Self {
        Self::ALL.into_iter().find(|kind| kind.name() == word).unwrap_or(Self::Other)
    }
}

/// The kind of failure that kept a server from a whole reply. Whether the host may decide instead depends on it, so it
/// is never read out of the words for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The name of the server, or of the proxy, does not resolve.
    Dns,
    /// No connection: refused, no route, or closed before the server sent a byte.
    Connect,
    /// The proxy does not connect to the server: nothing came from the server.
    Proxy,
    /// The TLS handshake with the proxy failed: nothing came from the server.
    ProxyTls,
    /// Nothing came before the deadline.
    Silence,
    /// The server answered the TLS handshake, and it failed.
    Tls,
    /// The server replied with another HTTP status than 200, or sent a part of a reply, or no HTTP.
    Http,
    /// Anything else, and every kind that is not known here.
    Other,
}

impl FailureKind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Dns,
        Self::Connect,
        Self::Proxy,
        Self::ProxyTls,
        Self::Silence,
        Self::Tls,
        Self::Http,
        Self::Other,
    ];

    /// The word for it in an event.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Proxy => "proxy",
            Self::ProxyTls => "proxy-tls",
            Self::Silence => "silence",
            Self::Tls => "tls",
            Self::Http => "http",
            Self::Other => "other",
        }
    }

    /// The code of a finding about it.
    #[must_use]
    pub const fn code(self) -> Code {
        match self {
            Self::Dns => Code::ServerNameUnresolved,
            Self::Connect => Code::ServerUnreachable,
            Self::Proxy => Code::ProxyFailed,
            Self::ProxyTls => Code::ProxyTlsFailed,
            Self::Silence => Code::ServerSilent,
            Self::Tls => Code::ServerTlsFailed,
            Self::Http => Code::ServerHttpFailed,
            Self::Other => Code::ServerFailed,
        }
    }

    /// Whether the server answered, or may have: it was reached, and no other host should decide in its place.
    #[must_use]
    pub const fn is_answer(self) -> bool {
        match self {
            Self::Dns | Self::Connect | Self::Proxy | Self::ProxyTls | Self::Silence => false,
            Self::Tls | Self::Http | Self::Other => true,
        }
    }

    /// Reads the word. One that is not known may be of a later version.
    fn read(word: &str) -> Self {
        Self::ALL.into_iter().find(|kind| kind.name() == word).unwrap_or(Self::Other)
    }
}

/// Whether a text is the word for a kind, of whatever version.
fn is_kind(word: &str) -> bool {
    (1..=16).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

/// The program said something that is no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it said something that is no event")]
pub struct BadEvent;

impl Event {
    /// The event as it is written: a line, and after it the body or text, if there is one.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let words;
        let (head, rest): (_, &[u8]) = match self {
            Self::Asked { server } => return format!("asked {server}\n").into_bytes(),
            Self::Reply { server, ms, body } => (format!("reply {server} {ms}"), body),
            Self::Failed { server, kind, ms, why } => {
                words = shown::line(why).to_string();
                (format!("failed {server} {} {ms}", kind.name()), cut(&words).as_bytes())
            }
            Self::Unable { kind, why } => {
                words = shown::line(why).to_string();
                (format!("unable {}", kind.name()), cut(&words).as_bytes())
            }
            Self::Note { what } => {
                words = shown::line(what).to_string();
                ("note".into(), cut(&words).as_bytes())
            }
        };
        let mut text = format!("{head} {}\n", rest.len()).into_bytes();
        text.extend_from_slice(rest);
        text
    }
}

fn cut(why: &str) -> &str {
    (0..=MAX_WHY).rev().find_map(|end| why.get(..end.min(why.len()))).unwrap_or_default()
}

/// Reads events from what arrives in pieces.
#[derive(Default)]
pub struct Events {
    unread: Zeroizing<Vec<u8>>,
}

impl Events {
    /// Takes the bytes that have arrived.
    pub fn feed(&mut self, piece: &[u8]) {
        // A buffer that grows leaves what it held behind, so it is another that grows, and this one is wiped.
        if self.unread.capacity().saturating_sub(self.unread.len()) < piece.len() {
            let length = self.unread.len().saturating_add(piece.len());
            let mut larger = Zeroizing::new(Vec::with_capacity(length.saturating_mul(2)));
            larger.extend_from_slice(&self.unread);
            self.unread = larger;
        }
        self.unread.extend_from_slice(piece);
    }

    /// The next whole event; `None` if more has to arrive first.
    ///
    /// # Errors
    /// The bytes that arrived are no event, and nothing after them can be one.
    #[expect(clippy::should_implement_trait, reason = "more may arrive after a `None`")]
    pub fn next(&mut self) -> Option<Result<Event, BadEvent>> {
        match take(&self.unread) {
            Ok(None) => None,
            Ok(Some((event, used))) => {
                self.unread.drain(..used);
                Some(Ok(event))
            }
            Err(bad) => Some(Err(bad)),
        }
    }

    /// Whether something has arrived that is not a whole event.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        !self.unread.is_empty()
    }
}

/// The event at the start of a text, and how long it is.
fn take(text: &[u8]) -> Result<Option<(Event, usize)>, BadEvent> {
    /// The longest head: two words and three numbers.
    const MAX_HEAD: usize = 64;
    let Some(end) = text.iter().take(MAX_HEAD).position(|byte| *byte == b'\n') else {
        return if text.len() < MAX_HEAD { Ok(None) } else { Err(BadEvent) };
    };
    let head = text.get(..end).and_then(|head| str::from_utf8(head).ok()).ok_or(BadEvent)?;
    let begins = end.saturating_add(1);
    let mut words = head.split(' ');
    let word = words.next().unwrap_or_default();
    let mut rest: Vec<_> = words.collect();
    let kind = match word {
        "failed" if rest.len() > 1 => rest.remove(1),
        "unable" if rest.len() > 1 => rest.remove(0),
        _ => "other",
    };
    if !is_kind(kind) {
        return Err(BadEvent);
    }
    let numbers = rest.into_iter().map(number).collect::<Result<Vec<_>, _>>()?;
    let (server, ms, length) = match (word, numbers.as_slice()) {
        ("asked", [server]) => return Ok(Some((Event::Asked { server: index(*server)? }, begins))),
        ("reply" | "failed", [server, ms, length]) => (index(*server)?, *ms, *length),
        ("note" | "unable", [length]) => (0, 0, *length),
        _ => return Err(BadEvent),
    };
    let limit = if word == "reply" { MAX_REPLY } else { MAX_WHY };
    let length = usize::try_from(length).ok().filter(|length| *length <= limit).ok_or(BadEvent)?;
    let ends = begins.saturating_add(length);
    let Some(rest) = text.get(begins..ends) else { return Ok(None) };
    // They go to logs and terminals, and an attacker who has compromised the program may have written them.
    let words = || {
        let words = str::from_utf8(rest).ok().filter(|words| shown::line(words).to_string() == *words);
        words.map(String::from).ok_or(BadEvent)
    };
    let event = match word {
        "reply" => Event::Reply { server, ms, body: Zeroizing::new(rest.to_vec()) },
        "failed" => Event::Failed { server, kind: FailureKind::read(kind), ms, why: words()? },
        "note" => Event::Note { what: words()? },
        _ => Event::Unable { kind: Obstacle::read(kind), why: words()? },
    };
    Ok(Some((event, ends)))
}

fn number(word: &str) -> Result<u32, BadEvent> {
    // One way to write a number, so that what was read is what is written.
    let plain = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    if plain { word.parse().map_err(|_| BadEvent) } else { Err(BadEvent) }
}

fn index(server: u32) -> Result<usize, BadEvent> {
    usize::try_from(server).ok().filter(|server| *server < MAX_SERVERS).ok_or(BadEvent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn question() -> Question {
        let seconds = |count: u32| NonZeroU32::new(count * 1000).unwrap();
        Question {
            deadline: seconds(5),
            hedge: seconds(1),
            urls: vec![Zeroizing::new("https://a/?x=1".into()), Zeroizing::new("http://b/".into())],
            ca: Some("/etc/a b.pem".into()),
            client_cert: None,
            client_key: Some("/k".into()),
            client_key_passphrase_file: None,
            proxy: Some(Zeroizing::new("socks5://p:1080".into())),
        }
    }

    const WRITTEN: &str = "yubiotp-ask 2\ndeadline 5000\nhedge 1000\nca /etc/a b.pem\nclient_key /k\n\
                           proxy socks5://p:1080\nurl https://a/?x=1\nurl http://b/\n\n";

    #[test]
    fn a_question_comes_back() {
        assert_eq!(*question().write(), WRITTEN);
        let Ok(read) = Question::read(WRITTEN.as_bytes()) else { panic!("cannot be read") };
        assert_eq!(*read.write(), WRITTEN);
    }

    #[test]
    fn what_is_no_question_is_refused() {
        let why = |text: &str| Question::read(text.as_bytes()).err().map(|BadQuestion(why)| why);
        assert_eq!(why(""), Some("it has no end"));
        assert_eq!(why(&WRITTEN[..WRITTEN.len() - 1]), Some("it has no end"));
        assert!(why(&WRITTEN.replace("ask 2", "ask 1")).unwrap().contains("another version"));
        assert_eq!(why(&WRITTEN.replace("deadline 5000", "deadline 0")), Some("a time that is no number"));
        assert_eq!(why(&WRITTEN.replace("hedge 1000\n", "")), Some("no deadline or no hedge"));
        assert_eq!(why(&WRITTEN.replace("proxy ", "proxies ")), Some("an unknown line"));
        assert_eq!(why(&WRITTEN.replace("url ", "ca ")), Some("no server, or too many"));
        let many = WRITTEN.replace("url http://b/\n", &"url http://b/\n".repeat(MAX_SERVERS));
        assert_eq!(why(&many), Some("no server, or too many"));
    }

    /// No value can add a line of its own.
    #[test]
    fn a_line_end_ends_a_value() {
        let text = Question { ca: Some("/ca\nproxy http://evil".into()), ..question() }.write();
        assert!(text.contains("ca /ca\nclient_key") && !text.contains("evil"), "{}", *text);
    }

    #[test]
    fn what_is_no_event_is_refused() {
        let texts = [
            "hello\n",
            "asked\n",
            "asked 16\n",
            "asked x\n",
            "asked +1\n",
            "asked 01\n",
            "reply 0 1\n",
            "reply 0 1 4097\n",
            "failed 0 tls 1 1\n\u{0}\u{0}x\n",
            "failed 0 1 1\nx",
            "failed 0 TLS 1 1\nx",
            "failed 0  1 1\nx",
            "failed 0 a-word-that-is-too-long 1 1\nx",
            "failed\n",
            "unable other 513\n",
            "unable other x\n",
            "\n",
            "unable 99999999999\n",
        ];
        for text in texts {
            let mut events = Events::default();
            events.feed(text.as_bytes());
            let first = events.next();
            let second = events.next();
            assert!(
                first == Some(Err(BadEvent)) || second == Some(Err(BadEvent)),
                "{text:?}: {first:?} {second:?}"
            );
        }
        let mut events = Events::default();
        events.feed(&[b'1'; 64]);
        assert_eq!(events.next(), Some(Err(BadEvent)), "a head without an end");
        let mut events = Events::default();
        events.feed(b"failed 0 tls 1 4\n\x1b[2J");
        assert_eq!(events.next(), Some(Err(BadEvent)), "what moves a cursor");
    }

    /// Each kind has a word of its own that can be read again.
    #[test]
    fn obstacles_come_back() {
        for kind in Obstacle::ALL {
            assert!(is_kind(kind.name()), "{kind:?}");
            assert_eq!(Obstacle::read(kind.name()), kind);
        }
        assert_eq!(Obstacle::read("teapot"), Obstacle::Other);
    }

    /// An event that this version does not know may have been an answer.
    #[test]
    fn a_kind_that_is_not_known_counts_as_an_answer() {
        let mut events = Events::default();
        events.feed(b"failed 0 teapot 1 1\nx");
        let Some(Ok(Event::Failed { kind, .. })) = events.next() else { panic!("it is an event") };
        assert_eq!((kind, kind.is_answer()), (FailureKind::Other, true));
    }

    /// A mark without a letter before it would join what a log line has there.
    #[test]
    fn words_are_as_they_are_shown() {
        for (words, is_event) in
            [("a\u{35c}", true), ("\u{35c}", false), (" \u{301}", false), ("\u{202e}", false)]
        {
            let mut events = Events::default();
            events.feed(format!("note {}\n{words}", words.len()).as_bytes());
            assert_eq!(matches!(events.next(), Some(Ok(Event::Note { .. }))), is_event, "{words:?}");
        }
    }

    fn words() -> impl Strategy<Value = String> {
        "\\PC{0,80}".prop_map(|why| cut(&shown::line(&why).to_string()).into())
    }

    fn event() -> impl Strategy<Value = Event> {
        let server = 0..MAX_SERVERS;
        prop_oneof![
            server.clone().prop_map(|server| Event::Asked { server }),
            (server.clone(), any::<u32>(), proptest::collection::vec(any::<u8>(), 0..=MAX_REPLY))
                .prop_map(|(server, ms, body)| Event::Reply { server, ms, body: body.into() }),
            (server, proptest::sample::select(&FailureKind::ALL[..]), any::<u32>(), words())
                .prop_map(|(server, kind, ms, why)| Event::Failed { server, kind, ms, why }),
            words().prop_map(|what| Event::Note { what }),
            (proptest::sample::select(&Obstacle::ALL[..]), words())
                .prop_map(|(kind, why)| Event::Unable { kind, why }),
        ]
    }

    proptest! {
        /// Whatever the pieces.
        #[test]
        fn events_come_back(sent in proptest::collection::vec(event(), 0..5), piece in 1usize..2000) {
            let text: Vec<u8> = sent.iter().flat_map(Event::write).collect();
            let (mut events, mut read) = (Events::default(), Vec::new());
            for piece in text.chunks(piece) {
                events.feed(piece);
                while let Some(event) = events.next() {
                    read.push(event.unwrap());
                }
            }
            prop_assert_eq!(read, sent);
            prop_assert!(!events.is_cut_off());
        }

        #[test]
        fn never_panics(text: Vec<u8>) {
            let _ = Question::read(&text);
            let mut events = Events::default();
            events.feed(&text);
            while let Some(Ok(_)) = events.next() {}
        }

        /// A long text is cut, not refused, and never within a character.
        #[test]
        fn a_long_why_is_cut(why in "\\PC{500,600}") {
            let mut events = Events::default();
            events.feed(&Event::Unable { kind: Obstacle::Limit, why }.write());
            let read = matches!(events.next(), Some(Ok(Event::Unable { .. })));
            prop_assert!(read);
        }
    }
}
