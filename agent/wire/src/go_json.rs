//! JSON as Go's `encoding/json` writes it.

use std::io::{self, Write};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::ser::Formatter;

/// Writes `value` without spaces and with Go's escapes.
///
/// Go escapes five characters that serde_json does not: `<`, `>`, `&` (so that JSON can stand inside HTML) and
/// the line separators U+2028 and U+2029 (so that it can stand inside JavaScript).
pub(crate) fn to_vec(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, GoFormatter);
    value.serialize(&mut serializer).expect("wire structs hold text keys only, and a Vec takes all bytes");
    bytes
}

struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let escaped = |c: char| matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}');
        let mut rest = fragment;
        while let Some(at) = rest.find(escaped) {
            let (plain, tail) = rest.split_at(at);
            let character = tail.chars().next().expect("find returned the position of a character");
            writer.write_all(plain.as_bytes())?;
            write!(writer, "\\u{:04x}", u32::from(character))?;
            rest = &tail[character.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

/// For `deserialize_with`: `null` leaves the default, as in Go.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// For `skip_serializing_if`: Go's `omitempty` on a boolean.
pub(crate) fn is_false(value: &bool) -> bool {
    !value
}

/// For `skip_serializing_if`: Go's `omitempty` on a number.
pub(crate) fn is_zero(value: &u32) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    // The right-hand sides are what Go 1.22's json.Marshal gives.
    #[test_case("plain", r#""plain""# ; "plain")]
    #[test_case("a<b>&c", r#""a\u003cb\u003e\u0026c""# ; "html")]
    #[test_case("é\u{2028}\u{2029}", r#""é\u2028\u2029""# ; "line separators")]
    #[test_case("\"\\\n\t\u{1}", r#""\"\\\n\t\u0001""# ; "control characters")]
    fn escapes_as_go_does(text: &str, json: &str) {
        assert_eq!(String::from_utf8(to_vec(&text)).unwrap(), json);
    }
}
