//! What members say about the time.

use super::*;

/// This host's clock is theirs: whatever is known of the difference allows for none.
#[track_caller]
fn is_the_same(config: &EtcdConfig) {
    let clocks = wait(client(config).clocks());
    let named: Vec<_> = config.endpoints.iter().map(ToString::to_string).collect();
    assert_eq!(clocks.iter().map(|clock| clock.endpoint.clone()).collect::<Vec<_>>(), named);
    for clock in clocks {
        assert_eq!(clock.ahead.expect("it says the time").beyond(0), None, "{}", clock.endpoint);
    }
}

#[test]
fn in_the_clear_and_by_tls() {
    let Some(cluster) = shared() else { return };
    is_the_same(&cluster.config());
    let Some(cluster) = Cluster::with_tls() else { return };
    is_the_same(&cluster.config());
}

/// Its version is for everybody, without a token.
#[test]
fn of_members_with_users() {
    let Some(cluster) = Cluster::start(1, &[]) else { return };
    cluster.enable_users();
    is_the_same(&cluster.config());
}

#[test]
fn nobody_is_there() {
    let Some(cluster) = shared() else { return };
    let mut config = cluster.config();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    config.endpoints.insert(0, EtcdEndpoint { host: "127.0.0.1".to_owned(), port: closed.port() });
    let clocks = wait(client(&config).clocks());
    assert_eq!(clocks.iter().map(|clock| clock.ahead.is_some()).collect::<Vec<_>>(), [false, true]);
}
