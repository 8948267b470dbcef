//! Which server is asked when, and what its answer comes to.

use super::*;
use yubiotp::ask::FailureKind;
use yubiotp::protocol::{NoAnswer, Probed, Server, ServerVerdict, Status};

/// What became of a genuine OTP at these servers: whether it was accepted, or the fault, with the trail.
fn ask(world: &World, site: &Site) -> Result<(bool, String), Diagnostic> {
    let factor = world.factor(Some(site.validation()));
    let otp = otp(0);
    let judged = factor.judge(&name("alice"), otp.as_bytes(), NOW)?;
    Ok((matches!(judged.verdict, Verdict::Accepted(_)), judged.trail.unwrap()))
}

#[test]
fn the_first_decisive_answer_wins() {
    for (all, asked) in [
        (&[Does::Answer, Does::Answer][..], 1),
        (&[Does::Fail, Does::Answer], 2),
        (&[Does::Http(503), Does::Http(301), Does::Answer], 3),
        (&[Does::Close, Does::Answer], 2),
        // After the hedge.
        (&[Does::Nothing, Does::Answer], 2),
    ] {
        let world = World::new();
        let site = world.site(all);
        let (is_yes, trail) = ask(&world, &site).unwrap();
        assert!(is_yes, "{trail}");
        assert_eq!(site.asked(), asked, "{trail}");
        assert_eq!(trail.split("; ").count(), asked, "{trail}");
    }
    let world = World::new();
    let site = world.site(&[Does::Answer]).after(refused());
    assert!(ask(&world, &site).unwrap().0);
}

/// The trail names what each server said or did, and no answer lets anybody in.
#[test]
fn no_decisive_answer_is_a_fault() {
    for (all, told) in [
        (&[Does::Fail][..], &["BACKEND_ERROR"][..]),
        (&[Does::Forge, Does::Fail], &["wrong signature", "BACKEND_ERROR"]),
        (&[Does::Http(404)], &["answers HTTP 404 [server-http-failed]"]),
        (&[Does::Close], &["ended the connection without an answer"]),
    ] {
        let world = World::new();
        let site = world.site(all);
        let fault = ask(&world, &site).unwrap_err();
        assert_eq!(fault.code, Code::Undecided);
        for told in told {
            assert!(fault.problem.contains(told), "{fault}");
        }
        assert!(!fault.problem.contains(&otp(0)), "{fault}");
    }
    let world = World::new();
    let fault = ask(&world, &world.site(&[]).after(refused())).unwrap_err();
    assert!(fault.problem.contains("[server-unreachable]"), "{fault}");
}

#[test]
fn a_silent_server_is_waited_for_until_the_deadline() {
    let world = World::new();
    let mut validation = world.site(&[Does::Nothing, Does::Nothing]).validation();
    validation.deadline = Duration::from_millis(300);
    let factor = world.factor(Some(validation));
    let fault = factor.judge(&name("alice"), otp(0).as_bytes(), NOW).err().unwrap();
    assert_eq!(fault.code, Code::Undecided);
    assert_eq!(fault.problem.matches("no answer").count(), 2, "{fault}");
}

#[test]
fn without_servers_an_otp_is_a_fault_and_a_code_is_not() {
    let world = World::new();
    let factor = world.factor(None);
    let fault = factor.judge(&name("alice"), otp(0).as_bytes(), NOW).err().unwrap();
    assert_eq!(fault.code, Code::NoServers);
    assert_eq!(accepted(&factor, &code(0)).0, Means::Totp);
}

#[test]
fn an_otp_goes_to_another_host_only_by_tls_and_answers_come_only_signed() {
    let world = World::new();
    let made = |urls: &[&str], has_key: bool| {
        let mut validation = world.site(&[]).validation();
        validation.servers = urls.iter().map(|url| Server::parse(url).unwrap()).collect();
        validation.key = validation.key.filter(|_| has_key);
        let (keys, runtime) = (Arc::new(key().into()), world.runtime.handle().clone());
        SecondFactor::new(world.store(), keys, Some(validation), runtime).map(|_| ()).map_err(|why| why.code)
    };
    assert_eq!(made(&["http://127.0.0.1:8000", "http://[::1]:8000"], false), Ok(()));
    assert_eq!(made(&["http://127.0.0.1:8000", "http://192.0.2.1"], true), Err(Code::PlainHttp));
    assert_eq!(made(&["https://192.0.2.1"], false), Err(Code::UnprovenAnswers));
    assert_eq!(made(&[], true), Err(Code::NoServers));
}

/// Without a key, nothing that a server on this host signs with counts.
#[test]
fn a_server_on_this_host_needs_no_key() {
    let world = World::new();
    let mut validation = world.site(&[Does::Forge]).validation();
    validation.key = None;
    assert_eq!(accepted(&world.factor(Some(validation)), &otp(0)).0, Means::YubiKey);
}

/// Each server says for itself whether it answers us, and none makes the others wait.
#[test]
fn servers_are_probed_one_by_one() {
    let world = World::new();
    let site =
        world.site(&[Does::Answer, Does::Forge, Does::Fail, Does::Http(404), Does::Nothing]).after(refused());
    let mut validation = site.validation();
    validation.deadline = Duration::from_millis(500);
    let probed = world.runtime.block_on(probe(validation)).unwrap();
    let all: Vec<_> = probed.into_iter().map(|(_, probed)| probed).collect();
    let [gone, good, forged, failing, http, silent] = &all[..] else { panic!("{all:?}") };
    assert!(matches!(gone, Probed::Failed { kind: FailureKind::Connect, .. }), "{gone:?}");
    assert!(matches!(good, Probed::Reply { said: Ok(ServerVerdict::BadOtp), .. }), "{good:?}");
    assert!(matches!(forged, Probed::Reply { said: Err(NoAnswer::WrongSignature(_)), .. }), "{forged:?}");
    let failed = NoAnswer::Undecided(Status::BackendError);
    assert!(matches!(failing, Probed::Reply { said: Err(why), .. } if *why == failed), "{failing:?}");
    assert!(matches!(http, Probed::Failed { kind: FailureKind::Http, .. }), "{http:?}");
    assert!(matches!(silent, Probed::Failed { kind: FailureKind::Silence, .. }), "{silent:?}");
}
