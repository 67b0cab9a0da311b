//! Places for connections. A new connection always gets one: when all are taken, the oldest connection of the address
//! that has the most is closed, so that whoever opens many to keep others out closes his own. A connection over which a
//! token was shown is not closed for others.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// Connections at a time to each listener.
pub(super) const MAX: usize = 256;
/// Of these, how many can be kept because a token was shown.
const MAX_KEPT: usize = 192;
/// Connections at a time from one address, without a token.
const MAX_OF_ONE: usize = 128;

/// The places of one listener.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    next: u64,
    /// In the order of their coming.
    all: BTreeMap<u64, Connection>,
}

#[derive(Debug)]
struct Connection {
    /// None: over the Unix socket.
    from: Option<IpAddr>,
    kept: bool,
    end: CancellationToken,
}

/// A connection's place; given back when the last clone of it goes.
#[derive(Debug, Clone)]
pub(super) struct Place(Arc<Held>);

#[derive(Debug)]
struct Held {
    number: u64,
    places: Arc<Places>,
    end: CancellationToken,
}

impl Places {
    /// A place for a new connection; another one loses its place if need be.
    pub(super) fn take(self: &Arc<Self>, from: Option<IpAddr>) -> Place {
        let from = from.map(neighbourhood);
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = open.must_go(from)
            && let Some(gone) = open.all.remove(&number)
        {
            gone.end.cancel();
        }
        let (number, end) = (open.next, CancellationToken::new());
        open.next += 1;
        open.all.insert(number, Connection { from, kept: false, end: end.clone() });
        Place(Arc::new(Held { number, places: Arc::clone(self), end }))
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).all.len()
    }
}

impl Open {
    /// Which connection is closed for a new one from an address.
    fn must_go(&self, from: Option<IpAddr>) -> Option<u64> {
        let loose = || self.all.iter().filter(|(_, connection)| !connection.kept);
        let mut counts: BTreeMap<Option<IpAddr>, usize> = BTreeMap::new();
        for (_, connection) in loose() {
            *counts.entry(connection.from).or_default() += 1;
        }
        let address = if from.is_some() && counts.get(&from).is_some_and(|count| *count >= MAX_OF_ONE) {
            from
        } else if self.all.len() >= MAX {
            *counts.iter().max_by_key(|(_, count)| **count)?.0
        } else {
            return None;
        };
        loose().find(|(_, connection)| connection.from == address).map(|(number, _)| *number)
    }
}

impl Place {
    /// A token was shown over this connection.
    pub(super) fn keep(&self) {
        let mut open = self.0.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = open.all.values().filter(|connection| connection.kept).count();
        if kept < MAX_KEPT
            && let Some(connection) = open.all.get_mut(&self.0.number)
        {
            connection.kept = true;
        }
    }

    /// Ends when the place is given to another.
    pub(super) async fn lost(&self) {
        self.0.end.cancelled().await;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.places.0.lock().unwrap_or_else(PoisonError::into_inner).all.remove(&self.number);
    }
}

/// What one party usually has: an IPv4 address, or a network of 2^64 IPv6 addresses.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, n]))
    }

    fn lost(place: &Place) -> bool {
        place.0.end.is_cancelled()
    }

    #[test]
    fn who_holds_the_most_makes_room_with_his_oldest() {
        let places = Arc::new(Places::default());
        let many: Vec<_> = (0..MAX_OF_ONE).map(|_| places.take(address(1))).collect();
        let again = places.take(address(1));
        assert!(lost(&many[0]) && !lost(&many[1]) && !lost(&again), "no more than its share");
        let others: Vec<_> =
            (0..MAX - MAX_OF_ONE).map(|n| places.take(address(2 + (n % 100) as u8))).collect();
        assert_eq!(places.len(), MAX);
        let newcomer = places.take(address(200));
        assert!(lost(&many[1]) && !lost(&newcomer) && others.iter().all(|other| !lost(other)));
        assert_eq!(places.len(), MAX);
        drop(others);
        assert_eq!(places.len(), MAX_OF_ONE, "a place is given back");
    }

    #[test]
    fn who_has_shown_a_token_stays_and_newcomers_find_a_place_all_the_same() {
        let places = Arc::new(Places::default());
        let named: Vec<_> = (0..250).map(|n| places.take(address((n % 50) as u8))).collect();
        named.iter().for_each(Place::keep);
        let crowd: Vec<_> = (0..1_000).map(|_| places.take(address(99))).collect();
        assert!(named.iter().take(MAX_KEPT).all(|place| !lost(place)));
        assert!(!lost(crowd.last().unwrap()) && places.len() <= MAX);
    }

    #[test]
    fn an_ipv6_neighbourhood_is_one_address_and_the_socket_has_no_share() {
        let places = Arc::new(Places::default());
        let one: IpAddr = "2001:db8::1".parse().unwrap();
        let other: IpAddr = "2001:db8::ffff:2".parse().unwrap();
        assert_eq!(neighbourhood(one), neighbourhood(other));
        assert_eq!(neighbourhood("::ffff:192.0.2.1".parse().unwrap()), address(1).unwrap());
        let local: Vec<_> = (0..MAX).map(|_| places.take(None)).collect();
        assert!(local.iter().all(|place| !lost(place)));
        let next = places.take(None);
        assert!(lost(&local[0]) && !lost(&next));
    }
}
