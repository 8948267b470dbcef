//! `ykmap key new`

use crate::{Context, Done, Failure, out, parse_id};
use clap::ValueHint;
use data_encoding::HEXLOWER;
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use ykcli::input::in_words;
use ykhost::random;
use yubiotp::diagnostic::{Code, Diagnostic, Location, Program};
use yubiotp::{AesKey, Credential, PrivateId, PublicId};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Its public ID [default: vv and ten random characters]
    #[arg(long, value_name = "ID", value_parser = parse_id, value_hint = ValueHint::Other)]
    id: Option<PublicId>,
    /// Write the commands, which hold the secrets, to this new file with mode 0600, and print none of them
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let store = context.store()?;
    let change = store.change()?;
    let id = match args.id {
        Some(id) => id,
        // Ids that begin with hex ff are the ones that no factory makes.
        None => {
            let [a, b, c, d, e] = random::bytes()?;
            PublicId::from_bytes(&[0xff, a, b, c, d, e]).ok_or_else(|| Failure::input("no public ID"))?
        }
    };
    if store.keys()?.has(&id.to_string())? {
        let found = Diagnostic::error(Code::KeyExists, "has a key already")
            .at(Location::Token(id.to_string()))
            .run_when("to forget that key", Program::Ykmap, format!("key remove {id}"));
        return Err(found.into());
    }
    let credential =
        Credential { private_id: PrivateId::new(random::bytes()?), aes_key: AesKey::new(random::bytes()?) };
    let private_id = zeroize::Zeroizing::new(HEXLOWER.encode(credential.private_id.expose()));
    let aes_key = zeroize::Zeroizing::new(HEXLOWER.encode(credential.aes_key.expose()));
    // Before anything changes.
    let file = args.file.as_deref().map(create).transpose()?;
    change.enrol(&[(id, credential)], &|| {})?;
    if context.json && file.is_none() {
        out::json(&json!({ "id": id.to_string(), "private_id": *private_id, "aes_key": *aes_key }));
        return Ok(());
    }
    // ykman has no way to say "no id".
    let (public, ykman) = if id.as_bytes().is_empty() {
        (String::new(), String::new())
    } else {
        let (id, private_id, aes_key) = (id.to_string(), &*private_id, &*aes_key);
        let ykman =
            format!("ykman otp yubiotp --public-id {id} --private-id {private_id} --key {aes_key} 2\n\n");
        (id, ykman)
    };
    let ykman = zeroize::Zeroizing::new(ykman);
    let commands = zeroize::Zeroizing::new(format!(
        "{ykman}ykpersonalize -2 -ofixed={public} -ouid={private_id} -a{aes_key} \\\n  \
         -o-static-ticket -o-strong-pw1 -o-strong-pw2 -o-man-update -oappend-cr\n",
        ykman = *ykman,
        private_id = *private_id,
        aes_key = *aes_key,
    ));
    let ykmap = context.ykmap();
    let by = if ykman.is_empty() { "this command, which holds" } else { "one of these commands, which hold" };
    let how = match (file, &args.file) {
        (Some(mut file), Some(path)) => {
            let head = format!(
                "# Programs token {id} into slot 2, with one of these commands. Remove this file afterwards.\n"
            );
            file.write_all([head.as_bytes(), commands.as_bytes()].concat().as_slice())
                .and_then(|()| file.sync_all())
                .map_err(|why| unwritten(path, &why))?;
            format!(
                "Program slot 2 of the YubiKey with {by} its secrets, and then remove the file:\n\n  {}",
                path.display()
            )
        }
        _ => {
            let shown: String = commands.lines().map(|line| format!("  {line}\n")).collect();
            format!(
                "Program slot 2 of the YubiKey with {by} its secrets. They stay on the screen and in the history of the \
                 shell, and other users of this host can see them in ps while the command runs: clear the screen and the \
                 history afterwards, or use --file FILE on a host that nobody else uses.\n\n{shown}"
            )
        }
    };
    out::lines(&format!(
        "created a key for token {id}, and stored it\n\n{how}\n\
         Slot 2 types at a touch of two seconds; slot 1 keeps what the factory programmed. To swap the two:\n\n  \
         ykman otp swap              or: ykpersonalize -x\n\n\
         Then: {ykmap} add USER"
    ));
    Ok(())
}

/// A new file that only its owner may read. It must not exist, so that nothing is lost and no link is followed.
fn create(path: &Path) -> Result<File, Failure> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.map_err(|why| unwritten(path, &why))
}

fn unwritten(path: &Path, why: &std::io::Error) -> Failure {
    Diagnostic::error(Code::FileInaccessible, format!("cannot create: {}", in_words(why)))
        .at(Location::file(path.as_os_str().as_bytes()))
        .into()
}
