//! `ykwebd init`

pub(crate) mod make;
mod text;

use super::{Context, Done, absolute, out, place};
use clap::ValueHint;
use make::Plan;
use serde_json::json;
use std::path::PathBuf;
use ykserve::installation::init::Made;
use ykweb::config::Origin;

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
    let dir = args.dir.map(absolute).transpose()?;
    let (config, layout) = place::INSTALLED.place_of_init(dir.as_deref(), context.config.as_deref())?;
    let plan = Plan {
        config,
        layout,
        public_url: args.public_url,
        listen: None,
        further: String::new(),
        demo_pages: false,
    };
    let made = plan.make()?;
    // Remedies name the configuration, unless it is the default one.
    let named = (place::settings()?.as_deref() != Some(&plan.config)).then(|| plan.config.clone());
    tell(&Context { config: named, json: context.json }, &plan, &made);
    Ok(())
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
