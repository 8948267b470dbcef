//! Servers that are known by their replies, and whose OK decides nothing.

use super::reply::Reply;

/// Why no OK of this server can decide, as far as one of its rejections shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// The signature of an OK leaves the counters out: anybody on the way could change them.
    #[error("replies as yubiserver 0.6 does, which does not sign the counters in its OK")]
    CountersNotSigned,
    /// An OK has no counters.
    #[error("replies as privacyIDEA 3.14 does, whose OK has no counters")]
    NoCounters,
}

impl Flaw {
    /// That of the server that sent this body; `signed`: whether its signature counts, for there is a key.
    #[must_use]
    pub fn of(body: &[u8], signed: bool) -> Option<Self> {
        let reply = Reply::read(body).ok()?;
        let has = |name| reply.field(name).is_some();
        let digits =
            |name| reply.field(name).is_some_and(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        // Its own time, where the protocol has the token's clock.
        if !has("t") && has("timestamp") && !digits("timestamp") {
            return Some(Self::NoCounters);
        }
        // The protocol has `Z` before the milliseconds, and no sl in a no.
        let own_time = reply.field("t").is_some_and(|t| t.get(19..20) == Some(".") && t.ends_with('Z'));
        (signed && own_time && has("sl")).then_some(Self::CountersNotSigned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YUBISERVER: &str = "h=EvJdyd322gme0DrShj6TFbMy/mc=\r\nt=2026-11-29T13:02:41.491Z\r\notp=vv\r\n\
                              nonce=kakakakakakakakakaka\r\nsl=100\r\nstatus=BAD_OTP\r\n";
    const PRIVACYIDEA: &str = "nonce=kakakakakakakakakaka\notp=vv\nstatus=BAD_OTP\n\
                               timestamp=2026-11-29T13:02:41.491000+00:00\nh=EvJdyd322gme0DrShj6TFbMy/mc=\n";
    const YK_VAL: &str = "h=EvJdyd322gme0DrShj6TFbMy/mc=\r\nt=2026-11-29T13:02:41Z0491\r\notp=vv\r\n\
                          nonce=kakakakakakakakakaka\r\nstatus=BAD_OTP\r\n";

    #[test]
    fn by_how_they_say_no() {
        for (body, signed, flaw) in [
            (YUBISERVER, true, Some(Flaw::CountersNotSigned)),
            (YUBISERVER, false, None),
            (PRIVACYIDEA, true, Some(Flaw::NoCounters)),
            (PRIVACYIDEA, false, Some(Flaw::NoCounters)),
            (YK_VAL, true, None),
            ("t=2026-11-29T13:02:41Z0491\r\nstatus=BAD_OTP\r\n", true, None),
            ("<html>", true, None),
        ] {
            assert_eq!(Flaw::of(body.as_bytes(), signed), flaw, "{body}");
        }
    }
}
