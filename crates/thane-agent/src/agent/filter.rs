//! Which events a stream or a handler wants. (Serf: `event_handler.go`, `EventFilter`.)

use thane_wire::rpc::EventName;

/// One filter: `member-join`, `user`, `user:deploy`, `query`, `query:load` or `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventFilter {
    kind: Kind,
    /// What it was written as, for messages and the listing in `stats`.
    text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    All,
    Member(EventName),
    /// Of this name, or any where it is empty.
    User(String),
    /// Of this name, or any where it is empty.
    Query(String),
}

impl EventFilter {
    /// What a filter can be, for messages.
    pub(crate) const SYNTAX: &str = "*, member-join, member-leave, member-failed, member-update, member-reap, \
                                     member-suspect, user, user:NAME, query or query:NAME";

    /// Reads one filter. Case counts, nothing is trimmed. `member-suspect` is Thane's own; Serf's users never ask for
    /// it and `*` does not include it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let kind = match text {
            "*" => Kind::All,
            "user" => Kind::User(String::new()),
            "query" => Kind::Query(String::new()),
            _ => match text.split_once(':') {
                Some(("user", name)) => Kind::User(name.to_owned()),
                Some(("query", name)) => Kind::Query(name.to_owned()),
                _ => match EventName::from_name(text) {
                    EventName::Other(_) => return None,
                    event => Kind::Member(event),
                },
            },
        };
        Some(Self { kind, text: text.to_owned() })
    }

    /// Reads a list with commas between filters; empty text is `*`. One bad filter makes the whole list bad; returns it
    /// then.
    pub(crate) fn parse_list(text: &str) -> Result<Vec<Self>, String> {
        if text.is_empty() {
            return Self::parse("*").map(|filter| vec![filter]).ok_or_else(String::new);
        }
        text.split(',').map(|part| Self::parse(part).ok_or_else(|| part.to_owned())).collect()
    }

    /// Whether an event about members of this name passes.
    pub(crate) fn wants_member_event(&self, event: &EventName) -> bool {
        match &self.kind {
            Kind::All => *event != EventName::MemberSuspect,
            Kind::Member(wanted) => wanted == event,
            Kind::User(_) | Kind::Query(_) => false,
        }
    }

    /// Whether a user event of this name passes.
    pub(crate) fn wants_user_event(&self, name: &str) -> bool {
        match &self.kind {
            Kind::All => true,
            Kind::User(wanted) => wanted.is_empty() || wanted == name,
            Kind::Member(_) | Kind::Query(_) => false,
        }
    }

    /// Whether a query of this name passes.
    pub(crate) fn wants_query(&self, name: &str) -> bool {
        match &self.kind {
            Kind::All => true,
            Kind::Query(wanted) => wanted.is_empty() || wanted == name,
            Kind::Member(_) | Kind::User(_) => false,
        }
    }

    /// `TYPE:NAME`, as `stats` lists handlers; the colon is always there.
    pub(crate) fn listing(&self) -> String {
        match &self.kind {
            Kind::User(_) | Kind::Query(_) if self.text.contains(':') => self.text.clone(),
            _ => format!("{}:", self.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strings_that_serf_takes_are_taken_and_no_others() {
        for good in [
            "member-join",
            "member-leave",
            "member-failed",
            "member-update",
            "member-reap",
            "member-suspect",
            "user",
            "user:deploy",
            "user:",
            "user:a:b",
            "query",
            "query:load",
            "query:",
            "*",
        ] {
            assert!(EventFilter::parse(good).is_some(), "{good:?} must be a filter");
        }
        for bad in
            ["", "bogus", "Member-Join", " user", "user ", "member-join:x", "*:x", "User", "member", "Query"]
        {
            assert!(EventFilter::parse(bad).is_none(), "{bad:?} must be refused");
        }
    }

    #[test]
    fn a_list_is_as_good_as_its_worst_part() {
        assert_eq!(EventFilter::parse_list("user:deploy,query:load,member-join").unwrap().len(), 3);
        assert_eq!(EventFilter::parse_list("").unwrap(), EventFilter::parse_list("*").unwrap());
        assert_eq!(EventFilter::parse_list("member-join,bogus"), Err("bogus".to_owned()));
        assert_eq!(EventFilter::parse_list("user, query"), Err(" query".to_owned()));
    }

    #[test]
    fn filters_match_as_in_serf() {
        let filter = |text| EventFilter::parse(text).unwrap();
        for (text, join, suspect, deploy, other) in [
            ("*", true, false, true, true),
            ("member-join", true, false, false, false),
            ("member-leave", false, false, false, false),
            ("member-suspect", false, true, false, false),
            ("user", false, false, true, true),
            ("user:", false, false, true, true),
            ("user:deploy", false, false, true, false),
            ("query", false, false, false, false),
        ] {
            let found = (
                filter(text).wants_member_event(&EventName::MemberJoin),
                filter(text).wants_member_event(&EventName::MemberSuspect),
                filter(text).wants_user_event("deploy"),
                filter(text).wants_user_event("other"),
            );
            assert_eq!(found, (join, suspect, deploy, other), "{text}");
        }
    }

    #[test]
    fn listings_always_have_a_colon() {
        for (text, listing) in
            [("*", "*:"), ("member-join", "member-join:"), ("user", "user:"), ("user:deploy", "user:deploy")]
        {
            assert_eq!(EventFilter::parse(text).unwrap().listing(), listing);
        }
    }
}
