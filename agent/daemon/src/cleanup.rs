//! `mesh-agent cleanup`: the only thing that takes the datapath of a node away.

use anyhow::Context as _;
use mesh_datapath::BpfDatapath;

use crate::cli::DatapathOptions;

/// Detaches the programs and removes all pins.
pub(crate) fn run(options: &DatapathOptions) -> anyhow::Result<()> {
    let datapath = BpfDatapath::open(&options.options()).context("failed to open the datapath")?;
    datapath.remove().context("failed to remove the datapath")
}
