//! `ykmap recovery`

mod codes;

pub(crate) use codes::{NewSet, print, print_json, set_name};

use super::exchange::{Exchange, tokens_of, warn_of_mode};
use super::out::{self, Field};
use super::{Context, Done, Failure, account, assign, event, files, service, unlock};
use clap::ValueHint;
use serde_json::json;
use std::path::PathBuf;
use ykhost::settings::Settings;
use ykhost::store::Store;
use ykhost::{Fault, mapping};
use yubiotp::diagnostic::shell_word;
use yubiotp::mapping::{Line, entries};
use yubiotp::policy::Method;
use yubiotp::{SetId, TokenId, recovery, shown};

#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Create recovery codes for a user. The codes that the user had become invalid
    ///
    /// Each code lets the user in once, in place of an OTP or a code. The codes are shown once, and stored as hashes.
    New(New),
    /// Show how many recovery codes are left
    Status(Status),
}

#[derive(clap::Args)]
pub(crate) struct New {
    /// How many codes, 1 to 9
    #[arg(long, value_name = "N", default_value_t = recovery::USUAL, value_parser = clap::value_parser!(u8).range(1..=i64::from(recovery::MOST)))]
    count: u8,
    /// Folder of service files, in place of /etc/pam.d and those of the distribution; may be given several times
    #[arg(long = "pam-dir", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pam_dirs: Vec<PathBuf>,
    /// The user
    #[arg(value_hint = ValueHint::Username)]
    user: String,
}

#[derive(clap::Args)]
pub(crate) struct Status {
    /// Show only this user
    #[arg(value_hint = ValueHint::Username)]
    user: Option<String>,
}

pub(crate) fn run(context: &Context, verb: &Verb) -> Done {
    match verb {
        Verb::New(args) => new(context, args),
        Verb::Status(args) => status(context, args.user.as_deref()),
    }
}

fn new(context: &Context, args: &New) -> Done {
    let settings = context.settings()?;
    let (store, user) = (Store::new(&settings), args.user.as_str());
    let path = mapping::path_of(&settings.mapping, user)?;
    let words = format!("recovery new {}", shell_word(user.as_bytes()));
    files::check_rights(context, &settings, &path, &words)?;
    let tokens = tokens_of(&settings, user)?;
    if let Some(unknown) = account::unknown(user) {
        context.note(&unknown);
    }
    service::warn_of_others(context, &settings, Some(user), &service::pam_dirs(&args.pam_dirs)?);
    warn_of_mode(context, &settings);
    assign::warn_of_methods(context, &settings, user, [Method::Recovery]);
    let old: Vec<_> =
        tokens.iter().copied().filter(|token| matches!(token, TokenId::RecoverySet(_))).collect();
    let set = NewSet::draw(&store, args.count)?;
    let (name, coming) = (set.token(), set.keys(&store.store_key()?));
    let ended: Vec<_> = old.iter().map(ToString::to_string).collect();
    let exchange = Exchange {
        settings: &settings,
        user,
        tokens: &tokens,
        going: &old,
        coming: &coming,
        listed: &[name],
        stays: true,
    };
    exchange.run(&store, || match context.json {
        true => print_json(
            &json!({ "user": user, "set": name.to_string(), "codes": set.texts(), "ended": ended }),
        ),
        false => print(&set.page(user)),
    })?;
    event::log(
        context,
        "recovery-new",
        user,
        &[
            ("tokens", name.to_string()),
            ("codes", args.count.to_string()),
            ("ended", if ended.is_empty() { "none".to_owned() } else { ended.join(",") }),
        ],
    );
    event::notify(context, &store, user, "New recovery codes were made for you, which end earlier ones,");
    if !context.json {
        let now = out::count(args.count, "recovery code");
        let before = if ended.is_empty() { "" } else { "; the codes from before are invalid" };
        out::line(&format!("{} has {now} now{before}", shown::text(user)));
    }
    Ok(())
}

/// One set of a user, as the store has it.
struct Row {
    user: String,
    set: SetId,
    /// The numbers of its codes, and whether each was used. The fault that it cannot be used, otherwise.
    codes: Result<Vec<(u8, bool)>, Fault>,
}

fn status(context: &Context, user: Option<&str>) -> Done {
    let settings = context.settings()?;
    let store = Store::new(&settings);
    let rows = rows(&settings, &store, user)?;
    let tries = user.map(|user| unlock::tries_left(&store, user.as_bytes())).transpose()?;
    if context.json {
        let sets: Vec<_> = rows.iter().map(Row::json).collect();
        out::json(&match user {
            Some(user) => json!({ "user": user, "tries_left": tries, "sets": sets }),
            None => json!(sets),
        });
        return Ok(());
    }
    if rows.is_empty() {
        let (whom, word) = match user {
            Some(user) => (shown::text(user).to_string(), shell_word(user.as_bytes())),
            None => ("nobody".to_owned(), "USER".to_owned()),
        };
        let has = if user.is_some() { "has no recovery codes" } else { "has recovery codes" };
        out::note(&format!("{whom} {has}: {} recovery new {word}", context.ykmap()));
    } else {
        out::table(&["User", "Set", "Left", "Used"], rows.iter().map(Row::fields).collect());
    }
    if let (Some(user), Some(tries)) = (user, tries) {
        unlock::note_few(context, user, tries);
    }
    Ok(())
}

fn rows(settings: &Settings, store: &Store, user: Option<&str>) -> Result<Vec<Row>, Failure> {
    let texts = match user {
        Some(user) => {
            let lists = files::lists(settings, user)?;
            lists.both().map(|list| (list.path().clone(), list.text().to_vec())).collect()
        }
        None => files::texts(settings)?,
    };
    let mut rows = Vec::new();
    for (path, text) in texts {
        for (number, line) in entries(&text) {
            let (owner, fields) = match line {
                Ok(Line::Entry { user, fields }) => (user, fields),
                Ok(Line::Nothing) => continue,
                Err(why) => {
                    out::note(&format!("{}: line {number}: {why}", path.display()));
                    continue;
                }
            };
            if user.is_some_and(|wanted| wanted.as_bytes() != owner) {
                continue;
            }
            for token in fields.tokens() {
                let TokenId::RecoverySet(set) = token else { continue };
                let user = String::from_utf8_lossy(owner).into_owned();
                rows.push(Row { user, set, codes: store.recovery_codes_used(&set) });
            }
        }
    }
    Ok(rows)
}

impl Row {
    /// How many codes are left; `None` if nobody can tell.
    fn left(&self) -> Option<usize> {
        self.codes.as_ref().ok().map(|codes| codes.iter().filter(|(_, used)| !used).count())
    }

    fn used(&self) -> Vec<u8> {
        let codes = self.codes.as_deref().unwrap_or_default();
        codes.iter().filter(|(_, used)| *used).map(|(number, _)| *number).collect()
    }

    fn json(&self) -> serde_json::Value {
        let fault = self.codes.as_ref().err().map(ToString::to_string);
        json!({
            "user": self.user,
            "set": TokenId::RecoverySet(self.set).to_string(),
            "left": self.left(),
            "used": self.used(),
            "fault": fault,
        })
    }

    fn fields(&self) -> Vec<Field> {
        let left = match (&self.codes, self.left()) {
            (Err(Fault::NoKey { .. }), _) => Field::Loud("not in the store".to_owned()),
            (Err(fault), _) => Field::Loud(fault.to_string()),
            (Ok(_), Some(left @ 2..)) => Field::Plain(left.to_string()),
            (Ok(_), left) => Field::Loud(left.unwrap_or_default().to_string()),
        };
        let used: Vec<_> = self.used().iter().map(ToString::to_string).collect();
        let used = if used.is_empty() { "none".to_owned() } else { used.join(", ") };
        let set = TokenId::RecoverySet(self.set).to_string();
        vec![Field::Plain(shown::text(&self.user).to_string()), Field::Plain(set), left, Field::Plain(used)]
    }
}
