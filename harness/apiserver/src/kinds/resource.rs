//! What the server knows about one kind.

use jiff::Timestamp;
use serde_json::Value;

use super::Findings;
use super::decode::DecodeError;
use crate::patch::Schema;

/// Which rule names of a kind follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameRule {
    /// RFC 1123 subdomain: most kinds.
    Subdomain,
    /// RFC 1123 label: namespaces.
    Label,
    /// RFC 1035 label: services.
    Label1035,
}

/// A column of `kubectl get`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    /// Heading as Kubernetes' printers name it.
    pub(crate) name: &'static str,
    /// Type as in OpenAPI.
    pub(crate) r#type: &'static str,
    /// 0 is always shown, 1 with `-o wide`.
    pub(crate) priority: u8,
}

impl Column {
    /// The first column of every kind.
    pub(crate) const NAME: Self = Self::text("Name");
    /// The last column of almost every kind.
    pub(crate) const AGE: Self = Self::text("Age");

    /// A text that is always shown.
    pub(crate) const fn text(name: &'static str) -> Self {
        Self { name, r#type: "string", priority: 0 }
    }

    /// An integer that is always shown.
    pub(crate) const fn integer(name: &'static str) -> Self {
        Self { name, r#type: "integer", priority: 0 }
    }

    /// A text that is shown with `-o wide`.
    pub(crate) const fn wide(name: &'static str) -> Self {
        Self { name, r#type: "string", priority: 1 }
    }
}

/// Makes the cells of one object.
pub(crate) type Row = fn(&Value, Timestamp) -> Vec<Value>;

/// What the server knows about one kind.
pub(crate) struct Resource {
    /// Its API group, `""` for the core.
    pub(crate) group: &'static str,
    /// Version in that group.
    pub(crate) version: &'static str,
    /// The kind as objects name it.
    pub(crate) kind: &'static str,
    /// The resource as paths name it.
    pub(crate) plural: &'static str,
    /// What else `kubectl` users may type.
    pub(crate) short_names: &'static [&'static str],
    /// Whether objects live in a namespace.
    pub(crate) namespaced: bool,
    /// Whether `kubectl get all` shows it.
    pub(crate) in_all: bool,
    /// Whether it has a status that is written on its own.
    pub(crate) has_status: bool,
    /// Whether `metadata.generation` counts the changes of its spec.
    pub(crate) has_generation: bool,
    /// Whether it has the subresource `scale`.
    pub(crate) has_scale: bool,
    /// How its objects may be named.
    pub(crate) name_rule: NameRule,
    /// What it can be selected by beside name and namespace.
    pub(crate) field_labels: &'static [&'static str],
    /// Columns of `kubectl get`.
    pub(crate) columns: &'static [Column],
    /// Cells of those columns.
    pub(crate) row: Row,
    /// How strategic merge patches treat its lists.
    pub(crate) schema: &'static Schema,
    /// Brings a value into the shape of the kind's type; fields that the type has not are dropped.
    pub(crate) decode: fn(&Value) -> Result<Value, DecodeError>,
    /// Fills in what the client left out.
    pub(crate) default: fn(&mut Value),
    /// Says what is wrong with a new object, or with the change of an old one.
    pub(crate) validate: fn(&Value, Option<&Value>, &mut Findings),
}

impl Resource {
    /// `v1` or `apps/v1`.
    pub(crate) fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// `services` or `deployments.apps`, as error messages name it.
    pub(crate) fn qualified(&self) -> String {
        match self.group {
            "" => self.plural.to_owned(),
            group => format!("{}.{group}", self.plural),
        }
    }

    /// `Service` or `Deployment.apps`, as error messages name it.
    pub(crate) fn qualified_kind(&self) -> String {
        match self.group {
            "" => self.kind.to_owned(),
            group => format!("{}.{group}", self.kind),
        }
    }
}
