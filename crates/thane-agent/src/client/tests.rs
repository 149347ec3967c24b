use std::net::{SocketAddr, TcpListener};
use std::thread::{self, JoinHandle};

use thane_wire::rpc::{RequestDecoder, error_text};

use super::*;

/// An agent that takes one connection, answers each request as `reply` says and hangs up when it says nothing.
fn agent(
    mut reply: impl FnMut(u64, Request) -> Option<Vec<u8>> + Send + 'static,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut decoder = RequestDecoder::new();
        let mut buffer = [0; 1024];
        loop {
            while let Some((seq, request)) = decoder.next_request().unwrap() {
                let Some(bytes) = reply(seq, request) else { return };
                stream.write_all(&bytes).unwrap();
            }
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(count) => decoder.push(&buffer[..count]),
            }
        }
    });
    (address, thread)
}

fn response(seq: u64, error: &str, body: Option<ResponseBody>) -> Vec<u8> {
    let mut bytes = Vec::new();
    Response { seq, error: error.to_owned(), body }.encode(&mut bytes);
    bytes
}

#[test]
fn records_that_overtake_an_answer_are_kept_in_order() {
    let (address, thread) = agent(|seq, request| {
        let mut bytes = Vec::new();
        if let Request::Members = request {
            for line in ["one", "two"] {
                Record::Log(line.to_owned()).encode(2, &mut bytes);
            }
        }
        let body = matches!(request, Request::Members).then(|| ResponseBody::Members(Vec::new()));
        bytes.extend(response(seq, "", body));
        if let Request::Members = request {
            Record::Log("three".to_owned()).encode(2, &mut bytes);
        }
        Some(bytes)
    });
    let mut client = Client::connect(&address.to_string(), "").unwrap();
    client.monitor("info").unwrap();
    assert_eq!(client.members().unwrap(), []);
    let soon = Some(Instant::now() + Duration::from_secs(30));
    for line in ["one", "two", "three"] {
        assert_eq!(client.next_record(soon).unwrap(), Some(Record::Log(line.to_owned())));
    }
    assert_eq!(client.next_record(Some(Instant::now())).unwrap(), None);
    drop(client);
    thread.join().unwrap();
}

#[test]
fn an_agents_refusal_and_its_end_are_told_apart() {
    let (address, thread) = agent(|seq, request| match request {
        Request::Handshake { .. } => Some(response(seq, "", None)),
        Request::Auth { .. } => Some(response(seq, error_text::INVALID_AUTH_TOKEN, None)),
        _ => None,
    });
    let refused = Client::connect(&address.to_string(), "wrong").unwrap_err();
    assert!(
        matches!(&refused, ConnectError::Refused(text) if text == "Invalid authentication token"),
        "{refused:?}"
    );
    thread.join().unwrap();

    let (address, thread) = agent(|seq, request| match request {
        Request::Handshake { .. } => Some(response(seq, "", None)),
        Request::Event { .. } => Some(response(seq, "too big", None)),
        _ => None,
    });
    let mut client = Client::connect(&address.to_string(), "").unwrap();
    assert_eq!(client.event("deploy", None, true).unwrap_err().to_string(), "too big");
    assert_eq!(client.members().unwrap_err().to_string(), "client closed");
    thread.join().unwrap();
}

/// A limit that an agent keeps silent for in no time worth mentioning.
const SHORT: Duration = Duration::from_millis(50);

#[test]
fn an_agent_that_holds_the_connection_and_says_nothing_is_given_up() {
    // The system takes the connection and our bytes for a program that never looks at them.
    let suspended = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = suspended.local_addr().unwrap().to_string();
    let error = Client::connect_within(&address, "", SHORT).unwrap_err();
    assert!(matches!(error, ConnectError::Lost(RpcError::Silent(SHORT))), "{error:?}");

    let (address, thread) = agent(|seq, request| match request {
        Request::Handshake { .. } => Some(response(seq, "", None)),
        // Nothing is sent, and the connection stays open.
        _ => Some(Vec::new()),
    });
    let mut client = Client::connect(&address.to_string(), "").unwrap();
    client.answer_timeout = SHORT;
    let started = Instant::now();
    let error = client.members().unwrap_err();
    assert!(matches!(error, RpcError::Silent(SHORT)), "{error:?}");
    // Timers of sockets may be a little early.
    assert!(started.elapsed() + Duration::from_millis(20) >= SHORT, "it had its time");
    drop(client);
    thread.join().unwrap();
}

#[test]
fn whoever_is_no_agent_is_found_out() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        let mut buffer = Vec::new();
        _ = stream.read_to_end(&mut buffer);
    });
    let error = Client::connect(&address.to_string(), "").unwrap_err();
    assert!(matches!(error, ConnectError::Lost(_)), "{error:?}");
    thread.join().unwrap();
}

#[test]
fn addresses_of_any_length_are_taken_or_left() {
    let member = |addr: Option<Vec<u8>>| Member { addr, ..Member::default() };
    let mut mapped = vec![0; 10];
    mapped.extend([255, 255, 127, 0, 0, 1]);
    for (addr, ip) in [
        (Some(vec![127, 0, 0, 1]), Some("127.0.0.1")),
        (Some(mapped), Some("127.0.0.1")),
        (Some([0; 15].into_iter().chain([1]).collect()), Some("::1")),
        (Some(vec![1, 2, 3]), None),
        (None, None),
    ] {
        assert_eq!(ip_of(&member(addr)).map(|ip| ip.to_string()).as_deref(), ip);
    }
}
