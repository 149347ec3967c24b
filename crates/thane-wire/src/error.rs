//! Why bytes could not be read.

use thiserror::Error;

/// Bytes that are not the message they should be. Always the sender's fault, never a bug of ours.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end in the middle of a value.
    #[error("the message ends in the middle of a value")]
    Truncated,
    /// A value has another type than the field wants.
    #[error("field {field} holds {found} where {wanted} belongs")]
    WrongType {
        /// Name of the field, or a word for the value's place.
        field: &'static str,
        /// What was found, for example "a string".
        found: &'static str,
        /// What belongs there.
        wanted: &'static str,
    },
    /// A number does not fit the field.
    #[error("field {field} holds a number that does not fit")]
    OutOfRange {
        /// Name of the field.
        field: &'static str,
    },
    /// Text that is not UTF-8.
    #[error("field {field} is not UTF-8")]
    NotUtf8 {
        /// Name of the field.
        field: &'static str,
    },
    /// Nested deeper than [`crate::limits::NESTING_MAX`].
    #[error("values are nested too deeply")]
    TooDeep,
    /// A first byte that names no message.
    #[error("unknown message type {0}")]
    UnknownType(u8),
    /// A length or count over its limit.
    #[error("{what} of {found} is over the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The announced size.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// Anything else that is malformed.
    #[error("{0}")]
    Malformed(&'static str),
}
