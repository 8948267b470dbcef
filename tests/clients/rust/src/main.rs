//! `ask-by-crates CRATE URL ID KEY`: asks about each OTP that comes in, and says `yes`, or `no` and why.

use std::io::{self, BufRead as _};

type Ask = Box<dyn FnMut(&str) -> Result<(), String>>;

fn main() {
    let mut words = std::env::args().skip(1);
    let mut word = || words.next().expect("ask-by-crates CRATE URL ID KEY");
    let (name, url, id, key) = (word(), word(), word(), word());
    let mut ask = match name.as_str() {
        "yubico" => yubico(url, id, key),
        "yubico_ng" => yubico_ng(url, id, key),
        "yubico_otp" => yubico_otp(url, id, key),
        _ => panic!("{name}: not one of the crates"),
    };
    for otp in io::stdin().lock().lines() {
        match ask(otp.expect("UTF-8").trim()) {
            Ok(()) => println!("yes"),
            Err(why) => println!("no {}", why.replace('\n', " ")),
        }
    }
}

fn yubico(url: String, id: String, key: String) -> Ask {
    let config = yubico::config::Config::default().set_client_id(id).set_key(key).set_api_hosts(vec![url]);
    let verifier = yubico::sync_verifier::Verifier::new(config).expect("a client");
    Box::new(move |otp| verifier.verify(otp).map(drop).map_err(|why| format!("{why:?}")))
}

fn yubico_ng(url: String, id: String, key: String) -> Ask {
    let config = yubico_ng::config::Config::default().set_client_id(id).set_key(key).expect("a key");
    let config = config.set_api_host(url);
    let verifier = yubico_ng::Verifier::<reqwest_of_ng::blocking::Client>::new(config).expect("a client");
    Box::new(move |otp| verifier.verify_blocking(otp).map_err(|why| format!("{why:?}")))
}

fn yubico_otp(url: String, id: String, key: String) -> Ask {
    use yubico_otp::params::{ApiCredentials, ValidationOption};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    Box::new(move |otp| {
        let http = reqwest::Client::new();
        let credentials = ApiCredentials::from_base64_secret(id.clone().into(), &key).expect("a key");
        let options = ValidationOption::default().enable_timestamp().set_endpoint(url.clone());
        let client = yubico_otp::client::Client::new(&http, credentials);
        match runtime.block_on(client.verify(otp, &options)) {
            Ok((status, _)) if status.is_ok() => Ok(()),
            Ok((status, _)) => Err(format!("{status:?}")),
            Err(why) => Err(format!("{why:?}")),
        }
    })
}
