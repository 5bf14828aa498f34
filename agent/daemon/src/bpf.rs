//! `mesh-agent bpf lb list` and `mesh-agent bpf ipcache list`.

use mesh_datapath::list::{IpcacheListing, Listing, View};

use crate::cli::{BpfCommand, IpcacheCommand, IpcacheListOptions, LbCommand, LbListOptions, Output};

/// The text to print.
pub(crate) fn list(command: &BpfCommand) -> anyhow::Result<String> {
    match command {
        BpfCommand::Lb(LbCommand::List(options)) => lb(options),
        BpfCommand::Ipcache(IpcacheCommand::List(options)) => ipcache(options),
    }
}

fn lb(options: &LbListOptions) -> anyhow::Result<String> {
    let listing = Listing::read(&options.bpf_root)?;
    let view = view(options);
    Ok(match options.output {
        Some(Output::Json) => listing.json(view),
        None => listing.table(view),
    })
}

fn ipcache(options: &IpcacheListOptions) -> anyhow::Result<String> {
    let listing = IpcacheListing::read(&options.bpf_root)?;
    Ok(match options.output {
        Some(Output::Json) => listing.json(),
        None => listing.table(),
    })
}

fn view(options: &LbListOptions) -> View {
    if options.frontends {
        View::Frontends
    } else if options.backends {
        View::Backends
    } else if options.revnat {
        View::ReverseNat
    } else {
        View::Services
    }
}
