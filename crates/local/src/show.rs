//! Watches what runs and shows it: a block that repaints itself on a terminal, a line per change elsewhere.

use std::io::{self, Write};
use std::pin::Pin;
use std::time::Duration;

use crossterm::cursor::MoveUp;
use crossterm::terminal::{Clear, ClearType};
use crossterm::{queue, terminal};
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kthena_api::model_route::ModelRoute;
use kthena_api::model_serving::ModelServing;
use kthena_cluster::{Change, Scope, Store, watch};
use kthena_controllers_driver::LeaderWorkerSet;
use kube::Client;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::progress::Progress;
use crate::up::UpError;
use crate::view::View;
use crate::{frame, loads};

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// A block of lines that repaints itself; for terminals.
    Live,
    /// A line per change; for pipes and logs.
    Lines,
}

/// Time between two looks: often enough to follow, rare enough to cost nothing.
const PERIOD: Duration = Duration::from_millis(250);
/// Looks between two questions to the engines how busy they are.
const LOOKS_PER_LOAD: u32 = 4;

type Changes<K> = Pin<Box<dyn Stream<Item = Change<K>> + Send>>;

/// What is known of a cluster, kept up to date.
pub struct Watched {
    servings: Kept<ModelServing>,
    sets: Kept<LeaderWorkerSet>,
    pods: Kept<Pod>,
    routes: Kept<ModelRoute>,
    http: reqwest::Client,
    progress: Progress,
    painted: u16,
}

/// A store and the changes that keep it.
struct Kept<K> {
    store: Store<K>,
    changes: Changes<K>,
}

impl<K> Kept<K>
where
    K: k8s_openapi::Metadata<Ty = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta>
        + k8s_openapi::Resource
        + serde::de::DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    fn start(client: &Client) -> Self {
        Self {
            store: Store::default(),
            changes: Box::pin(watch(client.clone(), &Scope::default())),
        }
    }

    async fn next(&mut self) {
        match self.changes.next().await {
            Some(change) => {
                self.store.apply(&change);
            }
            // A watch never ends; were it to, waiting costs less than asking again and again.
            None => std::future::pending().await,
        }
    }
}

impl Watched {
    /// Begins to watch.
    pub fn start(client: &Client) -> Self {
        Self {
            servings: Kept::start(client),
            sets: Kept::start(client),
            pods: Kept::start(client),
            routes: Kept::start(client),
            http: reqwest::Client::new(),
            progress: Progress::default(),
            painted: 0,
        }
    }

    /// The model that the route first by name serves.
    pub fn first_model(&self) -> Option<String> {
        let mut routes: Vec<_> = self.routes.store.iter().collect();
        routes.sort_by(|a, b| a.0.cmp(b.0));
        routes.into_iter().find_map(|(_, route)| {
            route
                .spec
                .model_name
                .clone()
                .filter(|name| !name.is_empty())
        })
    }

    /// Shows progress until all is up (true) or `stop` (false).
    ///
    /// # Errors
    ///
    /// If it cannot be shown.
    pub async fn until_settled(
        &mut self,
        look: Look,
        stop: &CancellationToken,
        out: &mut (impl Write + Send),
    ) -> Result<bool, UpError> {
        self.follow(look, Until::Settled, stop, out).await?;
        Ok(!stop.is_cancelled())
    }

    /// Shows what goes on until `stop`.
    ///
    /// # Errors
    ///
    /// If it cannot be shown.
    pub async fn until_stopped(
        &mut self,
        look: Look,
        stop: &CancellationToken,
        out: &mut (impl Write + Send),
    ) -> Result<(), UpError> {
        self.painted = 0;
        self.follow(look, Until::Stopped, stop, out).await
    }

    async fn follow(
        &mut self,
        look: Look,
        until: Until,
        stop: &CancellationToken,
        out: &mut (impl Write + Send),
    ) -> Result<(), UpError> {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looks = 0;
        let mut changed = true;
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.servings.next() => changed = true,
                () = self.sets.next() => changed = true,
                () = self.pods.next() => changed = true,
                () = self.routes.next() => changed = true,
                // Lines tell changes alone; with many pods, looking at all of them for nothing is not free.
                _ = ticks.tick(), if changed || look == Look::Live => {
                    changed = false;
                    let mut view = self.view();
                    if look == Look::Live && until == Until::Stopped && looks % LOOKS_PER_LOAD == 0 {
                        loads::complete(&mut view, &self.http).await;
                    }
                    looks += 1;
                    self.paint(look, &view, out)?;
                    if until == Until::Settled && self.is_complete() && view.is_settled() {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn view(&self) -> View {
        let mut view = View::of(
            self.servings
                .store
                .iter()
                .map(|(_, serving)| serving.as_ref()),
            self.pods.store.iter().map(|(_, pod)| pod.as_ref()),
        );
        view.expect(self.sets.store.iter().map(|(_, set)| set.as_ref()));
        view
    }

    fn is_complete(&self) -> bool {
        self.servings.store.is_synced()
            && self.sets.store.is_synced()
            && self.pods.store.is_synced()
            && self.routes.store.is_synced()
    }

    fn paint(&mut self, look: Look, view: &View, out: &mut impl Write) -> io::Result<()> {
        if look == Look::Lines {
            for line in self.progress.changes(view) {
                writeln!(out, "{line}")?;
            }
            return out.flush();
        }
        let (columns, rows) = terminal::size().unwrap_or((80, 24));
        let mut lines = frame::lines(view, Some(usize::from(columns)));
        lines.truncate(usize::from(rows.saturating_sub(1)));
        if self.painted > 0 {
            queue!(out, MoveUp(self.painted), Clear(ClearType::FromCursorDown))?;
        }
        for line in &lines {
            writeln!(out, "{line}")?;
        }
        self.painted = u16::try_from(lines.len()).unwrap_or(u16::MAX);
        out.flush()
    }
}

/// How long to follow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    Settled,
    Stopped,
}
