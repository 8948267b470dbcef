//! `ykwebd user set-password`

use super::user::parse_name;
use super::{Context, Done, Failure, out};
use serde_json::json;
use std::io::{IsTerminal as _, Read as _};
use subtle::ConstantTimeEq as _;
use ykcli::typed;
use ykweb::config::Passwords;
use ykweb::first_factor::file::{Changed, set_password};
use ykweb::user::UserName;
use yubiotp::diagnostic::{Code, Diagnostic, Location, cause};
use yubiotp::password::MAX_PASSWORD;
use zeroize::Zeroizing;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The user
    #[arg(value_name = "NAME", value_parser = parse_name)]
    name: UserName,
    /// Read the password from standard input, without asking for it again
    #[arg(long)]
    stdin: bool,
    /// Put the user into these groups, and no others; without it, they stay in those they are in
    #[arg(long, value_name = "GROUP", value_delimiter = ',')]
    groups: Option<Vec<String>>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let config = context.settings(&[])?;
    let Passwords::File(path) = &config.password else {
        let found = Diagnostic::error(Code::SettingMissing, "passwords are not checked by a file of ykwebd");
        return Err(found
            .at(Location::Setting("file in [password]".to_owned()))
            .advise("if PAM checks them, change the password where PAM has it: passwd(1), or the directory")
            .advise("otherwise set file")
            .into());
    };
    let password = if args.stdin { read()? } else { ask(&args.name)? };
    let changed = set_password(path, &args.name, &password, args.groups.as_deref())?;
    let is_new = changed == Changed::Added;
    if context.json {
        out::json(&json!({ "user": args.name.as_str(), "done": if is_new { "added" } else { "changed" } }));
    } else if is_new {
        out::line(&format!("user {}: has a password now, in {}", args.name, path.display()));
    } else {
        out::line(&format!("user {}: password changed", args.name));
    }
    Ok(())
}

/// Twice, without showing it.
fn ask(name: &UserName) -> Result<Zeroizing<Vec<u8>>, Failure> {
    if !std::io::stdin().is_terminal() {
        let found = Diagnostic::error(
            Code::NoTerminal,
            "the password is asked for at a terminal, and standard input is none",
        );
        return Err(found.advise("in a script, give --stdin").into());
    }
    let one = typed::hidden_line(&format!("New password for {name}: "), MAX_PASSWORD)?;
    let two = typed::hidden_line("The same again: ", MAX_PASSWORD)?;
    if bool::from(one.ct_eq(&two)) {
        Ok(one)
    } else {
        Err(Failure::input("the two passwords differ: nothing was changed"))
    }
}

/// All of standard input, without the end of its last line.
fn read() -> Result<Zeroizing<Vec<u8>>, Failure> {
    // Room for all of it, so that no part stays behind in memory that was too small. One byte more is too many.
    let room = MAX_PASSWORD.saturating_add(2);
    let mut text = Zeroizing::new(Vec::with_capacity(room));
    let limit = u64::try_from(room).unwrap_or(u64::MAX);
    let read = std::io::stdin().lock().take(limit).read_to_end(&mut text);
    read.map_err(|why| Failure::input(format!("standard input: {}", cause(&why))))?;
    if text.last() == Some(&b'\n') {
        text.pop();
    }
    Ok(text)
}
