//! A command of this program in guests: the same output, files and exit code as outside.

mod content;
mod exit;
mod prepared;
mod spread;
mod together;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use meshbed_driver::{OUTPOST, OUTPOSTS};
use meshbed_scenario::{Kernels, Topology};
use meshbed_vm::{Accelerator, Cache, End, Kernel, Nic, Said, cable, fetch, protocol, protocol::Hello};
use tokio_util::sync::CancellationToken;

use super::kernel;
use crate::{
    args::{AgentArgs, Environment, GuestArgs, GuestSize},
    exit::Exit,
    interrupt, printer,
};
use content::Common;
use prepared::{Listener, Task};
use spread::{Joint, Share, Wishes};
use together::Guest;

/// Variable that tells the command in the guest by which name its kernel was asked for.
const KERNEL: &str = "MESHBED_GUEST_KERNEL";
/// Variable that tells it on which kernels clusters are, as [`spread::written`] writes it, when any was asked for by name.
const KERNELS_IN: &str = "MESHBED_GUEST_KERNELS_IN";
/// The command of guests that do not lead.
const OUTPOST_COMMAND: &str = "outpost";

/// How many times slower than its host this machine is when it is a guest; 1 otherwise.
pub(super) fn slowness() -> f64 {
    let told = std::env::var(protocol::SLOWNESS).ok().and_then(|text| text.parse::<u32>().ok());
    told.map_or(1.0, |milli| f64::from(milli) / 1000.0)
}

/// The kernel of this machine when it is a guest, by the name that it was asked for.
pub(super) fn kernel_of_ours() -> Option<String> {
    std::env::var(KERNEL).ok()
}

/// Whether this machine leads guests that have other clusters of its meshes. The links between them are there once, so there can be
/// one mesh at a time.
pub(super) fn leads_others() -> bool {
    std::env::var_os(OUTPOSTS).is_some()
}

/// Whether this machine is a guest already.
fn is_guest() -> bool {
    kernel_of_ours().is_some() || [OUTPOSTS, OUTPOST].iter().any(|name| std::env::var_os(name).is_some())
}

/// The flags that ask for the kernels of this machine's meshes again, for a mesh of `topology`.
pub(super) fn kernel_flags(topology: &Topology) -> Vec<String> {
    let by_cluster = std::env::var(KERNELS_IN).map(|told| spread::flags(&told, topology)).unwrap_or_default();
    if !by_cluster.is_empty() {
        return by_cluster;
    }
    kernel_of_ours().into_iter().flat_map(|kernel| ["--kernel".to_owned(), kernel]).collect()
}

/// A guest that was asked for.
pub(super) struct Wanted {
    kernel: Kernel,
    memory_mib: usize,
    cpus: usize,
    cache: Cache,
}

/// A command in a guest.
pub(super) struct Job<'a> {
    /// Arguments for this program; those that we were started with, without the flags of guests, when absent.
    pub(super) arguments: Option<Vec<String>>,
    /// The agents under test.
    pub(super) agent: &'a AgentArgs,
    /// Files that it reads beside those of the project.
    pub(super) files: Vec<PathBuf>,
    /// Files and folders that it writes.
    pub(super) results: Vec<PathBuf>,
    /// Folder of reports, for the guest's console.
    pub(super) reports: &'a Path,
}

impl Wanted {
    /// A guest with this kernel.
    pub(super) fn new(kernel: Kernel, size: GuestSize) -> anyhow::Result<Self> {
        let memory_mib = usize::try_from(size.guest_memory)?;
        Ok(Self { kernel, memory_mib, cpus: size.guest_cpus.into(), cache: Cache::of_user() })
    }

    /// Runs the command to its end beside others. `say` gets each line of what is said, and the results on standard output are not
    /// shown.
    pub(super) async fn run_beside(
        &self,
        job: &Job<'_>,
        interrupted: CancellationToken,
        mut hello: impl FnMut(Hello, Accelerator, Duration),
        say: impl Fn(&str),
    ) -> anyhow::Result<End> {
        let common = Common::of(job, false)?;
        let prepared = self.prepare(&Task::of(job), &common)?;
        let mut listener = Listener::default();
        let hear = |said| match said {
            Said::Hello(what, accelerator, took) => {
                say(&format!("{} in {}", what.release, accelerator.name()));
                hello(what, accelerator, took);
            }
            other => listener.hear(other, &say),
        };
        let end = prepared.run(interrupted, hear).await?;
        listener.finish(&say)?;
        Ok(end)
    }
}

/// What is done with clusters of which nobody said on which kernel they are, when there is no `--kernel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unnamed {
    /// They are on the newest kernel that is here.
    OnNewest,
    /// They are where the first cluster is.
    WithFirst,
}

/// The guests that a command runs in, one for each kernel; the first one leads.
pub(super) struct Guests {
    kernels: Kernels,
    shares: Vec<Share>,
    size: GuestSize,
    /// Whether a cluster was put on a kernel by name.
    by_name: bool,
}

impl Guests {
    /// The guests that the arguments ask for, or the topologies of what is run. None on a machine that is a guest itself.
    pub(super) fn by(args: &GuestArgs, topologies: &[&Topology], unnamed: Unnamed) -> anyhow::Result<Option<Self>> {
        let with_the_first = unnamed == Unnamed::WithFirst && args.kernel.is_none();
        let wishes = Wishes { given: &args.kernel_in, topologies, with_the_first };
        if is_guest() || !are_wanted(args, &wishes) {
            return Ok(None);
        }
        let kernels = kernel::kernels(&args.file)?;
        let shares = wishes.shares(|| match &args.kernel {
            Some(name) => Ok(name.clone()),
            None => newest_here(&kernels),
        })?;
        for share in &shares {
            kernel::find(&kernels, &share.kernel)?;
        }
        let by_name = wishes.are_there();
        Ok(Some(Self { kernels, shares, size: args.size, by_name }))
    }

    /// Runs the command to its end. Kernels that are not here are fetched before.
    pub(super) fn run(&self, job: &Job<'_>) -> anyhow::Result<Exit> {
        let wanted = self.shares.iter().map(|share| self.wanted(share)).collect::<anyhow::Result<Vec<_>>>()?;
        let common = Common::of(job, wanted.len() > 1)?;
        let mut guests = Vec::new();
        for ((wanted, task), share) in wanted.iter().zip(self.tasks(job)?).zip(&self.shares) {
            guests.push(Guest { prepared: wanted.prepare(&task, &common)?, share: share.clone() });
        }
        let leader = guests.remove(0);
        super::runtime()?.block_on(async {
            let interrupted = interrupt::token("--all".to_owned())?;
            together::run(leader, guests, &interrupted).await
        })
    }

    fn wanted(&self, share: &Share) -> anyhow::Result<Wanted> {
        let spec = kernel::find(&self.kernels, &share.kernel)?;
        let cache = Cache::of_user();
        if fetch::cached(&cache, spec)?.is_none() {
            printer::talk(&format!("fetching kernel {}", spec.name()));
        }
        Wanted::new(fetch::fetch(&cache, &self.kernels, spec, false)?, self.size)
    }

    /// What each guest does, in the order of the shares.
    fn tasks<'a>(&self, job: &'a Job<'a>) -> anyhow::Result<Vec<Task<'a>>> {
        let mut leader = Task::of(job);
        if self.by_name {
            leader.env.push((KERNELS_IN.to_owned(), spread::written(&self.shares)));
        }
        let mut others = Vec::new();
        let mut links = Vec::new();
        for (share, number) in self.shares.iter().skip(1).zip(1..) {
            let joint = Joint::new(number, &share.clusters)?;
            let mut other = Task::new(vec![OUTPOST_COMMAND.to_owned()], job.reports);
            other.env.push((OUTPOST.to_owned(), serde_json::to_string(&joint.other)?));
            for (ours, theirs) in joint.cables() {
                let (one, end) = cable()?;
                leader.nics.push(Nic { mac: ours.to_owned(), plug: one });
                other.nics.push(Nic { mac: theirs.to_owned(), plug: end });
            }
            links.push(joint.leader);
            others.push(other);
        }
        if !links.is_empty() {
            leader.env.push((OUTPOSTS.to_owned(), serde_json::to_string(&links)?));
        }
        Ok(std::iter::once(leader).chain(others).collect())
    }
}

/// Whether a command runs in guests. What the flags do not say themselves is told.
fn are_wanted(args: &GuestArgs, wishes: &Wishes<'_>) -> bool {
    let by_flag = args.kernel.is_some() || !args.kernel_in.is_empty() || args.env == Some(Environment::Vm);
    if by_flag || !wishes.are_in_topologies() {
        return by_flag;
    }
    let in_guests = args.env.is_none();
    printer::talk(if in_guests {
        "the topology says on which kernels its clusters are: the mesh is made in guests"
    } else {
        "`--env netns`: the kernels that the topology names are left out, all of the mesh is on that of this machine"
    });
    in_guests
}

/// Name of the newest kernel that need not be fetched, or of the newest when none is here.
fn newest_here(kernels: &Kernels) -> anyhow::Result<String> {
    let cache = Cache::of_user();
    let is_here =
        |spec: &&meshbed_scenario::KernelSpec| fetch::cached(&cache, spec).is_ok_and(|kernel| kernel.is_some());
    let found = kernels.all().iter().rev().find(is_here).or(kernels.all().last());
    Ok(found.context("the file has no kernels")?.name().to_owned())
}
