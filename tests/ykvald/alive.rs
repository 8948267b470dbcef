//! Commands beside a server that is running.

use tests::ykvald::{Client, Question, Site};

/// A key that is given anew, and one that is switched off, count from a second later.
#[test]
fn a_key_that_was_rotated_counts_no_more() {
    let site = Site::sqlite();
    let [one, two] = [site.add_client(&[]), site.add_client(&[])];
    let mut keys = site.keys(1..2);
    let server = site.start();
    let mut ask = |client: &Client, key: &str| {
        let question = Question::new(client, &keys[0].press()).signed(key);
        server.connect().ask(&question).unwrap().says()
    };
    assert_eq!((ask(&one, &one.key), ask(&two, &two.key)), ("OK".into(), "OK".into()));
    let said = site.must(&["client", "rotate", &one.id.to_string(), "--json"]);
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    site.must(&["client", "disable", &two.id.to_string()]);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(ask(&one, &one.key), "BAD_SIGNATURE");
    assert_eq!(ask(&one, said["key"].as_str().unwrap()), "OK");
    assert_eq!(ask(&two, &two.key), "NO_SUCH_CLIENT");
}
