//! Meshes that a case left empty, for the next one with the same topology.

use meshbed_driver::Mesh;
use meshbed_engine::Keep;
use meshbed_scenario::Topology;
use tokio::sync::Mutex;

use crate::printer;

/// See the module. Where bringing a mesh up takes long, as in an emulated guest, that is most of what a case costs.
pub(super) struct Meshes {
    keep: Keep,
    idle: Mutex<Vec<(Topology, Mesh)>>,
}

impl Meshes {
    /// Each case gets a mesh of its own.
    pub(super) fn of_their_own() -> Self {
        Self { keep: Keep::No, idle: Mutex::default() }
    }

    /// What a case left empty is used again.
    pub(super) fn shared() -> Self {
        Self { keep: Keep::IfClean, idle: Mutex::default() }
    }

    /// What is to become of the mesh of a case.
    pub(super) fn keep(&self) -> Keep {
        self.keep
    }

    /// An empty mesh of this topology, if there is one; all others are taken down: they would only be in the way.
    pub(super) async fn take(&self, topology: &Topology) -> Option<Mesh> {
        let mut idle = self.idle.lock().await;
        if let Some(at) = idle.iter().position(|(of, _)| of == topology) {
            return Some(idle.swap_remove(at).1);
        }
        for (_, mesh) in idle.drain(..) {
            down(mesh).await;
        }
        None
    }

    /// A case left this mesh empty.
    pub(super) async fn give(&self, topology: Topology, mesh: Mesh) {
        self.idle.lock().await.push((topology, mesh));
    }

    /// No case is left.
    pub(super) async fn down(self) {
        for (_, mesh) in self.idle.into_inner() {
            down(mesh).await;
        }
    }
}

async fn down(mesh: Mesh) {
    if let Err(error) = mesh.down().await {
        printer::error(
            &anyhow::Error::new(error).context("a mesh was not taken down completely; `meshbed down` tries again"),
        );
    }
}
