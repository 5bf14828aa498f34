//! The oracle against hand-made meshes, recorded ones, and a second reading of the rules.

mod brute_force;
mod cost;
mod cuts;
mod differences;
mod judge;
mod kvstore;
mod merge;
mod mesh;
mod property;
mod recorded;
mod table;
mod truth_table;
