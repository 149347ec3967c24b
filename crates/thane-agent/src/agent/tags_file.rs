//! The file that keeps the tags which were set while the agent ran. (Serf: `agent.go`, loadTagsFile and writeTagsFile.)
//!
//! Differs from Serf, which overwrites the file before it knows whether the tags fit: here the caller checks first, and the
//! new content replaces the old one as a whole, so that a full disk or a loss of power loses nothing.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use thane::{Tags, files};

use super::config::{contents, text_map};
use crate::hostport::error_text;

/// Largest file. Tags that fit have less than 4 KiB, whatever has to be escaped in them.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// A tags file that may not exist yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TagsFile(PathBuf);

impl TagsFile {
    pub(super) fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The tags in it; `None` if there is no such file, which is no error.
    ///
    /// # Errors
    /// In Serf's words, if it cannot be read.
    pub(super) fn load(&self) -> Result<Option<Tags>, String> {
        let text = match contents(&self.0, FILE_BYTES_MAX) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(format!(
                    "Failed to read tags file: open {}: {}",
                    self.0.display(),
                    error_text(&error)
                ));
            }
        };
        let tags = decode(&text).map_err(|reason| {
            format!(
                "Failed to decode tags file: {reason}; {} must be one JSON object of texts, such as {{\"role\": \"web\"}}",
                self.0.display()
            )
        })?;
        Ok(Some(tags))
    }

    /// Replaces what is in it.
    ///
    /// # Errors
    /// In Serf's words. What was in it is still there then.
    pub(super) fn save(&self, tags: &Tags) -> Result<(), String> {
        files::replace(&self.0, encode(tags).as_bytes()).map_err(|error| {
            format!(
                "Failed to write tags file: open {}: {}; nothing has changed: the file and its directory must be \
                 writable, with room on the disk",
                self.0.display(),
                error_text(&error)
            )
        })
    }
}

/// Reads what such a file holds.
///
/// # Errors
/// In Go's words.
pub(super) fn decode(text: &[u8]) -> Result<Tags, String> {
    text_map(text)
}

/// As Go writes it: sorted, two spaces deep, nothing that HTML would take for its own, no newline at the end.
pub(super) fn encode(tags: &Tags) -> String {
    let text =
        serde_json::to_string_pretty(tags).unwrap_or_else(|error| unreachable!("texts are JSON: {error}"));
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            // None of them stands outside of quotes.
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                // Writing to a text cannot fail.
                _ = write!(escaped, "\\u{:04x}", u32::from(character));
            }
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::agent::test_directory::TestDirectory;

    fn tags(pairs: &[(&str, &str)]) -> Tags {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn files_look_as_serf_writes_them() {
        assert_eq!(encode(&tags(&[])), "{}");
        assert_eq!(
            encode(&tags(&[("b", "<&>"), ("a", "1")])),
            "{\n  \"a\": \"1\",\n  \"b\": \"\\u003c\\u0026\\u003e\"\n}"
        );
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let directory = TestDirectory::new("tags");
        let file = TagsFile::new(directory.path("t.json"));
        assert_eq!(file.load(), Ok(None));
        let saved = tags(&[("a", "<ü\u{2028}\u{1f}\"\\>"), ("role", "web")]);
        file.save(&saved).unwrap();
        assert_eq!(file.load(), Ok(Some(saved)));
        assert_eq!(mode(file.path()), 0o600);
        assert!(!directory.path("t.json.tmp").exists());
    }

    #[test]
    fn modes_and_links_stay() {
        let directory = TestDirectory::new("tags-mode");
        let (real, link) = (directory.path("real"), directory.path("link"));
        fs::write(&real, "{}").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        TagsFile::new(&link).save(&tags(&[("a", "1")])).unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), "{\n  \"a\": \"1\"\n}");
        assert!(mode(&real) == 0o644 && fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    /// A failed attempt, at any moment, leaves the old content: here the new file cannot be made because something that
    /// is no file has its name.
    #[test]
    fn a_failed_save_loses_nothing() {
        let directory = TestDirectory::new("tags-fail");
        let file = TagsFile::new(directory.path("t.json"));
        file.save(&tags(&[("a", "1")])).unwrap();
        fs::create_dir(directory.path("t.json.tmp")).unwrap();
        let reason = file.save(&tags(&[("b", "2")])).unwrap_err();
        assert!(reason.starts_with("Failed to write tags file: open "), "{reason}");
        assert_eq!(file.load(), Ok(Some(tags(&[("a", "1")]))));
    }

    #[test]
    fn bad_content_is_refused_in_serfs_words() {
        let directory = TestDirectory::new("tags-bad");
        for (text, message) in [
            ("nope", "invalid character 'o' in literal null (expecting 'u')"),
            ("", "unexpected end of JSON input"),
            ("{\"a\":1}", "json: cannot unmarshal number into Go value of type string"),
            ("[]", "json: cannot unmarshal array into Go value of type map[string]string"),
            ("{} x", "invalid character 'x' after top-level value"),
        ] {
            fs::write(directory.path("t.json"), text).unwrap();
            let reason = TagsFile::new(directory.path("t.json")).load().unwrap_err();
            assert!(
                reason.starts_with(&format!("Failed to decode tags file: {message}; ")),
                "{text}: {reason}"
            );
        }
    }
}
