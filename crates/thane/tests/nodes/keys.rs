//! Changing the keys of a cluster while it runs.

use std::fs;
use std::path::{Path, PathBuf};

use thane::{Builder, Key, KeyCommand, KeyReport, Node, StartError, Status};

use super::directory::Directory;
use super::{eventually, wait_for_status};

/// A node that gives the others much time to answer. What is asked about keys ends when all have.
fn builder(name: &str) -> Builder {
    super::builder(name).configure(|config| config.query_timeout_mult = 1_000)
}

fn key(n: u8) -> Key {
    Key::new(&[n; 32]).unwrap()
}

/// A key ring file with these keys.
fn ring_file(directory: &Directory, name: &str, keys: &[Key]) -> PathBuf {
    let keys: Vec<String> = keys.iter().map(|key| format!("{:?}", key.to_base64())).collect();
    let path = directory.path(name);
    fs::write(&path, format!("[{}]", keys.join(", "))).unwrap();
    path
}

/// The keys in a file, as Serf lays them out.
fn in_file(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn layout(keys: &[Key]) -> String {
    let lines: Vec<String> = keys.iter().map(|key| format!("  \"{}\"", key.to_base64())).collect();
    format!("[\n{}\n]", lines.join(",\n"))
}

async fn all_see_each_other(nodes: &[Node]) {
    for node in nodes {
        for other in nodes {
            wait_for_status(node, other.name(), Status::Alive).await;
        }
    }
}

fn all_of(report: &KeyReport, nodes: usize) {
    assert_eq!(report.result(), Ok(()), "{report:?}");
    assert_eq!((report.nodes, report.responses, report.errors), (nodes, nodes, 0), "{report:?}");
}

#[tokio::test]
async fn three_nodes_change_their_key_and_their_files() {
    let directory = Directory::new("rotation");
    let (old, new) = (key(1), key(2));
    let mut nodes = Vec::new();
    let mut files = Vec::new();
    for name in ["a", "b", "c"] {
        let file = ring_file(&directory, name, std::slice::from_ref(&old));
        nodes.push(builder(name).keyring_file(&file).start().await.unwrap());
        files.push(file);
    }
    let seed = nodes[0].local_addr().to_string();
    for node in &nodes[1..] {
        node.join([&seed]).await.unwrap();
    }
    all_see_each_other(&nodes).await;

    all_of(&nodes[0].install_key(new.clone()).await.unwrap(), 3);
    for file in &files {
        assert_eq!(in_file(file), layout(&[old.clone(), new.clone()]), "it is written before the answer");
    }
    all_of(&nodes[1].use_key(new.clone()).await.unwrap(), 3);
    for file in &files {
        assert_eq!(in_file(file), layout(&[new.clone(), old.clone()]));
    }
    let refused = nodes[2].remove_key(new.clone()).await.unwrap();
    assert_eq!(refused.result(), Err("3/3 nodes reported failure".to_owned()));
    assert!(refused.messages["a"].contains("not allowed"), "{refused:?}");
    all_of(&nodes[2].keys(KeyCommand::Remove(old.clone()), 1).await.unwrap(), 3);
    let list = nodes[0].list_keys().await.unwrap();
    all_of(&list, 3);
    assert_eq!(list.keys, [(new.to_base64(), 3)].into());
    assert_eq!(list.primary_keys, [(new.to_base64(), 3)].into());

    // A node that starts from its file is in the cluster again.
    nodes[2].shutdown().await;
    nodes[2] = builder("c").keyring_file(&files[2]).start().await.unwrap();
    nodes[2].join([&seed]).await.unwrap();
    all_see_each_other(&nodes).await;
}

#[tokio::test]
async fn a_key_that_somebody_lacks_is_not_used_and_the_somebody_named() {
    let (old, new) = (key(1), key(2));
    let both = thane::Keyring::new([old.clone(), new.clone()]);
    let a = builder("a").keyring(both.clone()).start().await.unwrap();
    let b = builder("b").keyring(both).start().await.unwrap();
    let c = builder("c").key(old.clone()).start().await.unwrap();
    let nodes = [a, b, c];
    for node in &nodes[1..] {
        node.join([nodes[0].local_addr().to_string()]).await.unwrap();
    }
    all_see_each_other(&nodes).await;

    let report = nodes[0].use_key(new.clone()).await.unwrap();
    assert_eq!(report.result(), Err("1/3 nodes reported failure".to_owned()));
    assert_eq!(report.messages.keys().collect::<Vec<_>>(), ["c"]);
    let list = nodes[1].list_keys().await.unwrap();
    assert_eq!(list.primary_keys, [(old.to_base64(), 3)].into(), "nobody has changed");
}

#[tokio::test]
async fn a_key_that_somebody_still_seals_with_is_not_removed_and_the_somebody_named() {
    let (old, new) = (key(1), key(2));
    let changed = thane::Keyring::new([new.clone(), old.clone()]);
    let a = builder("a").keyring(changed.clone()).start().await.unwrap();
    let b = builder("b").keyring(changed).start().await.unwrap();
    let c = builder("c").keyring(thane::Keyring::new([old.clone(), new.clone()])).start().await.unwrap();
    let nodes = [a, b, c];
    for node in &nodes[1..] {
        node.join([nodes[0].local_addr().to_string()]).await.unwrap();
    }
    all_see_each_other(&nodes).await;

    let report = nodes[0].remove_key(old.clone()).await.unwrap();
    assert_eq!(report.result(), Err("1/3 nodes reported failure".to_owned()), "{report:?}");
    assert_eq!(report.messages.keys().collect::<Vec<_>>(), ["c"]);
    let list = nodes[1].list_keys().await.unwrap();
    assert_eq!(list.keys, [(old.to_base64(), 3), (new.to_base64(), 3)].into(), "nobody has forgotten it");

    // Once it seals with the new key like the others, the old one may go.
    all_of(&nodes[0].use_key(new.clone()).await.unwrap(), 3);
    all_of(&nodes[0].remove_key(old).await.unwrap(), 3);
}

#[tokio::test]
async fn without_encryption_there_are_no_keys_to_change() {
    let a = builder("a").start().await.unwrap();
    let report = a.install_key(key(1)).await.unwrap();
    assert_eq!(report.messages["a"], "No keyring to modify (encryption not enabled)");
    a.shutdown().await;
    assert_eq!(a.list_keys().await.unwrap_err(), thane::KeysError::Stopped);
}

#[tokio::test]
async fn a_key_ring_file_that_cannot_be_used_is_explained_in_serfs_words() {
    let directory = Directory::new("ring");
    let failed = async |builder: Builder| match builder.start().await.unwrap_err() {
        error @ StartError::KeyringFile { .. } => error.to_string(),
        other => panic!("{other}"),
    };
    let missing = directory.path("missing");
    assert_eq!(
        failed(builder("a").keyring_file(&missing)).await,
        format!("stat {}: no such file or directory", missing.display())
    );
    let empty = ring_file(&directory, "empty", &[]);
    assert_eq!(failed(builder("a").keyring_file(empty)).await, "Keyring file contains no keys");
    let good = ring_file(&directory, "good", &[key(1)]);
    assert_eq!(
        failed(builder("a").keyring_file(good).key(key(1))).await,
        "Encryption key not allowed while using a keyring"
    );
}

/// A file that cannot be replaced: the member answers with the reason, and what was saved stays.
#[tokio::test]
async fn a_key_ring_that_cannot_be_written_is_an_answer() {
    let directory = Directory::new("unwritable");
    let path = ring_file(&directory, "ring", &[key(1)]);
    let a = builder("a").keyring_file(&path).start().await.unwrap();
    // Where the new file would be written before it replaces the old one, there is a directory.
    fs::create_dir_all(directory.path("ring.tmp").join("in the way")).unwrap();
    let before = in_file(&path);
    let report = a.install_key(key(2)).await.unwrap();
    assert_eq!(report.result(), Err("1/1 nodes reported failure".to_owned()));
    assert!(report.messages["a"].starts_with("Failed to write keyring file: open "), "{report:?}");
    assert_eq!(in_file(&path), before);
    // The key is in use all the same, as in Serf: without it this member would be locked out by the next step.
    assert_eq!(a.list_keys().await.unwrap().keys.len(), 2);
    // And it is written as soon as it can be, without anybody asking again.
    fs::remove_dir_all(directory.path("ring.tmp")).unwrap();
    eventually("the file has both keys", async || in_file(&path) == layout(&[key(1), key(2)])).await;
}

#[cfg(unix)]
#[tokio::test]
async fn the_mode_of_the_file_and_a_link_to_it_stay() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let directory = Directory::new("mode");
    let path = ring_file(&directory, "ring", &[key(1)]);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let link = directory.path("link");
    symlink(&path, &link).unwrap();
    let a = builder("a").keyring_file(&link).start().await.unwrap();
    all_of(&a.install_key(key(2)).await.unwrap(), 1);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(in_file(&path), layout(&[key(1), key(2)]));
}
