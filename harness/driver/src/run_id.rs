//! The name of a run, which is also the label of everything that the run owns.

use std::{fmt, fs::File, io::Read, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::{Act, SystemError};

/// Six characters of Crockford's base32 in lower case (digits and letters without `i`, `l`, `o` and `u`), such as
/// `k3f9x2`. Unique on the machine among the runs that exist.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(String);

impl RunId {
    /// Number of characters: enough that two runs do not meet (30 bits), few enough for interface and socket names.
    pub const LENGTH: usize = 6;
    const ALPHABET: &'static [u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

    /// A fresh one from the kernel's random numbers.
    pub fn random() -> Result<Self, SystemError> {
        let mut bytes = [0; Self::LENGTH];
        File::open("/dev/urandom")
            .and_then(|mut file| file.read_exact(&mut bytes))
            .act(|| "read `/dev/urandom`".to_owned())?;
        Ok(Self(bytes.iter().map(|byte| char::from(Self::ALPHABET[usize::from(byte % 32)])).collect()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RunId {
    type Err = RunIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let valid = text.len() == Self::LENGTH && text.bytes().all(|byte| Self::ALPHABET.contains(&byte));
        if valid { Ok(Self(text.to_owned())) } else { Err(RunIdError { found: text.to_owned() }) }
    }
}

/// A text is no run ID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{found}` is no run ID: expected {} digits or lower-case letters other than `i`, `l`, `o` and `u`",
    RunId::LENGTH
)]
pub struct RunIdError {
    /// The text.
    pub found: String,
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for RunId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::RunId;

    #[test]
    fn random_ids_are_valid_and_differ() {
        let first = RunId::random().unwrap();
        let second = RunId::random().unwrap();
        assert_eq!(first.as_str().parse(), Ok(first.clone()));
        assert_ne!(first, second, "30 random bits met twice in a row");
    }

    #[test_case("" ; "empty")]
    #[test_case("abcde" ; "too short")]
    #[test_case("abcdefg" ; "too long")]
    #[test_case("abcief" ; "letter outside of the alphabet")]
    #[test_case("../abc" ; "path")]
    fn refused(text: &str) {
        assert_eq!(text.parse::<RunId>().unwrap_err().found, text);
    }
}
