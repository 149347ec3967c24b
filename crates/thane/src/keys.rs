//! The keys of the whole cluster: installing, using, removing, listing.

use thane_core::{Key, KeyCommand, KeyReport};

use crate::driver::Command;
use crate::error::KeysError;
use crate::node::Node;

/// Each asks all live members, this node included, and ends when all have answered or after a time that grows with the cluster.
/// A report comes back even if members refused or kept silent: [`KeyReport::result`] says whether all did what was asked, and
/// [`KeyReport::messages`] what each of the others complained of.
///
/// To change the key of a cluster: install the new one, use it, then remove the old one, each when the last step was reported a
/// success. A member that was down meanwhile was not asked: it needs the new key in its key ring file, in front, before it comes back.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use thane::{Key, Node};
///
/// let (old, new) = (Key::new(&[1; 32])?, Key::new(&[2; 32])?);
/// let node = Node::builder().name("web").bind("127.0.0.1:0").key(old.clone()).start().await?;
///
/// node.install_key(new.clone()).await?.result()?;
/// node.use_key(new.clone()).await?.result()?;
/// node.remove_key(old).await?.result()?;
///
/// let report = node.list_keys().await?;
/// assert_eq!(report.keys[&new.to_base64()], report.nodes);
/// # Ok(())
/// # }
/// ```
impl Node {
    /// Adds a key to the ring of every member. It is not used yet, but what is sealed with it is understood.
    ///
    /// # Errors
    /// When nobody could be asked.
    pub async fn install_key(&self, key: Key) -> Result<KeyReport, KeysError> {
        self.keys(KeyCommand::Install(key), 0).await
    }

    /// Makes an installed key the one that every member seals with. Asks first who has it, and changes nothing if a live member
    /// lacks it, does not show it in a list that is cut short, or is silent: it could no longer understand the others. The report
    /// then names those members.
    ///
    /// # Errors
    /// When nobody could be asked.
    pub async fn use_key(&self, key: Key) -> Result<KeyReport, KeysError> {
        self.keys(KeyCommand::Use(key), 0).await
    }

    /// Removes a key from the ring of every member. Asks first who seals with it, and changes nothing if a live member does, or is
    /// silent: the others could no longer understand it. The report then names those members.
    ///
    /// # Errors
    /// When nobody could be asked.
    pub async fn remove_key(&self, key: Key) -> Result<KeyReport, KeysError> {
        self.keys(KeyCommand::Remove(key), 0).await
    }

    /// Asks every member for its keys. The report counts, by the base64 text of each key, who has it and who uses it.
    ///
    /// # Errors
    /// When nobody could be asked.
    pub async fn list_keys(&self) -> Result<KeyReport, KeysError> {
        self.keys(KeyCommand::List, 0).await
    }

    /// Any of the four, with up to `relay_factor` copies of each answer passed on by other members, against lossy paths.
    ///
    /// If the future is dropped it happens all the same.
    ///
    /// # Errors
    /// When nobody could be asked: too many queries of this node are under way, the question is too large, or the node has
    /// stopped.
    pub async fn keys(&self, command: KeyCommand, relay_factor: u8) -> Result<KeyReport, KeysError> {
        Ok(self
            .ask(|reply| Command::Keys { command, relay_factor, reply })
            .await
            .ok_or(KeysError::Stopped)??)
    }
}
