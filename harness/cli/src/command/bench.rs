//! `meshbed bench`.

use std::{fmt::Write, path::PathBuf, time::Duration};

use anyhow::anyhow;
use meshbed_driver::Programs;
use meshbed_engine::{
    Scenario,
    bench::{
        Agent, BenchError, FailoverOptions, Measured, PropagationOptions, Samples, ScaleOptions, Scaled, Size,
        SizesOptions, failover, propagation, scale, sizes,
    },
};
use meshbed_events::{Micros, Stopwatch};
use meshbed_report::{Distribution, Leg, Summary};
use tokio_util::sync::CancellationToken;

use super::{find, runner::UnderTest};
use crate::{
    args::{AgentArgs, Bench, BenchArgs, BenchFailoverArgs, BenchScaleArgs, BenchUpArgs, PropagationArgs},
    exit::Exit,
    interrupt, printer,
};

/// Scenario whose first step deploys what the mesh-up time is measured with.
const SCENARIO: &str = "failover";
/// Folder of the manifests of Star Wars.
const STAR_WARS: &str = "fixtures/manifests/star-wars";
/// Folder of the topologies.
const TOPOLOGIES: &str = "fixtures/topologies";

pub(super) fn run(args: &BenchArgs) -> anyhow::Result<Exit> {
    let programs = UnderTest::of(&AgentArgs::default())?.programs;
    let table = match &args.what {
        None => of_propagation(&args.propagation, programs)?,
        Some(Bench::Propagation(args)) => of_propagation(args, programs)?,
        Some(Bench::Up(args)) => of_up(args, programs)?,
        Some(Bench::Failover(args)) => of_failover(args, programs)?,
        Some(Bench::Scale(args)) => of_scale(args, programs)?,
    };
    printer::data(&table);
    Ok(Exit::Success)
}

/// Runs a measurement that Ctrl-C can end.
fn measure<T>(work: impl AsyncFnOnce(&CancellationToken) -> Result<T, BenchError>) -> anyhow::Result<T> {
    super::runtime()?.block_on(async {
        let interrupted = interrupt::token("--all".to_owned())?;
        work(&interrupted).await.map_err(|error| anyhow!(error))
    })
}

fn of_propagation(args: &PropagationArgs, programs: Programs) -> anyhow::Result<String> {
    let scenario = Scenario::load(find::file(SCENARIO, "scenarios")?)?;
    let options = PropagationOptions { programs, scenario, meshes: args.meshes, repeat: args.repeat };
    let rows = measure(async |interrupted| propagation(options, interrupted, printer::talk).await)?;
    Ok(times(rows.iter().map(|Measured { what, samples }| (*what, Percentiles::from(samples)))))
}

// ---- up ----

fn of_up(args: &BenchUpArgs, programs: Programs) -> anyhow::Result<String> {
    let manifests = ["services", "alpha"].map(|name| find::file(name, STAR_WARS));
    let manifests = manifests.into_iter().collect::<anyhow::Result<Vec<PathBuf>>>()?;
    let options = SizesOptions { programs, clusters: args.clusters.clone(), manifests };
    let sizes = measure(async |interrupted| sizes(options, interrupted, printer::talk).await)?;
    Ok(growth(&sizes))
}

/// Sizes with their ratio to the size before.
fn growth(sizes: &[Size]) -> String {
    let mut text = format!(
        "{:>8}{:>7}{:>16}{:>16}{:>9}{:>11}{:>20}{:>9}{:>9}{:>9}\n",
        "clusters", "nodes", "ready s", "maps right s", "down s", "processes", "memory MiB", "PSS", "tmpfs", "BPF"
    );
    let mut before: Option<&Size> = None;
    for size in sizes {
        let ratio =
            |of: fn(&Size) -> f64| before.map_or(String::new(), |before| format!("x{:.1}", of(size) / of(before)));
        let (ready, right, memory) = (
            ratio(|size| size.ready.as_secs_f64()),
            ratio(|size| size.right.as_secs_f64()),
            ratio(|size| size.usage.memory() as f64),
        );
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        // Writing to a String cannot fail.
        let _never = writeln!(
            text,
            "{:>8}{:>7}{:>9.2} {ready:>6}{:>9.2} {right:>6}{:>9.2}{:>11}{:>13.0} {memory:>6}{:>9.0}{:>9.0}{:>9.0}",
            size.clusters,
            size.nodes,
            size.ready.as_secs_f64(),
            size.right.as_secs_f64(),
            size.down.as_secs_f64(),
            size.usage.processes,
            mib(size.usage.memory()),
            mib(size.usage.pss),
            mib(size.usage.tmpfs),
            mib(size.usage.bpf),
        )
        .is_err();
        before = Some(size);
    }
    text.push_str(
        "Times are from nothing. Memory is PSS of all processes, what is in the run's tmpfs, and BPF maps.\n",
    );
    text
}

// ---- failover ----

fn of_failover(args: &BenchFailoverArgs, programs: Programs) -> anyhow::Result<String> {
    // The scenario is generated; the files that it names are found from here.
    let topology = find::file("two-clusters", TOPOLOGIES)?.canonicalize()?;
    let fixtures = topology.ancestors().nth(2).map(PathBuf::from).unwrap_or_default();
    let options = FailoverOptions { programs, fixtures, repeat: args.repeat };
    let measured = measure(async |interrupted| failover(options, interrupted, printer::talk).await)?;
    let summary = Summary::of(&measured.record);
    let mut rows = stopwatches(&summary.stopwatches);
    rows.push(("etcd put to watch (baseline)", Percentiles::from(&measured.baseline)));
    let legs = summary.changes.legs();
    let leg = |leg: &Leg| Some((leg.as_str(), Percentiles::from(legs.get(leg)?)));
    rows.extend(Leg::ALL.iter().filter_map(leg));
    let mut lost = Distribution::default();
    for stopwatch in &summary.stopwatches {
        lost.add(stopwatch.requests_lost);
    }
    let number = |percent| lost.percentile(percent).unwrap_or(0);
    let (all, most) = (summary.total.requests, lost.max().unwrap_or(0));
    let line = format!(
        "requests lost a kill: p50 {}, p90 {}, p99 {}, max {most}; {all} requests in all, {} answers or maps were wrong\n",
        number(50.0),
        number(90.0),
        number(99.0),
        summary.violations.len(),
    );
    Ok(times(rows.into_iter()) + &line)
}

/// What each kill cost, all from its injection.
fn stopwatches(read: &[Stopwatch]) -> Vec<(&'static str, Percentiles)> {
    type When = fn(&Stopwatch) -> Option<Micros>;
    let when: [(&str, When); 5] = [
        ("kill to the last answer of the dead", |read| read.last_answer_of_dead),
        ("kill to the first change of a map (detection)", |read| read.detected),
        ("kill to the first answer of another backend", |read| read.first_answer_after),
        ("kill to the last error", |read| read.last_error),
        ("kill to the last map right", |read| read.last_map_right),
    ];
    let row = |(what, when): (&'static str, When)| {
        let mut distribution = Distribution::default();
        for read in read {
            if let Some(at) = when(read) {
                distribution.add_between(read.injected, at);
            }
        }
        (what, Percentiles::from(&distribution))
    };
    when.into_iter().map(row).collect()
}

// ---- scale ----

fn of_scale(args: &BenchScaleArgs, programs: Programs) -> anyhow::Result<String> {
    let length = Duration::from_secs(args.seconds);
    let options = ScaleOptions { programs, sizes: args.size.clone(), rate: args.rate, length };
    let measured = measure(async |interrupted| scale(options, interrupted, printer::talk).await)?;
    Ok(measured.iter().map(scaled).collect::<Vec<_>>().join("\n"))
}

/// One size: what the agent took in each part of its life.
fn scaled(of: &Scaled) -> String {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let mut text = format!(
        "{}: {} keys\n{:<42}{:>9}{:>9}{:>9}{:>9}\n",
        of.size, of.keys, "", "time s", "CPU s", "RSS MiB", "peak"
    );
    let mut row = |what: &str, time: Duration, agent: Option<&Agent>| {
        let rest = agent.map_or(String::new(), |agent| {
            format!("{:>9.2}{:>9.0}{:>9.0}", agent.cpu.as_secs_f64(), mib(agent.resident), mib(agent.peak))
        });
        // Writing to a String cannot fail.
        let _never = writeln!(text, "{what:<42}{:>9.2}{rest}", time.as_secs_f64()).is_err();
    };
    row("a plain client reads all keys (baseline)", of.floor, None);
    row("the agent without a mesh is ready", of.alone.0, Some(&of.alone.1));
    row("from its start to the last map right", of.sync.0, Some(&of.sync.1));
    let (changes, took, agent) = &of.churn;
    row("after the changes", *took, Some(agent));
    let (rate, cpu) = (f64::from(*changes) / took.as_secs_f64(), of.churn_cpu.as_secs_f64() / took.as_secs_f64());
    let latency = Percentiles::from(&of.latency);
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    text + &format!(
        "{changes} changes, {rate:.0} a second: {:.1} % of a processor; put to map in ms: p50 {:.2}, p90 {:.2}, p99 {:.2}, \
         max {:.2} ({} of them)\n",
        cpu * 100.0,
        ms(latency.p50),
        ms(latency.p90),
        ms(latency.p99),
        ms(latency.max),
        latency.count,
    )
}

// ---- tables ----

/// What a row of times shows.
struct Percentiles {
    count: u64,
    p50: Duration,
    p90: Duration,
    p99: Duration,
    max: Duration,
}

impl From<&Samples> for Percentiles {
    fn from(samples: &Samples) -> Self {
        let of = |percent| samples.percentile(percent);
        Self { count: samples.count(), p50: of(50.0), p90: of(90.0), p99: of(99.0), max: samples.max() }
    }
}

impl From<&Distribution> for Percentiles {
    fn from(samples: &Distribution) -> Self {
        let of = |percent| samples.duration(percent).unwrap_or_default();
        let max = samples.longest().unwrap_or_default();
        Self { count: samples.count(), p50: of(50.0), p90: of(90.0), p99: of(99.0), max }
    }
}

fn times<'a>(rows: impl Iterator<Item = (&'a str, Percentiles)>) -> String {
    let mut text =
        format!("{:<52}{:>8}{:>10}{:>10}{:>10}{:>10}\n", "times in ms", "samples", "p50", "p90", "p99", "max");
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    for (what, Percentiles { count, p50, p90, p99, max }) in rows {
        // Writing to a String cannot fail.
        let _never =
            writeln!(text, "{what:<52}{count:>8}{:>10.2}{:>10.2}{:>10.2}{:>10.2}", ms(p50), ms(p90), ms(p99), ms(max),)
                .is_err();
    }
    text
}
