//! `ykmap modhex`

use super::{Context, Done, Failure, out, parse_id};
use data_encoding::HEXLOWER_PERMISSIVE;
use serde_json::json;
use yubiotp::{PublicId, modhex};

#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Convert hexadecimal to modhex
    Encode {
        /// An even number of hex digits
        hex: String,
    },
    /// Convert modhex to hexadecimal
    Decode {
        /// An even number of modhex characters
        modhex: String,
    },
    /// Convert a YubiKey's serial number to its factory public ID, or back
    Serial {
        /// The number printed on the YubiKey, or twelve modhex characters
        serial: String,
    },
}

pub(crate) fn run(context: &Context, verb: &Verb) -> Done {
    let answer = match verb {
        Verb::Encode { hex } => HEXLOWER_PERMISSIVE
            .decode(hex.as_bytes())
            .map(|bytes| modhex::encode(&bytes))
            .map_err(|_| "not an even number of hex digits".to_owned()),
        Verb::Decode { modhex } => modhex::decode(modhex.as_bytes())
            .map(|bytes| HEXLOWER_PERMISSIVE.encode(&bytes))
            .map_err(|why| why.to_string()),
        Verb::Serial { serial } => convert_serial(serial),
    };
    let answer = answer.map_err(Failure::input)?;
    if context.json {
        out::json(&json!(answer))
    } else {
        out::line(&answer)
    }
    Ok(())
}

fn convert_serial(serial: &str) -> Result<String, String> {
    if serial.is_empty() || !serial.bytes().all(|digit| digit.is_ascii_digit()) {
        let not_one = "not a factory public ID: those have twelve modhex characters and do not begin with vv";
        return Ok(parse_id(serial)?.serial().ok_or(not_one)?.to_string());
    }
    let number: u64 = serial.parse().map_err(|_| "not a serial number: too long".to_owned())?;
    let [_, _, id @ ..] = number.to_be_bytes();
    PublicId::from_bytes(&id)
        .filter(|id| id.serial() == Some(number))
        .map(|id| id.to_string())
        .ok_or_else(|| "not a serial number: too large".to_owned())
}
