//! The traditional log of Yubico's personalization tool: `event,time,slot,publicid,privateid,aeskey,…`
//!
//! Source: yubikey-personalization-gui, `yubikeylogger.cpp`. The time is written as the system's language has it.

use super::{BadKeyLine, Line, PassedOver, token_at, trim};

const START: &str = "LOGGING START";
const YUBICO_OTP: &str = "Yubico OTP";
/// The tool's other events. Some are followed by a colon and a kind.
const OTHERS: [&str; 6] = [
    "OATH-HOTP",
    "Static Password",
    "Challenge-Response",
    "Configuration Update",
    "Configuration Swap",
    "Unknown programming mode",
];

/// Whether the first field of a line is an event of the tool.
pub(super) fn is_event(field: &str) -> bool {
    field == START || field == YUBICO_OTP || other(field).is_some()
}

pub(super) fn parse(line: &str) -> Result<Line, BadKeyLine> {
    let event = trim(line.split(',').next().unwrap_or(line));
    if event == YUBICO_OTP {
        token_at(line, 4)
    } else if event == START {
        Ok(Line::PassedOver(PassedOver::LoggingStart))
    } else {
        other(event).map(|mode| Line::PassedOver(PassedOver::OtherMode(mode))).ok_or(BadKeyLine::Event)
    }
}

fn other(field: &str) -> Option<&'static str> {
    let event = field.split(':').next().unwrap_or(field);
    OTHERS.into_iter().find(|other| *other == event)
}
