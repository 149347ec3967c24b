//! Joins what was found.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, timeout};
use tracing::{error, info};

use super::candidates::{Candidates, Verdict};

/// Addresses are joined together once none has come for this long. (Serf: `mdns.go`, mdnsQuietInterval.)
const QUIET: Duration = Duration::from_millis(100);

/// Addresses joined together.
const BATCH_MAX: usize = 64;

/// Joins until nobody offers addresses any more. `own` is left out.
pub(super) async fn run<J, F>(own: SocketAddr, mut offers: Receiver<SocketAddr>, join: J)
where
    J: Fn(Vec<String>) -> F,
    F: Future<Output = Result<usize, String>>,
{
    let mut candidates = Candidates::new(own);
    while let Some(first) = offers.recv().await {
        let (new, again) = gather(first, &mut offers, &mut candidates).await;
        if !new.is_empty() {
            attempt(&new, &join, &mut candidates).await;
        }
        for address in again {
            attempt(&[address], &join, &mut candidates).await;
        }
    }
}

/// All that comes until it is quiet: what is new, and what is to be tried again.
async fn gather(
    first: SocketAddr,
    offers: &mut Receiver<SocketAddr>,
    candidates: &mut Candidates,
) -> (Vec<SocketAddr>, Vec<SocketAddr>) {
    let (mut new, mut again) = (Vec::new(), Vec::new());
    let mut next = Some(first);
    while let Some(address) = next {
        let batch = match candidates.judge(address, Instant::now()) {
            Verdict::New => Some(&mut new),
            Verdict::Again => Some(&mut again),
            Verdict::Skip => None,
        };
        if let Some(batch) = batch
            && !batch.contains(&address)
        {
            batch.push(address);
        }
        if new.len() + again.len() >= BATCH_MAX {
            break;
        }
        next = timeout(QUIET, offers.recv()).await.ok().flatten();
    }
    (new, again)
}

/// Which of several addresses failed is not told, so unless all could be joined all are to be tried again, one by one:
/// to join a member once more changes nothing.
async fn attempt<J, F>(addresses: &[SocketAddr], join: &J, candidates: &mut Candidates)
where
    J: Fn(Vec<String>) -> F,
    F: Future<Output = Result<usize, String>>,
{
    let outcome = join(addresses.iter().map(ToString::to_string).collect()).await;
    let now = Instant::now();
    match &outcome {
        Ok(joined) => info!(target: "agent.mdns", "Joined {joined} hosts"),
        Err(reason) => error!(target: "agent.mdns", "Failed to join: {reason}"),
    }
    let all = outcome.is_ok_and(|joined| joined >= addresses.len());
    for address in addresses {
        if all {
            candidates.joined(*address, now);
        } else {
            candidates.failed(*address, now);
        }
    }
}
