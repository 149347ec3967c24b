//! The core's notices as `tracing` events.

use thane_core::{Layer, Level, Notice};

/// Tells a notice. The macro needs target and level as constants, hence the table.
pub(crate) fn tell(notice: &Notice) {
    macro_rules! tell {
        ($target:literal, $level:ident) => {
            tracing::event!(
                target: $target,
                tracing::Level::$level,
                kind = notice.kind,
                member = notice.member.as_deref(),
                suppressed = notice.suppressed,
                "{}",
                notice.text
            )
        };
    }
    match (notice.layer, notice.level) {
        (Layer::Memberlist, Level::Debug) => tell!("thane::memberlist", DEBUG),
        (Layer::Memberlist, Level::Info) => tell!("thane::memberlist", INFO),
        (Layer::Memberlist, Level::Warn) => tell!("thane::memberlist", WARN),
        (Layer::Memberlist, Level::Error) => tell!("thane::memberlist", ERROR),
        (Layer::Serf, Level::Debug) => tell!("thane::serf", DEBUG),
        (Layer::Serf, Level::Info) => tell!("thane::serf", INFO),
        (Layer::Serf, Level::Warn) => tell!("thane::serf", WARN),
        (Layer::Serf, Level::Error) => tell!("thane::serf", ERROR),
    }
}
