//! Mappings with fixed keys: one declaration is the type, its reader and its schema.

use crate::{Context, Cursor, Json, Term, schema, walk::Fields};

/// A mapping with fixed keys. Made by [`record!`](crate::record!).
pub trait Record: Term {
    /// What it is, for people; lines of documentation as they were written.
    const DOC: &'static str;
}

/// Declares a struct that is a mapping in YAML: the struct, a [`Record`] and a [`Term`](crate::Term) of it.
///
/// Keys are the names of the fields in camel case, `in_` is `in`. Every type of a field is a [`Term`](crate::Term); an
/// `Option` need not be given. Documentation is required: it is that of the schema, too.
///
/// Fields are read in the order of the declaration, and `check` runs when all of them could be read:
///
/// ```
/// use meshbed_scenario::{Clusters, record};
///
/// record! {
///     /// Change the number of replicas.
///     pub struct Scale {
///         /// Where, in order.
///         pub clusters: Clusters,
///         /// How many.
///         pub replicas: u64,
///     }
///     check |record, at, context| {
///         if record.replicas > 250 {
///             context.report(at, "no node has room for so many", None);
///         }
///     }
/// }
/// ```
#[macro_export]
macro_rules! record {
    (
        $(#[doc = $doc:literal])+
        $vis:vis struct $name:ident {
            $( $(#[doc = $field_doc:literal])+ $field_vis:vis $field:ident : $type:ty ),* $(,)?
        }
        $( check |$record:ident, $at:ident, $context:ident| $check:block )?
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq)]
        #[allow(unreachable_pub, reason = "records may stand in private modules")]
        $vis struct $name {
            $( $(#[doc = $field_doc])+ $field_vis $field: $type, )*
        }

        impl $crate::Record for $name {
            const DOC: &'static str = concat!($($doc, "\n"),+);
        }

        impl $crate::Term for $name {
            fn schema() -> $crate::Json {
                $crate::record::schema_of(<Self as $crate::Record>::DOC, vec![$(
                    $crate::record::FieldSchema::of::<$type>(stringify!($field), concat!($($field_doc, "\n"),+)),
                )*])
            }

            fn read(at: &$crate::Cursor<'_>, context: &mut $crate::Context<'_>) -> Option<Self> {
                let record = $crate::record::read(at, context, &[$(stringify!($field)),*], |fields, context| {
                    // All fields are read before the first that is missing ends it.
                    $( let $field = $crate::record::field::<$type>(fields, stringify!($field), context); )*
                    let _ = (fields, context);
                    Some(Self { $($field: $field?,)* })
                })?;
                $({
                    let $record = &record;
                    let $at = at;
                    let $context = &mut *context;
                    $check
                })?
                Some(record)
            }
        }
    };
}

/// For [`record!`](crate::record!): key, schema and documentation of a field.
#[doc(hidden)]
pub struct FieldSchema {
    key: String,
    doc: &'static str,
    schema: Json,
    optional: bool,
}

impl FieldSchema {
    #[doc(hidden)]
    pub fn of<T: Term>(field: &str, doc: &'static str) -> Self {
        Self { key: key_of(field), doc, schema: T::schema(), optional: T::OPTIONAL }
    }
}

/// For [`record!`](crate::record!).
#[doc(hidden)]
pub fn schema_of(doc: &str, fields: Vec<FieldSchema>) -> Json {
    let required: Vec<String> = fields.iter().filter(|field| !field.optional).map(|field| field.key.clone()).collect();
    let properties = fields.into_iter().map(|field| (field.key, schema::described(field.schema, field.doc)));
    schema::described(schema::object(properties, &required), doc)
}

/// For [`record!`](crate::record!): reads the mapping.
#[doc(hidden)]
pub fn read<T>(
    at: &Cursor<'_>,
    context: &mut Context<'_>,
    fields: &[&str],
    read: impl FnOnce(&Fields<'_>, &mut Context<'_>) -> Option<T>,
) -> Option<T> {
    let keys: Vec<String> = fields.iter().map(|field| key_of(field)).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let fields = at.fields(context.findings(), &keys)?;
    let outer = context.enter_record();
    let record = read(&fields, context);
    context.leave_record(outer);
    record
}

/// For [`record!`](crate::record!): reads a field.
#[doc(hidden)]
pub fn field<T: Term>(fields: &Fields<'_>, field: &str, context: &mut Context<'_>) -> Option<T> {
    let key = key_of(field);
    match fields.optional(&key) {
        Some(at) => T::read(&at, context),
        None if T::OPTIONAL => T::absent(),
        None => {
            fields.required(context.findings(), &key);
            None
        }
    }
}

/// The YAML key of a field: camel case, without the `_` that tells it from a keyword of Rust.
fn key_of(field: &str) -> String {
    let mut words = field.trim_start_matches("r#").split('_').filter(|word| !word.is_empty());
    let mut key = words.next().unwrap_or_default().to_owned();
    for word in words {
        let (first, rest) = word.split_at(1);
        key.push_str(&first.to_uppercase());
        key.push_str(rest);
    }
    key
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    #[test_case("clusters" => "clusters")]
    #[test_case("in_" => "in" ; "keyword")]
    #[test_case("drop_ptb" => "dropPtb")]
    #[test_case("r#type" => "type" ; "raw")]
    fn keys(field: &str) -> String {
        super::key_of(field)
    }
}
