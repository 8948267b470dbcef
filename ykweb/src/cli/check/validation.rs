//! The validation servers, each asked once about an OTP that no token makes.

use super::{add, setting};
use crate::cli::runtime;
use ykcli::report::Report;
use ykcli::servers::{Answer, Settings};
use ykweb::clock;
use ykweb::config::Validation;
use ykweb::second_factor::probe;
use yubiotp::diagnostic::{Code, Diagnostic, Severity};

const AREA: &str = "validation";

/// The names of the settings in remedies.
const SETTINGS: Settings = Settings {
    servers: "validation.servers",
    client_id: "client_id in [validation]",
    key: "api_key_file in [validation] to the file with the key",
    key_name: "api_key_file",
    sync: "sync_level in [validation]",
    proof: "add a YubiKey by a touch (ykwebd user add-yubikey NAME)",
};

pub(super) fn check(report: &mut Report, validation: Option<Validation>) {
    let Some(validation) = validation else {
        let none =
            Diagnostic::note(Code::NoServers, "no validation server is set, so no YubiKey is accepted");
        return report.add(AREA, none.at(setting(AREA)));
    };
    let has_key = validation.key.is_some();
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(failure) => return add(report, AREA, failure),
    };
    let probed = match runtime.block_on(probe(validation)) {
        Ok(probed) => probed,
        Err(found) => return report.add(AREA, found),
    };
    let now = clock::now().unsigned_abs();
    let answers = probed.iter().map(|(server, probed)| Answer::of(server, probed, has_key, now, &SETTINGS));
    let answers: Vec<_> = answers.collect();
    // Another server decides in the place of one that does not.
    let is_one_left = answers.iter().any(|answer| answer.found.is_ok());
    let severity = if is_one_left { Severity::Warning } else { Severity::Error };
    for answer in answers {
        report.add(AREA, answer.shown(severity));
        answer.clock.into_iter().for_each(|clock| report.add(AREA, clock));
    }
}
