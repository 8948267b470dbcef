//! Values in commands that people copy into a shell of root.

use crate::shown;
use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::{String, ToString as _};

/// A value as one word of a shell's command line.
///
/// The word never holds an apostrophe of its own, and no text between apostrophes can run anything. So a word stays
/// inert even if escapes were added to it, as in a log or in the text of JSON. A value that cannot be written so, with an
/// apostrophe or something unprintable, is not in the word: `FILE` or `NAME` is there for the reader to fill in.
#[must_use]
pub fn shell_word(value: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+@%:=,".contains(byte);
    let is_inert = |value: &&str| value.chars().all(|c| c != '\'' && shown::is_printable(c));
    let quoted = match str::from_utf8(value).ok().filter(is_inert) {
        Some(text) if !text.is_empty() && value.iter().all(plain) => return text.to_owned(),
        Some(text) => format!("'{text}'"),
        None => String::new(),
    };
    // A mark that joins the apostrophe is printable on a letter only.
    if !quoted.is_empty() && shown::line(&quoted).to_string() == quoted {
        quoted
    } else if value.contains(&b'/') {
        "FILE".to_owned()
    } else {
        "NAME".to_owned()
    }
}

/// Whether logs and the text of JSON would show a command with more characters than it has.
pub(super) fn is_escaped_in_logs(command: &str) -> bool {
    command.contains(['"', '\\'])
}

/// Whether a path is within a folder that is named as this project's are, or is named as one of its files, so that only we
/// need it: its owner and mode may be set. Anything else may have the mode that others need.
#[must_use]
pub fn is_ours(path: &[u8]) -> bool {
    const NAMES: [&[u8]; 7] = [
        b"yubiotp",
        b"ykvald",
        b"ykweb",
        b"authorized_yubikeys",
        b"store.key",
        b"yubiotp-ask",
        b"pam_yubiotp.so",
    ];
    path.split(|byte| *byte == b'/').any(|part| NAMES.contains(&part))
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::diagnostic::{Calls, Code, Diagnostic, Program};
    use alloc::vec::Vec;
    use proptest::prelude::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    use std::process::Command;

    #[test]
    fn a_word_of_a_shell_stays_one_word() {
        for (value, word) in [
            ("/etc/yubiotp/keys", "/etc/yubiotp/keys"),
            ("/srv/two words", "'/srv/two words'"),
            ("$(reboot)", "'$(reboot)'"),
            (r"EX\alice", r"'EX\alice'"),
            ("~root", "'~root'"),
            ("it's", "NAME"),
            ("\u{300}", "NAME"),
            ("e\u{301}", "'e\u{301}'"),
            ("/srv/it's", "FILE"),
            ("a\nb", "NAME"),
            ("x$(reboot)\u{202e}", "NAME"),
            ("", "''"),
        ] {
            assert_eq!(shell_word(value.as_bytes()), word);
        }
        assert_eq!(shell_word(b"/\xff"), "FILE");
    }

    #[test]
    fn a_log_names_no_command_that_it_would_change() {
        let found = |name: &[u8]| {
            Diagnostic::error(Code::KeyMissing, "is not here")
                .run(Program::Ykmap, format!("add {}", shell_word(name)))
        };
        assert_eq!(found(b"two words").log_text(Calls::PLAIN), "is not here. Run: ykmap add 'two words'");
        for name in [&br"EX\alice"[..], br#"a"b"#] {
            assert!(found(name).to_string().contains(&shell_word(name)));
            assert!(!found(name).log_text(Calls::PLAIN).contains("add"));
        }
    }

    #[test]
    fn what_is_ours() {
        for path in [
            "/etc/yubiotp",
            "/etc/yubiotp/api.key",
            "/var/lib/ykvald/ykvald.db",
            "/srv/otp/store.key",
            "/srv/yubiotp/keys/vvcccccccccb",
            "/home/alice/.yubico/authorized_yubikeys",
            "/usr/lib/security/pam_yubiotp.so",
        ] {
            assert!(is_ours(path.as_bytes()), "{path}");
        }
        for path in [
            "/etc/passwd",
            "/usr/bin/sudo",
            "/srv/team",
            "/srv/team/f",
            "/srv/team/keys",
            "/srv/team/keys/host.key",
            "/srv/ykvald-project/tls.key",
            "/srv/app/config.toml",
            "/tmp/yubiotp-x",
            "/etc/ssl/private/host.key",
            "/",
        ] {
            assert!(!is_ours(path.as_bytes()), "{path}");
        }
    }

    /// What `printf` gets, and nothing if the shell did anything else.
    fn run(word: &str) -> Vec<u8> {
        let script = [b"printf %s ", word.as_bytes()].concat();
        let shell = Command::new("/bin/sh").arg("-c").arg(OsStr::from_bytes(&script)).env_clear().output();
        let output = shell.expect("a shell");
        assert!(output.status.success() && output.stderr.is_empty(), "{word}: {output:?}");
        output.stdout
    }

    /// As a person copies it from a log, between the quotes, or from the text of JSON.
    fn copied(text: &str) -> String {
        let quoted = shown::quoted(text).to_string();
        quoted.trim_matches('"').to_owned()
    }

    fn any_value() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            any::<char>().prop_map(|c| String::from(c).into_bytes()),
            proptest::sample::select(alloc::vec![
                "'",
                "\"",
                "\\",
                "$(echo ran)",
                "`echo ran`",
                ";echo ran;",
                "|",
                "&",
                "\n",
                " ",
                "${IFS}",
                "*",
                "~",
                "\u{202e}",
                "#",
                "!",
                "/",
                "-",
                "a",
                "'\\''",
                "'\"'\"'"
            ])
            .prop_map(|text| text.as_bytes().to_vec()),
            (1..=u8::MAX).prop_map(|byte| alloc::vec![byte]),
        ];
        proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn a_copied_word_runs_nothing(value in any_value()) {
            let word = shell_word(&value);
            let placeholder = word == "NAME" || word == "FILE";
            let said = run(&shown::line(&word).to_string());
            prop_assert!(placeholder || said == value, "{word}");
            let found = Diagnostic::error(Code::KeyMissing, "x").run(Program::System, word.clone());
            let log = found.log_text(Calls::PLAIN);
            prop_assert!(log.contains(&word) || is_escaped_in_logs(&word));
            if log.contains(&word) {
                prop_assert_eq!(run(&copied(&word)), said);
            }
            // Even from the text of JSON: something else than the value at worst, and one word.
            let raw = copied(&found.text(Calls::PLAIN));
            let raw = raw.strip_prefix("x. Run: ").unwrap_or_default();
            prop_assert_eq!(run(raw), copied(&word).trim_matches('\'').as_bytes().to_vec());
        }
    }
}
