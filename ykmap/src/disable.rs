//! `ykmap disable`

use super::enable::{say_undone, show_diff};
use super::switch::plan::unknown;
use super::switch::{Host, Places, changes_of, check_name, deadline, files_of, lines, shown_names, store};
use super::system::{self, ChangeSet, FileChange};
use super::{Context, Done, Failure, event, out};
use crate::doctor::pam::both::{is_open_or_closed, jumps_over_ours};
use crate::doctor::pam::service::{Folders, Overlay};
use crate::doctor::sshd::fronts_with;
use clap::builder::NonEmptyStringValueParser;
use serde_json::json;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use ykhost::file::read_untrusted;
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program, shell_word};

#[derive(clap::Args)]
#[command(after_help = "Exit status: 0 done, 2 it cannot be disabled, 3 --dry-run would change something.")]
pub(crate) struct Args {
    /// The service: sudo (and sudo -i), ssh, su (and su -), login, polkit, or the name of a file in pam.d
    #[arg(value_name = "SERVICE", value_parser = NonEmptyStringValueParser::new())]
    service: String,
    /// Show the difference, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Remove every line of the service file that loads the module, also those that ykmap did not write
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    places: Places,
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let host = args.places.host()?;
    let service = args.service.as_str();
    let (name, sibling) = files_of(service);
    check_name(name)?;
    let store = store(context)?;
    let names = changes_of(service);
    let waiting = system::pending_changes(&store)?.into_iter().find(|change| names.contains(&change.name));
    if let Some(change) = waiting.filter(|_| !args.dry_run) {
        let undone = system::undo(&store, &change.name)?;
        deadline::log(context, &undone);
        return say_undone(context, service, &undone);
    }
    let mut set = ChangeSet { name: format!("disable-{name}"), files: Vec::new(), sshd_config: None };
    for name in std::iter::once(name).chain(sibling) {
        set.files.extend(removal(&host, name, args.all)?);
    }
    if name == "sshd" {
        // The lines in pam.d go first: the other way round, sshd would ask them in one answer.
        let files = super::switch::sshd_removals(&host.sshd_config)?;
        set.sshd_config = (!files.is_empty()).then(|| host.sshd_config.clone());
        set.files.extend(files);
    }
    if set.is_empty() {
        return nothing(context, &host, service, name);
    }
    check(&host, &set, std::iter::once(name).chain(sibling))?;
    if args.dry_run {
        match context.json {
            true => out::json(&json!({ "service": service, "changed": true, "diff": set.diff() })),
            false => show_diff(&set.diff()),
        }
        return Err(Failure::Differs);
    }
    if !context.json {
        show_diff(&set.diff());
    }
    let made = set.commit(&store, None)?;
    event::log_host(context, "service-disabled", &[("service", service.to_owned())]);
    match context.json {
        true => out::json(&json!({ "service": service, "changed": true, "backups": made.backups })),
        false => {
            out::line(&format!("no YubiKey is needed any more for {}", shown_names(service, &host)));
            for backup in &made.backups {
                out::line(&format!("the former file is {}", backup.display()));
            }
        }
    }
    Ok(())
}

/// The service file without our lines; nothing if it has none.
fn removal(host: &Host, name: &str, all: bool) -> Result<Option<FileChange>, Failure> {
    let path = host.own_dir().join(name);
    if path.symlink_metadata().is_err() {
        return Ok(None);
    }
    let text = system::current(&path)?.unwrap_or_default();
    let mut new = lines::restored(&text).map_err(|line| {
        let what = "is not the line that ykmap wrote here: ykmap does not know what to restore";
        Diagnostic::error(Code::LinesNotOurs, what)
            .at(Location::line(path.as_os_str().as_bytes(), line))
            .advise("edit the file by hand, and remove the comments of ykmap in it")
    })?;
    if let [first, ..] = lines::ours(&new).as_slice() {
        if !all {
            let service = shell_word(name.as_bytes());
            let found =
                Diagnostic::error(Code::LinesNotOurs, "loads the module, and was not written by ykmap")
                    .at(Location::line(path.as_os_str().as_bytes(), *first));
            let call = format!("disable --all{} {service}", host.options());
            return Err(found.run_when("to remove it all the same", Program::Ykmap, call).into());
        }
        new = lines::without_module(&new);
    }
    if new == text {
        return Ok(None);
    }
    // A file that was copied from the distribution's folder goes again.
    let vendor = host.dirs.get(1..).unwrap_or_default().iter().map(|folder| folder.join(name));
    let is_copy = vendor.filter(|path| path.exists()).take(1).any(|path| is_text(&path, &new));
    Ok(Some(FileChange { path, before: Some(text), after: (!is_copy).then_some(new) }))
}

fn is_text(path: &Path, text: &[u8]) -> bool {
    read_untrusted(path, 1 << 20).is_ok_and(|own| own == text)
}

/// Refuses to leave a service that asks for nothing, or by which nobody gets in.
fn check<'a>(host: &Host, set: &ChangeSet, names: impl Iterator<Item = &'a str>) -> Result<(), Failure> {
    let overlay: Overlay =
        set.files.iter().filter_map(|file| Some((file.path.clone(), file.after.clone()?))).collect();
    let gone: Vec<&PathBuf> =
        set.files.iter().filter(|file| file.after.is_none()).map(|file| &file.path).collect();
    let folders = Folders::changed(&host.dirs, overlay.clone());
    // Those of a file that goes are the distribution's.
    let names = names.filter(|name| folders.find(name).is_some_and(|path| !gone.contains(&&path)));
    let (now, changed) =
        (Folders::of(&host.dirs), set.files.iter().map(|file| &*file.path).collect::<Vec<_>>());
    for name in names {
        if let Some(found) = jumps_over_ours(&now, name, &changed) {
            return Err(found
                .advise("remove the line by hand, and lower the number of this jump by one")
                .into());
        }
        if let Some(found) = is_open_or_closed(&folders, name, &fronts_with(&host.sshd_config, &overlay)) {
            return Err(found.advise("edit the file by hand").into());
        }
    }
    Ok(())
}

fn nothing(context: &Context, host: &Host, service: &str, name: &str) -> Done {
    let asking = crate::doctor::pam::auth_lines(&host.dirs).into_iter().find(|line| line.service == name);
    if let Some(line) = asking {
        let what = format!("asks by {}, which other services include, too", line.place);
        let found = Diagnostic::error(Code::LinesNotOurs, what).at(Location::Service(name.to_owned()));
        return Err(found
            .advise("remove the line from that file")
            .run_when("on Debian", Program::System, "pam-auth-update --disable yubiotp")
            .into());
    }
    let folders = Folders::of(&host.dirs);
    if !folders.has(name) {
        return Err(unknown(&folders, name).into());
    }
    match context.json {
        true => out::json(&json!({ "service": service, "changed": false })),
        false => {
            out::line(&format!("no YubiKey is needed for {}: nothing changed", shown_names(service, host)))
        }
    }
    Ok(())
}
