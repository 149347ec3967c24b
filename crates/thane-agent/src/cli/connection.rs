//! What all commands that talk to an agent have in common: where it is, and how the connection may fail.

use super::Failure;
use crate::client::{Client, ConnectError, RpcError};
use crate::goflags::{FlagSet, Parsed};

/// Where an agent answers unless told otherwise.
const DEFAULT_ADDRESS: &str = "127.0.0.1:7373";

/// Names the agent's address, for those who do not want to repeat `-rpc-addr`.
const ADDRESS_VARIABLE: &str = "SERF_RPC_ADDR";

/// Holds the agent's token, for those who do not want it in the list of processes.
const TOKEN_VARIABLE: &str = "SERF_RPC_AUTH";

/// The flags that say which agent is meant. A flag beats the environment.
pub(super) fn with_connection(flags: FlagSet) -> FlagSet {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let address = variable(ADDRESS_VARIABLE).unwrap_or_else(|| DEFAULT_ADDRESS.to_owned());
    flags
        .string("rpc-addr", &address, "Address of the agent to ask, or $SERF_RPC_ADDR.")
        // The help does not show a token from the environment, so the default is filled in later.
        .string("rpc-auth", "", "Token of the agent's RPC, or $SERF_RPC_AUTH.")
}

/// Connects to the agent that the flags name.
pub(super) fn connect(parsed: &Parsed) -> Result<Client, Failure> {
    connect_to(parsed.string("rpc-addr"), parsed)
}

/// Connects to the agent at `address`, with the token that the flags name.
pub(super) fn connect_to(address: &str, parsed: &Parsed) -> Result<Client, Failure> {
    let token = if parsed.is_set("rpc-auth") {
        parsed.string("rpc-auth").to_owned()
    } else {
        std::env::var(TOKEN_VARIABLE).unwrap_or_default()
    };
    Client::connect(address, &token).map_err(|error| Failure::Told {
        message: format!("Error connecting to Serf agent: {error}"),
        hint: Some(hint(address, &error)),
    })
}

/// The failure of a request: `what` was not done, and why.
pub(super) fn failed(what: &str, error: &RpcError) -> Failure {
    let message = format!("Error {what}: {error}");
    match remedy(error) {
        Some(remedy) => Failure::mendable(message, remedy),
        None => Failure::told(message),
    }
}

/// What to do about a request that failed, by the words of Serf's agents and ours.
pub(super) fn remedy(error: &RpcError) -> Option<&'static str> {
    let RpcError::Agent(text) = error else {
        return match error {
            RpcError::Closed => {
                Some("The agent closed the connection: its log says why, or that it has stopped.")
            }
            RpcError::Silent(_) => {
                Some("The agent is held up: look at its log, and whether it is suspended.")
            }
            _ => None,
        };
    };
    Some(match text.as_str() {
        "Authentication required" => "The agent has an 'rpc_auth': give it with -rpc-auth or SERF_RPC_AUTH.",
        "Unsupported command" => "Only Thane's agent can tell; this one is Serf's, or an older Thane's.",
        text if text.starts_with("no member is named") => "'thane members' lists the names.",
        text if text.contains("user event exceeds") => {
            "An event is to be small: put the data where all can read it, and send where that is."
        }
        text if text.starts_with("query exceeds limit") => {
            "A query is to be small: put the data where all can read it, and ask about where that is."
        }
        text if text.contains("'_serf_' prefix") => {
            "Names that begin so are the members' own; choose another."
        }
        text if text.starts_with("Encoded length of tags exceeds") => {
            "All tags of an agent share that limit: shorten some, or delete some with -delete."
        }
        text if text.starts_with("Unknown log level") => "-log-level is trace, debug, info, warn or err.",
        text if text.starts_with("Failed to compile regex") => {
            "-name, -status, -role and the value of -tag are regular expressions; a \\ before a character makes it plain."
        }
        text if text.contains("Failed to join") || text.contains("Failed to resolve") => {
            "Is an agent running there, with the same -encrypt? The address is its 'Bind addr', not its 'RPC addr'."
        }
        text if text.contains("Join after Leave") => "An agent that has left is done: start it again.",
        text if text.starts_with("timed out broadcasting") || text.starts_with("timeout waiting for") => {
            "It is done here, but the others may not know yet: look at their 'members', or try again."
        }
        _ => return None,
    })
}

/// What to do about a connection that failed.
fn hint(address: &str, error: &ConnectError) -> String {
    match error {
        ConnectError::Dial(_) => format!(
            "Is an agent running, and is '{address}' its RPC address? An agent says so when it starts ('RPC addr'); \
             -rpc-addr or {ADDRESS_VARIABLE} names another one."
        ),
        ConnectError::Refused(_) => format!(
            "The agent at '{address}' answered, but does not let us in; -rpc-auth or {TOKEN_VARIABLE} must be its \
             'rpc_auth', and empty if it has none."
        ),
        ConnectError::Lost(RpcError::Silent(_)) => format!(
            "Something takes connections at '{address}' and says nothing: an agent that is held up, or no agent. \
             -rpc-addr names another one."
        ),
        ConnectError::Lost(_) => {
            format!(
                "Something answers at '{address}', but not as an agent's RPC does. -rpc-addr names another one."
            )
        }
    }
}
