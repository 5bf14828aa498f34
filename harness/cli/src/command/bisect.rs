//! `meshbed bisect`: since which kernel a scenario does not pass any more.

use std::time::Instant;

use meshbed_scenario::{KernelSpec, Kernels};
use meshbed_vm::{Cache, End, fetch, protocol::Hello};
use tabled::{builder::Builder, settings::Style};
use tokio_util::sync::CancellationToken;

use super::{
    guest::{self, Wanted},
    kernel, run,
    runner::random_seed,
};
use crate::{
    args::BisectArgs,
    bisection::{Bisection, Change, Found},
    exit::{Exit, usage},
    interrupt, printer,
};

/// What came of a kernel.
struct Try {
    kernel: String,
    release: String,
    found: Found,
    why: String,
    seconds: f64,
}

pub(super) fn run(args: &BisectArgs) -> anyhow::Result<Exit> {
    let kernels = kernel::kernels(&args.file)?;
    let range = range(&kernels, &args.good, &args.bad)?;
    let (_, files) = run::for_guests(&args.scenario, &args.set)?;
    let seed = args.seed.unwrap_or_else(random_seed);
    let names: Vec<&str> = range.iter().map(|spec| spec.name()).collect();
    printer::talk(&format!("{} on {}, seed {seed}", args.scenario, names.join(", ")));
    let mut words: Vec<String> =
        ["run".to_owned(), args.scenario.clone(), "--seed".to_owned(), seed.to_string()].into();
    words.extend(args.set.iter().flat_map(|(name, value)| ["--set".to_owned(), format!("{name}={value}")]));
    words.extend(["--reports".to_owned(), args.reports.display().to_string()]);
    words.extend(args.agent.words());
    let mut tries = Vec::new();
    let mut bisection = Bisection::new(range.len());
    let interrupted = super::runtime()?.block_on(async {
        let interrupted = interrupt::token("--all".to_owned())?;
        while let Some(at) = bisection.next() {
            let job = guest::Job {
                arguments: Some(words.clone()),
                agent: &args.agent,
                files: files.clone(),
                results: vec![args.reports.clone()],
                reports: &args.reports,
            };
            let done = one(args, &kernels, range[at], &job, interrupted.clone()).await?;
            if interrupted.is_cancelled() {
                return anyhow::Ok(true);
            }
            bisection.add(at, done.found);
            tries.push(done);
        }
        Ok(false)
    })?;
    show(&tries);
    if interrupted {
        return Ok(Exit::Interrupted);
    }
    printer::data(&answer(&bisection, &range, &tries)?);
    Ok(Exit::Success)
}

/// The kernels from the good to the bad one, whichever is older.
fn range<'a>(kernels: &'a Kernels, good: &str, bad: &str) -> anyhow::Result<Vec<&'a KernelSpec>> {
    let place = |name: &str| -> anyhow::Result<usize> {
        kernel::find(kernels, name)?;
        Ok(kernels.all().iter().take_while(|spec| spec.name() != name).count())
    };
    let (good, bad) = (place(good)?, place(bad)?);
    let mut range: Vec<&KernelSpec> = kernels.all()[good.min(bad)..=good.max(bad)].iter().collect();
    if good > bad {
        range.reverse();
    }
    if range.len() < 2 {
        return Err(usage("the good and the bad kernel are the same", "`meshbed kernel list` shows them"));
    }
    Ok(range)
}

/// The scenario on one kernel.
async fn one(
    args: &BisectArgs,
    kernels: &Kernels,
    spec: &KernelSpec,
    job: &guest::Job<'_>,
    interrupted: CancellationToken,
) -> anyhow::Result<Try> {
    let begun = Instant::now();
    let kernel = fetch::fetch(&Cache::of_user(), kernels, spec, false)?;
    let mut release = String::new();
    let hello = |hello: Hello, _, _| release = hello.release;
    let say = |text: &str| printer::talk(&format!("{:>8} | {text}", spec.name()));
    let end = Wanted::new(kernel, args.size)?.run_beside(job, interrupted, hello, say).await?;
    let (found, why) = meaning(&end);
    say(&format!("the scenario {why}"));
    Ok(Try { kernel: spec.name().to_owned(), release, found, why, seconds: begun.elapsed().as_secs_f64() })
}

/// What the end of a guest says of the scenario on its kernel.
fn meaning(end: &End) -> (Found, String) {
    match end {
        End::Exited(0) => (Found::Good, "passed".to_owned()),
        End::Exited(1) => (Found::Bad, "failed".to_owned()),
        End::Exited(code) => (Found::Unknown, format!("says nothing, exit code {code}")),
        End::Panicked { why, .. } => (Found::Bad, format!("made the kernel panic: {why}")),
        End::Hung { waited } => (Found::Bad, format!("hung: not a word for {waited:.0?}")),
        End::OutOfMemory { line } => (Found::Unknown, format!("ran out of memory: {line}")),
        End::Gone { why } => (Found::Unknown, format!("is gone: {why}")),
        End::Interrupted => (Found::Unknown, "was interrupted".to_owned()),
    }
}

fn show(tries: &[Try]) {
    let mut table = Builder::default();
    table.push_record(["kernel", "release", "the scenario", "took"]);
    for done in tries {
        let took = format!("{:.0} s", done.seconds);
        table.push_record([&done.kernel, &done.release, &done.why, &took]);
    }
    printer::data(&format!("{}\n", table.build().with(Style::blank())));
}

/// The answer; an error when an end of the range was not what it is said to be.
fn answer(bisection: &Bisection, range: &[&KernelSpec], tries: &[Try]) -> anyhow::Result<String> {
    let tried = |at: usize| tries.iter().find(|done| done.kernel == range[at].name());
    let Some(Change { good, bad }) = bisection.change() else {
        let last = range.len() - 1;
        let wrong = [(last, Found::Bad, "bad"), (0, Found::Good, "good")].into_iter().find_map(|(at, said, word)| {
            let done = tried(at).filter(|done| done.found != said)?;
            Some(format!("kernel {} is not {word}: the scenario {}", done.kernel, done.why))
        });
        return Err(usage(wrong.unwrap_or_default(), "both ends are tried first"));
    };
    let named = |at: usize| tried(at).map_or_else(String::new, |done| format!("{} ({})", done.kernel, done.release));
    let between: Vec<&str> = range[good + 1..bad].iter().map(|spec| spec.name()).collect();
    let or =
        if between.is_empty() { String::new() } else { format!(", or one that says nothing: {}", between.join(", ")) };
    Ok(format!("last good kernel: {}\nfirst bad kernel: {}{or}", named(good), named(bad)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_end_may_be_older() {
        let kernels = Kernels::default();
        let names = |good, bad| {
            let range = range(&kernels, good, bad).expect("known");
            (range[0].name().to_owned(), range[range.len() - 1].name().to_owned())
        };
        assert_eq!(names("5.10", "6.12"), ("5.10".to_owned(), "6.12".to_owned()));
        assert_eq!(names("6.12", "5.10"), ("6.12".to_owned(), "5.10".to_owned()));
        assert!(range(&kernels, "5.10", "5.10").is_err());
        assert!(range(&kernels, "5.10", "4.4").is_err());
    }

    #[test]
    fn ends_and_what_they_say() {
        assert_eq!(meaning(&End::Exited(0)).0, Found::Good);
        assert_eq!(meaning(&End::Exited(1)).0, Found::Bad);
        assert_eq!(meaning(&End::Exited(3)).0, Found::Unknown);
        assert_eq!(meaning(&End::Panicked { why: "x".into(), lines: Vec::new() }).0, Found::Bad);
        assert_eq!(meaning(&End::Gone { why: "x".into() }).0, Found::Unknown);
    }
}
