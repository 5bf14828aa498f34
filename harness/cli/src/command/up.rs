//! `meshbed up`.

use meshbed_driver::RunId;
use meshbed_scenario::Topology;

use super::{
    find,
    runner::{UnderTest, random_seed},
};
use crate::{args::UpArgs, exit::Exit, interrupt, printer};

pub(super) fn run(args: &UpArgs) -> anyhow::Result<Exit> {
    let topology = Topology::load(find::file(&args.topology, "fixtures/topologies")?)?;
    let under_test = UnderTest::of(&args.agent)?;
    let id = RunId::random()?;
    super::runtime()?.block_on(async {
        let interrupted = interrupt::token(id.to_string())?;
        let options = under_test.up_options(id.clone(), random_seed());
        let progress = |what: &str| printer::talk(what);
        let mesh = tokio::select! {
            biased;
            () = interrupted.cancelled() => return Ok(Exit::Interrupted),
            mesh = meshbed_driver::up(&topology, options, progress) => mesh?,
        };
        mesh.keep()?;
        printer::talk(&format!("run {id} is up; `meshbed status` shows it, `meshbed down {id}` takes it down"));
        Ok(Exit::Success)
    })
}
