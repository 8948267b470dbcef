//! pam_yubico 2.26 and older.

use super::{Old, Source, Translated, always_ok, parts, unknown};
use std::collections::BTreeMap;
use yubiotp::diagnostic::shell_word;

/// The URL that pam_yubico asks if no argument names one.
pub(in crate::migrate) const YUBICLOUD: &str = "https://api.yubico.com/wsapi/2.0/verify";

/// Arguments of one purpose: where users' tokens are if neither a file nor a home has them.
const LDAP: [&str; 16] = [
    "ldap_uri",
    "ldap_server",
    "ldapserver",
    "ldapdn",
    "ldap_dn",
    "ldap_filter",
    "ldap_bind_user",
    "ldap_bind_password",
    "ldap_bind_no_anonymous",
    "ldap_cacertfile",
    "ldap_clientcertfile",
    "ldap_clientkeyfile",
    "ldap_starttls",
    "user_attr",
    "yubi_attr",
    "yubi_attr_prefix",
];
const MYSQL: [&str; 5] = ["mysql_server", "mysql_port", "mysql_user", "mysql_password", "mysql_database"];

pub(super) fn translate(args: &[String]) -> Translated {
    let mut line = Translated::new(Source::Homes);
    let (mut ldap, mut mysql) = (BTreeMap::new(), BTreeMap::new());
    let mut challenge_response = false;
    for arg in args {
        match parts(arg) {
            ("debug" | "nullok" | "always_prompt", "") => line.arg(arg),
            ("verbose_otp", "") => line.arg("echo"),
            ("try_first_pass" | "use_first_pass", "") => line.first_pass(arg),
            ("alwaysok", "") => always_ok(&mut line),
            ("debug_file", _) => {
                line.note("debug_file: debug messages go to the system log (journalctl -t sshd): left out");
            }
            ("mode", mode) => challenge_response = mode == "challenge-response",
            ("chalresp_path", _) => {}
            ("authfile", path) => line.source = Source::Mapping(path.to_owned()),
            ("token_id_length", length) => {
                line.args.retain(|old| !old.starts_with("token_id_length="));
                line.args.push(format!("token_id_length={length}"));
            }
            ("id", value) => drop(line.servers.insert("id", value.to_owned())),
            ("key", value) => drop(line.servers.insert("key", value.to_owned())),
            ("urllist", value) => drop(line.servers.insert("urllist", value.to_owned())),
            ("url", value) => drop(line.servers.insert("urllist", without_query(value))),
            ("capath" | "cainfo", value) => drop(line.servers.insert("capath", value.to_owned())),
            ("proxy", value) => drop(line.servers.insert("proxy", proxy(value))),
            (name, value) if LDAP.contains(&name) => drop(ldap.insert(name, value)),
            (name, value) if MYSQL.contains(&name) => drop(mysql.insert(name, value)),
            _ => unknown(&mut line, Old::Yubico, arg),
        }
    }
    if challenge_response {
        line.stay(
            "mode=challenge-response: this module has no challenge-response, so the line stays as it is",
            "program a slot of each YubiKey with Yubico OTP (ykmap key new), assign it (ykmap add USER), and then replace the line",
        );
        line.source = Source::Nothing;
        return line;
    }
    // As pam_yubico does: LDAP before all others, a database before files.
    if !ldap.is_empty() {
        line.source = Source::Elsewhere { what: "LDAP", export: of_ldap(&ldap) };
    } else if !mysql.is_empty() && line.source == Source::Homes {
        line.source = Source::Elsewhere { what: "MySQL", export: of_mysql(&mysql) };
    }
    line.servers.entry("urllist").or_insert_with(|| YUBICLOUD.to_owned());
    line
}

/// A URL template of `url=` without what the protocol adds: `?id=%d&otp=%s`.
fn without_query(template: &str) -> String {
    template.split('?').next().unwrap_or_default().to_owned()
}

/// A proxy as a URL; curl takes one without a scheme for HTTP, and without a port for 1080.
fn proxy(value: &str) -> String {
    match value.split_once("://") {
        Some(("socks5h", rest)) => format!("socks5://{rest}"),
        Some(_) => value.to_owned(),
        None if value.contains(':') => format!("http://{value}"),
        None => format!("http://{value}:1080"),
    }
}

/// A command that prints `USER:ID` lines of what the directory has.
fn of_ldap(args: &BTreeMap<&str, &str>) -> String {
    let value = |names: &[&str]| names.iter().find_map(|name| args.get(name).copied());
    let uri = value(&["ldap_uri"]).map(ToOwned::to_owned);
    let uri = uri.or_else(|| value(&["ldap_server", "ldapserver"]).map(|host| format!("ldap://{host}")));
    let uri = uri.unwrap_or_else(|| "ldap://SERVER".to_owned());
    let base = value(&["ldapdn", "ldap_dn"]).unwrap_or("BASE");
    let id = value(&["yubi_attr"]).unwrap_or("YUBI_ATTR");
    let filter = value(&["ldap_filter"]).and_then(|filter| filter.trim_matches(['(', ')']).split_once("=%u"));
    let user = filter.map(|(attribute, _)| attribute).or_else(|| value(&["user_attr"])).unwrap_or("uid");
    let prefix = value(&["yubi_attr_prefix"]).unwrap_or_default();
    let bind = value(&["ldap_bind_user"])
        .map_or_else(|| "-x".to_owned(), |dn| format!("-x -W -D {}", shell_word(dn.as_bytes())));
    let [uri, base] = [uri.as_str(), base].map(|word| shell_word(word.as_bytes()));
    let search = format!(
        "ldapsearch -LLL -o ldif-wrap=no {bind} -H {uri} -b {base} {} {user} {id}",
        shell_word(format!("({id}=*)").as_bytes())
    );
    let program = format!(
        "tolower($1)==tolower(\"{user}:\"){{u=$2}} tolower($1)==tolower(\"{id}:\") && index($2,\"{prefix}\")==1{{i=i \":\" substr($2,{})}} /^$/{{if(u&&i)print u i;u=i=\"\"}}",
        prefix.len().saturating_add(1)
    );
    format!("{search} | awk {} >FILE", shell_word(program.as_bytes()))
}

/// The same of a database.
fn of_mysql(args: &BTreeMap<&str, &str>) -> String {
    let value =
        |name: &str, or: &str| shell_word(args.get(name).copied().unwrap_or(or).as_bytes()).to_string();
    let port = args
        .get("mysql_port")
        .map_or_else(String::new, |port| format!(" -P {}", shell_word(port.as_bytes())));
    format!(
        "mysql -h {}{port} -u {} -p -N -B -e 'SELECT CONCAT(username, \":\", otp_id) FROM yubikey_mappings' {} >FILE",
        value("mysql_server", "localhost"),
        value("mysql_user", "USER"),
        value("mysql_database", "otp")
    )
}
