//! The names of an agent in DNS.
//!
//! They are put together from the labels themselves, never from text with escapes: a cluster called `my cl` is the
//! label `_serf_my cl`, and compares as such.

use simple_dns::{Label, Name};

/// Longest label, in bytes. (RFC 1035, section 2.3.4.)
const LABEL_BYTES_MAX: usize = 63;

/// Longest name on the wire, in bytes: each label with its length, and the end.
const NAME_BYTES_MAX: usize = 255;

/// Why a name does not fit into DNS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameProblem {
    /// A part between two dots is empty or too long.
    #[error("\"{label}\" has {} bytes between two dots, DNS takes 1 to {LABEL_BYTES_MAX}", label.len())]
    Label {
        /// That part, with what we put before it.
        label: String,
    },
    /// All of it is too long.
    #[error("\"{name}\" needs {bytes} bytes, DNS takes {NAME_BYTES_MAX}")]
    Name {
        /// The name.
        name: String,
        /// Its size.
        bytes: usize,
    },
}

/// All names that an agent answers for. (hashicorp/mdns: `zone.go`.)
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// `_serf_CLUSTER._tcp.local.`
    pub(super) service: Name<'static>,
    /// `NODE._serf_CLUSTER._tcp.local.`
    pub(super) instance: Name<'static>,
    /// The machine's name. Serf does not put it under `local.`, and nor do we: it only links two records.
    pub(super) host: Name<'static>,
    /// `_services._dns-sd._udp.local.`, by which the services themselves are listed.
    pub(super) enumeration: Name<'static>,
}

impl Names {
    pub(super) fn new(cluster: &str, node: &str, host: &str) -> Result<Self, NameProblem> {
        let service = service_text(cluster);
        Ok(Self {
            service: name(&service)?,
            instance: name(&format!("{}.{service}", node.trim_matches('.')))?,
            host: name(host)?,
            enumeration: name("_services._dns-sd._udp.local")?,
        })
    }
}

/// The name of a cluster's service.
pub(super) fn service(cluster: &str) -> Result<Name<'static>, NameProblem> {
    name(&service_text(cluster))
}

fn service_text(cluster: &str) -> String {
    format!("_serf_{}._tcp.local", cluster.trim_end_matches('.'))
}

/// A name whose labels are the parts between dots, as Serf splits it, and nothing is escaped.
fn name(text: &str) -> Result<Name<'static>, NameProblem> {
    let text = text.trim_matches('.');
    let labels: Vec<Label<'static>> = text
        .split('.')
        .map(|label| match label.len() {
            // The checked constructor reads escapes, of which there are none here.
            1..=LABEL_BYTES_MAX => Ok(Label::new_unchecked(label.as_bytes().to_vec())),
            _ => Err(NameProblem::Label { label: label.to_owned() }),
        })
        .collect::<Result<_, _>>()?;
    let bytes = labels.iter().map(|label| label.len() + 1).sum::<usize>() + 1;
    if bytes > NAME_BYTES_MAX {
        return Err(NameProblem::Name { name: text.to_owned(), bytes });
    }
    Ok(Name::new_with_labels(&labels))
}

/// Whether two names are the same byte for byte, as Serf compares them. (DNS itself takes `A` for `a`.)
pub(super) fn same(left: &Name<'_>, right: &Name<'_>) -> bool {
    left.as_bytes().eq(right.as_bytes())
}

/// Whether `instance` has at least one label before those of `service`.
pub(super) fn is_instance_of(instance: &Name<'_>, service: &Name<'_>) -> bool {
    let (longer, shorter) = (instance.get_labels(), service.get_labels());
    longer.len() > shorter.len()
        && longer[longer.len() - shorter.len()..].iter().map(AsRef::as_ref).eq(service.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(name: &Name<'_>) -> Vec<String> {
        name.as_bytes().map(|label| String::from_utf8_lossy(label).into_owned()).collect()
    }

    #[test]
    fn labels_are_the_parts_between_dots_and_nothing_is_escaped() {
        let names = Names::new(r"my \cl", "web 1.example", "host").unwrap();
        assert_eq!(labels(&names.service), [r"_serf_my \cl", "_tcp", "local"]);
        assert_eq!(labels(&names.instance), ["web 1", "example", r"_serf_my \cl", "_tcp", "local"]);
        assert_eq!(labels(&names.host), ["host"]);
        assert!(is_instance_of(&names.instance, &names.service));
        assert!(!is_instance_of(&names.service, &names.service));
        assert!(!is_instance_of(&names.host, &names.service));
    }

    #[test]
    fn names_that_do_not_fit_are_named() {
        let long = "x".repeat(58);
        let problem = service(&long).unwrap_err();
        assert_eq!(
            problem.to_string(),
            format!("\"_serf_{long}\" has 64 bytes between two dots, DNS takes 1 to 63")
        );
        assert!(service(&"x".repeat(57)).is_ok());
        assert_eq!(service("a..b").unwrap_err(), NameProblem::Label { label: String::new() });
        let many = vec!["y".repeat(60); 4].join(".");
        assert!(matches!(Names::new("cl", &many, "h"), Err(NameProblem::Name { bytes: 265, .. })));
    }

    #[test]
    fn capitals_make_a_difference() {
        assert!(same(&service("cl").unwrap(), &service("cl").unwrap()));
        assert!(!same(&service("cl").unwrap(), &service("CL").unwrap()));
    }
}
