//! `ykvald checksum`

use super::key::Pages;
use super::{Context, Done, Failure, Opened, files, key_unreadable, out, wait};
use clap::ValueHint;
use data_encoding::HEXLOWER;
use serde_json::json;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use ykval::store::Store;
use yubiotp::diagnostic::{Code, Diagnostic, Location};
use yubiotp::seal::{Sealed, StoreKeys};
use yubiotp::{Credential, PublicId};
use zeroize::Zeroizing;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// For YK-KSM's digest: serial numbers, as lines serialNr,publicName,… of a YK-KSM key file [default: the number in
    /// the public ID]
    ///
    /// YK-KSM hashes the serial number of every key, which the store does not have. ykksm-gen-keys and the factory make the
    /// public ID from the serial number; if your YK-KSM has other numbers, give them with this option.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    serials: Option<PathBuf>,
}

/// Stands before everything that is hashed, so that no other digest of this project is taken for this.
const LABEL: &[u8] = b"ykvald key set 1\0";

pub(crate) fn run(context: &Context, args: &Args) -> Done {
    let serials = args.serials.as_deref().map(read_serials).transpose()?;
    wait(async {
        let Opened { store, key, .. } = context.open().await?;
        let mut keys = Vec::new();
        let sha256 = digest(&store, &key, |id, sealed| {
            keys.push((serial(serials.as_ref(), &id)?, id, sealed));
            Ok(())
        });
        let sha256 = sha256.await?;
        store.close().await;
        let count = keys.len();
        let ykksm = ykksm(&key, keys)?;
        if context.json {
            out::json(&json!({ "keys": count, "sha256": sha256, "ykksm": ykksm }));
        } else {
            let how = if serials.is_some() {
                ""
            } else {
                "  (if the serial numbers are those of the ids: --serials)"
            };
            out::lines(&format!("keys    {count}\nsha256  {sha256}\nykksm   {ykksm}{how}"));
        }
        Ok(())
    })
}

/// Our digest of all keys in a store.
pub(super) async fn digest_of_keys(store: &Store, key: &StoreKeys) -> Result<String, Failure> {
    digest(store, key, |_, _| Ok(())).await
}

/// The label, then of every key, by public IDs, the length of its ID, the ID, the private ID, the AES key.
async fn digest(
    store: &Store,
    key: &StoreKeys,
    mut each: impl FnMut(PublicId, Sealed) -> Done,
) -> Result<String, Failure> {
    let mut digest = Sha256::new_with_prefix(LABEL);
    let mut pages = Pages::of(store);
    loop {
        let page = pages.next().await?;
        if page.is_empty() {
            return Ok(HEXLOWER.encode(&digest.finalize()));
        }
        for token in page {
            let Some((_, sealed)) = token.key else { continue };
            let id = token.id;
            let credential = open(key, &id, &sealed)?;
            digest.update([u8::try_from(id.as_bytes().len()).unwrap_or(u8::MAX)]);
            digest.update(id.as_bytes());
            digest.update(credential.private_id.expose());
            digest.update(credential.aes_key.expose());
            each(id, sealed)?;
        }
    }
}

fn open(key: &StoreKeys, id: &PublicId, sealed: &Sealed) -> Result<Credential, Failure> {
    key.open(sealed, id).map_err(|_| key_unreadable(id).into())
}

/// What ykksm-checksum prints: the first ten hex digits of SHA-1 over `serialnr publicname internalname aeskey` of every
/// key, by serial numbers and then by public names, with nothing between.
fn ykksm(key: &StoreKeys, mut keys: Vec<(u64, PublicId, Sealed)>) -> Result<String, Failure> {
    keys.sort_unstable_by(|(one, id, _), (other, other_id, _)| {
        // By the letters, as databases sort names.
        one.cmp(other).then_with(|| id.to_string().cmp(&other_id.to_string()))
    });
    let mut hash = Sha1::new();
    for (serial, id, sealed) in &keys {
        let credential = open(key, id, sealed)?;
        let name = if id.as_bytes().is_empty() { String::new() } else { id.to_string() };
        let secrets = Zeroizing::new([
            HEXLOWER.encode(credential.private_id.expose()),
            HEXLOWER.encode(credential.aes_key.expose()),
        ]);
        hash.update(serial.to_string());
        hash.update(name);
        for secret in secrets.iter() {
            hash.update(secret);
        }
    }
    let digest = HEXLOWER.encode(&hash.finalize());
    Ok(digest.get(..10).unwrap_or_default().to_owned())
}

/// The serial number of a key.
fn serial(serials: Option<&HashMap<PublicId, u64>>, id: &PublicId) -> Result<u64, Failure> {
    match serials {
        Some(serials) => serials.get(id).copied().ok_or_else(|| {
            let missing = "is not in the file of serial numbers";
            Diagnostic::error(Code::InputInvalid, missing).at(Location::Token(id.to_string())).into()
        }),
        None => Ok(id.as_bytes().iter().fold(0, |serial: u64, byte| serial << 8 | u64::from(*byte))),
    }
}

fn read_serials(path: &Path) -> Result<HashMap<PublicId, u64>, Failure> {
    let text = files::named(path, None)?;
    let mut serials = HashMap::new();
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let mut fields = line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        let serial = fields.next().and_then(|serial| str::from_utf8(serial).ok()?.parse().ok());
        let id = fields.next().and_then(|id| PublicId::parse(id).ok());
        let (Some(serial), Some(id)) = (serial, id) else {
            let found =
                Diagnostic::error(Code::KeyFileLineInvalid, "does not begin with serialNr,publicName,");
            return Err(found.at(Location::line(path.as_os_str().as_encoded_bytes(), number)).into());
        };
        serials.insert(id, serial);
    }
    Ok(serials)
}
