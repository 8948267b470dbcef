use super::*;

#[test]
fn a_name_is_in_no_network() {
    let everywhere = From::parse("0.0.0.0/0").unwrap();
    assert!(everywhere.has(RemoteHost::read(Some(b"192.0.2.1"))));
    assert!(everywhere.has(RemoteHost::read(Some(b"::ffff:192.0.2.1"))));
    for rhost in [None, Some(&b"host.example.org"[..]), Some(b""), Some(b"2001:db8::1")] {
        assert!(!everywhere.has(RemoteHost::read(rhost)), "{rhost:?}");
    }
}
