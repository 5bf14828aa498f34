//! The language of scenarios: which actions, faults and expectations there are.

use meshbed_scenario::{Element, Language};

use crate::{
    action::{ACTIONS, AnyAction},
    expect::{AnyExpect, EXPECTATIONS},
    fault::{AnyFault, FAULTS},
};

/// The language that this engine speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mesh;

impl Language for Mesh {
    type Action = AnyAction;
    type Fault = AnyFault;
    type Expect = AnyExpect;

    fn actions() -> &'static [Element<AnyAction>] {
        ACTIONS
    }

    fn faults() -> &'static [Element<AnyFault>] {
        FAULTS
    }

    fn expectations() -> &'static [Element<AnyExpect>] {
        EXPECTATIONS
    }
}

/// A scenario in this language.
pub type Scenario = meshbed_scenario::Scenario<Mesh>;
/// A step of it.
pub(crate) type Step = meshbed_scenario::Step<Mesh>;
/// Something that a step does.
pub(crate) type Act = meshbed_scenario::Act<Mesh>;
/// Something that a step expects.
pub(crate) type Expected = meshbed_scenario::Expected<Mesh>;
