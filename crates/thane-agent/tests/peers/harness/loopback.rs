//! A block of loopback addresses that no other test uses at the same time.

use std::{
    net::{Ipv4Addr, TcpListener},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// The blocks are 127.1.0.0/24 to 127.254.255.0/24; 127.0.0.0 stays free for agents with default addresses.
const BLOCKS: u32 = 254 * 256;

/// A /24 of loopback addresses, held against other processes by a listener on its last host address.
#[derive(Debug)]
pub(crate) struct Block {
    number: u32,
    _held: TcpListener,
}

impl Block {
    /// Takes a free block.
    pub(crate) fn take() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        for _ in 0..BLOCKS {
            // Processes that run at the same time have near ids, so their blocks are kept apart by a wide step.
            let number =
                process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % BLOCKS;
            if let Ok(held) = TcpListener::bind((address_in(number, 254), 7946)) {
                return Self { number, _held: held };
            }
        }
        panic!(
            "no block of 127.0.0.0/8 is free on port 7946; does this system let programs bind all of 127/8?"
        );
    }

    /// The `host`th address of the block, from 1.
    pub(crate) fn address(&self, host: u8) -> Ipv4Addr {
        assert!((1..254).contains(&host), "a block has hosts 1 to 253, not {host}");
        address_in(self.number, host)
    }
}

fn address_in(number: u32, host: u8) -> Ipv4Addr {
    let [.., second, third] = (number + 256).to_be_bytes();
    Ipv4Addr::new(127, second, third, host)
}
