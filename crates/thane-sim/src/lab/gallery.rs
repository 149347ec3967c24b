//! Setups with a name.

/// One of the gallery.
#[derive(Debug, Clone, Copy)]
pub struct Named {
    /// Its name.
    pub name: &'static str,
    /// What it shows, in a line.
    pub about: &'static str,
    /// What it sets, by key.
    pub sets: &'static [(&'static str, &'static str)],
}

/// Setups that answer what people ask, sorted by name. Each can be changed in everything.
pub const GALLERY: &[Named] = &[
    Named {
        name: "bootstrap",
        about: "All processes start in the same second and join through one: how long until everybody knows everybody?",
        // So that no time goes into packing the lists of a large cluster again and again.
        sets: &[("start", "together"), ("end", "agreed"), ("duration", "10m"), ("compression", "false")],
    },
    Named {
        name: "byzantine",
        about: "Somebody who has the cluster's key forges, replays and garbles for a minute: what do the members make of it?",
        sets: &[
            ("nodes", "30"),
            ("encrypted", "true"),
            ("rules", "true"),
            ("fault", "byzantine malformed+replayed+forged of 1 at 10s for 1m"),
            ("duration", "3m"),
        ],
    },
    Named {
        name: "churn",
        about: "Members crash, leave and come back all the time: do the others keep up?",
        sets: &[("churn", "0.5"), ("duration", "3m"), ("loss", "1%")],
    },
    Named {
        name: "crash",
        about: "Five processes die at once: how long until each member knows?",
        sets: &[("fault", "crash 5 at 10s")],
    },
    Named {
        name: "deaf",
        about: "One in a hundred members hears nothing and goes on talking: who is taken for failed?",
        sets: &[("fault", "deaf 1% at 10s"), ("duration", "3m")],
    },
    Named {
        name: "events",
        about: "Two user events a second over a slightly lossy network: how fast do they spread, and does anybody miss one?",
        sets: &[("events", "2"), ("loss", "1%"), ("duration", "60s")],
    },
    Named {
        name: "flapping",
        about: "One member's line comes and goes: is it declared failed, and how often?",
        sets: &[("fault", "flapping 1 at 10s for 2m every 10s"), ("duration", "3m")],
    },
    Named {
        name: "idle",
        about: "Nothing happens: what does the cluster cost while it is well?",
        sets: &[("duration", "60s")],
    },
    Named {
        name: "lossy",
        about: "A tenth of all packets is lost: are healthy members accused, or even declared failed?",
        sets: &[("loss", "10%"), ("duration", "2m")],
    },
    Named {
        name: "mixed",
        about: "Half of the members follow Serf's rules, and five processes die: is everybody told in time?",
        sets: &[("other_share", "50%"), ("other.detector", "serf"), ("fault", "crash 5 at 10s")],
    },
    Named {
        name: "partition",
        about: "A third of the members is cut off for a minute: how long until the parts are one again?",
        sets: &[("fault", "partition 33% at 10s for 60s"), ("duration", "4m")],
    },
    Named {
        name: "paused",
        about: "Every 10 s five members stand still for 5 s, as on starved machines: who is falsely declared failed?",
        sets: &[("fault", "pause 5 at 10s for 5s every 10s"), ("duration", "3m")],
    },
    Named {
        name: "power-loss",
        about: "Five machines go dark, and nobody gets any answer from them: how long until each member knows?",
        sets: &[("fault", "power-loss 5 at 10s"), ("duration", "2m")],
    },
    Named {
        name: "rolling-restart",
        about: "One member after the other leaves and is back after 3 s, as in an upgrade: what do the others see?",
        sets: &[("nodes", "30"), ("fault", "rolling-restart all at 10s for 3s every 5s")],
    },
    Named {
        name: "wan",
        about: "Three sites, 40 ms apart, with the WAN profile and some loss; five machines go dark.",
        sets: &[
            ("profile", "wan"),
            ("zones", "3"),
            ("zone_latency", "lognormal 40ms 0.2"),
            ("loss", "0.5%"),
            ("events", "0.5"),
            ("fault", "power-loss 5 at 10s"),
        ],
    },
];

/// The one of this name.
pub(super) fn find(name: &str) -> Option<&'static Named> {
    GALLERY.iter().find(|named| named.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    use crate::lab::Setup;

    #[test]
    fn each_can_be_and_is_what_it_says() {
        assert!(GALLERY.is_sorted_by_key(|named| named.name));
        for named in GALLERY {
            let setup = Setup::named(named.name).unwrap_or_else(|wrong| panic!("{}: {wrong}", named.name));
            assert_eq!(setup.arguments(), format!("-scenario {}", named.name));
            assert_eq!(setup.complete(), Ok(()), "{}", named.name);
            // A file with the same keys is the same setup.
            let mut file = String::from("faults = [");
            let faults = named.sets.iter().filter(|(key, _)| *key == "fault");
            faults.for_each(|(_, fault)| write!(file, "\"{fault}\", ").unwrap_or_default());
            file.push_str("]\n");
            for (key, value) in named.sets.iter().filter(|(key, _)| *key != "fault") {
                writeln!(file, "\"{key}\" = \"{value}\"").unwrap_or_default();
            }
            let of_file = Setup::default().with_toml(&file).unwrap_or_else(|wrong| panic!("{file}: {wrong}"));
            assert_eq!(of_file.complete(), Ok(()), "{file}");
            let runs = |it: &Setup| {
                let network = (&it.quality, &it.topology);
                let times = (it.start, it.duration, it.end, it.watch);
                format!("{:?}", (it.nodes, &it.config, &it.other, network, &it.faults, it.load, times))
            };
            assert_eq!(runs(&of_file), runs(&setup), "{}", named.name);
        }
    }
}
