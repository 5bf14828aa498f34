//! Query parameters.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::ApiError;
use crate::registry::{FieldValidation, Mode, WriteOptions};

/// The parameters of a request, decoded. Of one that is repeated the last counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Query(BTreeMap<String, String>);

impl Query {
    /// Reads the part of a URL behind `?`.
    pub(super) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Self(pairs.map(|(name, value)| (decode(name), decode(value))).collect())
    }

    /// A parameter, if it is there and not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether a parameter says yes.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| matches!(value.as_str(), "" | "1" | "true" | "True"))
    }

    /// A number.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let bad = |_| ApiError::bad_request(format!("invalid value `{text}` for parameter `{name}`: not a number"));
        text.parse().map(Some).map_err(bad)
    }

    /// `resourceVersion`; none when it is absent or 0, which both mean that any will do.
    pub(super) fn resource_version(&self) -> Result<Option<u64>, ApiError> {
        let Some(text) = self.get("resourceVersion") else { return Ok(None) };
        let bad = |_| ApiError::bad_request(format!("Invalid value: \"{text}\": resourceVersion: not a number"));
        Ok(Some(text.parse::<u64>().map_err(bad)?).filter(|version| *version != 0))
    }

    /// `timeoutSeconds`.
    pub(super) fn timeout(&self) -> Result<Option<Duration>, ApiError> {
        Ok(self.number("timeoutSeconds")?.map(Duration::from_secs))
    }

    /// `fieldValidation` and `dryRun`.
    pub(super) fn write_options(&self) -> Result<WriteOptions, ApiError> {
        let field_validation = match self.get("fieldValidation") {
            None | Some("Warn") => FieldValidation::Warn,
            Some("Ignore") => FieldValidation::Ignore,
            Some("Strict") => FieldValidation::Strict,
            Some(other) => return Err(ApiError::bad_request(format!("invalid fieldValidation: `{other}`"))),
        };
        Ok(WriteOptions { field_validation, mode: self.mode()? })
    }

    /// `dryRun`.
    pub(super) fn mode(&self) -> Result<Mode, ApiError> {
        match self.get("dryRun") {
            None => Ok(Mode::Commit),
            Some("All") => Ok(Mode::DryRun),
            Some(other) => Err(ApiError::bad_request(format!("invalid dryRun: `{other}`"))),
        }
    }
}

/// Undoes percent encoding, and `+` for a space.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let mut ahead = rest.clone();
                let digit = |digit: Option<u8>| digit.and_then(|digit| char::from(digit).to_digit(16));
                match (digit(ahead.next()), digit(ahead.next())) {
                    (Some(high), Some(low)) => {
                        bytes.push(u8::try_from(high * 16 + low).expect("two hexadecimal digits make a byte"));
                        rest = ahead;
                    }
                    _ => bytes.push(byte),
                }
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query =
            Query::parse("labelSelector=app%20in+%28a%2Cb%29&watch=1&limit=500&allow&bad=%zz&resourceVersion=0");
        assert_eq!(query.get("labelSelector"), Some("app in (a,b)"));
        assert!(query.flag("watch"));
        assert!(query.flag("allow"));
        assert!(!query.flag("limit"));
        assert_eq!(query.number("limit"), Ok(Some(500)));
        assert_eq!(query.get("bad"), Some("%zz"));
        assert_eq!(query.resource_version(), Ok(None));
        assert!(query.number("bad").is_err());
    }
}
