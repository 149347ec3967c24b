//! Filters: whom a query is for. (Serf: `query.go`, filterNode and filterTag.)
//!
//! A query carries a list of encoded filters, all of which must let a node pass. Here are only the bytes: matching the
//! expression of a tag filter is the receiver's business.

use crate::DecodeError;
use crate::msgpack::{Reader, Writer};
use crate::serf::{LIST_ENTRIES_MAX, list};

/// Type byte of a filter by name.
const NODES: u8 = 0;
/// Type byte of a filter by tag.
const TAG: u8 = 1;

/// A filter.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Filter<'a> {
    /// Lets nodes of exactly these names pass; an empty list nobody.
    Nodes(Vec<&'a str>),
    /// Lets nodes pass whose tag matches the expression somewhere in its value. A tag that is not set is empty.
    Tag {
        /// The tag's key.
        tag: &'a str,
        /// The expression, in the syntax of Go's `regexp`.
        expr: &'a str,
    },
}

impl<'a> Filter<'a> {
    /// Reads a filter, type byte first. Bytes after it are ignored. A node that cannot read a filter must not process
    /// the query.
    ///
    /// Names that are not UTF-8 are left out: no node of ours can bear one.
    ///
    /// # Errors
    /// When the filter is empty, its type unknown, or its body malformed.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (&kind, body) = bytes.split_first().ok_or(DecodeError::Truncated)?;
        let mut reader = Reader::new(body);
        match kind {
            NODES => {
                let names = list(&mut reader, "filter nodes", LIST_ENTRIES_MAX, |r| r.text("filter nodes"))?;
                let names = names.unwrap_or_default();
                Ok(Self::Nodes(names.into_iter().filter_map(|name| std::str::from_utf8(name).ok()).collect()))
            }
            TAG => {
                let (mut tag, mut expr) = ("", "");
                reader.fields("tag filter", &["Tag", "Expr"], |index, r| {
                    match index {
                        0 => tag = r.str("Tag")?,
                        _ => expr = r.str("Expr")?,
                    }
                    Ok(())
                })?;
                Ok(Self::Tag { tag, expr })
            }
            other => Err(DecodeError::UnknownType(other)),
        }
    }

    /// Appends the filter, type byte first.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Nodes(names) => {
                out.push(NODES);
                let mut writer = Writer::gossip(out);
                writer.array(names.len());
                for name in names {
                    writer.str(name);
                }
            }
            Self::Tag { tag, expr } => {
                out.push(TAG);
                Writer::gossip(out).map(2).str("Expr").str(expr).str("Tag").str(tag);
            }
        }
    }
}
