//! Maps and logs of another machine, as they come.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use meshbed_driver::{Outpost, Reader, SystemError, Writer, receive, send};
use tokio::{sync::watch, task::JoinSet};

use super::{MapsSaid, Question};
use crate::{
    logs::{Line, Since},
    maps::Pace,
    probe::lock,
    world::{NodeIndex, ReaderIndex, World},
};

/// Those who listen to an outpost; they stop when this is dropped.
pub(crate) struct Followers {
    _tasks: JoinSet<()>,
}

impl Followers {
    /// Begins to follow the maps of `nodes` and the logs in a folder there.
    pub(crate) async fn start(
        outpost: &Arc<Outpost>,
        nodes: Vec<(NodeIndex, PathBuf)>,
        logs_folder: &Path,
        logs_from: Since,
        told: impl FnMut(Line) + Send + 'static,
        world: &Arc<Mutex<World>>,
    ) -> Result<Self, SystemError> {
        let mut tasks = JoinSet::new();
        let ended = Ended { outpost: Arc::clone(outpost), world: Arc::clone(world) };
        let (logs, end) = outpost.listen(&Question::Logs(logs_folder.to_owned(), logs_from)).await?;
        tasks.spawn(follow_logs(logs, end, told, ended.clone()));
        let (numbers, roots): (Vec<_>, Vec<_>) = nodes.into_iter().unzip();
        let question = Question::Maps(roots, Pace::Measure, lock(world).slowness());
        let (maps, hotness) = outpost.listen(&question).await?;
        // The outpost begins as if everything changed.
        let hot = Arc::new(watch::Sender::new(true));
        let reader = {
            let hot = Arc::clone(&hot);
            lock(world).read_by(move || {
                hot.send_replace(true);
            })
        };
        tasks.spawn(tell_hotness(hotness, hot.subscribe()));
        tasks.spawn(Maps { ended, numbers, reader, hot }.follow(maps));
        Ok(Self { _tasks: tasks })
    }
}

/// `end` is our half of the connection: the logs are followed as long as it is there.
async fn follow_logs(mut logs: Reader, _end: Writer, mut told: impl FnMut(Line), ended: Ended) {
    while let Ok(Some(line)) = receive(&mut logs).await {
        told(line);
    }
    ended.tell("logs");
}

/// Says when maps should be read often, and when that is over.
async fn tell_hotness(mut to: Writer, mut hot: watch::Receiver<bool>) {
    while hot.changed().await.is_ok() {
        let now = *hot.borrow_and_update();
        if send(&mut to, &now).await.is_err() {
            return;
        }
    }
}

/// Who is told that an outpost says nothing more.
#[derive(Clone)]
struct Ended {
    outpost: Arc<Outpost>,
    world: Arc<Mutex<World>>,
}

impl Ended {
    /// What is not heard cannot be right.
    fn tell(&self, what: &str) {
        lock(&self.world).unheard(what, &self.outpost.names());
    }
}

/// Listens to what maps hold.
struct Maps {
    ended: Ended,
    /// Numbers of the nodes in the world, by their positions in the question.
    numbers: Vec<NodeIndex>,
    reader: ReaderIndex,
    hot: Arc<watch::Sender<bool>>,
}

impl Maps {
    async fn follow(self, mut maps: Reader) {
        while let Ok(Some(said)) = receive(&mut maps).await {
            match said {
                MapsSaid::Changed(node, state) => {
                    let Some(number) = self.numbers.get(node) else { continue };
                    let mut world = lock(&self.ended.world);
                    // When it arrived: what is told after something else must not have happened before it.
                    let at = world.clock.now();
                    world.maps(at, *number, *state);
                }
                MapsSaid::Round(from) => self.tick(from),
            }
        }
        self.ended.tell("maps");
    }

    fn tick(&self, from: u64) {
        let error = u64::try_from(self.ended.outpost.clock_error().as_nanos()).unwrap_or(u64::MAX);
        let hot = {
            let mut world = lock(&self.ended.world);
            // At the latest: it may have begun so much earlier.
            let from = world.clock.at(self.ended.outpost.our_time(from).saturating_sub(error));
            world.tick(self.reader, from);
            !world.all_maps_right()
        };
        self.hot.send_if_modified(|was| std::mem::replace(was, hot) != hot);
    }
}
