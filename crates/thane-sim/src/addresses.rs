//! Which host has an address.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::world::HostId;

/// Hosts by address. Most worlds number their addresses one after the other, and then the number says where the host is.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    by_host: Vec<SocketAddr>,
    by_addr: BTreeMap<SocketAddr, HostId>,
}

impl Addresses {
    /// Adds the next host. False when another has the address.
    pub(crate) fn add(&mut self, addr: SocketAddr, host: HostId) -> bool {
        debug_assert_eq!(host.index(), self.by_host.len(), "hosts are added one after the other");
        self.by_host.push(addr);
        self.by_addr.insert(addr, host).is_none()
    }

    pub(crate) fn find(&self, addr: SocketAddr) -> Option<HostId> {
        let likely = self.likely_place(addr);
        match likely.and_then(|place| self.by_host.get(place)) {
            Some(there) if *there == addr => likely.map(HostId::numbered),
            _ => self.by_addr.get(&addr).copied(),
        }
    }

    /// Where the host is if all addresses go on from the first.
    fn likely_place(&self, addr: SocketAddr) -> Option<usize> {
        match (addr.ip(), self.by_host.first()?.ip()) {
            (IpAddr::V4(addr), IpAddr::V4(first)) => {
                Some(addr.to_bits().checked_sub(first.to_bits())? as usize)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_leads_to_its_host_in_order_or_not() {
        let mut addresses = Addresses::default();
        let all =
            ["10.0.0.1:1", "10.0.0.2:1", "10.0.0.4:1", "10.0.0.3:1", "10.0.0.3:2", "[::1]:1", "9.0.0.1:1"];
        let all = all.map(|addr| addr.parse().unwrap());
        for (place, addr) in all.into_iter().enumerate() {
            assert!(addresses.add(addr, HostId::numbered(place)));
        }
        for (place, addr) in all.into_iter().enumerate() {
            assert_eq!(addresses.find(addr), Some(HostId::numbered(place)), "{addr}");
        }
        assert_eq!(addresses.find("10.0.0.2:2".parse().unwrap()), None);
        assert!(!addresses.add(all[1], HostId::numbered(7)), "it is taken");
    }
}
