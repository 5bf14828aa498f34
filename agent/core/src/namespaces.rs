//! Which namespaces are global: services of others are neither exported nor merged.

use std::collections::BTreeMap;

use crate::annotation;

#[derive(Debug)]
pub(crate) struct Namespaces {
    /// What a namespace without the annotation is.
    default_global: bool,
    /// What the annotation says, where there is one.
    annotated: BTreeMap<String, bool>,
}

impl Namespaces {
    pub(crate) fn new(default_global: bool) -> Self {
        Self { default_global, annotated: BTreeMap::new() }
    }

    /// Takes the newest annotations of a Namespace. Says whether it became global, or stopped being so.
    pub(crate) fn set(&mut self, name: &str, annotations: Option<&BTreeMap<String, String>>) -> bool {
        let before = self.is_global(name);
        match annotations.and_then(annotation::namespace_is_global) {
            Some(global) => self.annotated.insert(name.to_owned(), global),
            None => self.annotated.remove(name),
        };
        self.is_global(name) != before
    }

    /// Whether a namespace is global. One that is not known is as one without the annotation.
    pub(crate) fn is_global(&self, name: &str) -> bool {
        self.annotated.get(name).copied().unwrap_or(self.default_global)
    }
}
