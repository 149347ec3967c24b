use super::*;
use tokio::net::TcpListener;

const DEADLINE: Duration = Duration::from_secs(60);
const ID: StreamId = StreamId(1);

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// A dialled stream and the peer's end of it.
async fn connected(streams: &mut Streams) -> TcpStream {
    let (listener, addr) = listener().await;
    streams.dial(ID, addr, DEADLINE).unwrap();
    let (peer, _) = listener.accept().await.unwrap();
    assert!(matches!(next(streams).await, What::Connected));
    streams.connected(ID);
    peer
}

async fn next(streams: &mut Streams) -> What {
    let event = tokio::time::timeout(DEADLINE, streams.events.recv()).await.expect("an event in time");
    let event = event.expect("the sender is ours");
    assert_eq!(event.stream, ID);
    event.what
}

async fn all_tasks_end(streams: &mut Streams) {
    let ends = async { while streams.tasks.join_next().await.is_some() {} };
    tokio::time::timeout(DEADLINE, ends).await.expect("every task ends in time");
}

#[tokio::test]
async fn what_was_written_arrives_before_the_close() {
    let mut streams = Streams::new(DEADLINE);
    let mut peer = connected(&mut streams).await;
    let large = vec![7; 3 << 20];
    streams.write(ID, b"first".to_vec().into()).unwrap();
    streams.write(ID, large.clone().into()).unwrap();
    streams.close(ID);
    assert!(!streams.is_open(ID));
    let mut received = Vec::new();
    peer.read_to_end(&mut received).await.unwrap();
    assert_eq!(received.len(), 5 + large.len());
    assert!(received.starts_with(b"first\x07"));
    drop(peer);
    all_tasks_end(&mut streams).await;
}

#[tokio::test]
async fn both_directions_work_and_the_peers_end_is_told() {
    let mut streams = Streams::new(DEADLINE);
    let (listener, addr) = listener().await;
    let mut peer = TcpStream::connect(addr).await.unwrap();
    let (socket, _) = listener.accept().await.unwrap();
    streams.accept(ID, socket).unwrap();
    peer.write_all(b"request").await.unwrap();
    peer.shutdown().await.unwrap();
    let mut request = Vec::new();
    loop {
        match next(&mut streams).await {
            What::Data(bytes) => request.extend_from_slice(&bytes),
            What::Ended => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(request, b"request");
    streams.write(ID, b"reply".to_vec().into()).unwrap();
    streams.close(ID);
    let mut reply = String::new();
    peer.read_to_string(&mut reply).await.unwrap();
    assert_eq!(reply, "reply");
}

#[tokio::test]
async fn a_refused_connection_is_told_as_such_in_gos_words() {
    let mut streams = Streams::new(DEADLINE);
    // Held, so that nobody else gets the port, and nobody listens.
    let held = tokio::net::TcpSocket::new_v4().unwrap();
    held.bind(([127, 0, 0, 1], 0).into()).unwrap();
    streams.dial(ID, held.local_addr().unwrap(), DEADLINE).unwrap();
    match next(&mut streams).await {
        What::Failed(StreamFailure::Refused(text)) => assert_eq!(text, "connect: connection refused"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_broken_stream_is_told() {
    let mut streams = Streams::new(DEADLINE);
    let peer = connected(&mut streams).await;
    let peer = peer.into_std().unwrap();
    // With no time to linger a close is a reset.
    socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    match next(&mut streams).await {
        What::Failed(StreamFailure::Other(text)) => assert_eq!(text, "connection reset by peer"),
        other => panic!("{other:?}"),
    }
    all_tasks_end(&mut streams).await;
}

#[tokio::test]
async fn a_stream_closed_while_it_connects_ends_at_once() {
    let mut streams = Streams::new(DEADLINE);
    let (_listener, addr) = listener().await;
    streams.dial(ID, addr, DEADLINE).unwrap();
    streams.close(ID);
    all_tasks_end(&mut streams).await;
    assert!(streams.events.try_recv().is_err(), "nothing is told of a stream that nobody wants");
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_let_go() {
    let mut streams = Streams::new(Duration::from_millis(50));
    // Kept open, unread: more than the kernel takes.
    let _peer = connected(&mut streams).await;
    streams.write(ID, vec![0; 64 << 20].into()).unwrap();
    streams.close(ID);
    all_tasks_end(&mut streams).await;
}

#[tokio::test]
async fn a_peer_that_floods_waits_for_the_driver() {
    const BYTES: usize = 48 << 20;
    let mut streams = Streams::new(DEADLINE);
    let mut peer = connected(&mut streams).await;
    let flood = tokio::spawn(async move {
        peer.write_all(&vec![1; BYTES]).await.unwrap();
        peer
    });
    let full = async {
        while streams.events.len() < EVENTS_MAX {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, full).await.expect("the queue fills");
    assert!(!flood.is_finished(), "the peer is held up while nobody takes its bytes");
    let mut received = 0;
    while received < BYTES {
        match next(&mut streams).await {
            What::Data(bytes) => {
                assert!(bytes.len() <= CHUNK_BYTES);
                received += bytes.len();
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(received, BYTES);
    drop(flood.await.unwrap());
}

#[tokio::test]
async fn too_many_writes_are_refused_and_so_are_too_many_streams() {
    let mut streams = Streams::new(DEADLINE);
    let _peer = connected(&mut streams).await;
    let mut written = 0;
    while streams.write(ID, vec![0; 1 << 20].into()).is_ok() {
        written += 1;
        assert!(written < 1000, "writes are bounded");
    }
    streams.abort(ID);
    assert!(
        streams.write(ID, vec![0].into()).is_ok(),
        "a stream that has failed takes anything and sends nothing"
    );

    let (_listener, addr) = listener().await;
    let mut begun = 0;
    while streams.dial(StreamId(2 + begun), addr, DEADLINE).is_ok() {
        begun += 1;
    }
    assert!((TASKS_MAX as u64 - 1..=TASKS_MAX as u64).contains(&begun), "{begun}");
    streams.shutdown().await;
    assert!(streams.has_room());
}
