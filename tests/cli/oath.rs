//! Authenticator apps and hardware tokens: set up, imported, assigned, resynchronized, tested and removed. `oathtool` is the
//! app or token.

mod assigned;
mod imported;
mod killed;
mod resynced;
mod series;
mod set_up;
mod tested;

use crate::desk::{Desk, Said};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SOON: Duration = Duration::from_secs(30);

/// An app or a hardware token.
struct Token {
    /// In hex.
    secret: String,
    /// Of TOTP; `None` for HOTP.
    period: Option<u64>,
    digits: u8,
    algorithm: &'static str,
}

impl Token {
    /// The usual kind, with a secret of its own.
    fn numbered(n: u8) -> Self {
        Self { secret: format!("{n:02x}").repeat(20), period: Some(30), digits: 6, algorithm: "SHA1" }
    }

    fn hotp(n: u8) -> Self {
        Self { period: None, ..Self::numbered(n) }
    }

    /// As an app reads it.
    fn of_uri(uri: &str) -> Self {
        let value = |name: &str| {
            let (_, behind) = uri.split_once(&format!("{name}="))?;
            behind.split(['&', '\r', '\n']).next().map(str::to_owned)
        };
        let secret = data_encoding::BASE32_NOPAD.decode(value("secret").unwrap().as_bytes()).unwrap();
        let hash = value("algorithm").unwrap_or_else(|| "SHA1".to_owned());
        Self {
            secret: data_encoding::HEXLOWER.encode(&secret),
            period: (!uri.contains("://hotp/"))
                .then(|| value("period").map_or(30, |period| period.parse().unwrap())),
            digits: value("digits").map_or(6, |digits| digits.parse().unwrap()),
            algorithm: ["SHA1", "SHA256", "SHA512"].into_iter().find(|name| *name == hash).unwrap(),
        }
    }

    /// The code of a step, by oathtool.
    fn code(&self, step: u64) -> String {
        let mut oathtool = Command::new("oathtool");
        oathtool.arg(format!("--digits={}", self.digits));
        match self.period {
            None => oathtool.args(["--hotp", "--counter", &step.to_string()]),
            Some(period) => oathtool.args([
                &format!("--totp={}", self.algorithm),
                &format!("--time-step-size={period}s"),
                &format!("--now=@{}", step * period),
            ]),
        };
        let output = oathtool.arg(&self.secret).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// The step at this moment.
    fn step(&self) -> u64 {
        now() / self.period.unwrap()
    }

    /// The code that it shows while its clock is so many steps ahead.
    fn shows(&self, ahead: i64) -> String {
        self.code(self.step().saturating_add_signed(ahead))
    }
}

/// Two successive codes, of the step that is so many ahead and the next one: an answer.
fn pair(token: &Token, ahead: i64) -> String {
    let step = token.step().saturating_add_signed(ahead);
    format!("{} {}", token.code(step), token.code(step + 1))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A store with these tokens: serial numbers 1001 and so on, nobody's.
fn desk(tokens: &[&Token]) -> Desk {
    let desk = Desk::new();
    for (serial, token) in (1001..).zip(tokens) {
        let kind = if token.period.is_some() { "totp" } else { "hotp" };
        import(&desk, &format!("{serial},{}\n", token.secret), &["--kind", kind]).exits(0);
    }
    desk
}

/// Imports a text.
fn import(desk: &Desk, text: &str, options: &[&str]) -> Said {
    let file = desk.write_beside("tokens.csv", text.as_bytes());
    crate::desk::chmod(&file, 0o600);
    let mut arguments = vec!["token", "import", "--secret", "hex", file.to_str().unwrap()];
    arguments.extend(options);
    desk.ykmap(&arguments)
}

/// What `--json` printed.
fn json(said: &Said) -> serde_json::Value {
    serde_json::from_str(&said.out).unwrap_or_else(|why| panic!("{why}: {said:?}"))
}

/// What `ykmap --json test` says of one answer.
fn tested(desk: &Desk, user: &str, answer: &str) -> serde_json::Value {
    let said = desk.ykmap(&["--json", "test", user, answer]);
    json(&said)["answers"][0].clone()
}

/// The code of an outcome: that of `ykmap verify`, which uses the answer up.
fn verified(desk: &Desk, user: &str, answer: &str) -> String {
    let said = desk.ykmap(&["--json", "verify", user, answer]);
    json(&said)["finding"]["code"].as_str().unwrap().to_owned()
}

/// How far a token is, and its drift, by `ykmap token list`.
fn progress(desk: &Desk, id: &str) -> (Option<u64>, i64) {
    let listed = json(&desk.ykmap(&["--json", "token", "list"]).exits(0));
    let one = listed.as_array().unwrap().iter().find(|one| one["id"] == id).unwrap();
    (one["next_step"].as_u64(), one["drift"].as_i64().unwrap())
}

fn state(desk: &Desk, id: &str) -> String {
    let listed = json(&desk.ykmap(&["--json", "token", "list"]).exits(0));
    let one = listed.as_array().unwrap().iter().find(|one| one["id"] == id).unwrap();
    one["state"].as_str().unwrap().to_owned()
}
