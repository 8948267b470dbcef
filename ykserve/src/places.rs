//! How many connections each peer may have, and which connections are closed when there are too many.
//!
//! One host or one site cannot take all places. When all are taken, idle connections are closed, beginning with the
//! peer that has most connections; meanwhile new connections are brief ([`Stay::Brief`]).

use crate::connection::Stay;
use crate::descriptors::Room;
use crate::peer::Origin;
use crate::prefix;
use crate::settings::ConnectionLimits;
use crate::timer::ConnectionTimer;
use ipnet::IpNet;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The share of a site, in shares of a host.
const HOSTS_OF_A_SITE: usize = 4;

/// Each search closes one in so many connections, because searching costs more than closing.
const LEAVE: usize = 64;

/// The minimum time between two searches.
const LOOK: Duration = Duration::from_millis(20);

/// How many each host and each site has taken of something.
pub(crate) struct Shares {
    of_host: usize,
    of_site: usize,
    unlimited_from: Vec<IpNet>,
    held: Mutex<HashMap<IpNet, usize>>,
}

/// One unit of a share. Returned when dropped.
pub(crate) struct Share {
    of: Arc<Shares>,
    counted: Option<IpAddr>,
}

impl Shares {
    /// `of_host` is the maximum of each host; 0: no limit.
    pub(crate) fn new(of_host: usize, unlimited_from: &[IpNet]) -> Arc<Self> {
        let of_host = if of_host == 0 { usize::MAX } else { of_host };
        let of_site = of_host.saturating_mul(HOSTS_OF_A_SITE);
        Arc::new(Self { of_host, of_site, unlimited_from: unlimited_from.to_vec(), held: Mutex::default() })
    }

    /// Takes one more, unless the host or its site has reached its share.
    pub(crate) fn take(self: &Arc<Self>, from: Origin) -> Option<Share> {
        let counted = from
            .address()
            .filter(|address| !self.unlimited_from.iter().any(|net| net.contains(address)))
            .filter(|_| self.of_host != usize::MAX);
        if let Some(address) = counted {
            let mut held = locked(&self.held);
            let has = |of: &IpNet| held.get(of).copied().unwrap_or(0);
            let (host, site) = (prefix::of_host(address), prefix::of_site(address));
            if has(&host) >= self.of_host || has(&site) >= self.of_site {
                return None;
            }
            for of in [host, site] {
                let has = held.entry(of).or_default();
                *has = has.saturating_add(1);
            }
        }
        Some(Share { of: Arc::clone(self), counted })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Some(address) = self.counted else { return };
        let mut held = locked(&self.of.held);
        for of in [prefix::of_host(address), prefix::of_site(address)] {
            if let Some(has) = held.get_mut(&of) {
                *has = has.saturating_sub(1);
                if *has == 0 {
                    held.remove(&of);
                }
            }
        }
    }
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a connection is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Short {
    /// All places are taken.
    Places,
    /// Its host or its site has reached its share.
    Share,
}

/// Places for connections.
pub(crate) struct Places {
    room: Room,
    kept: Arc<Semaphore>,
    /// Excess connections: see [`Stay`].
    brief: Arc<Semaphore>,
    kept_shares: Arc<Shares>,
    brief_shares: Arc<Shares>,
    /// How many of the brief ones are reserved for peers that may see the state of the server.
    reserved: usize,
    open: Mutex<Open>,
}

/// Connections that are kept.
#[derive(Default)]
struct Open {
    next: u64,
    all: HashMap<u64, Seat>,
    looked: Option<Instant>,
}

#[derive(Clone)]
struct Seat {
    from: Origin,
    timer: Arc<ConnectionTimer>,
}

/// The place of one connection. Returned when dropped.
pub(crate) struct ConnectionPlace {
    pub(crate) stay: Stay,
    seat: Option<(Arc<Places>, u64)>,
    _permit: OwnedSemaphorePermit,
    _share: Share,
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        if let Some((places, number)) = &self.seat {
            locked(&places.open).all.remove(number);
        }
    }
}

impl Places {
    pub(crate) fn new(room: Room, limits: &ConnectionLimits) -> Arc<Self> {
        let of_host = match limits.connections_per_address {
            0 => 0,
            // A site has at most half of them.
            most => most.min((room.connections / HOSTS_OF_A_SITE / 2).max(1)),
        };
        let semaphore = |most: usize| Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        let shares = |of_host| Shares::new(of_host, &limits.unlimited_from);
        Arc::new(Self {
            room,
            kept: semaphore(room.connections),
            brief: semaphore(room.brief),
            kept_shares: shares(of_host),
            brief_shares: shares((room.brief / 8).max(1)),
            reserved: room.brief / 8,
            open: Mutex::default(),
        })
    }

    /// A place for one more connection, with the reason if the connection is not kept. `is_watching`: whether it may
    /// take a reserved place.
    pub(crate) fn take(
        self: &Arc<Self>,
        from: Origin,
        timer: &Arc<ConnectionTimer>,
        is_watching: bool,
    ) -> (Option<ConnectionPlace>, Option<Short>) {
        let short = match self.kept_shares.take(from) {
            None => Short::Share,
            Some(share) => match Arc::clone(&self.kept).try_acquire_owned() {
                Ok(permit) => return (Some(self.seated(from, timer, permit, share)), None),
                Err(_) => Short::Places,
            },
        };
        // Only its own site has too many.
        let own = short == Short::Share && self.kept.available_permits() > 0;
        self.make_room(from.address().filter(|_| own));
        (self.briefly(from, is_watching), Some(short))
    }

    fn seated(
        self: &Arc<Self>,
        from: Origin,
        timer: &Arc<ConnectionTimer>,
        permit: OwnedSemaphorePermit,
        share: Share,
    ) -> ConnectionPlace {
        let mut open = locked(&self.open);
        let number = open.next;
        open.next = number.wrapping_add(1);
        open.all.insert(number, Seat { from, timer: Arc::clone(timer) });
        ConnectionPlace {
            stay: Stay::Kept,
            seat: Some((Arc::clone(self), number)),
            _permit: permit,
            _share: share,
        }
    }

    fn briefly(&self, from: Origin, is_watching: bool) -> Option<ConnectionPlace> {
        let share = self.brief_shares.take(from)?;
        if !is_watching && self.brief.available_permits() <= self.reserved {
            return None;
        }
        let permit = Arc::clone(&self.brief).try_acquire_owned().ok()?;
        Some(ConnectionPlace { stay: Stay::Brief, seat: None, _permit: permit, _share: share })
    }

    /// Closes some idle connections, of one site or of all.
    fn make_room(&self, of: Option<IpAddr>) {
        let mut open = locked(&self.open);
        if open.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return;
        }
        open.looked = Some(Instant::now());
        let site = of.map(prefix::of_site);
        let seats =
            open.all.values().filter(|seat| site.is_none_or(|site| prefix::of_site(seat.address()) == site));
        let seats: Vec<Seat> = seats.cloned().collect();
        drop(open);
        let most = seats.len().div_ceil(LEAVE);
        for seat in giving_way(seats).into_iter().take(most) {
            seat.timer.ask_to_leave();
        }
    }

    /// The number of open connections.
    pub(crate) fn open(&self) -> usize {
        let taken = |all: usize, places: &Semaphore| all.saturating_sub(places.available_permits());
        taken(self.room.connections, &self.kept).saturating_add(taken(self.room.brief, &self.brief))
    }

    /// Waits until no connection is open. Afterwards there are no places.
    pub(crate) async fn all_closed(&self) {
        let all = |most: usize| u32::try_from(most).unwrap_or(u32::MAX);
        let (kept, brief) = (all(self.room.connections), all(self.room.brief));
        let _ = tokio::join!(self.kept.acquire_many(kept), self.brief.acquire_many(brief));
    }
}

impl Seat {
    /// The address for counting: this host counts as one.
    fn address(&self) -> IpAddr {
        self.from.address().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }
}

/// The idle connections in the order in which they are closed: of the peer with most connections, the one that has been
/// idle longest.
fn giving_way(seats: Vec<Seat>) -> Vec<Seat> {
    // Busy connections, and those that became idle last, count first, so that the others are above the share.
    let mut seats: Vec<(Duration, Seat)> =
        seats.into_iter().map(|seat| (seat.timer.quiet_for().unwrap_or_default(), seat)).collect();
    seats.sort_by_key(|(quiet, _)| *quiet);
    let mut counted = HashMap::<IpNet, usize>::new();
    let mut count = |of: IpNet| {
        let has = counted.entry(of).or_default();
        *has = has.saturating_add(1);
        *has
    };
    let mut ranked: Vec<_> = seats
        .into_iter()
        .filter_map(|(quiet, seat)| {
            let of_host = count(prefix::of_host(seat.address())).saturating_mul(HOSTS_OF_A_SITE);
            let has = of_host.max(count(prefix::of_site(seat.address())));
            (!seat.timer.is_busy() && !seat.timer.is_leaving()).then_some(((has, quiet), seat))
        })
        .collect();
    ranked.sort_by_key(|(rank, _)| std::cmp::Reverse(*rank));
    ranked.into_iter().map(|(_, seat)| seat).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> Origin {
        Origin::Address(address.parse().unwrap())
    }

    #[test]
    fn hosts_and_sites_have_shares() {
        let shares = Shares::new(2, &["10.0.0.0/8".parse().unwrap()]);
        let take = |address: &str| shares.take(at(address));
        let mut held: Vec<_> = ["192.0.2.1"; 2].into_iter().map(|address| take(address).unwrap()).collect();
        assert!(take("192.0.2.1").is_none(), "it has its share");
        held.extend(
            ["192.0.2.2", "192.0.2.3", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"]
                .map(|address| take(address).unwrap()),
        );
        assert!(take("192.0.2.6").is_none(), "its site has");
        held.push(take("192.0.3.1").unwrap());
        held.extend((0..9).map(|_| take("10.1.1.1").unwrap()));
        held.extend((0..9).map(|_| shares.take(Origin::Local { uid: None }).unwrap()));
        held.extend(["2001:db8::1", "2001:db8::2"].map(|address| take(address).unwrap()));
        assert!(take("2001:db8::3").is_none(), "a /64 is one host");
        held.clear();
        assert!(locked(&shares.held).is_empty(), "what is given back is not remembered");
        assert!(take("192.0.2.1").is_some());
    }

    #[test]
    fn whoever_has_most_gives_way_first() {
        let seat = |address: &str| Seat { from: at(address), timer: Arc::new(ConnectionTimer::new()) };
        let many: Vec<_> = (0..5).map(|_| seat("192.0.2.1")).collect();
        // The first one is the oldest; of the second, a request is being answered.
        std::thread::sleep(Duration::from_millis(5));
        for other in &many[1..] {
            other.timer.open();
        }
        many[1].timer.begin_answer(false);
        let few = [seat("198.51.100.1"), seat("2001:db8::1")];
        let order = giving_way([many.clone(), few.to_vec()].concat());
        assert_eq!(order.len(), 6, "the one that is busy stays");
        assert!(Arc::ptr_eq(&order[0].timer, &many[0].timer), "quiet longest");
        assert!(order[..3].iter().all(|seat| seat.from == at("192.0.2.1")));
        order[0].timer.ask_to_leave();
        assert_eq!(giving_way(many.clone()).len(), 3, "who was asked already is not asked again");
    }
}
