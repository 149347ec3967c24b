//! An agent that says what a test wants: refusals, odd members, a sudden end.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use thane_wire::rpc::{Member, Request, RequestDecoder, Response, ResponseBody, error_text};

use super::{Answer, thane};

/// What the agent sends for a request, and whether it hangs up then.
#[derive(Default)]
pub(crate) struct Reply {
    pub(crate) bytes: Vec<u8>,
    pub(crate) hangs_up: bool,
    /// What it waits for before it sends `later`.
    pub(crate) wait: Option<Box<dyn FnOnce()>>,
    pub(crate) later: Vec<u8>,
}

impl Reply {
    pub(crate) fn new(seq: u64, error: &str, body: Option<ResponseBody>) -> Self {
        let mut bytes = Vec::new();
        Response { seq, error: error.to_owned(), body }.encode(&mut bytes);
        Self { bytes, ..Self::default() }
    }
}

/// An agent that lets in whoever has its token, and answers each request as it is told. Gives its address; its threads
/// end with the test.
pub(crate) fn agent(
    token: &'static str,
    reply: impl Fn(u64, &Request) -> Reply + Send + Clone + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let reply = reply.clone();
            thread::spawn(move || serve(&mut stream.unwrap(), token, reply));
        }
    });
    address
}

fn serve(stream: &mut TcpStream, token: &str, reply: impl Fn(u64, &Request) -> Reply) {
    let mut decoder = RequestDecoder::new();
    let mut is_authentic = token.is_empty();
    let mut buffer = [0; 4096];
    loop {
        while let Some((seq, request)) = decoder.next_request().unwrap() {
            let reply = match &request {
                Request::Handshake { .. } => Reply::new(seq, "", None),
                Request::Auth { key } if key == token => {
                    is_authentic = true;
                    Reply::new(seq, "", None)
                }
                Request::Auth { .. } => Reply::new(seq, error_text::INVALID_AUTH_TOKEN, None),
                _ if !is_authentic => Reply::new(seq, error_text::AUTH_REQUIRED, None),
                other => reply(seq, other),
            };
            if stream.write_all(&reply.bytes).is_err() {
                return;
            }
            if let Some(wait) = reply.wait {
                wait();
                if stream.write_all(&reply.later).is_err() {
                    return;
                }
            }
            if reply.hangs_up {
                _ = stream.shutdown(Shutdown::Both);
                return;
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(count) => decoder.push(&buffer[..count]),
        }
    }
}

/// Asks the agent at `address`.
pub(crate) fn ask(address: &str, arguments: &[&str]) -> Answer {
    thane(arguments, &BTreeMap::from([("SERF_RPC_ADDR".to_owned(), address.to_owned())]))
}

/// A live member.
pub(crate) fn member(name: &str, addr: &[u8]) -> Member {
    Member {
        name: name.to_owned(),
        addr: Some(addr.to_vec()),
        port: 7946,
        status: "alive".to_owned(),
        versions: [1, 5, 2, 2, 5, 5],
        ..Member::default()
    }
}

/// Answers everything with these members.
pub(crate) fn with_members(members: &[Member]) -> impl Fn(u64, &Request) -> Reply + Send + Clone + 'static {
    let members = members.to_vec();
    move |seq, _request| Reply::new(seq, "", Some(ResponseBody::Members(members.clone())))
}
