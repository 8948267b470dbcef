//! What settings say, and what is refused of them.

use super::*;
use std::net::IpAddr;

fn read(text: &str) -> Result<Config, String> {
    Config::read(Path::new("/x/config.toml"), &Zeroizing::new(text.into()), &[], None)
        .map_err(|fault| fault.to_string())
}

#[test]
fn an_empty_file_is_enough() {
    let config = read("").unwrap();
    assert_eq!(config.listen, [LISTEN.parse().unwrap()]);
    assert_eq!(config.store, StoreAt::Sqlite("/x/ykvald.db".into()));
    assert_eq!(config.store_key, Path::new("/x/store.key"));
    assert!(config.tls.is_none() && config.decrypt.is_none() && config.ksm.is_none());
    assert!(config.status_from.iter().any(|net| net.contains(&IpAddr::from([127, 0, 0, 9]))));
}

#[test]
fn all_that_can_be_said() {
    let config = read(
        "listen = [\"0.0.0.0:443\", \"[::]:443\"]\nrequire_signature = true\nstore = \"postgres://ykvald@db/ykvald\"\n\
         store_key = \"/keys/store.key\"\nstatus_from = [\"10.0.0.0/8\", \"192.0.2.1\"]\n\
         [tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\nclient_ca = \"clients.pem\"\n\
         [limits]\ndeadline_ms = 50\nclient_rate = 7\nconnections_per_address = 9\nunlimited_from = [\"192.0.2.1\"]\n[log]\nformat = \"json\"\nto = \"syslog\"\nrequired = true\n\
         [postgres]\npassword_file = \"pw\"\npool = 3\nstandby = \"required\"\n[decrypt]\nlisten = \"unix:/run/ykvald/decrypt\"\n\
         [ksm]\nurls = \"http://10.0.0.1/wsapi/decrypt\"\n",
    );
    let config = config.unwrap();
    assert_eq!(config.limits.deadline, Duration::from_millis(50));
    assert_eq!((config.limits.client_rate, config.limits.in_flight), (7, Limits::default().in_flight));
    assert_eq!(config.limits.connections_per_address, 9);
    assert_eq!(config.limits.unlimited_from, ["192.0.2.1/32".parse().unwrap()]);
    assert_eq!(config.log, LogConfig { format: LogFormat::Json, to: LogTo::Syslog, required: true });
    let StoreAt::Postgres(postgres) = &config.store else { panic!("{config:?}") };
    assert_eq!((postgres.pool, postgres.password_file.as_deref()), (3, Some(Path::new("/x/pw"))));
    assert_eq!(postgres.standby, Standby::Required);
    assert_eq!(postgres.seen.as_deref(), Some(Path::new("/x/postgres.seen")));
    assert_eq!(state(Path::new(CONFIG), "postgres.seen"), Path::new("/var/lib/ykvald/postgres.seen"));
    assert_eq!(
        state(Path::new("/etc/ykvald/b.toml"), "postgres.seen"),
        Path::new("/var/lib/ykvald/b.postgres.seen")
    );
    assert_eq!(config.tls.unwrap().client_ca.as_deref(), Some(Path::new("/x/clients.pem")));
    assert!(
        matches!(config.decrypt.unwrap().listen, DecryptAt::Unix(path) if path == Path::new("/run/ykvald/decrypt"))
    );
    let ksm = config.ksm.unwrap();
    assert_eq!((ksm.deadline, ksm.in_flight), (Duration::from_secs(3), 256));
}

#[test]
fn what_cannot_be_is_named() {
    for (text, said) in [
        ("lisen = 1", "/x/config.toml:1: there is no setting lisen here. Write listen"),
        ("\n[limits]\nread_ms = 0", ":3: limits.read_ms must be a number of milliseconds from 1 to 3600000"),
        ("listen = \"localhost:80\"", "listen in /x/config.toml: \"localhost:80\" is not IP:PORT"),
        ("listen = \"0.0.0.0:80\"", "listen in /x/config.toml: 0.0.0.0:80 is not a loopback address"),
        ("listen = []", "listen in /x/config.toml: names no address"),
        (
            "listen = [\"127.0.0.1:80\", \"127.0.0.1:80\"]",
            "listen in /x/config.toml: 127.0.0.1:80 and 127.0.0.1:80 overlap",
        ),
        (
            "[decrypt]\nlisten = \"127.0.0.1:8000\"\ncertificate = \"a\"\nkey = \"b\"\nclient_ca = \"c\"",
            "decrypt.listen in /x/config.toml: 127.0.0.1:8000 and 127.0.0.1:8000 overlap",
        ),
        (
            "[limits]\nconnections = 0",
            ":2: limits.connections must be a number from 1 to 1000000; the default is 16384",
        ),
        (
            "[limits]\nin_flight = 0",
            ":2: limits.in_flight must be a number from 1 to 1000000; the default is 1024",
        ),
        (
            "[limits]\nin_flight = 9000000000000000000",
            ":2: limits.in_flight must be a number from 1 to 1000000",
        ),
        (
            "[limits]\nhead_bytes = 0",
            ":2: limits.head_bytes must be a number from 1024 to 1048576; the default is 16384",
        ),
        (
            "[limits]\nbody_bytes = 0",
            ":2: limits.body_bytes must be a number from 128 to 1048576; the default is 4096",
        ),
        (
            "[limits]\nidle_ms = 3600001",
            ":2: limits.idle_ms must be a number of milliseconds from 1 to 3600000",
        ),
        ("[postgres]\npool = 0", ":2: postgres.pool must be a number from 1 to 10000; the default is 16"),
        ("store = \"mysql://x\"", "store in /x/config.toml: is neither a file (SQLite) nor postgres://"),
        ("status_from = [\"x\"]", "status_from in /x/config.toml: \"x\" is not a network"),
        ("[limits]\nunlimited_from = [\"x\"]", ":2: \"x\" is not a network"),
        (
            "[decrypt]\nlisten = \"127.0.0.1:8001\"",
            "decrypt in /x/config.toml: listens on an address, and lacks",
        ),
        ("[ksm]\nurls = \"ftp://x\"", "ksm.urls in /x/config.toml: URL 1 begins with neither"),
        (
            "[ksm]\nin_flight = 0\nurls = \"http://x\"",
            "ksm.in_flight must be a number from 1 to 1000000; the default is 256",
        ),
        ("[ksm]\nurls = []", "ksm.urls in /x/config.toml: names no key storage module"),
        ("[postgres]\nstandby = \"maybe\"", ":2: postgres.standby must be \"optional\" or \"required\""),
        ("[log]\nformat = \"xml\"", ":2: log.format must be \"logfmt\" or \"json\""),
    ] {
        let why = read(text).unwrap_err();
        assert!(why.contains(said), "{text}: {why}");
    }
    assert!(read("listen = \"0.0.0.0:80\"\nplain_http = true").is_ok());
}

/// A value of a wrong type is answered with what it must be, in words of the file and not of the program.
#[test]
fn a_wrong_type_is_named_in_plain_words() {
    let tables = ["tls", "limits", "log", "postgres", "etcd", "decrypt", "ksm"];
    let numbers =
        ["connections", "connections_per_address", "in_flight", "deadline_ms", "read_ms", "idle_ms"]
            .into_iter()
            .chain(["head_bytes", "body_bytes", "client_rate", "token_rate"])
            .map(|name| ("limits", name));
    let numbers = numbers.chain([
        ("postgres", "pool"),
        ("etcd", "deadline_ms"),
        ("ksm", "deadline_ms"),
        ("ksm", "in_flight"),
    ]);
    let others = ["listen", "plain_http", "store", "store_key", "status_from"].map(|name| ("", name));
    let others = others.into_iter().chain([
        ("tls", "certificate"),
        ("log", "to"),
        ("log", "format"),
        ("log", "required"),
        ("postgres", "standby"),
        ("postgres", "ca"),
        ("etcd", "ca"),
        ("etcd", "user"),
        ("etcd", "plain_http"),
        ("ksm", "urls"),
        ("decrypt", "listen"),
        ("limits", "unlimited_from"),
    ]);
    let all = tables.map(|table| ("", table)).into_iter().chain(numbers).chain(others);
    for (table, name) in all {
        for value in ["-73501928.5", "\"73501928\"", "[[73501928]]", "73501928", "{ secret = 73501928 }"] {
            // serde takes a list for the fields of a table, in their order.
            if table.is_empty() && tables.contains(&name) && value.starts_with('[') {
                continue;
            }
            let head = if table.is_empty() { String::new() } else { format!("[{table}]\n") };
            let line = if head.is_empty() { 1 } else { 2 };
            let Err(why) = read(&format!("{head}{name} = {value}\n")) else { continue };
            if why.contains("is missing in this table") || why.contains("there is no setting secret") {
                continue;
            }
            assert!(why.contains(&format!(":{line}: ")) || why.contains(" in /x/config.toml: "), "{why}");
            assert!(why.contains(name) && !why.contains("73501928."), "{name} = {value}: {why}");
            for word in ["struct", "enum", "usize", "u32", "i64", "variant", "Raw", "Config ", "invalid type"]
            {
                assert!(!why.contains(word), "{name} = {value}: {why}");
            }
        }
    }
    assert_eq!(read("log = 1").unwrap_err(), "/x/config.toml:1: log must be a table");
    let why = read("postgres = \"postgres://u:hunter2@db/x\"").unwrap_err();
    assert!(why.contains("postgres must be a table") && !why.contains("hunter2"), "{why}");
    for (text, said) in [
        ("plain_http = \"yes\"", "plain_http must be true or false"),
        ("store_key = 1", "store_key must be the path of a file, in quotes"),
        ("status_from = 1", "status_from must be a list"),
        ("listen = 1", "listen must be an address, or a list of addresses, in quotes"),
        ("listen = localhost", "string values must be quoted"),
        ("[tls]\ncertificate = \"x\"", "the setting key is missing in this table"),
    ] {
        assert_eq!(read(text).unwrap_err(), format!("/x/config.toml:1: {said}"));
    }
    let twice = read("listen = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\"").unwrap_err();
    assert!(twice.contains(":2: sets listen a second time"), "{twice}");
}

#[test]
fn a_password_in_the_url_makes_the_file_a_secret() {
    for (url, secret) in [
        ("postgres://u:pw@db/x", true),
        ("postgres://u@db/x?password=pw", true),
        ("postgres://u:p?w@db/x", true),
        ("http://u:pw@ksm/wsapi/decrypt", true),
        ("postgres://u@db/x?sslmode=require", false),
        ("postgres://db:5432/x", false),
    ] {
        assert_eq!(has_password(url), secret, "{url}");
    }
    let why = read("store = \"postgres://u:hunter2@db\"\nlisten = 7").unwrap_err();
    assert!(!why.contains("hunter2"), "{why}");
}

/// Whatever is written in place of a secret, no error quotes it.
#[test]
fn no_secret_is_quoted_in_an_error() {
    for setting in [
        "store",
        "store.x",
        "postgres.password_file",
        "etcd.password_file",
        "ksm.urls",
        "etcd.password",
        "ksm.password",
    ] {
        for form in [
            "73501928",
            "-73501928",
            "7350192.8",
            "0x73501928",
            "073501928",
            "99999999973501928999",
            "[73501928]",
            "[['73501928']]",
            "['73501928']",
            "{ a = 73501928 }",
            "7350-19-28",
            "1973-05-01T07:35:01.928Z",
            "07:35:01.928",
            "hunter73501928",
            "'73501928",
            "\"73501928\\q\"",
            "'x' '73501928'",
            "'user:73501928@host'",
            "'postgres:/user:73501928@host/db'",
            "'postgresql//user:73501928@host/db'",
            "'POSTGRES://user:73501928@host/db'",
            "'http//user:73501928@host/db'",
            "'ftp://user:73501928@host/db'",
        ] {
            // As a path, text is shown.
            if setting.ends_with("_file") && form.starts_with('\'') {
                continue;
            }
            for text in [format!("{setting} = {form}"), format!("{setting} = {form}\r\nlisten = 7\n")] {
                let why = read(&text).unwrap_err();
                let parts = ["73501928", "7350192", "07:35:01", "7350-19", "1973-05-01"];
                assert!(!parts.iter().any(|part| why.contains(part)), "{text}: {why}");
            }
        }
    }
    for path in ["/srv/user:x@host.db", "./a@b", "sqlite:a@b", "postgres.db"] {
        assert!(read(&format!("store = '{path}'")).is_ok(), "{path}");
    }
}

#[test]
fn no_value_is_quoted_in_an_error() {
    for line in [
        "tls = \"hunter2\"",
        "postgres = \"hunter2\"",
        "ksm = \"hunter2\"",
        "plain_http = \"hunter2\"",
        "log_format = \"hunter2\"",
    ] {
        let fault = read(line).err().unwrap();
        assert!(!fault.contains("hunter2"), "{line}: {fault}");
    }
}

fn etcd(text: &str) -> EtcdConfig {
    let StoreAt::Etcd(at) = read(text).unwrap().store else { panic!("{text}") };
    at
}

#[test]
fn a_cluster_of_etcd() {
    let at = etcd("store = \"etcd://127.0.0.1,localhost:2380,[::1]:9\"");
    let shown: Vec<_> = at.endpoints.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["127.0.0.1:2379", "localhost:2380", "[::1]:9"]);
    assert_eq!((at.prefix.as_str(), at.tls, at.deadline), ("/ykvald/", false, ETCD_DEADLINE));
    assert!(at.ca.is_none() && at.client.is_none() && at.user.is_none());
    assert_eq!(at.seen.as_deref(), Some(Path::new("/x/etcd.seen")));
    assert_eq!(
        StoreAt::Etcd(at).as_if_never_seen(),
        StoreAt::Etcd(EtcdConfig {
            seen: None,
            ..etcd("store = \"etcd://127.0.0.1,localhost:2380,[::1]:9\"")
        })
    );
    let all = "store = \"etcds://a.example:1,b-2:2/site/one/\"\n[etcd]\nca = \"ca\"\ncertificate = \"c\"\nkey = \"k\"\n\
               user = \"u\"\npassword_file = \"/p\"\ndeadline_ms = 70\n";
    let at = etcd(all);
    assert_eq!(at.to_string(), "etcds://a.example:1,b-2:2/site/one");
    assert_eq!((at.prefix.as_str(), at.tls, at.deadline), ("/site/one/", true, Duration::from_millis(70)));
    assert_eq!(at.ca.as_deref(), Some(Path::new("/x/ca")));
    let client = EtcdClientFiles { certificate: "/x/c".into(), key: "/x/k".into() };
    assert_eq!(at.client, Some(client));
    assert_eq!(at.user, Some(EtcdUser { name: "u".to_owned(), password_file: "/p".into() }));
    // On other hosts without TLS only if that is said.
    // Nothing is above the first part.
    assert_eq!(etcd("store = \"etcd://localhost/t/tt\"").prefix, "/t/tt/");
    assert!(read("store = \"etcd://10.0.0.1/x\"").is_err());
    assert!(!etcd("store = \"etcd://10.0.0.1/x\"\n[etcd]\nplain_http = true").tls);
}

#[test]
fn what_cannot_be_of_etcd_is_named() {
    for (text, said) in [
        ("store = \"etcd://u@localhost/x\"", "store in /x/config.toml: the URL of etcd holds no user"),
        ("store = \"etcds://\"", "store in /x/config.toml: is not a URL of etcd"),
        ("store = \"etcds://a,,b\"", "store in /x/config.toml: is not a URL of etcd"),
        ("store = \"etcds://a:0\"", "is not a URL of etcd"),
        ("store = \"etcds://a:65536\"", "is not a URL of etcd"),
        ("store = \"etcds://a:+1\"", "is not a URL of etcd"),
        ("store = \"etcds://::1\"", "is not a URL of etcd"),
        ("store = \"etcds://[a]:1\"", "is not a URL of etcd"),
        ("store = \"etcds://a b\"", "is not a URL of etcd"),
        ("store = \"etcds://a/x?y\"", "the path of the URL of etcd must be"),
        ("store = \"etcds://a//x\"", "the path of the URL of etcd must be"),
        ("store = \"etcds://a/x y\"", "the path of the URL of etcd must be"),
        // Keys of a store at /x, or at /x/y.
        ("store = \"etcds://a/x/t\"", "the path /x/t has the part t: parts of one letter"),
        ("store = \"etcds://a/x/p/y/\"", "the path /x/p/y has the part p:"),
        ("store = \"etcds://a/x/yy/w\"", "the path /x/yy/w has the part w:"),
        ("store = \"etcds://a,b:2379,a:2379\"", "store in /x/config.toml: names a:2379 twice"),
        (
            "store = \"etcd://localhost,db\"",
            "store in /x/config.toml: db:2379 is not on this host, and without TLS",
        ),
        (
            "store = \"etcds://a\"\n[etcd]\ncertificate = \"c\"",
            "etcd.certificate in /x/config.toml: is set, and key is not",
        ),
        (
            "store = \"etcds://a\"\n[etcd]\nkey = \"c\"",
            "etcd.key in /x/config.toml: is set, and certificate is not",
        ),
        (
            "store = \"etcds://a\"\n[etcd]\nuser = \"c\"",
            "etcd.user in /x/config.toml: is set, and password_file is not",
        ),
        (
            "store = \"etcds://a\"\n[etcd]\npassword_file = \"c\"",
            "etcd.password_file in /x/config.toml: is set, and user",
        ),
        (
            "store = \"etcd://localhost\"\n[etcd]\nca = \"c\"",
            "etcd.ca in /x/config.toml: is set, and store = ",
        ),
        (
            "[etcd]\ndeadline_ms = 0",
            ":2: etcd.deadline_ms must be a number of milliseconds from 1 to 3600000",
        ),
        ("[etcd]\npasword_file = \"x\"", ":2: there is no setting pasword_file here. Write password_file"),
    ] {
        let why = read(text).unwrap_err();
        assert!(why.contains(said), "{text}: {why}");
    }
}
