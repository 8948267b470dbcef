//! `ykwebd init`

pub(crate) mod make;
mod text;

use super::{Context, Done, Failure, absolute, out, place};
use clap::ValueHint;
use make::{Layout, Made, Plan};
use serde_json::json;
use std::path::{Path, PathBuf};
use ykweb::config::{CONFIG, Origin};
use yubiotp::diagnostic::{Code, Diagnostic};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The portal as browsers see it, without a path. Needed for a new configuration
    #[arg(long, value_name = "URL", value_parser = parse_origin, value_hint = ValueHint::Url)]
    public_url: Option<Origin>,
    /// Keep everything in this folder
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    dir: Option<PathBuf>,
}

fn parse_origin(text: &str) -> Result<Origin, String> {
    Origin::parse(text).map_err(|why| format!("it {why}"))
}

pub(crate) fn run(context: &Context, args: Args) -> Done {
    let (config, layout) = match (args.dir, &context.config) {
        // clap does not detect a conflict with an option before the verb.
        (Some(_), Some(_)) => {
            let both = "--dir cannot be used with --config";
            return Err(Diagnostic::error(Code::CommandLineInvalid, both).into());
        }
        (Some(dir), None) => (absolute(dir)?.join("config.toml"), Layout::OneFolder),
        (None, Some(config)) if config != Path::new(CONFIG) => (config.clone(), Layout::OneFolder),
        (None, _) => usual()?,
    };
    let plan = Plan { config, layout, public_url: args.public_url, further: "", demo_pages: false };
    let made = plan.make()?;
    // Remedies name the configuration, unless it is the default one.
    let named = (place::settings()?.as_deref() != Some(&plan.config)).then(|| plan.config.clone());
    tell(&Context { config: named, json: context.json }, &plan, &made);
    Ok(())
}

/// The default places: what exists already, or what this user may write to.
fn usual() -> Result<(PathBuf, Layout), Failure> {
    let data = place::data_folder().ok_or_else(|| {
        let homeless = Diagnostic::error(Code::ConfigMissing, "this user has no home folder");
        Failure::from(homeless.advise("name a folder with --dir"))
    })?;
    let of_data = data.join("config.toml");
    let root = rustix::process::geteuid().is_root();
    Ok(if root && (Path::new(CONFIG).exists() || !of_data.exists()) {
        (CONFIG.into(), Layout::System)
    } else {
        (of_data, Layout::OneFolder)
    })
}

fn tell(context: &Context, plan: &Plan, made: &Made) {
    if context.json {
        out::json(&json!({ "config": plan.config, "made": made.new, "kept": made.kept }));
        return;
    }
    for what in &made.new {
        out::line(&format!("created {what}"));
    }
    for what in &made.kept {
        out::line(&format!("kept {what}"));
    }
    if made.new.is_empty() {
        return;
    }
    let ykwebd = context.ykwebd();
    out::paragraphs(&format!(
        "\nNext: add a user, give them a second factor, and say in {} who checks passwords ([password]), who decides about \
         YubiKeys ([validation]) and what is protected ([[host]]):\n\n  {ykwebd} user add NAME\n  {ykwebd} user add-app NAME",
        plan.config.display()
    ));
}
