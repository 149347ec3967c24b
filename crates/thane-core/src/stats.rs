//! Numbers about a node.

/// A reading of a node's numbers. (Serf: `serf.go`, Stats.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Members known, in any status, this node included.
    pub members: usize,
    /// Members alive or suspect for the failure detector, this node included.
    pub live: usize,
    /// Of them, those that are suspect.
    pub suspect: usize,
    /// Members failed.
    pub failed: usize,
    /// Members that left.
    pub left: usize,
    /// Lifeguard's local health: 0 is healthy.
    pub health_score: u32,
    /// Next Lamport time for an intent.
    pub member_time: u64,
    /// Next Lamport time for a user event.
    pub event_time: u64,
    /// Next Lamport time for a query.
    pub query_time: u64,
    /// Statements about members waiting to be gossiped.
    pub membership_queue: usize,
    /// Intents waiting to be gossiped.
    pub intent_queue: usize,
    /// User events waiting to be gossiped.
    pub event_queue: usize,
    /// Queries waiting to be gossiped.
    pub query_queue: usize,
    /// Bytes of our whole state as the last exchange sent it over its stream; 0 before the first.
    pub local_state_bytes: usize,
    /// Whether what we send is encrypted.
    pub encrypted: bool,
    /// How often our own coordinate became unusable and began again; `None` when coordinates are turned off.
    pub coordinate_resets: Option<u64>,
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counts since the node started. Each only grows.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        #[non_exhaustive]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// All counters by name, in a fixed order, for metrics and tests.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }
    };
}

counters! {
    /// UDP packets sent.
    packets_sent,
    /// Bytes of UDP packets sent.
    packet_bytes_sent,
    /// UDP packets received.
    packets_received,
    /// Bytes of UDP packets received.
    packet_bytes_received,
    /// Packets, or parts of packets, that could not be used.
    packets_dropped,
    /// Of them, those that none of our keys opens, or that are no encrypted envelope where one belongs.
    packets_undecryptable,
    /// Of them, those with another label than ours.
    packets_mislabeled,
    /// Messages that could not be read or made no sense.
    messages_dropped,
    /// Streams opened by us.
    streams_dialed,
    /// Streams accepted.
    streams_accepted,
    /// Streams refused because too many were open.
    streams_refused,
    /// Streams that failed, ours and others', without those that only carry a ping.
    streams_failed,
    /// Pings over TCP, of probes and of looks, that nobody answered. A refused connection is an answer of its machine.
    tcp_pings_failed,
    /// Bytes written to streams.
    stream_bytes_sent,
    /// Bytes read from streams.
    stream_bytes_received,
    /// Rounds of gossip, those with nothing to say among them.
    gossip_rounds,
    /// Probes begun.
    probes,
    /// Probes answered in any way.
    probes_answered,
    /// Probes that found nobody.
    probes_failed,
    /// Probes answered only over TCP.
    probes_answered_by_tcp_only,
    /// Looks at members out of turn: those that were accused, refused a connection or were silent as relays, and some by chance.
    looks,
    /// Of them, those that found the member alive.
    looks_answered,
    /// Looks that were not begun, and tries of looks without a connection, because too many were under way.
    looks_over_limit,
    /// Members declared failed because they refused connections.
    verdicts_by_refusal,
    /// Members declared failed because several found them silent.
    verdicts_by_silence,
    /// Complaints of members that answer only now and then, each complainer's once.
    complaints,
    /// Members told as failed, or still failed although they are back, for answering only now and then.
    unsteady_verdicts,
    /// Rounds of gossip between the regular ones, for urgent news.
    extra_gossip_rounds,
    /// Exchanges of state out of turn, because many were new to each other.
    extra_push_pulls,
    /// Pings relayed for others.
    indirect_probes_relayed,
    /// Accusations against ourselves that we answered.
    refutations,
    /// Suspicions that ran out.
    suspicions_expired,
    /// Suspicions that ran out with fewer confirmations than hoped for.
    suspicions_expired_unconfirmed,
    /// State exchanges completed.
    push_pulls,
    /// Alive messages acted on.
    alive_accepted,
    /// Suspect messages acted on.
    suspect_accepted,
    /// Dead messages acted on.
    dead_accepted,
    /// Alive messages about a known name at another address.
    name_conflicts,
    /// Members refused for an unusable address or versions, by the application, and members over the limit.
    members_refused,
    /// State exchanges that the application did not admit.
    merges_refused,
    /// Times this node was paused for so long that it doubted itself first.
    pauses,
    /// Intents accepted as news.
    intents_accepted,
    /// User events delivered.
    user_events_delivered,
    /// User events seen before.
    user_events_duplicate,
    /// User events too old to be told from repetitions.
    user_events_too_old,
    /// User events from before what is wanted: declined as history, or of a time that was given up.
    user_events_unwanted,
    /// Lamport times of user events that were given up because the remembered events took too many bytes.
    user_event_times_given_up,
    /// Queries accepted as news.
    queries_accepted,
    /// Queries too old to be told from repetitions, or from before what is wanted.
    queries_too_old,
    /// Delivered queries given up for newer ones before they were answered.
    queries_given_up,
    /// Responses and acks to queries that were over or unknown.
    query_responses_late,
    /// Acks to queries of ours.
    query_acks,
    /// Responses to queries of ours.
    query_responses,
    /// Acks that came twice, or unasked.
    query_acks_duplicate,
    /// Responses that came twice.
    query_responses_duplicate,
    /// Acks and responses of unknown members dropped because their query had too many of them.
    query_responses_over_limit,
    /// Query responses and acks sent.
    query_responses_sent,
    /// Messages passed on for others.
    relayed,
    /// Relay requests refused.
    relays_refused,
    /// Broadcasts dropped because a queue was full.
    broadcasts_pruned,
    /// Lamport times refused for jumping too far ahead.
    lamport_jumps_refused,
    /// Intents about unknown members dropped because too many were remembered.
    recent_intents_dropped,
    /// Members that had failed and been forgotten and are no longer looked for: told to have left, or their address is another's now.
    lost_given_up,
    /// Members that failed or left and came back within the flap timeout.
    member_flaps,
    /// Coordinates and round trips that were refused.
    coordinate_rejected,
    /// Round trips too short for the clock to see.
    coordinate_zero_rtt,
    /// Payloads of acks that could not be read, for example of another version.
    coordinate_unreadable,
    /// Notices left out by the rate limit.
    notices_suppressed,
}
