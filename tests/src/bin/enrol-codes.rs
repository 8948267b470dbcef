//! `enrol-codes`: gives users of a host authenticator apps and recovery codes, many in one process.
//!
//! Usage: `enrol-codes CONFIG`, with a line `USER SERIAL SECRET` for each app on standard input, SECRET in hex, and a line
//! `USER SET` for each set of four recovery codes. Prints a line with the codes of each set.
#![expect(clippy::print_stdout, reason = "its lines are its answer")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a fixture that fails must stop the test")]

use rustix::rand::{GetRandomFlags, getrandom};
use std::path::Path;
use std::{env, io};
use ykhost::settings::{PartialConfig, Settings};
use ykhost::store::{OathNotes, RecoveryRecord, Shape, Store, TokenKey};
use yubiotp::key::OathKey;
use yubiotp::oath::{Algorithm, Digits, Kind, Parameters, Period, Secret};
use yubiotp::recovery::{RANDOM, RecoveryCode, RecoveryKey, USUAL};
use yubiotp::{Serial, SetId};

fn main() {
    let config = env::args_os().nth(1).unwrap();
    let settings = Settings::load(Some(Path::new(&config)), PartialConfig::default());
    let settings = settings.unwrap_or_else(|fault| panic!("{fault}"));
    let store = Store::new(&settings);
    let store_key = store.store_key().unwrap_or_else(|fault| panic!("{fault}"));
    let mut keys = Vec::new();
    for line in io::stdin().lines() {
        let line = line.unwrap();
        match line.split(' ').collect::<Vec<_>>()[..] {
            [user, serial, secret] => {
                let secret = data_encoding::HEXLOWER.decode(secret.as_bytes()).unwrap();
                let parameters = Parameters {
                    kind: Kind::Totp { period: Period::USUAL },
                    algorithm: Algorithm::Sha1,
                    digits: Digits::SIX,
                };
                let secret = Secret::new(secret.into()).unwrap();
                keys.push(TokenKey::Oath(
                    Serial::new(serial).unwrap(),
                    OathKey { secret, parameters },
                    OathNotes::default(),
                ));
                store.make_guesses(user.as_bytes()).unwrap_or_else(|fault| panic!("{fault}"));
            }
            [_, set] => {
                let set = SetId::new(set).unwrap();
                let mut codes = Vec::new();
                for number in 1..=USUAL {
                    let mut random = [0; RANDOM];
                    getrandom(&mut random, GetRandomFlags::empty()).unwrap();
                    let code = RecoveryCode::new(number, &random).unwrap();
                    let mac = code.mac(&RecoveryKey::of(&store_key), &set);
                    let record = RecoveryRecord::new(Shape::Letters, store_key.id(), mac);
                    keys.push(TokenKey::RecoveryCode(set, number, record));
                    codes.push(code.write().as_str().to_owned());
                }
                println!("{}", codes.join(" "));
            }
            _ => panic!("{line:?}"),
        }
    }
    let change = store.change().unwrap_or_else(|fault| panic!("{fault}"));
    change.enrol(&keys, &|| ()).unwrap_or_else(|fault| panic!("{fault}"));
}
