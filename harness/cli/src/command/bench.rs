//! `meshbed bench`.

use std::fmt::Write;

use anyhow::anyhow;
use meshbed_engine::{
    Scenario,
    bench::{BenchOptions, Measured, bench},
};

use super::{find, runner::UnderTest};
use crate::{
    args::{AgentArgs, BenchArgs},
    exit::Exit,
    interrupt, printer,
};

/// Scenario whose first step deploys what the mesh-up time is measured with.
const SCENARIO: &str = "failover";

pub(super) fn run(args: &BenchArgs) -> anyhow::Result<Exit> {
    let programs = UnderTest::of(&AgentArgs::default())?.programs;
    let scenario = Scenario::load(find::file(SCENARIO, "scenarios")?)?;
    let options = BenchOptions { programs, scenario, meshes: args.meshes, repeat: args.repeat };
    let rows = super::runtime()?.block_on(async {
        let interrupted = interrupt::token("--all".to_owned())?;
        bench(options, &interrupted, printer::talk).await.map_err(|error| anyhow!(error))
    })?;
    printer::data(&table(&rows));
    Ok(Exit::Success)
}

fn table(rows: &[Measured]) -> String {
    let mut text =
        format!("{:<52}{:>8}{:>10}{:>10}{:>10}{:>10}\n", "times in ms", "samples", "p50", "p90", "p99", "max");
    for Measured { what, samples } in rows {
        let ms = |duration: std::time::Duration| duration.as_secs_f64() * 1e3;
        // Writing to a String cannot fail.
        let _never = writeln!(
            text,
            "{what:<52}{:>8}{:>10.2}{:>10.2}{:>10.2}{:>10.2}",
            samples.count(),
            ms(samples.percentile(50.0)),
            ms(samples.percentile(90.0)),
            ms(samples.percentile(99.0)),
            ms(samples.max()),
        )
        .is_err();
    }
    text
}
