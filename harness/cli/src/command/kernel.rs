//! `meshbed kernel`: which kernels there are for guests.

use std::fs;

use anyhow::Context;
use meshbed_scenario::{KernelSource, KernelSpec, Kernels};
use meshbed_vm::{Cache, fetch};
use tabled::{builder::Builder, settings::Style};

use crate::{
    args::{KernelCommand, KernelConfigArgs, KernelFetchArgs, KernelsArgs},
    exit::{Exit, usage},
    printer,
};

pub(super) fn run(command: &KernelCommand) -> anyhow::Result<Exit> {
    match command {
        KernelCommand::List(args) => list(args),
        KernelCommand::Fetch(args) => get(args),
        KernelCommand::Config(args) => config(args),
    }
}

/// The file of kernels that was asked for.
pub(super) fn kernels(args: &KernelsArgs) -> anyhow::Result<Kernels> {
    Ok(match &args.kernels_file {
        Some(file) => Kernels::load(file)?,
        None => Kernels::default(),
    })
}

/// The kernel of this name.
pub(super) fn find<'a>(kernels: &'a Kernels, name: &str) -> anyhow::Result<&'a KernelSpec> {
    kernels.find(name).ok_or_else(|| {
        let known: Vec<&str> = kernels.all().iter().map(KernelSpec::name).collect();
        usage(format!("there is no kernel `{name}`"), format!("known are {}", known.join(", ")))
    })
}

fn list(args: &KernelsArgs) -> anyhow::Result<Exit> {
    let kernels = kernels(args)?;
    let cache = Cache::of_user();
    let mut table = Builder::default();
    table.push_record(["kernel", "source", "here"]);
    for spec in kernels.all() {
        let here = match fetch::cached(&cache, spec) {
            Ok(None) => format!("no; `meshbed kernel fetch {}`", spec.name()),
            Ok(Some((kernel, _))) => kernel.release.unwrap_or_else(|| "yes".to_owned()),
            Err(error) => error.to_string(),
        };
        table.push_record([spec.name().to_owned(), source(spec.source()), here]);
    }
    let mut table = table.build();
    printer::data(&format!("{}\n", table.with(Style::blank())));
    Ok(Exit::Success)
}

fn source(source: &KernelSource) -> String {
    match source {
        KernelSource::Debian { suite, package } => format!("Debian {suite}, {package}"),
        KernelSource::Path { image, .. } => image.display().to_string(),
        KernelSource::Oci { reference } => reference.clone(),
    }
}

fn get(args: &KernelFetchArgs) -> anyhow::Result<Exit> {
    let kernels = kernels(&args.file)?;
    let named: Vec<&KernelSpec> =
        args.names.iter().map(|name| find(&kernels, name)).collect::<anyhow::Result<Vec<_>>>()?;
    let wanted = if named.is_empty() { kernels.all().iter().collect() } else { named };
    let cache = Cache::of_user();
    let mut missing = false;
    for spec in wanted {
        match fetch::fetch(&cache, &kernels, spec, args.anew) {
            Ok(kernel) => {
                let release = kernel.release.unwrap_or_default();
                printer::talk(&format!("{:>8} {release} {}", spec.name(), kernel.image.display()));
            }
            // The others may be had all the same.
            Err(error) => {
                missing = true;
                printer::error(&error.into());
            }
        }
    }
    Ok(if missing { Exit::Environment } else { Exit::Success })
}

fn config(args: &KernelConfigArgs) -> anyhow::Result<Exit> {
    let kernels = kernels(&args.file)?;
    let spec = find(&kernels, &args.name)?;
    let kernel = fetch::fetch(&Cache::of_user(), &kernels, spec, false)?;
    let file = kernel.config.with_context(|| format!("the source of kernel `{}` has no configuration", args.name))?;
    printer::data(&fs::read_to_string(&file).with_context(|| format!("failed to read `{}`", file.display()))?);
    Ok(Exit::Success)
}
