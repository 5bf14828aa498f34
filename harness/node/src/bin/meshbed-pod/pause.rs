//! `pause`: keeps a pod there.

use crate::signals::Termination;

pub(crate) async fn run() -> anyhow::Result<()> {
    Termination::watch()?.received().await;
    Ok(())
}
