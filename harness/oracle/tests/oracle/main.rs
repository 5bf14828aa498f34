//! The oracle against hand-made meshes: annotations, merge rules, judgements.

mod judge;
mod merge;
mod mesh;
mod recorded;
mod truth_table;
