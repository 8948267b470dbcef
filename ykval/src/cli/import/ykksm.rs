//! `ykvald import ykksm`

use crate::cli::key::import::{self, Past};
use crate::cli::{Context, Done, files};
use clap::ValueHint;
use std::path::PathBuf;
use ykval::file;
use yubiotp::diagnostic::{Code, Diagnostic, Program};
use yubiotp::keyfile::Format;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// YK-KSM's key file, decrypted (gpg -d FILE | ykvald import ykksm -); - for standard input
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// Read and check everything, and write nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let name = file::word(&args.file);
    let text = files::named(&args.file, Some("AES keys"))?;
    // What gpg writes without armour begins with a byte that no text begins with.
    let is_pgp = text.trim_ascii_start().starts_with(b"-----BEGIN PGP")
        || text.first().is_some_and(|first| first & 0xc0 == 0x80);
    if is_pgp {
        let encrypted = Diagnostic::error(Code::KeyFileEncrypted, "is encrypted or signed with OpenPGP")
            .at(file::location(&args.file))
            .run(Program::System, format!("gpg -d {name} | {} import ykksm -", context.ykvald()));
        return Err(encrypted.into());
    }
    let file = import::read(context, &args.file, &text)?;
    drop(text);
    // What ykksm-export prints lacks the line that names the format.
    if !matches!(file.format, Format::Ksm | Format::Yubico) {
        let problem = format!("is a {}, not a YK-KSM key file", file.format);
        let other = Diagnostic::error(Code::ImportOtherFormat, problem).at(file::location(&args.file));
        return Err(other.run(Program::Ykvald, format!("key import {name}")).into());
    }
    import::take(context, &args.file, file, args.dry_run, &Past::ImportedApart)
}
