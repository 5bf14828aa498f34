//! Conditions of a link, as a fault gives them.

use std::ops::Deref;

use crate::{
    Context, Cursor, Json, LinkConditions, Term,
    read_link::{LINK_CONDITION_KEYS, link_conditions},
    schema,
};

/// Conditions that a link gets, with the keys that `links` of a topology has; those that are not given are clear.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkChange(LinkConditions);

impl Deref for LinkChange {
    type Target = LinkConditions;

    fn deref(&self) -> &LinkConditions {
        &self.0
    }
}

impl From<LinkConditions> for LinkChange {
    fn from(conditions: LinkConditions) -> Self {
        Self(conditions)
    }
}

impl Term for LinkChange {
    fn schema() -> Json {
        schema::object(schema::link_conditions(), &[])
    }

    fn read(at: &Cursor<'_>, context: &mut Context<'_>) -> Option<Self> {
        let fields = at.fields(context.findings(), &LINK_CONDITION_KEYS)?;
        link_conditions(context.findings(), &fields).map(Self)
    }
}
