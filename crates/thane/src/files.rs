//! Writing files so that what was there survives until what is new is safe: as the node writes its key ring and snapshot, for
//! whoever keeps files beside them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

/// No file of ours that is overwritten in place is larger.
const OVERWRITTEN_BYTES_MAX: u64 = 1 << 20;

/// Replaces the content of a file: writes a file beside it (with `.tmp` at the end of its name), brings it to the disk, and
/// renames it over. Whoever reads, and whoever comes after a power failure, finds the old content or the new one. The mode
/// stays, as does the owner where that is allowed, and a link stays a link; a new file is for its owner alone.
///
/// Where the directory does not let us (a single file that is mounted into a container), the file is overwritten in place.
///
/// # Errors
/// What the system says; the old content is still there then.
///
/// ```
/// let path = std::env::temp_dir().join(format!("thane-replaced-{}", std::process::id()));
/// thane::files::replace(&path, b"first")?;
/// thane::files::replace(&path, b"second")?;
/// assert_eq!(std::fs::read(&path)?, b"second");
/// std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_missing| path.to_owned());
    let beside = with_suffix(&path, ".tmp");
    match write_beside(&beside, &path, content, 0o600).and_then(|()| rename(&beside, &path)) {
        Err(error) if is_about_the_directory(&error) => {
            drop(fs::remove_file(&beside));
            // There may be nothing to overwrite: then the directory is the reason.
            overwrite(&path, content)
                .map_err(|later| if later.kind() == io::ErrorKind::NotFound { error } else { later })
        }
        Err(error) => {
            // It may be half written; the next attempt would remove it too.
            drop(fs::remove_file(&beside));
            Err(error)
        }
        Ok(()) => Ok(()),
    }
}

/// Puts new content over the old. If that does not work, a full disk being the usual reason, the old content is put back, for
/// which there is room.
fn overwrite(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut old = Vec::new();
    (&mut file).take(OVERWRITTEN_BYTES_MAX).read_to_end(&mut old)?;
    let mut put = |content: &[u8]| {
        file.rewind()?;
        file.write_all(content)?;
        file.set_len(content.len() as u64)?;
        file.sync_all()
    };
    put(content).inspect_err(|_reason| {
        // There is nothing else to try.
        drop(put(&old));
    })
}

/// Writes `beside`, new, with the mode and the owner of `model` if that exists, and brings it to the disk.
pub(crate) fn write_beside(beside: &Path, model: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    match fs::remove_file(beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    set_mode(&mut options, mode);
    let mut file = options.open(beside)?;
    if let Ok(model) = fs::metadata(model) {
        file.set_permissions(with_owner(&file, &model)?)?;
    }
    file.write_all(content)?;
    file.sync_all()
}

/// Renames and brings the directory to the disk.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_directory(to);
    Ok(())
}

/// The path with more at its end.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Not all file systems can do this, and the rename has happened; so a failure is no failure of the whole.
fn sync_directory(path: &Path) {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Err(error) = File::open(directory).and_then(|directory| directory.sync_all()) {
        tracing::debug!(target: "thane::driver", kind = "sync_directory", %error, "{} was not synchronised", directory.display());
    }
}

fn is_about_the_directory(error: &io::Error) -> bool {
    use io::ErrorKind::{CrossesDevices, PermissionDenied, ReadOnlyFilesystem, ResourceBusy};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem | ResourceBusy | CrossesDevices)
}

/// Gives a new file the owner and group of another as far as that is allowed, and says which mode it may then have: that of
/// the other, but nothing for the group if it became another one.
#[cfg(unix)]
fn with_owner(file: &File, model: &fs::Metadata) -> io::Result<fs::Permissions> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};

    let new = file.metadata()?;
    // By the open file, never by its name: that may be a link by now. Only the superuser may; for others the file becomes theirs.
    if new.gid() != model.gid() {
        drop(fchown(file, None, Some(model.gid())));
    }
    if new.uid() != model.uid() {
        drop(fchown(file, Some(model.uid()), None));
    }
    let kept = if file.metadata()?.gid() == model.gid() { 0o7777 } else { 0o7707 };
    Ok(fs::Permissions::from_mode(model.mode() & kept))
}

/// Owners are not ours to give here.
#[cfg(not(unix))]
fn with_owner(_file: &File, model: &fs::Metadata) -> io::Result<fs::Permissions> {
    Ok(model.permissions())
}

/// The mode of a file to be created, before the umask.
#[cfg(unix)]
pub(crate) fn set_mode(options: &mut OpenOptions, mode: u32) {
    std::os::unix::fs::OpenOptionsExt::mode(options, mode);
}

/// There are no modes here.
#[cfg(not(unix))]
pub(crate) fn set_mode(_options: &mut OpenOptions, _mode: u32) {}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    const OVERWRITTEN: &str = "THANE_TEST_OVERWRITTEN";

    fn scratch(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("thane-files-{name}-{}", std::process::id()))
    }

    #[test]
    fn a_file_is_overwritten_with_less_and_with_more() {
        let path = scratch("overwritten");
        for content in ["first", "a longer second", "3"] {
            fs::write(&path, "before").unwrap();
            overwrite(&path, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        fs::remove_file(&path).unwrap();
    }

    /// Does its work in the other test's child, where no file may grow beyond a kibibyte.
    #[test]
    fn on_a_full_disk() {
        let Some(path) = std::env::var_os(OVERWRITTEN) else { return };
        let error = overwrite(Path::new(&path), &[b'n'; 5000]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge, "{error}");
    }

    #[test]
    fn what_a_full_disk_does_not_take_leaves_the_old_content() {
        let path = scratch("full");
        let old = vec![b'o'; 300];
        fs::write(&path, &old).unwrap();
        let child = Command::new("sh")
            .args(["-c", "trap '' XFSZ; ulimit -S -f 1; exec \"$0\" \"$@\""])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "files::tests::on_a_full_disk"])
            .env(OVERWRITTEN, &path)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && said.contains("1 passed"), "{said}");
        assert_eq!(fs::read(&path).unwrap(), old);
        fs::remove_file(&path).unwrap();
    }

    /// A single file that may be written in a directory that may not. (For the superuser it is another case of the usual way.)
    #[test]
    fn where_the_directory_cannot_be_written_the_file_is_overwritten() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = scratch("directory");
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("file");
        fs::write(&path, "before").unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o555)).unwrap();
        let replaced = replace(&path, b"after");
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        replaced.unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "after");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "nothing is left beside it");
        fs::remove_dir_all(&directory).unwrap();
    }
}
