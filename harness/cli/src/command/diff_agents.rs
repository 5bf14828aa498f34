//! `meshbed diff-agents`: several agents on one scenario, beside each other.

use std::{fs, path::Path};

use anyhow::Context;
use meshbed_engine::{Keep, Scenario};
use meshbed_events::Verdict;
use meshbed_report::{agents::AgentsDiff, terminal::Detail};

use super::{
    find,
    runner::{self, Run, UnderTest, random_seed, reproduce},
};
use crate::{
    args::{AgentArgs, DiffAgentsArgs},
    exit::{Exit, usage},
    interrupt, printer,
    printer::Progress,
};

pub(super) fn run(args: &DiffAgentsArgs) -> anyhow::Result<Exit> {
    if args.agents.len() < 2 {
        return Err(usage("one agent cannot be compared", "give several, such as `--agents mesh-agent,static`"));
    }
    let scenario = Scenario::load(find::scenario(&args.scenario)?)?;
    let first = UnderTest::of(&agent_args(args, &args.agents[0]))?;
    let agents: Vec<UnderTest> =
        args.agents.iter().map(|given| first.with_agent(runner::agent(given)?)).collect::<anyhow::Result<_>>()?;
    if let Some(output) = &args.output {
        form(output)?;
    }
    let seed = args.seed.or(scenario.seed()).unwrap_or_else(random_seed);
    super::runtime()?.block_on(all(args, &scenario, &agents, seed))
}

fn agent_args(args: &DiffAgentsArgs, agent: &str) -> AgentArgs {
    AgentArgs { agent: Some(agent.to_owned()), agent_bin_dir: args.agent_bin_dir.clone(), ..AgentArgs::default() }
}

async fn all(args: &DiffAgentsArgs, scenario: &Scenario, agents: &[UnderTest], seed: u64) -> anyhow::Result<Exit> {
    let interrupted = interrupt::token("--all".to_owned())?;
    let mut records = Vec::new();
    for (given, under_test) in args.agents.iter().zip(agents) {
        printer::talk(&format!("agent {given}:"));
        let progress = Progress::new(Detail::Outcomes);
        let shown = progress.clone();
        let reproduce = reproduce(scenario, &args.scenario, &[], &agent_args(args, given), seed);
        let run = Run { scenario: scenario.clone(), mesh: None, keep: Keep::No, seed, repeat: 0, reproduce };
        let ran = under_test.run(run, &args.reports, interrupted.clone(), move |stamped| shown.event(stamped)).await;
        progress.finish();
        let ran = ran?;
        if ran.outcome.verdict == Verdict::Interrupted {
            return Ok(Exit::Interrupted);
        }
        records.push((given.clone(), ran.outcome.record));
    }
    let diff = AgentsDiff::of(&records);
    printer::data(&diff.text());
    if let Some(output) = &args.output {
        let text = match form(output)? {
            Form::Markdown => diff.markdown(),
            Form::Yaml => diff.yaml()?,
        };
        fs::write(output, text).with_context(|| format!("failed to write `{}`", output.display()))?;
    }
    Ok(if diff.same() { Exit::Success } else { Exit::Failed })
}

/// How a comparison is written.
enum Form {
    Markdown,
    Yaml,
}

/// As the name of the file says.
fn form(output: &Path) -> anyhow::Result<Form> {
    match output.extension().and_then(|extension| extension.to_str()) {
        Some("md") => Ok(Form::Markdown),
        Some("yaml" | "yml") => Ok(Form::Yaml),
        _ => Err(usage(format!("`{}` is neither `.md` nor `.yaml`", output.display()), "")),
    }
}
