//! Strangers, wrong keys and malformed bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use thane::{Key, Node, Status};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UdpSocket};

use super::{builder, cluster, eventually, start, status, wait_for_status};

fn key(byte: u8) -> Key {
    Key::new(&[byte; 32]).unwrap()
}

#[tokio::test]
async fn one_key_makes_one_cluster_and_another_is_refused() {
    let a = builder("a").key(key(1)).start().await.unwrap();
    let b = builder("b").key(key(1)).start().await.unwrap();
    b.join([a.local_addr().to_string()]).await.unwrap();
    wait_for_status(&a, "b", Status::Alive).await;
    assert!(a.stats().await.encrypted);

    let wrong = builder("wrong").key(key(2)).start().await.unwrap();
    let plain = start("plain").await;
    for stranger in [&wrong, &plain] {
        let joined = stranger.join([a.local_addr().to_string()]).await;
        assert!(joined.is_err(), "{}: {joined:?}", stranger.name());
        assert_eq!(a.members().await.len(), 2);
        assert_eq!(stranger.members().await.len(), 1);
    }
    assert_eq!(status(&b, "a").await, Some(Status::Alive));
}

#[tokio::test]
async fn another_label_is_refused() {
    let a = builder("a").label("blue").start().await.unwrap();
    let b = builder("b").label("blue").start().await.unwrap();
    b.join([a.local_addr().to_string()]).await.unwrap();
    wait_for_status(&a, "b", Status::Alive).await;
    let red = builder("c").label("red").start().await.unwrap();
    assert!(red.join([a.local_addr().to_string()]).await.is_err());
    assert_eq!(a.members().await.len(), 2);
}

/// Bytes that look like every kind of message, or like none.
fn malformed() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = vec![Vec::new(), vec![0; 1400], vec![0xff; 1400], vec![0xc1; 3]];
    for kind in 0..=u8::MAX {
        all.push(vec![kind]);
        all.push([&[kind][..], b"\x81\xa4Node\xdb\xff\xff\xff\xff"].concat());
        all.push([&[kind][..], &[0x93; 200]].concat());
    }
    all
}

#[tokio::test]
async fn malformed_packets_do_not_disturb() {
    let [a, b] = cluster(["a", "b"]).await;
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let before = a.counters().await;
    for packet in malformed() {
        stranger.send_to(&packet, a.local_addr()).await.unwrap();
    }
    eventually("packets are counted as dropped", async || {
        let now = a.counters().await;
        now.packets_dropped + now.messages_dropped > before.packets_dropped + before.messages_dropped
    })
    .await;
    still_well(&a, &b).await;
}

#[tokio::test]
async fn malformed_streams_do_not_disturb() {
    let [a, b] = cluster(["a", "b"]).await;
    // Some stay open, silent or in the middle of something.
    let _silent = TcpStream::connect(a.local_addr()).await.unwrap();
    let mut begun = TcpStream::connect(a.local_addr()).await.unwrap();
    begun.write_all(&[6]).await.unwrap();
    for bytes in malformed().into_iter().step_by(7) {
        let mut stream = TcpStream::connect(a.local_addr()).await.unwrap();
        // The node may close it before it has read everything.
        _ = stream.write_all(&bytes).await;
    }
    eventually("streams are counted as failed", async || a.counters().await.streams_failed > 0).await;
    still_well(&a, &b).await;
}

#[tokio::test]
async fn a_flood_of_packets_holds_up_nobody() {
    let [a, b] = cluster(["a", "b"]).await;
    let target = a.local_addr();
    let over = Arc::new(AtomicBool::new(false));
    let flood = {
        let over = Arc::clone(&over);
        std::thread::spawn(move || {
            let stranger = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            while !over.load(Ordering::Relaxed) {
                // Full buffers are part of a flood.
                _ = stranger.send_to(&[0xff; 64], target);
            }
        })
    };
    let before = a.counters().await.packets_received;
    eventually("the flood arrives", async || a.counters().await.packets_received > before + 1000).await;
    // This test's one thread runs both nodes and their streams too.
    still_well(&a, &b).await;
    over.store(true, Ordering::Relaxed);
    flood.join().unwrap();
}

/// Both see each other, still probe each other, and a newcomer is welcome.
async fn still_well(a: &Node, b: &Node) {
    for (here, there) in [(a, b), (b, a)] {
        let before = here.counters().await.probes_answered;
        eventually("probes are answered", async || here.counters().await.probes_answered > before).await;
        // Of a flood's victim answers get lost, and a suspicion is refuted.
        wait_for_status(here, there.name(), Status::Alive).await;
    }
    let newcomer = start("newcomer").await;
    newcomer.join([a.local_addr().to_string()]).await.unwrap();
    wait_for_status(b, "newcomer", Status::Alive).await;
}
