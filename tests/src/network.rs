//! Networks of the tests' own, in namespaces: wires to pull, and servers that fall silent as real ones do. Nothing of
//! the machine's network changes, and nothing leaves the machine.

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::panic::resume_unwind;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// Holds the namespace until its standard input ends, and then ends all processes in it.
const SCRIPT: &str = "set -eu
ip link set lo up
echo ready
read -r _ || true
ours=$(stat -L -c %d:%i /proc/self/ns/net)
[ \"$ours\" != \"$(stat -L -c %d:%i /proc/$PPID/ns/net)\" ]
for process in $(stat -L -c '%d:%i %n' /proc/[0-9]*/ns/net 2>/dev/null | sed -n \"s|^$ours /proc/\\([0-9]*\\)/.*|\\1|p\"); do
    [ \"$process\" = $$ ] || kill -KILL \"$process\" 2>/dev/null || true
done";

/// A network namespace with a loopback of its own. It goes, with the processes in it, when dropped.
#[derive(Debug)]
pub struct Namespace {
    holder: Child,
}

impl Namespace {
    /// An empty one.
    ///
    /// # Errors
    /// Why this machine has none, to be printed.
    pub fn new() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("network namespaces need root".to_owned());
        }
        if Command::new("ip").arg("-V").output().is_err() {
            return Err("needs ip (iproute2)".to_owned());
        }
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("needs unshare(1): {error}"))?;
        let mut ready = [0; 6];
        if holder.stdout.as_mut().unwrap().read_exact(&mut ready).is_err() {
            let output = holder.wait_with_output().unwrap();
            return Err(format!(
                "needs network namespaces: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            ));
        }
        Ok(Self { holder })
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.holder.id())
    }

    /// The same command, to be run inside.
    #[must_use]
    pub fn inside(&self, command: &Command) -> Command {
        let mut entered = Command::new("nsenter");
        entered
            .arg(format!("--net={}", self.path()))
            .arg("--")
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => entered.env(name, value),
                None => entered.env_remove(name),
            };
        }
        entered
    }

    /// Runs `ip` inside.
    ///
    /// # Errors
    /// What it complains of.
    pub fn ip(&self, arguments: &str) -> Result<(), String> {
        self.run("ip", arguments)
    }

    fn run(&self, program: &str, arguments: &str) -> Result<(), String> {
        let mut command = Command::new(program);
        command.args(arguments.split(' '));
        let output = self.inside(&command).output().unwrap();
        let why = || format!("{program} {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim());
        output.status.success().then_some(()).ok_or_else(why)
    }

    /// A socket that listens inside, wherever the thread runs that uses it.
    #[must_use]
    pub fn listen(&self, address: SocketAddr) -> TcpListener {
        self.enter(move || TcpListener::bind(address)).unwrap()
    }

    /// A connection from inside.
    ///
    /// # Errors
    /// There is none within 400 ms.
    pub fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        self.enter(move || TcpStream::connect_timeout(&address, Duration::from_millis(400)))
    }

    /// Does something inside: sockets of the thread, and of what it starts, are in there. A thread enters for good, so
    /// one that ends.
    ///
    /// # Panics
    /// Where `act` does.
    pub fn enter<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(self.path()).unwrap();
        thread::scope(|scope| {
            let entered = scope.spawn(move || {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                act()
            });
            entered.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.holder.stdin.take()); // the script cleans up and ends
        self.holder.wait().unwrap();
    }
}

/// A host in the middle, and others that each have a wire to it.
#[derive(Debug)]
pub struct Network {
    /// Where logins happen.
    pub client: Namespace,
    others: Vec<Namespace>,
}

impl Network {
    /// So many others.
    ///
    /// # Errors
    /// Why this machine has none, to be printed.
    pub fn start(count: u8) -> Result<Self, String> {
        let client = Namespace::new()?;
        let mut others = Vec::new();
        for n in 0..count {
            let other = Namespace::new()?;
            client.ip(&format!("link add wire{n} type veth peer name wire netns {}", other.holder.id()))?;
            client.ip(&format!("address add {}/30 dev wire{n}", here(n)))?;
            client.ip(&format!("link set wire{n} up"))?;
            other.ip(&format!("address add {}/30 dev wire", there(n)))?;
            other.ip("link set wire up")?;
            others.push(other);
        }
        Ok(Self { client, others })
    }

    /// So many others that also reach each other, through the one in the middle, where any way between two can be
    /// [cut](Self::cut).
    ///
    /// # Errors
    /// Why this machine has none, to be printed.
    pub fn routed(count: u8) -> Result<Self, String> {
        let network = Self::start(count)?;
        // A packet is not lost because the way back is cut.
        let mut settings = vec![("ip_forward".to_owned(), "1"), ("conf/all/rp_filter".to_owned(), "0")];
        settings.extend((0..count).map(|n| (format!("conf/wire{n}/rp_filter"), "0")));
        let set = |(name, value)| fs::write(format!("/proc/sys/net/ipv4/{name}"), value);
        let forwards = network.client.enter(|| settings.into_iter().try_for_each(set));
        forwards.map_err(|why| format!("needs to forward packets in a namespace: {why}"))?;
        for n in 0..count {
            network.others[usize::from(n)].ip(&format!("route add default via {}", here(n)))?;
        }
        // Whether this kernel can cut: nobody is there yet.
        network.client.ip(&rule("add", 0, 0))?;
        network.client.ip(&rule("del", 0, 0))?;
        Ok(network)
    }

    /// From now on what one of the others sends to another is lost on the way, without a word. The other direction
    /// stays. Not to be cut twice.
    ///
    /// # Panics
    /// Where it cannot.
    pub fn cut(&self, from: u8, to: u8) {
        self.client.ip(&rule("add", from, to)).unwrap();
    }

    /// Ends [`cut`](Self::cut).
    ///
    /// # Panics
    /// Where it was not cut.
    pub fn reconnect(&self, from: u8, to: u8) {
        self.client.ip(&rule("del", from, to)).unwrap();
    }

    /// One of the others.
    #[must_use]
    pub fn other(&self, n: u8) -> &Namespace {
        &self.others[usize::from(n)]
    }

    /// The address of one of the others.
    #[must_use]
    pub fn address(&self, n: u8) -> Ipv4Addr {
        there(n)
    }

    /// A socket that listens on one of the others.
    #[must_use]
    pub fn listen(&self, n: u8) -> TcpListener {
        self.others[usize::from(n)].listen((there(n), 0).into())
    }

    /// A socket that listens on one of the others, at this port of its first or second address.
    #[must_use]
    pub fn listen_at(&self, n: u8, is_ipv6: bool, port: u16) -> TcpListener {
        let address = if is_ipv6 { there6(n).into() } else { there(n).into() };
        self.others[usize::from(n)].listen(SocketAddr::new(address, port))
    }

    /// Gives both ends of a wire an address of IPv6, beside the other.
    ///
    /// # Errors
    /// This kernel has no IPv6.
    pub fn add_ipv6(&self, n: u8) -> Result<(), String> {
        self.client.ip(&format!("address add {}/64 dev wire{n} nodad", here6(n)))?;
        self.others[usize::from(n)].ip(&format!("address add {}/64 dev wire nodad", there6(n)))
    }

    /// The same command inside, where names are those in this file alone: the file is mounted over `/etc/hosts`, for this
    /// command only.
    #[must_use]
    pub fn naming(&self, hosts: &Path, command: &Command) -> Command {
        let mut named = Command::new("unshare");
        named.args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\""]).arg(hosts);
        named.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => named.env(name, value),
                None => named.env_remove(name),
            };
        }
        self.client.inside(&named)
    }

    /// Takes our own end of its wire down: the kernel knows no way to it.
    pub fn take_down(&self, n: u8) {
        self.client.ip(&format!("link set wire{n} down")).unwrap();
    }

    /// Pulls the far end of its wire: packets to it are lost.
    pub fn pull(&self, n: u8) {
        self.others[usize::from(n)].ip("link set wire down").unwrap();
    }

    /// Ends [`pull`](Self::pull).
    pub fn plug(&self, n: u8) {
        let other = &self.others[usize::from(n)];
        other.ip("link set wire up").unwrap();
        // Routes went with it. Where there was none, there is none.
        let _exists = other.ip(&format!("route add default via {}", here(n)));
    }

    /// Its answers are dropped on the way, without a word.
    pub fn black_hole(&self, n: u8) {
        self.others[usize::from(n)].ip(&format!("route add blackhole {}/32", here(n))).unwrap();
    }

    /// The same for its address of IPv6.
    pub fn black_hole_ipv6(&self, n: u8) {
        self.others[usize::from(n)].ip(&format!("-6 route add blackhole {}/128", here6(n))).unwrap();
    }

    /// Delays every packet from it.
    ///
    /// # Errors
    /// This kernel cannot.
    pub fn delay(&self, n: u8, milliseconds: u32) -> Result<(), String> {
        self.others[usize::from(n)]
            .run("tc", &format!("qdisc add dev wire root netem delay {milliseconds}ms"))
    }
}

/// Our end of the wire to one of the others: addresses that are set aside for examples (RFC 5737).
const fn here(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 51, 100, 4 * n + 1)
}

/// Its end.
#[must_use]
pub fn there(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 51, 100, 4 * n + 2)
}

/// The same of IPv6 (RFC 3849).
fn here6(n: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, n.into(), 0, 0, 0, 1)
}

/// Its end of IPv6.
#[must_use]
pub fn there6(n: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, n.into(), 0, 0, 0, 2)
}

/// A rule that loses all packets from one of the others to another.
fn rule(verb: &str, from: u8, to: u8) -> String {
    format!("rule {verb} from {} to {} blackhole", there(from), there(to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::time::Instant;

    /// Whether somebody inside can connect, and after how long they knew.
    fn connects(network: &Network, address: SocketAddr) -> (bool, Duration) {
        let begun = Instant::now();
        (network.client.connect(address).is_ok(), begun.elapsed())
    }

    #[test]
    fn wires_can_be_pulled() {
        let network = match Network::start(3) {
            Ok(network) => network,
            Err(why) => return crate::skip(&why),
        };
        let listeners: Vec<_> = (0..3).map(|n| network.listen(n)).collect();
        let address = |n: usize| listeners[n].local_addr().unwrap();
        assert!((0..3).all(|n| connects(&network, address(n)).0));
        assert!(TcpStream::connect_timeout(&address(0), Duration::from_millis(200)).is_err(), "outside");
        network.take_down(0);
        network.pull(1);
        network.black_hole(2);
        let (connected, after) = connects(&network, address(0));
        assert!(!connected && after < Duration::from_millis(200), "{after:?}");
        for silent in [1, 2] {
            let (connected, after) = connects(&network, address(silent));
            assert!(!connected && after >= Duration::from_millis(390), "{silent}: {after:?}");
        }
    }
    /// One direction between two is cut, and nothing else is.
    #[test]
    fn ways_between_two_can_be_cut() {
        let network = match Network::routed(3) {
            Ok(network) => network,
            Err(why) => return crate::skip(&why),
        };
        let listeners: Vec<_> = (0..3).map(|n| network.listen(n)).collect();
        let reaches = |from: u8, to: u8| {
            let address = listeners[usize::from(to)].local_addr().unwrap();
            network.other(from).connect(address).is_ok()
        };
        let pairs = [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)];
        assert!(pairs.iter().all(|&(from, to)| reaches(from, to)));
        // A connection needs both directions: what shows that the other one is left are packets that arrive.
        network.cut(0, 1);
        let cut: Vec<_> = pairs.iter().filter(|&&(from, to)| !reaches(from, to)).collect();
        assert_eq!(cut, [&(0, 1), &(1, 0)]);
        let one_way = |from: u8, to: u8| {
            let receiver = network.other(to).enter(|| UdpSocket::bind((network.address(to), 0)).unwrap());
            let sender = network.other(from).enter(|| UdpSocket::bind((network.address(from), 0)).unwrap());
            receiver.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            sender.send_to(b"x", receiver.local_addr().unwrap()).unwrap();
            receiver.recv(&mut [0]).is_ok()
        };
        assert!(!one_way(0, 1) && one_way(1, 0) && one_way(0, 2));
        network.reconnect(0, 1);
        assert!(pairs.iter().all(|&(from, to)| reaches(from, to)));
        network.pull(2);
        assert!(!reaches(0, 2) && reaches(0, 1));
        network.plug(2);
        let begun = Instant::now(); // the kernel notices a carrier within a second
        while !(reaches(0, 2) && reaches(2, 1)) {
            assert!(begun.elapsed() < Duration::from_secs(10));
        }
    }
}
