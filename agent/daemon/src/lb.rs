//! `mesh-agent bpf lb list`.

use mesh_datapath::list::{Listing, View};

use crate::cli::{BpfCommand, LbCommand, LbListOptions, Output};

/// The text to print.
pub(crate) fn list(command: &BpfCommand) -> anyhow::Result<String> {
    let BpfCommand::Lb(LbCommand::List(options)) = command;
    let listing = Listing::read(&options.bpf_root)?;
    let view = view(options);
    Ok(match options.output {
        Some(Output::Json) => listing.json(view),
        None => listing.table(view),
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
