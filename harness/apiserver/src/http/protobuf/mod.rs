//! Kubernetes' protobuf form of objects, for reading only: `kubectl create <kind>` sends nothing else.
//!
//! The messages are those that its generators fill (see [`messages`]); a field that is not among them is refused by
//! number rather than dropped.

mod messages;
mod wire;

use serde_json::{Map, Number, Value, json};

use self::messages::{Field, Message};
use self::wire::{Reader, Token};

/// What every object starts with.
const MAGIC: &[u8] = b"k8s\0";
/// Messages within messages; the deepest one of Kubernetes has about fifteen.
const DEPTH_MAX: usize = 32;

/// A body is not the protobuf form of an object that can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProtobufError {
    /// It does not start as it must.
    #[error("the body does not start with `k8s\\0`")]
    Magic,
    /// It ends too early, or is no protobuf.
    #[error("the body is malformed protobuf")]
    Malformed,
    /// No message of this kind is known.
    #[error("`{0}` can only be sent as JSON")]
    Kind(String),
    /// The message has a field that is not known.
    #[error("field {number} of {message} can only be sent as JSON")]
    Field {
        /// The message.
        message: &'static str,
        /// The field's number.
        number: u32,
    },
}

/// Reads an object.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let bytes = bytes.strip_prefix(MAGIC).ok_or(ProtobufError::Magic)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in Reader::new(bytes) {
        match field? {
            (1, Token::Bytes(type_meta)) => {
                for field in Reader::new(type_meta) {
                    match field? {
                        (1, Token::Bytes(bytes)) => api_version = text(bytes)?,
                        (2, Token::Bytes(bytes)) => kind = text(bytes)?,
                        _ => {}
                    }
                }
            }
            (2, Token::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let message = messages::find(&kind).ok_or_else(|| ProtobufError::Kind(kind.clone()))?;
    let mut value = read(message, raw, 0)?;
    value["apiVersion"] = json!(api_version);
    value["kind"] = json!(kind);
    Ok(value)
}

fn text(bytes: &[u8]) -> Result<String, ProtobufError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| ProtobufError::Malformed)
}

fn read(message: &'static Message, bytes: &[u8], depth: usize) -> Result<Value, ProtobufError> {
    if depth > DEPTH_MAX {
        return Err(ProtobufError::Malformed);
    }
    let mut map = Map::new();
    for token in Reader::new(bytes) {
        let (number, token) = token?;
        let (name, field) = message.field(number).ok_or(ProtobufError::Field { message: message.name, number })?;
        match (field, token) {
            (Field::Skip, _) => {}
            // Go writes empty strings where nothing was said.
            (Field::Text, Token::Bytes([])) => {}
            (Field::Text, Token::Bytes(bytes)) => drop(map.insert(name.to_owned(), Value::String(text(bytes)?))),
            (Field::Texts, Token::Bytes(bytes)) => push(&mut map, name, Value::String(text(bytes)?)),
            (Field::Integer, Token::Integer(integer)) => {
                // Negative numbers are sign-extended to 64 bits.
                let signed = i64::from_ne_bytes(integer.to_ne_bytes());
                map.insert(name.to_owned(), Value::Number(Number::from(signed)));
            }
            (Field::Flag, Token::Integer(integer)) => drop(map.insert(name.to_owned(), Value::Bool(integer != 0))),
            (Field::One(message), Token::Bytes(bytes)) => {
                map.insert(name.to_owned(), read(message, bytes, depth + 1)?);
            }
            (Field::Many(message), Token::Bytes(bytes)) => push(&mut map, name, read(message, bytes, depth + 1)?),
            (Field::IntOrText, Token::Bytes(bytes)) => drop(map.insert(name.to_owned(), int_or_text(bytes)?)),
            (Field::TextMap, Token::Bytes(bytes)) => {
                let (key, value) = entry(bytes)?;
                child(&mut map, name).insert(key, Value::String(text(value)?));
            }
            (Field::BytesMap, Token::Bytes(bytes)) => {
                let (key, value) = entry(bytes)?;
                child(&mut map, name).insert(key, Value::String(base64(value)));
            }
            _ => return Err(ProtobufError::Malformed),
        }
    }
    Ok(Value::Object(map))
}

fn push(map: &mut Map<String, Value>, name: &str, value: Value) {
    if let Value::Array(list) = map.entry(name).or_insert_with(|| json!([])) {
        list.push(value);
    }
}

fn child<'m>(map: &'m mut Map<String, Value>, name: &str) -> &'m mut Map<String, Value> {
    let field = map.entry(name).or_insert_with(|| json!({}));
    field.as_object_mut().expect("a field's type does not change within a message")
}

fn entry(bytes: &[u8]) -> Result<(String, &[u8]), ProtobufError> {
    let (mut key, mut value) = (String::new(), &[][..]);
    for field in Reader::new(bytes) {
        match field? {
            (1, Token::Bytes(bytes)) => key = text(bytes)?,
            (2, Token::Bytes(bytes)) => value = bytes,
            _ => return Err(ProtobufError::Malformed),
        }
    }
    Ok((key, value))
}

fn int_or_text(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let (mut is_text, mut integer, mut words) = (false, 0, String::new());
    for field in Reader::new(bytes) {
        match field? {
            (1, Token::Integer(kind)) => is_text = kind == 1,
            (2, Token::Integer(value)) => integer = value,
            (3, Token::Bytes(bytes)) => words = text(bytes)?,
            _ => return Err(ProtobufError::Malformed),
        }
    }
    Ok(if is_text { Value::String(words) } else { Value::from(integer) })
}

/// Standard base64 with padding, which is how JSON carries bytes.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or_default());
        let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for position in 0..4 {
            let sextet = usize::try_from((bits >> (18 - 6 * position)) & 63).expect("six bits");
            text.push(if position <= chunk.len() { char::from(LETTERS[sextet]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case(b"" => "")]
    #[test_case(b"f" => "Zg==")]
    #[test_case(b"fo" => "Zm8=")]
    #[test_case(b"foobar" => "Zm9vYmFy")]
    fn base64_of(bytes: &[u8]) -> String {
        base64(bytes)
    }

    /// A namespace `hoth` as kubectl 1.32 sends it, made by hand from the format's description.
    fn namespace() -> Vec<u8> {
        let mut bytes = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09Namespace\x12\x0e".to_vec();
        bytes.extend(b"\x0a\x08\x0a\x04hoth\x12\x00\x12\x00\x1a\x00");
        bytes
    }

    #[test]
    fn an_object_is_read() {
        let expected = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "hoth"}, "spec": {}});
        assert_eq!(parse(&namespace()), Ok(expected));
    }

    #[test]
    fn no_prefix_of_an_object_is_one() {
        let whole = namespace();
        for length in 0..whole.len() - 1 {
            // None of them may panic; all but a few that end between two fields are malformed.
            drop(parse(&whole[..length]));
        }
        assert_eq!(parse(b"{}"), Err(ProtobufError::Magic));
        assert_eq!(parse(b"k8s\0\x0a\xff"), Err(ProtobufError::Malformed));
    }

    #[test]
    fn unknown_fields_are_named() {
        let bytes = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09Namespace\x12\x03\xa2\x06\x00";
        assert_eq!(parse(bytes), Err(ProtobufError::Field { message: "Namespace", number: 100 }));
    }
}
