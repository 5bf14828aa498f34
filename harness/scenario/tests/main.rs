//! Tests of the readers, in one program: linking costs more than running.

mod agents;
mod blocks;
mod diagnostics;
mod files;
mod language;
mod links;
mod mutations;
mod schema;
mod typed_fault;
