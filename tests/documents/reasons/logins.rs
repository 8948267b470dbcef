//! The texts in a login's log: those of the module, of `ykmap verify`, and of `yubiotp-ask`.

use super::Log;
use crate::source::{Which, sentences};
use std::collections::BTreeSet;

/// Where the reasons come from.
pub(super) const SAY: &[(&str, Which)] = &[
    ("pam_yubiotp/src/log.rs", Which::All),
    ("pam_yubiotp/src/login.rs", Which::All),
    ("pam_yubiotp/src/conversation.rs", Which::All),
    ("yubiotp/src/verdict.rs", Which::All),
    ("yubiotp/src/otp.rs", Which::Errors),
    ("yubiotp/src/mapping.rs", Which::Errors),
    ("yubiotp/src/id.rs", Which::Errors),
    ("yubiotp/src/modhex.rs", Which::Errors),
    ("yubiotp/src/account.rs", Which::Errors),
    ("yubiotp/src/ask.rs", Which::Errors),
    ("yubiotp/src/protocol.rs", Which::Errors),
    ("yubiotp/src/protocol/reply.rs", Which::All),
    ("yubiotp/src/protocol/request.rs", Which::All),
    ("yubiotp/src/protocol/round.rs", Which::All),
    ("yubiotp/src/protocol/server.rs", Which::Errors),
    ("ykhost/src/decide.rs", Which::All),
    ("ykhost/src/fault.rs", Which::All),
    ("ykhost/src/file.rs", Which::Errors),
    ("ykhost/src/file/advice.rs", Which::All),
    ("ykhost/src/online.rs", Which::All),
    ("ykhost/src/online/program.rs", Which::All),
    ("ykhost/src/options.rs", Which::All),
    ("ykhost/src/sandbox.rs", Which::All),
    ("ykhost/src/settings.rs", Which::All),
    ("ykhost/src/settings/online.rs", Which::All),
    ("yubiotp/src/record.rs", Which::Errors),
    ("ykhost/src/store/slots.rs", Which::Errors),
];

const SANDBOXED: &str = "a sandbox of its service (ProtectSystem=, ReadOnlyPaths=) makes it so: add ReadWritePaths={} to [Service] (systemctl edit {})";

/// Texts that are joined from several sentences: the head, and its parts.
const TOGETHER: [(&str, &[&str]); 48] = [
    (
        "the OTP is not from a token of this user: it begins with the public id {}",
        &["the OTP is not from a token of this user{}", ": it begins with the public id {}"],
    ),
    ("the OTP is not from a token of this user", &["the OTP is not from a token of this user{}"]),
    ("{}: belongs to uid {}: chown it to root", &["{}: belongs to uid {}: {}", "chown it to root{}"]),
    (
        "{}: belongs to uid {}: chown it to root (or to uid {}, who is running this)",
        &["{}: belongs to uid {}: {}", "chown it to root{}", "(or to uid {}, who is running this)"],
    ),
    (
        "{}: group or others may write to it (mode {}): chmod go-w it",
        &["{}: group or others may write to it (mode {}): {}", "chmod go-w it"],
    ),
    (
        "{}: group or others may write to it (mode {}): chmod +t it, as such a folder should be",
        &["{}: group or others may write to it (mode {}): {}", "chmod +t it, as such a folder should be"],
    ),
    (
        "{}: nobody but its owner should read it (mode {}): chmod go= it",
        &["{}: nobody but its owner should read it (mode {}): {}", "chmod go= it"],
    ),
    (
        "proxy is the URL of a proxy: http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT, in quotes",
        &["{}, in quotes"],
    ),
    ("argument {}: {}", &["argument {}"]),
    ("argument {} is not UTF-8", &["{} is not UTF-8", "argument {}"]),
    (
        "argument {} (not shown, as it may be a secret): {}",
        &["argument {} (not shown, as it may be a secret)"],
    ),
    (
        "unknown; known are {} (quote blanks: [prompt=two words])",
        &["; known are {} (quote blanks: [prompt=two words])"],
    ),
    ("{} belongs below the line [online]", &["{} belongs {} the line [online]"]),
    ("{} belongs above the line [online]", &["{} belongs {} the line [online]"]),
    ("{} takes a value: write {}=", &["{} {}: write {}", "takes a value"]),
    ("{} takes no value: write {}", &["{} {}: write {}", "takes no value"]),
    (
        "NO_SUCH_CLIENT: change client_id (id=) to one that it knows",
        &[": change client_id (id=) to one that it knows"],
    ),
    (
        "BAD_SIGNATURE: change api_key (key=) to the one that goes with client_id",
        &[": change api_key (key=) to the one that goes with client_id"],
    ),
    (
        "OPERATION_NOT_ALLOWED: it does not let this client_id (id=) validate",
        &[": it does not let this client_id (id=) validate"],
    ),
    (
        "MISSING_PARAMETER: it wants something else than protocol 2.0, or another sync_level or timeout",
        &[": it wants something else than protocol 2.0, or another sync_level or timeout"],
    ),
    (
        "NOT_ENOUGH_ANSWERS: its peers did not confirm; a lower sync_level needs fewer of them",
        &[": its peers did not confirm; a lower sync_level needs fewer of them"],
    ),
    (
        "REPLAYED_REQUEST: it has this very question from another server",
        &[": it has this very question from another server"],
    ),
    ("BACKEND_ERROR: it reported an internal error", &[": it reported an internal error"]),
    ("its reply ({}) has no signature", &["its reply ({}) {}", "has no signature"]),
    (
        "its reply ({}) has a wrong signature: forged, or api_key (key=) is not that of client_id",
        &["its reply ({}) {}", "has a wrong signature: forged, or api_key (key=) is not that of client_id"],
    ),
    (
        "mode {} needs urls (in pam.d: urllist=); YubiCloud's is https://api.yubico.com/wsapi/2.0/verify",
        &[
            "mode {} needs {}",
            "urls (in pam.d: urllist=); YubiCloud's is https://api.yubico.com/wsapi/2.0/verify",
        ],
    ),
    ("mode {} needs client_id (in pam.d: id=)", &["mode {} needs {}", "client_id (in pam.d: id=)"]),
    (
        "{} would be believed unsigned and unencrypted: give api_key_file, or an https URL, or allow it (plain_http)",
        &[
            "{} would be believed unsigned and unencrypted{}: give api_key_file, or an https URL, or allow it (plain_http)",
        ],
    ),
    (
        "{} would be believed unsigned and unencrypted (through the proxy, even what is on this host): give api_key_file, or an https URL, or allow it (plain_http)",
        &[
            "{} would be believed unsigned and unencrypted{}: give api_key_file, or an https URL, or allow it (plain_http)",
            "(through the proxy, even what is on this host)",
        ],
    ),
    ("{}: it said something that is no event", &["it said something that is no event"]),
    ("{}: ended early; {}", &["ended early; {}", "ended early"]),
    ("{}: told of something that cannot be", &["told of something that cannot be"]),
    (
        "{}: was not done after {} ms and was killed; {}",
        &["was not done after {} ms and was killed; {}", "was not done after {} ms and was killed"],
    ),
    // yubiotp-ask
    ("still looking up its name", &["still looking up {}", "its name"]),
    ("still looking up the name of the proxy {}", &["still looking up {}", "the name of the proxy {}"]),
    ("still connecting", &["still connecting{}"]),
    ("the TLS handshake hangs", &["the TLS handshake hangs{}"]),
    ("connected, and nothing more", &["connected{}, and nothing more"]),
    ("its reply has no end", &["its reply has no end{}"]),
    ("{} through the proxy {}", &["through the proxy {}"]),
    (
        "it refuses the handshake: it wants a client certificate: set client_cert and client_key, or nothing in common (TLS alert {})",
        &["it wants a client certificate: set client_cert and client_key"],
    ),
    (
        "its certificate expired: renew it; if it has not, this host's clock is wrong",
        &["renew it; if it has not, this host's clock is wrong"],
    ),
    (
        "{}: is encrypted in the old way (Proc-Type: 4,ENCRYPTED): openssl pkcs8 -topk8 -in {} -out NEW, and name NEW in client_key",
        &[
            "{}: {}: openssl pkcs8 -topk8 -in {} -out NEW, and name NEW in client_key",
            "is encrypted in the old way (Proc-Type: 4,ENCRYPTED)",
        ],
    ),
    (
        "{}: is encrypted in a way that is not supported: openssl pkcs8 -topk8 -in {} -out NEW, and name NEW in client_key",
        &[
            "{}: {}: openssl pkcs8 -topk8 -in {} -out NEW, and name NEW in client_key",
            "is encrypted in a way that is not supported",
        ],
    ),
    ("{} (does it speak {}?)", &["(does it speak {}?)"]),
    ("no answer ({})", &["no answer ({})"]),
    (
        "it is read-only for this process only, not on this host: a sandbox of its service (ProtectSystem=, ReadOnlyPaths=) makes it so: add ReadWritePaths={} to [Service] (systemctl edit {})",
        &["it is read-only for this process only, not on this host: {}", SANDBOXED],
    ),
    (
        "either the file system is mounted read-only, or a sandbox of its service (ProtectSystem=, ReadOnlyPaths=) makes it so: add ReadWritePaths={} to [Service] (systemctl edit {})",
        &["either the file system is mounted read-only, or {}", SANDBOXED],
    ),
];

/// Behind the path of yubiotp-ask.
const OF_THE_PROGRAM: &str = "ykhost/src/online/program.rs";

/// Texts in those files that are not reasons.
const NO_REASON: [&str; 22] = [
    "{} user={} token={} mode={} service={} rhost={} tty={} reason={}", // the line itself
    "decided offline, as no server answered: {}",                       // told where they belong, in the text
    "decided offline although a server answered: {}",
    "unknown field `", // what the TOML parser says, taken apart
    "`, expected",
    "YubiKey for %u:",
    "look at it", // what could not be done to a file
    "a folder",   // what is there
    "the mapping does not list the user (ykmap add); no tries left", // a reason, and the end of another
    // of yubiotp-ask: kinds of PEM, and how the C library begins
    "X509 CERTIFICATE",
    "PRIVATE KEY",
    "RSA PRIVATE KEY",
    "EC PRIVATE KEY",
    "ENCRYPTED PRIVATE KEY",
    "failed to lookup address information:",
    "signed by itself", // a type; its words are others
    // to a user who runs it by hand
    "yubiotp-ask asks validation servers. pam_yubiotp.so and ykmap run it: it is not for use by hand.\nTo try a login's settings: ykmap verify USER. For the version: yubiotp-ask --version",
    // what it cannot do
    "change to /",
    "turn core dumps off",
    "turn writing of files off",
    "have {} files open",
    "hide from debuggers",
];

/// Errors that no login meets: of two touches that prove nothing, of the files that `ykmap` takes and changes, of a
/// test, and of the server.
pub(super) const OTHERS: [&str; 7] = [
    "yubiotp/src/protocol/flaw.rs", // the doctor's
    "yubiotp/src/freshness.rs",
    "yubiotp/src/keyfile/problem.rs",
    "yubiotp/src/mapping/edit.rs",
    "yubiotp/src/ledger/contract.rs",
    "yubiotp/src/protocol/question.rs",
    "ykhost/src/store/change.rs",
];

pub(super) fn log() -> Log {
    Log {
        pages: &["pam_yubiotp.8", "authorized_yubikeys.5", "yubiotp-config.toml.5", "yubiotp-ask.8"],
        words: &["accepted", "refused", "excused", "abandoned", "fault", "warning"],
        said: said(),
        together: &TOGETHER,
        no_reason: &NO_REASON,
        at_least: 200,
    }
}

fn said() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (path, which) in SAY.iter().copied() {
        let sentences = sentences(path, which).into_iter();
        if path == OF_THE_PROGRAM {
            found.extend(
                sentences.map(|it| if NO_REASON.contains(&it.as_str()) { it } else { format!("{{}}: {it}") }),
            );
        } else {
            found.extend(sentences);
        }
    }
    for path in super::sources("ykask/src") {
        found.extend(sentences(&path, Which::All));
    }
    found
}
