//! JSON as Go's `encoding/json` reads it, with its complaints, which Serf passes on to the operator.
//!
//! The reader of the rest of the world, `serde_json`, words its errors differently and forgets where a value stood, and
//! a complaint about a wrong type needs to say where.

use super::tree::{Entry, Tree, Value};

/// Deepest nesting. Nothing that the agent reads has more than four levels.
const DEPTH_MAX: usize = 32;

/// Why a text is no JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// It ends too early. Go has several sentences for this; which one depends on who reads.
    End {
        /// Whether there was anything but white space.
        is_blank: bool,
    },
    /// In Go's words, and at which byte.
    Syntax {
        /// What is wrong.
        message: String,
        /// Byte at which it is wrong.
        at: usize,
    },
}

/// Reads the first value; what follows it is ignored, as by Serf.
///
/// # Errors
/// The first fault.
pub(super) fn first_value(text: &[u8]) -> Result<Tree, Fault> {
    Reader { text, at: 0 }.value(0).map_err(|fault| match fault {
        Fault::End { .. } => Fault::End { is_blank: text.iter().all(|byte| is_space(*byte)) },
        syntax @ Fault::Syntax { .. } => syntax,
    })
}

/// Reads a text that is one value.
///
/// # Errors
/// The first fault, or something after the value.
pub(super) fn only_value(text: &[u8]) -> Result<Tree, Fault> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0)?;
    match reader.next_visible() {
        None => Ok(value),
        Some(_) => Err(reader.invalid("after top-level value")),
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// The next byte that is no white space, which is not taken.
    fn next_visible(&mut self) -> Option<u8> {
        while self.peek().is_some_and(is_space) {
            self.at += 1;
        }
        self.peek()
    }

    /// The complaint about the next byte.
    fn invalid(&self, context: &str) -> Fault {
        let Some(byte) = self.peek() else { return Fault::End { is_blank: false } };
        let shown = match byte {
            b'\'' => r"'\''".to_owned(),
            b'"' => "'\"'".to_owned(),
            // Go takes the byte for a character of Latin 1.
            other => format!("'{}'", char::from(other).escape_debug()),
        };
        Fault::Syntax { message: format!("invalid character {shown} {context}"), at: self.at }
    }

    fn value(&mut self, depth: usize) -> Result<Tree, Fault> {
        let first = self.next_visible();
        let at = self.at;
        if depth > DEPTH_MAX {
            return Err(Fault::Syntax { message: format!("more than {DEPTH_MAX} levels of nesting"), at });
        }
        let value = match first {
            Some(b'{') => self.map(depth)?,
            Some(b'[') => self.list(depth)?,
            Some(b'"') => Value::Text(self.text()?),
            Some(b't') => self.literal("true", Value::Bool(true))?,
            Some(b'f') => self.literal("false", Value::Bool(false))?,
            Some(b'n') => self.literal("null", Value::Null)?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => return Err(self.invalid("looking for beginning of value")),
        };
        Ok(Tree { at, value })
    }

    fn map(&mut self, depth: usize) -> Result<Value, Fault> {
        self.at += 1;
        let mut entries = Vec::new();
        if self.next_visible() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Map(entries));
        }
        loop {
            if self.next_visible() != Some(b'"') {
                return Err(self.invalid("looking for beginning of object key string"));
            }
            let at = self.at;
            let name = self.text()?;
            if self.next_visible() != Some(b':') {
                return Err(self.invalid("after object key"));
            }
            self.at += 1;
            let tree = self.value(depth + 1)?;
            entries.push(Entry { at, name, tree });
            match self.next_visible() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Value::Map(entries));
                }
                _ => return Err(self.invalid("after object key:value pair")),
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, Fault> {
        self.at += 1;
        let mut elements = Vec::new();
        if self.next_visible() == Some(b']') {
            self.at += 1;
            return Ok(Value::List(elements));
        }
        loop {
            elements.push(self.value(depth + 1)?);
            match self.next_visible() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::List(elements));
                }
                _ => return Err(self.invalid("after array element")),
            }
        }
    }

    fn literal(&mut self, word: &str, value: Value) -> Result<Value, Fault> {
        for (number, expected) in word.bytes().enumerate() {
            if self.peek() != Some(expected) {
                let expected = char::from(expected);
                debug_assert!(number > 0, "the first letter chose the word");
                return Err(self.invalid(&format!("in literal {word} (expecting '{expected}')")));
            }
            self.at += 1;
        }
        Ok(value)
    }

    fn number(&mut self) -> Result<Value, Fault> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            // What follows a leading zero does not belong to the number.
            Some(b'0') => self.at += 1,
            _ => self.digits("in numeric literal")?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits("after decimal point in numeric literal")?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits("in exponent of numeric literal")?;
        }
        let digits = String::from_utf8_lossy(&self.text[start..self.at]);
        match digits.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Value::Float(number)),
            _ => Err(Fault::Syntax {
                message: format!("json: cannot unmarshal number {digits} into Go value of type float64"),
                at: start,
            }),
        }
    }

    /// At least one digit.
    fn digits(&mut self, context: &str) -> Result<(), Fault> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return Err(self.invalid(context));
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }

    /// A text in quotes; bytes that are no UTF-8 become U+FFFD.
    fn text(&mut self) -> Result<String, Fault> {
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            match self.peek() {
                None => return Err(Fault::End { is_blank: false }),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(String::from_utf8_lossy(&bytes).into_owned());
                }
                Some(b'\\') => {
                    self.at += 1;
                    let character = self.escape()?;
                    bytes.extend(character.encode_utf8(&mut [0; 4]).bytes());
                }
                Some(0..0x20) => return Err(self.invalid("in string literal")),
                Some(byte) => {
                    bytes.push(byte);
                    self.at += 1;
                }
            }
        }
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Result<char, Fault> {
        let character = match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.code_point();
            }
            _ => return Err(self.invalid("in string escape code")),
        };
        self.at += 1;
        Ok(character)
    }

    /// Four digits, or twice four for what UTF-16 writes as a pair. Half a pair becomes U+FFFD.
    fn code_point(&mut self) -> Result<char, Fault> {
        let unit = self.hex_digits()?;
        if (0xd800..0xdc00).contains(&unit) && self.text[self.at..].starts_with(br"\u") {
            let behind_first = self.at;
            self.at += 2;
            let second = self.hex_digits()?;
            if (0xdc00..0xe000).contains(&second) {
                let code = 0x1_0000 + ((unit - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = behind_first;
        }
        Ok(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex_digits(&mut self) -> Result<u32, Fault> {
        let mut unit = 0;
        for _digit in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            unit = unit * 16 + digit.ok_or_else(|| self.invalid(r"in \u hexadecimal character escape"))?;
            self.at += 1;
        }
        Ok(unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn syntax(message: &str, at: usize) -> Fault {
        Fault::Syntax { message: message.to_owned(), at }
    }

    #[test]
    fn values_are_read_and_stand_where_they_stand() {
        let tree = first_value(br#" {"a": [true, null, -1.5e2], "b" : "x\n\u00e9\ud83d\ude00\ud800y"} rest"#)
            .unwrap();
        let Value::Map(entries) = &tree.value else { panic!("{tree:?}") };
        assert_eq!((tree.at, entries[0].at, entries[0].tree.at), (1, 2, 7));
        assert_eq!(entries[0].tree.value.to_string(), "[true <nil> -150]");
        assert_eq!(entries[1].tree.value, Value::Text("x\né😀\u{fffd}y".to_owned()));
        for text in ["{}", "[]", "0", "null", "\"\"", "[[], {}]"] {
            only_value(text.as_bytes()).unwrap();
        }
    }

    #[test]
    fn faults_are_told_in_gos_words() {
        for (text, message, at) in [
            (r#"{"node_name": }"#, "invalid character '}' looking for beginning of value", 14),
            ("nope", "invalid character 'o' in literal null (expecting 'u')", 1),
            ("{a}", "invalid character 'a' looking for beginning of object key string", 1),
            (r#"{"a":1,}"#, "invalid character '}' looking for beginning of object key string", 7),
            (r#"{"a" 1}"#, "invalid character '1' after object key", 5),
            (r#"{"a":1 "b""#, "invalid character '\"' after object key:value pair", 7),
            ("[1 2", "invalid character '2' after array element", 3),
            ("[01]", "invalid character '1' after array element", 2),
            ("[1,]", "invalid character ']' looking for beginning of value", 3),
            ("-x", "invalid character 'x' in numeric literal", 1),
            ("1.x", "invalid character 'x' after decimal point in numeric literal", 2),
            ("1e+x", "invalid character 'x' in exponent of numeric literal", 3),
            ("\"a\nb\"", r"invalid character '\n' in string literal", 2),
            (r#""\x""#, "invalid character 'x' in string escape code", 2),
            (r#""\u12g4""#, r"invalid character 'g' in \u hexadecimal character escape", 5),
            ("'x'", r"invalid character '\'' looking for beginning of value", 0),
            ("1e999", "json: cannot unmarshal number 1e999 into Go value of type float64", 0),
        ] {
            assert_eq!(first_value(text.as_bytes()), Err(syntax(message, at)), "{text}");
        }
        assert_eq!(only_value(b"{} x"), Err(syntax("invalid character 'x' after top-level value", 3)));
    }

    #[test]
    fn an_early_end_is_no_syntax_error() {
        for (text, is_blank) in
            [("", true), (" \n", true), ("{", false), ("[1", false), ("\"a", false), ("tru", false)]
        {
            assert_eq!(first_value(text.as_bytes()), Err(Fault::End { is_blank }), "{text:?}");
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
        let text = "[".repeat(100_000);
        let fault = first_value(text.as_bytes()).unwrap_err();
        assert_eq!(fault, syntax("more than 32 levels of nesting", 33));
    }
}
