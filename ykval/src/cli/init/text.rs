//! The settings file as `init` writes it.

/// What is in force beside the values that hold without a file.
pub(super) struct Active<'a> {
    /// `postgres://…`, or a file.
    pub(super) store: &'a str,
    /// The file with the password of that.
    pub(super) password_file: Option<&'a str>,
}

/// The text: all settings that there are, explained.
pub(super) fn of(active: &Active<'_>) -> String {
    let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
    let store = format!("store = {}\n", quoted(active.store));
    let postgres = active.password_file.map(|file| format!("[postgres]\npassword_file = {}\n", quoted(file)));
    let tables = TABLES.replace("# [postgres]\n", postgres.as_deref().unwrap_or("# [postgres]\n"));
    [TOP, &store, REST, &tables].concat()
}

const TOP: &str = "\
# Settings of ykvald, the validation server; read when it starts. Paths may be relative to this file's folder.
# Every setting, commented out at its default. Check your changes with: ykvald check

# Where clients, keys and counters are kept: a file (SQLite), or postgres://USER@HOST/NAME?sslmode=require.
";

const REST: &str = "\
# store_key = \"store.key\"      # seals the keys in the store. Keep a copy apart from the store: nothing else opens it
# listen = \"127.0.0.1:8000\"    # or [\"192.0.2.1:443\", \"[2001:db8::1]:443\"]; addresses other than loopback need [tls]
# plain_http = false           # allow addresses other than loopback without TLS: anyone on the way reads every OTP
# plain_http2 = false          # allow HTTP/2 without TLS, too: for a proxy that speaks it
# require_signature = false    # questions must be signed, or come with a client certificate; clients may override this
# status_from = [\"127.0.0.0/8\", \"::1/128\"]    # who may read the status page / and /metrics
";

const TABLES: &str = "\n\
# TLS of listen, PEM; read again on SIGHUP, and when the files change. The values are examples.
# [tls]
# certificate = \"server.pem\"   # the chain, the server's own certificate first
# key = \"server.key\"
# client_ca = \"clients.pem\"    # authorities of client certificates (ykvald client add --certificate-name); default: none

# [limits]
# connections = 16384          # maximum concurrent; beyond it connections get one answer each, then HTTP 503
# connections_per_address = 1024    # maximum of one address; its network may have four times as many; 0: no limit
# unlimited_from = [\"127.0.0.0/8\", \"::1/128\"]    # networks without that limit: proxies, NAT gateways
# in_flight = 1024             # maximum concurrent verifications; more get BACKEND_ERROR, unless reading the store decides
# deadline_ms = 4000           # longest time for a verification; after that the answer is BACKEND_ERROR
# read_ms = 10000              # longest time for each of: TLS handshake, head of a request, body
# idle_ms = 75000              # how long a connection may be idle between two requests
# head_bytes = 16384           # maximum size of the head of a request
# body_bytes = 4096            # maximum size of its body
# client_rate = 0              # fresh OTPs per second of one client, 0: no limit; clients may have their own limit
# token_rate = 10              # refusals per second, of one client about one token, that are logged one by one, 0: all

# One line for each decision, without OTP or key.
# [log]
# format = \"logfmt\"            # or \"json\"
# to = \"stdout\"                # or \"syslog\"
# required = false             # accept no OTP while the log cannot be written

# With store = \"postgres://...\": the first two values are examples.
# [postgres]
# password_file = \"postgres.password\"    # instead of a password in the URL
# ca = \"postgres.pem\"          # certificate authorities; the system's if not given
# pool = 16                    # maximum connections
# standby = \"optional\"         # \"required\": an OTP is accepted only if a synchronous standby has it, too

# /wsapi/decrypt, the service of YK-KSM. Anyone who can reach it can decrypt any OTP. The values are examples.
# [decrypt]
# listen = \"unix:/run/ykvald/decrypt\"    # or an address, with a certificate and for certified clients only:
# certificate = \"server.pem\"
# key = \"server.key\"
# client_ca = \"clients.pem\"

# A YK-KSM with keys that the store does not have. The values of urls and ca are examples.
# [ksm]
# urls = [\"http://127.0.0.1:8002/wsapi/decrypt\"]    # or one; the first is asked first
# deadline_ms = 3000           # longest time for all of them together
# in_flight = 256              # maximum concurrent questions; more get BACKEND_ERROR
# ca = \"ksm.pem\"               # certificate authorities, with https; the system's if not given
";

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use ykval::config::{Config, Limits, LogConfig, StoreAt};

    fn load(text: &str) -> Config {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        Config::load(&path, &[]).unwrap()
    }

    /// What the file offers to be switched on is what the settings take, all of it, with the values that hold.
    #[test]
    fn every_setting_that_is_explained_is_one() {
        let text = of(&Active { store: "ykvald.db", password_file: None });
        let is_setting =
            |line: &&str| line.starts_with('[') || line.starts_with(|c: char| c.is_ascii_lowercase());
        let lines: Vec<_> = text
            .lines()
            .map(|line| line.strip_prefix("# ").unwrap_or(line))
            .filter(is_setting)
            .filter(|line| line.starts_with('[') || line.split(' ').nth(1) == Some("="))
            .collect();
        assert_eq!(lines.len(), 7 + 4 + 12 + 4 + 5 + 5 + 5, "{lines:#?}");
        let config = load(&lines.join("\n"));
        let plain = load("");
        assert_eq!(config.listen, plain.listen);
        assert_eq!(config.status_from, plain.status_from);
        assert_eq!(format!("{:?}", config.limits), format!("{:?}", Limits::default()));
        assert_eq!(config.log, LogConfig::default());
        assert_eq!(config.ksm.unwrap().deadline.as_millis(), 3000);
        assert!(config.tls.is_some() && config.decrypt.is_some());
        assert!(matches!(config.store, StoreAt::Sqlite(path) if path.ends_with("ykvald.db")));
    }

    #[test]
    fn postgresql_is_written_in() {
        let text = of(&Active { store: "postgres://ykvald@db/a\"b", password_file: Some("/etc/ykvald/pw") });
        let StoreAt::Postgres(at) = load(&text).store else { panic!("{text}") };
        assert_eq!(at.url, "postgres://ykvald@db/a\"b");
        assert_eq!(at.password_file.as_deref(), Some(Path::new("/etc/ykvald/pw")));
    }
}
