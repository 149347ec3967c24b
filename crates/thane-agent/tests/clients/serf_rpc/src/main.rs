//! Does with an agent what the crate `serf-rpc` 0.2.0 can do with one of Serf's. Its arguments are the RPC addresses of an agent with the token
//! `sesame` and of one without a token that has an IPv6 address. (The crate
//! understands no IPv4 addresses, no events, no coordinates that are not there and no joins that fail, neither from Serf.)

use std::net::SocketAddr;
use std::time::Duration;

use futures::executor::block_on;
use serf_rpc::Client;

fn main() {
    // A thread of the crate that does not understand an answer would leave us waiting for ever. One that reads on panics, too, when the agent that
    // was told to leave closes the connection; by then everything has been said, and the main thread is about to end the process.
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}");
        std::thread::sleep(Duration::from_secs(5));
        std::process::exit(1);
    }));
    let mut arguments =
        std::env::args().skip(1).map(|address| address.parse::<SocketAddr>().expect("an address"));
    let (guarded, six) = (arguments.next().expect("an address"), arguments.next().expect("another address"));
    block_on(async {
        let wrong = Client::connect(guarded, Some("simsalabim")).await;
        assert_eq!(wrong.err().as_deref(), Some("Invalid authentication token"));
        let stranger = Client::connect(guarded, None).await.expect("a handshake");
        assert_eq!(stranger.force_leave("nobody").await.unwrap_err(), "Authentication required");

        let client = Client::connect(guarded, Some("sesame")).await.expect("a connection with the token");
        assert_eq!(client.current_node_name().await.as_deref(), Ok("alpha"));
        let stats = client.stats().await.expect("stats");
        assert_eq!((stats.serf.members.as_str(), &stats.tags["role"][..]), ("2", "web"));
        client.fire_event("deploy", b"v42", false).await.expect("an event");
        let coordinate = client.get_coordinate("alpha").await.expect("a coordinate");
        assert!(coordinate.ok && coordinate.coord.is_some());
        let itself = format!("{}:7946", guarded.ip());
        assert_eq!(client.join(&[&itself], false).await.expect("a join").nodes_joined, 1);
        client.force_leave("nobody").await.expect("a forced leave");

        let client = Client::connect(six, None).await.expect("a connection without a token");
        let members = client.members().await.expect("members").members;
        assert_eq!((members.len(), members[0].name.as_str(), members[0].status.as_str()), (1, "six", "alive"));
        assert!(members[0].addr.is_ipv6());
        let none = client.members_filtered(Some("left"), None, None).await.expect("members");
        assert!(none.members.is_empty());
        client.leave().await.expect("a leave");
    });
    // Its threads end with the process, not with their connections.
    std::process::exit(0);
}
