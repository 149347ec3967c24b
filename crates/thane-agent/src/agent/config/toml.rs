//! TOML files: the same keys as in JSON, with comments.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::tree::{Entry, Tree, Value};

/// A mistake and the byte at which it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) message: String,
    pub(super) at: usize,
}

/// Reads a whole file.
///
/// # Errors
/// The first mistake.
pub(super) fn document(text: &[u8]) -> Result<Tree, Mistake> {
    let text = str::from_utf8(text)
        .map_err(|error| Mistake { message: "the text is not UTF-8".to_owned(), at: error.valid_up_to() })?;
    let document = DeTable::parse(text).map_err(|error| Mistake {
        // More than one line would tear the message apart.
        message: error.message().replace('\n', ", "),
        at: error.span().map_or(0, |span| span.start),
    })?;
    Ok(Tree { at: 0, value: map(document.into_inner())? })
}

fn map(table: DeTable<'_>) -> Result<Value, Mistake> {
    let entries = table.into_iter().map(|(name, value)| {
        Ok(Entry { at: name.span().start, name: name.into_inner().into_owned(), tree: tree(value)? })
    });
    Ok(Value::Map(entries.collect::<Result<_, Mistake>>()?))
}

fn tree(value: Spanned<DeValue<'_>>) -> Result<Tree, Mistake> {
    let at = value.span().start;
    let unreadable = |number: &str| Mistake { message: format!("the number {number} is too large"), at };
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Boolean(on) => Value::Bool(on),
        DeValue::Integer(number) => Value::Integer(
            i64::from_str_radix(number.as_str(), number.radix())
                .map_err(|_too_large| unreadable(number.as_str()))?,
        ),
        DeValue::Float(number) => Value::Float(
            number
                .as_str()
                .parse()
                .map_err(|_unreadable: std::num::ParseFloatError| unreadable(number.as_str()))?,
        ),
        DeValue::Datetime(date) => Value::Date(date.to_string()),
        DeValue::Array(elements) => Value::List(elements.into_iter().map(tree).collect::<Result<_, _>>()?),
        DeValue::Table(table) => map(table)?,
    };
    Ok(Tree { at, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_is_read() {
        let text = "# a comment\nname = \"x\"\nnumber = 1_000\nhex = 0x1f\nshare = 0.5\non = true\n\
                    list = [\"a\", 'b']\nday = 2026-11-21\n[tags]\nrole = \"web\"\n";
        let tree = document(text.as_bytes()).unwrap();
        assert_eq!(
            tree.value.to_string(),
            "map[day:2026-11-21 hex:31 list:[a b] name:x number:1000 on:true share:0.5 tags:map[role:web]]"
        );
        let Value::Map(entries) = &tree.value else { panic!("{tree:?}") };
        let name = entries.iter().find(|entry| entry.name == "name").unwrap();
        assert_eq!((name.at, name.tree.at), (12, 19));
    }

    #[test]
    fn mistakes_are_found_where_they_are() {
        for (text, at) in [("a = \n", 4), ("a = 1\na = 2\n", 6), ("a = 1 b = 2", 8), ("a = \"x", 6)] {
            let mistake = document(text.as_bytes()).unwrap_err();
            assert!(!mistake.message.is_empty() && !mistake.message.contains('\n'), "{mistake:?}");
            assert_eq!(mistake.at, at, "{text:?}: {}", mistake.message);
        }
        assert_eq!(document(b"a = \"\xff\"").unwrap_err().at, 5);
        let nested = format!("a = {}", "[".repeat(100_000));
        assert!(document(nested.as_bytes()).is_err(), "deep nesting is refused");
        assert!(document(b"a = 99999999999999999999").unwrap_err().message.contains("too large"));
    }
}
