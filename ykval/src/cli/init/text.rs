//! The configuration file that `init` writes.

/// The settings that are not left at their defaults.
pub(super) struct Active<'a> {
    /// `postgres://…`, or a file.
    pub(super) store: &'a str,
    /// The file with its password.
    pub(super) password_file: Option<&'a str>,
}

/// The text: every setting, with an explanation.
pub(super) fn of(active: &Active<'_>) -> String {
    let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
    let store = format!("store = {}\n", quoted(active.store));
    let postgres = active.password_file.map(|file| format!("[postgres]\npassword_file = {}\n", quoted(file)));
    let tables = TABLES.replace("# [postgres]\n", postgres.as_deref().unwrap_or("# [postgres]\n"));
    [TOP, &store, REST, &tables].concat()
}

const TOP: &str = "\
# Configuration of ykvald, the validation server. Read when it starts. Paths may be relative to the folder of this file.
# Every setting, commented out at its default. Check your changes with: ykvald check

# Where clients, keys and counters are stored: a file (SQLite), postgres://USER@HOST/NAME?sslmode=require,
# or all members of a cluster: etcds://HOST,HOST,HOST/PREFIX
";

const REST: &str = "\
# store_key = \"store.key\"      # seals the store, and nothing else opens it. Keep a copy in another place
# listen = \"127.0.0.1:8000\"    # or [\"192.0.2.1:443\", \"[2001:db8::1]:443\"], which need [tls]
# plain_http = false           # answer other hosts without TLS: others on the network can read every OTP
# plain_http2 = false          # also HTTP/2 without TLS, for a proxy that uses it
# require_signature = false    # requests must be signed, or come with the client's certificate; clients can have their own rule
# status_from = [\"127.0.0.0/8\", \"::1/128\"]    # who may read / and /status and /metrics
";

const TABLES: &str = "\n\
# TLS on listen, in PEM files; read again on SIGHUP, and when they change. The values are examples.
# [tls]
# certificate = \"server.pem\"   # the chain, the server's own certificate first
# key = \"server.key\"
# client_ca = \"clients.pem\"    # authorities for clients (ykvald client add --certificate-name)

# Limits on load.
# [limits]
# connections = 16384          # maximum concurrent; excess connections get one answer each, and beyond that HTTP 503
# connections_per_address = 1024    # from one address; four times as many from its network; 0: no limit
# unlimited_from = [\"127.0.0.0/8\", \"::1/128\"]    # proxies and NAT gateways, which this does not limit
# in_flight = 1024             # maximum concurrent verifications; excess ones get BACKEND_ERROR
# deadline_ms = 4000           # time limit of a verification; after that it gets BACKEND_ERROR
# read_ms = 10000              # time limit of a client for the TLS handshake, for a request's head, and for its body
# idle_ms = 75000              # how long a connection may be idle between two requests
# head_bytes = 16384
# body_bytes = 4096
# client_rate = 0              # new OTPs a second of one client, 0: no limit; clients can have their own rate
# token_rate = 10              # rejections a second of one client and token that are logged separately, 0: all

# One line for each decision, without OTP or key.
# [log]
# format = \"logfmt\"            # or \"json\"
# to = \"stdout\"                # or \"syslog\"
# required = false             # accept no OTP while the log cannot be written

# For store = \"postgres://...\". The first two values are examples.
# [postgres]
# password_file = \"postgres.password\"    # instead of a password in the URL
# ca = \"postgres.pem\"          # certificate authorities; the default is the system's
# pool = 16                    # maximum connections
# standby = \"optional\"         # \"required\": accept an OTP only if a synchronous standby has stored it

# For store = \"etcds://...\". The first five values are examples.
# [etcd]
# ca = \"etcd-ca.pem\"           # certificate authorities; the default is the system's
# certificate = \"etcd.pem\"     # for an etcd with --client-cert-auth
# key = \"etcd.key\"
# user = \"ykvald\"              # for an etcd with authentication
# password_file = \"etcd.password\"
# plain_http = false           # etcd:// for other hosts, without TLS: others on the network can read and change all
# deadline_ms = 5000           # time limit of a request, connecting included

# /wsapi/decrypt, as in YK-KSM. Anyone who can reach it learns what any OTP holds. The values are examples.
# [decrypt]
# listen = \"unix:/run/ykvald/decrypt\"    # or an address, with these three:
# certificate = \"server.pem\"
# key = \"server.key\"
# client_ca = \"clients.pem\"

# A YK-KSM with keys that the store does not have. The values of urls and ca are examples.
# [ksm]
# urls = [\"http://127.0.0.1:8002/wsapi/decrypt\"]    # or one; asked in this order
# deadline_ms = 3000           # time limit for all of them
# in_flight = 256              # maximum concurrent requests; excess ones get BACKEND_ERROR
# ca = \"ksm.pem\"               # certificate authorities for https; the default is the system's

# A pool of YK-VAL servers, while you move from it server by server. The values of peers and ca are examples.
# [sync]
# peers = [{ url = \"https://old1.example.org/wsapi/2.0/sync\", from = \"192.0.2.10\" }]
# default_level = 60           # percent of the peers that have to confirm an OTP, without sl
# fast_level = 1               # the same for sl=fast
# secure_level = 40            # the same for sl=secure
# timeout_ms = 1000            # how long to wait for them, without timeout
# ca = \"peers.pem\"             # certificate authorities for https; the default is the system's

# The servers that share the store, for: ykvald cluster status. The values are examples.
# [cluster]
# servers = [\"https://val1.example.com\", \"https://val2.example.com\"]
# ca = \"cluster.pem\"           # certificate authorities for https; the default is the system's
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

    /// Uncommented, the file has every setting, with its default.
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
        assert_eq!(lines.len(), 7 + 4 + 12 + 4 + 5 + 8 + 5 + 5 + 7 + 3, "{lines:#?}");
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
