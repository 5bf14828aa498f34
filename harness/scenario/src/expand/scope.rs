//! Names and their values, and putting values in the place of `${name}`.

/// Values of names that `${name}` can be written for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    bindings: Vec<(String, String)>,
}

/// Why a text has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SubstituteError {
    /// `${` without `}`.
    Unclosed,
    /// What is between the braces is no name.
    NoName(String),
    /// No parameter is called so.
    Unknown(String),
}

impl Scope {
    /// Adds a name; it hides an older one.
    pub(crate) fn bind(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.bindings.push((name.into(), value.into()));
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.bindings.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// All names, those bound first before the others.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.bindings.iter().map(|(name, _)| name.as_str())
    }

    /// The text with values in the place of `${name}`; `$${` stands for `${`.
    pub(crate) fn substitute(&self, text: &str) -> Result<String, SubstituteError> {
        let mut done = String::new();
        for part in parts(text) {
            match part? {
                Part::Text(text) => done.push_str(text),
                Part::Name(name) => {
                    let value = self.get(name).ok_or_else(|| SubstituteError::Unknown(name.to_owned()))?;
                    done.push_str(value);
                }
            }
        }
        Ok(done)
    }
}

/// The names in a text, as far as it can be read.
pub(crate) fn names_in(text: &str) -> impl Iterator<Item = &str> {
    parts(text).filter_map(|part| match part {
        Ok(Part::Name(name)) => Some(name),
        _ => None,
    })
}

enum Part<'a> {
    Text(&'a str),
    Name(&'a str),
}

/// The parts of a text. Ends after `${` without `}`.
fn parts(text: &str) -> impl Iterator<Item = Result<Part<'_>, SubstituteError>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let found = rest.find("${");
        if found == Some(0) {
            let Some((name, after)) = rest[2..].split_once('}') else {
                rest = "";
                return Some(Err(SubstituteError::Unclosed));
            };
            rest = after;
            return Some(if is_name(name) {
                Ok(Part::Name(name))
            } else {
                Err(SubstituteError::NoName(name.to_owned()))
            });
        }
        let (text, after) = match found {
            // `$${`: the first `$` goes, `${` stays.
            Some(1) if rest.starts_with('$') => (&rest[1..3], &rest[3..]),
            Some(at) if rest[..at].ends_with('$') => rest.split_at(at - 1),
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        rest = after;
        Some(Ok(Part::Text(text)))
    })
}

/// Whether a parameter can be called so: letters, digits, `_` and `-`, beginning with a letter.
pub(crate) fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::{Scope, SubstituteError};

    fn scope() -> Scope {
        let mut scope = Scope::default();
        scope.bind("rate", "200");
        scope.bind("service", "rebel-base");
        scope.bind("dollar", "${rate}");
        scope
    }

    #[test_case("" => "" ; "empty")]
    #[test_case("${rate}" => "200" ; "alone")]
    #[test_case("a ${service}:${rate} b" => "a rebel-base:200 b" ; "two")]
    #[test_case("$${rate} ${rate}" => "${rate} 200" ; "escaped")]
    #[test_case("$5 {x} $" => "$5 {x} $" ; "other dollars")]
    #[test_case("${dollar}" => "${rate}" ; "values are not looked at again")]
    fn substituted(text: &str) -> String {
        scope().substitute(text).expect("all names are known")
    }

    #[test_case("${rate", SubstituteError::Unclosed)]
    #[test_case("${}", SubstituteError::NoName(String::new()) ; "nothing")]
    #[test_case("${a b}", SubstituteError::NoName("a b".to_owned()) ; "no name")]
    #[test_case("${rat}", SubstituteError::Unknown("rat".to_owned()))]
    fn refused(text: &str, expected: SubstituteError) {
        assert_eq!(scope().substitute(text), Err(expected));
    }

    #[test]
    fn names_are_found_in_spite_of_what_is_wrong() {
        let text = "${a} ${} $${b} ${c d} ${e}${f";
        assert_eq!(super::names_in(text).collect::<Vec<_>>(), ["a", "e"]);
    }

    #[test]
    fn the_inner_name_hides_the_outer() {
        let mut scope = scope();
        scope.bind("rate", "500");
        assert_eq!(scope.substitute("${rate}"), Ok("500".to_owned()));
    }
}
