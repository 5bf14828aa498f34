//! Closed lists of words: one declaration is the enum, its reader and its schema.

use crate::{Cursor, suggest, walk::Findings};

/// Declares an enum whose values are words in YAML: the enum with `ALL`, `as_str` and `Display`, and a
/// [`Term`](crate::Term) of it. Unknown words are told with a suggestion.
///
/// ```
/// use meshbed_scenario::words;
///
/// words! {
///     /// Which side.
///     pub enum Side {
///         /// This one.
///         Local = "local",
///         /// The other one.
///         Remote = "remote",
///     }
/// }
/// assert_eq!(Side::Remote.to_string(), "remote");
/// ```
#[macro_export]
macro_rules! words {
    (
        $(#[doc = $doc:literal])+
        $vis:vis enum $name:ident {
            $( $(#[doc = $word_doc:literal])+ $variant:ident = $word:literal ),+ $(,)?
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(unreachable_pub, reason = "words may stand in private modules")]
        $vis enum $name {
            $( $(#[doc = $word_doc])+ $variant, )+
        }

        #[allow(unreachable_pub, dead_code, reason = "not everybody needs all of it")]
        impl $name {
            /// All of them, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $( Self::$variant => $word, )+
                }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl $crate::Term for $name {
            fn schema() -> $crate::Json {
                $crate::words::schema_of(&[$( ($word, concat!($($word_doc, "\n"),+)) ),+])
            }

            fn read(at: &$crate::Cursor<'_>, context: &mut $crate::Context<'_>) -> Option<Self> {
                let known = Self::ALL.iter().map(|one| (one.as_str(), *one));
                $crate::words::read(context.findings(), at, known, "word")
            }
        }
    };
}

/// For [`words!`](crate::words!): the schema of words and their documentation.
#[doc(hidden)]
pub fn schema_of(words: &[(&str, &str)]) -> crate::Json {
    let words =
        words.iter().map(|(word, doc)| serde_json::json!({ "const": word, "description": crate::schema::prose(doc) }));
    crate::schema::or_placeholder(serde_json::json!({ "oneOf": words.collect::<Vec<_>>() }))
}

/// For [`words!`](crate::words!): one of the words `known`; `one` is what a word is called.
#[doc(hidden)]
pub fn read<'a, T: Copy>(
    findings: &mut Findings,
    at: &Cursor<'_>,
    known: impl Iterator<Item = (&'a str, T)>,
    one: &str,
) -> Option<T> {
    let text = at.text(findings)?;
    let known: Vec<(&str, T)> = known.collect();
    if let Some((_, value)) = known.iter().find(|(word, _)| *word == text) {
        return Some(*value);
    }
    let hint = suggest::hint(text, known.iter().map(|(word, _)| *word), &format!("{one}s"));
    findings.report(at, format!("unknown {one} `{text}`"), Some(hint));
    None
}
