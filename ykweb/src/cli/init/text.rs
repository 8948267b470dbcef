//! The configuration file that `init` writes.

/// The text: every setting, with an explanation. `store` is written in if it is not the default.
pub(super) fn of(public_url: &str, store: Option<&str>) -> String {
    let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
    let url = format!("public_url = {}\n\n", quoted(public_url));
    let store = store.map_or_else(
        || "# store = \"ykweb.db\"         # users, tokens, sessions and events: a SQLite file\n".to_owned(),
        |store| format!("store = {}\n", quoted(store)),
    );
    [TOP, &url, &store, REST].concat()
}

const TOP: &str = "\
# Configuration of ykwebd, the web login. Read when it starts. Paths may be relative to the folder of this file.
# Every setting but the first, commented out at its default.

# The portal as browsers see it, without a path
";

const REST: &str = "\
# store_key = \"store.key\"      # seals the secrets in the store. Keep a copy in another place
# listen = \"127.0.0.1:8490\"    # where the portal answers; addresses that other hosts reach need [tls]
# proxies = [\"127.0.0.0/8\", \"::1/128\"]    # the web servers in front, whose X-Forwarded-For is believed
# demo_pages = false           # show a page of each protected host on listen, for trying out
# status_from = [\"127.0.0.0/8\", \"::1/128\"]    # who may read /metrics

# TLS on listen, in PEM files; read again on SIGHUP, and when they change. The values are examples.
# [tls]
# certificate = \"server.pem\"   # the chain, the server's own certificate first
# key = \"server.key\"

# Who checks passwords. Without it, only users whom a web server hands over ([identity]) sign in. One of the two:
# [password]
# pam = \"/run/ykweb-password/socket\"    # PAM, by ykweb-password
# file = \"passwords\"           # a file of users and argon2 hashes, for trying out

# The validation servers that decide about the OTPs of YubiKeys. The first five values are examples.
# [validation]
# servers = [\"https://val1.example.com\", \"https://val2.example.com\"]    # asked in this order
# client_id = 1
# api_key_file = \"client.key\"  # may be left out for a server on this host only
# sync_level = \"secure\"      # how many servers of a pool must confirm: fast, secure or a percentage; the default is theirs
# ca = \"validation-ca.pem\"     # certificate authorities; the default is the system's
# deadline_ms = 5000           # how long asking all of them may take
# hedge_ms = 1000              # how long the first may be silent before the others are asked, too

# What is protected, once for each host. The values are examples.
# [[host]]
# url = \"https://wiki.example.com\"
# require = \"otp\"              # everywhere on it: login, otp, yubikey, fresh=10m; its web server can ask for more
# allow = [\"alice\", \"@staff\"]  # users and groups; the default is everybody

# Where web servers ask about requests: loopback addresses. The values are examples.
# [authorizer]
# http = \"127.0.0.1:8491\"      # nginx, Caddy, Traefik
# fastcgi = \"127.0.0.1:8492\"   # Apache

# Where a web server hands over users whom it authenticated (Kerberos, certificates). The values are examples.
# [identity]
# socket = \"/run/ykweb/identity.sock\"
# users = [\"www-data\"]         # who may: the web server's user
# realm = \"EXAMPLE.COM\"        # is removed from names; names of other realms are refused

# Where ykweb-check asks. The value is an example.
# [check]
# socket = \"/run/ykweb/check.sock\"

# How long sessions last.
# [sessions]
# idle = \"1h\"                  # without a request
# most = \"12h\"                 # in all
# per_user = 20                # maximum sessions of one user; the oldest ends

# Limits on load.
# [limits]
# connections = 4096           # maximum concurrent; excess connections get one answer each, and beyond that HTTP 503
# connections_per_address = 256    # from one address; four times as many from its network; 0: no limit
# unlimited_from = [\"127.0.0.0/8\", \"::1/128\"]    # web servers in front, which this does not limit

# One line for each decision, without password, OTP or code.
# [log]
# format = \"logfmt\"            # or \"json\"
# to = \"stdout\"                # or \"syslog\"
# required = false             # let nobody in while the log cannot be written
";

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use ykweb::config::{Config, LogConfig, Passwords};

    fn load(text: &str) -> Config {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("config.toml", text), ("client.key", "EHmo8FMxuhumBlTinC4uYL0Mgwg=")] {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        Config::load(&folder.path().join("config.toml"), &[]).unwrap()
    }

    /// Uncommented, the file has every setting, with its default.
    #[test]
    fn every_setting_that_is_explained_is_one() {
        let text = of("https://login.example.com", None);
        let is_setting =
            |line: &&str| line.starts_with('[') || line.starts_with(|c: char| c.is_ascii_lowercase());
        let lines: Vec<_> = text
            .lines()
            .map(|line| line.strip_prefix("# ").unwrap_or(line))
            .filter(is_setting)
            .filter(|line| line.starts_with('[') || line.split(' ').nth(1) == Some("="))
            // One of the two.
            .filter(|line| !line.starts_with("file = "))
            .collect();
        assert_eq!(lines.len(), 7 + 3 + 2 + 8 + 4 + 3 + 4 + 2 + 4 + 4 + 4, "{lines:#?}");
        // Whatever the users of this host are called.
        let all = load(&lines.join("\n").replace("www-data", "33"));
        let plain = load(&text);
        assert_eq!((&all.listen, &all.status_from), (&plain.listen, &plain.status_from));
        assert_eq!(
            (&all.proxies, &all.public_url, all.demo_pages),
            (&plain.proxies, &plain.public_url, plain.demo_pages)
        );
        assert_eq!(format!("{:?}", all.sessions), format!("{:?}", plain.sessions));
        assert_eq!(format!("{:?}", all.limits), format!("{:?}", plain.limits));
        assert_eq!(all.log, LogConfig::default());
        assert!(all.store.ends_with("ykweb.db") && all.store_key.ends_with("store.key"));
        let validation = all.validation.unwrap();
        assert_eq!((validation.deadline.as_millis(), validation.hedge.as_millis()), (5000, 1000));
        assert!(all.tls.is_some() && all.identity.is_some() && all.check.is_some());
        assert!(matches!(all.password, Passwords::Pam(_)) && all.authorizer.fastcgi.is_some());
        assert_eq!(all.hosts.len(), 1);
        assert!(plain.validation.is_none() && plain.hosts.is_empty());
        assert!(matches!(plain.password, Passwords::None));
    }

    #[test]
    fn another_store_is_written_in() {
        let config = load(&of("https://login.example.com", Some("/var/lib/y\"kweb/ykweb.db")));
        assert_eq!(config.store.to_str(), Some("/var/lib/y\"kweb/ykweb.db"));
    }
}
