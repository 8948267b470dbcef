//! `ykvald init`

mod make;
mod text;

use super::client::{lines, parse_name};
use super::{Context, Done, Failure, absolute, out, place, wait};
use clap::ValueHint;
use serde_json::json;
use std::path::{Path, PathBuf};
use ykcli::diagnostic;
use ykserve::installation::Layout;
use ykval::config::has_password;
use yubiotp::diagnostic::{Calls, Code, Diagnostic};

pub(crate) use make::{Made, Plan};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Keep everything in this folder
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    dir: Option<PathBuf>,
    /// Where to store clients, keys and counters: a file (SQLite), postgres://USER@HOST/NAME with the password in a file, or
    /// etcds://HOST,HOST,HOST/NAME [default: ykvald.db]
    #[arg(long, value_name = "FILE|URL", value_parser = parse_store, value_hint = ValueHint::FilePath)]
    store: Option<String>,
    /// The file with the password of PostgreSQL
    #[arg(long, value_name = "FILE", requires = "store", value_hint = ValueHint::FilePath)]
    password_file: Option<PathBuf>,
    /// The name of the first client
    #[arg(long, default_value = "first", value_parser = parse_name, value_hint = ValueHint::Other)]
    name: String,
    /// Create no client, so that no secret is printed
    #[arg(long)]
    no_client: bool,
    /// Create an empty store in place of one that was lost. Clients need new keys, and each imported token has to prove
    /// by two touches that its OTPs are new
    #[arg(long)]
    start_anew: bool,
}

/// A password on the command line would stay in the shell's history, and show in lists of processes.
pub(super) fn parse_store(text: &str) -> Result<String, String> {
    if has_password(text) {
        return Err(
            "it holds a password, which other users can see here; put it in a file (--password-file)".into(),
        );
    }
    Ok(text.to_owned())
}

pub(crate) fn run(context: &Context, args: Args) -> Done {
    let dir = args.dir.map(absolute).transpose()?;
    let (config, layout) = place::INSTALLED.place_of_init(dir.as_deref(), context.config.as_deref())?;
    let is_url = |store: &String| store.contains("://");
    let store = match args.store {
        Some(path) if !is_url(&path) => Some(absolute(path.into())?.display().to_string()),
        store => store,
    };
    let password_file = args.password_file.map(absolute).transpose()?;
    if let (Some(store), Some(_)) = (&store, &password_file)
        && ["etcd://", "etcds://"].iter().any(|scheme| store.starts_with(scheme))
    {
        let problem = "--password-file is for PostgreSQL; a user of etcd is set in the configuration";
        let found = Diagnostic::error(Code::CommandLineInvalid, problem);
        return Err(found
            .advise("write a configuration with store, and with user and password_file in [etcd], and run init without --store")
            .into());
    }
    let first = (!args.no_client).then_some(args.name);
    let plan = Plan { config, layout, store, password_file, first, start_anew: args.start_anew };
    let made = wait(plan.make());

    // Remedies name the configuration, unless it is the default one.
    let named = (place::settings()?.as_deref() != Some(&plan.config)).then(|| plan.config.clone());
    let context = Context { config: named, json: context.json };
    let made = match made {
        Ok(made) => made,
        Err(failure) => {
            if let Some(found) = failure.diagnostic() {
                let calls = Calls { ykvald: &context.ykvald(), ..Calls::PLAIN };
                diagnostic::fail("ykvald", &found, calls, context.json);
            }
            return Err(Failure::Bad);
        }
    };
    tell(&context, &plan, &made);
    Ok(())
}

fn tell(context: &Context, plan: &Plan, made: &Made) {
    if context.json {
        let client = made.client.as_ref();
        let client = client.map(|(id, name, key)| lines::to_json(&made.config, *id, name, &key.to_base64()));
        out::json(&json!({
            "config": plan.config,
            "made": made.made.new,
            "kept": made.made.kept,
            "client": client,
        }));
        return;
    }
    for what in &made.made.new {
        out::line(&format!("created {what}"));
    }
    for what in &made.made.kept {
        out::line(&format!("kept {what}"));
    }
    if let Some((id, name, key)) = &made.client {
        out::line("");
        lines::tell(context, &made.config, *id, name, key);
    }
    if plan.first.is_some() {
        let ykvald = context.ykvald();
        let system = plan.layout == Layout::System && Path::new("/run/systemd/system").exists();
        let serve =
            if system { "systemctl enable --now ykvald".to_owned() } else { format!("{ykvald} serve") };
        out::lines(&format!("\nNext:\n  {ykvald} key import FILE\n  {serve}"));
    }
}
