//! Zips with a password: ZipCrypto and AES (WinZip's), as `zip` and `7z` write them. Nothing is unpacked to disk.

use crate::MAX_BYTES;
use crate::password::{Password, Wanted};
use crate::problem::{Foreign, Limit, Locked, Why, Zip};
use memchr::memmem;
use std::io::{Cursor, Read};
use zeroize::Zeroizing;

use zip::read::ZipFile;
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

/// The most files of a zip.
pub const MAX_MEMBERS: usize = 1000;

/// How many times its packed size a file may have, beyond [`FREE_BYTES`]. PSKC without encryption shrinks to a tenth.
pub const MAX_RATIO: u64 = 100;

/// So many bytes may be unpacked whatever the ratio.
pub const FREE_BYTES: u64 = 1 << 20;

type Archive<'a> = ZipArchive<Cursor<&'a [u8]>>;

/// The name and the content of a file in a zip: the one called `member`, or the only one. Folders do not count, nor what
/// macOS adds.
///
/// # Errors
/// It is not there, needs another password, or exceeds a limit.
pub fn read(
    zip: &[u8],
    member: Option<&str>,
    ask: &mut dyn FnMut(Wanted<'_>) -> Option<Password>,
) -> Result<(String, Zeroizing<Vec<u8>>), Why> {
    // Counted by their signature before anything is made of them.
    if memmem::find_iter(zip, b"PK\x01\x02").nth(MAX_MEMBERS).is_some() {
        return Err(Limit::Members.into());
    }
    let mut archive = ZipArchive::new(Cursor::new(zip)).map_err(|_| Zip::Damaged)?;
    let (index, name) = choose(&archive, member)?;
    let (encrypted, packed, size) = {
        let file = archive.by_index_raw(index).map_err(|error| why(&error))?;
        if !matches!(file.compression(), CompressionMethod::Stored | CompressionMethod::Deflated) {
            return Err(Zip::Method.into());
        }
        (file.encrypted(), file.compressed_size(), file.size())
    };
    let most = limit(packed);
    if size > most {
        return Err(too_large(most));
    }
    let file = if encrypted {
        let password = ask(Wanted::Zip { member: &name }).ok_or(Locked::PasswordNeeded)?;
        archive.by_index_decrypt(index, password.expose())
    } else {
        archive.by_index(index)
    };
    let content = unpack(file.map_err(|error| why(&error))?, size, most).map_err(|why| match why {
        // A wrong password passes the check of one byte in 256 tries: what it decrypts to is then damaged.
        Why::Zip(Zip::Damaged) if encrypted => Locked::WrongPassword.into(),
        why => why,
    })?;
    Ok((name, content))
}

fn choose(archive: &Archive<'_>, member: Option<&str>) -> Result<(usize, String), Why> {
    let mut files = Vec::new();
    for index in 0..archive.len() {
        let name = archive.name_for_index(index).and_then(Result::ok).ok_or(Zip::Damaged)?;
        if !name.ends_with('/') && !name.starts_with("__MACOSX/") {
            files.push((index, name.into_owned()));
        }
    }
    if let Some(member) = member {
        return files.into_iter().find(|(_, name)| name == member).ok_or(Zip::MemberMissing.into());
    }
    if files.iter().any(|(_, name)| name == "[Content_Types].xml") {
        return Err(Foreign::Spreadsheet.into());
    }
    let count = files.len();
    let mut files = files.into_iter();
    match (files.next(), count) {
        (Some(only), 1) => Ok(only),
        (Some(_), _) => Err(Zip::SeveralMembers(count).into()),
        (None, _) => Err(Zip::NoMember.into()),
    }
}

/// How many bytes are unpacked of so many packed ones.
fn limit(packed: u64) -> u64 {
    let most = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
    packed.saturating_mul(MAX_RATIO).clamp(FREE_BYTES, most)
}

fn too_large(most: u64) -> Why {
    match usize::try_from(most) {
        Ok(most) if most >= MAX_BYTES => Limit::Bytes { most: MAX_BYTES }.into(),
        _ => Limit::Ratio.into(),
    }
}

/// Reads to the end, where checksum and MAC are compared. `size` is what the zip says, and may be a lie.
fn unpack(mut file: ZipFile<'_, Cursor<&[u8]>>, size: u64, most: u64) -> Result<Zeroizing<Vec<u8>>, Why> {
    // Room for all at once: a vector that grows leaves copies behind.
    let room = usize::try_from(size.min(most)).unwrap_or(0).saturating_add(1);
    let mut content = Zeroizing::new(Vec::with_capacity(room));
    let mut part = Zeroizing::new([0; 8192]);
    loop {
        match file.read(part.as_mut_slice()) {
            Ok(0) => return Ok(content),
            Ok(length) => content.extend_from_slice(part.get(..length).unwrap_or_default()),
            Err(_) => return Err(Zip::Damaged.into()),
        }
        if u64::try_from(content.len()).unwrap_or(u64::MAX) > most {
            return Err(too_large(most));
        }
    }
}

fn why(error: &ZipError) -> Why {
    match error {
        ZipError::InvalidPassword => Locked::WrongPassword.into(),
        ZipError::UnsupportedArchive(_) | ZipError::CompressionMethodNotSupported(_) => Zip::Method.into(),
        _ => Zip::Damaged.into(),
    }
}

#[cfg(test)]
mod tests;
