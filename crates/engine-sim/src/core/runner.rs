//! The task that owns the engine.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use super::{Command, Job, Shared, TokenEvent};
use crate::batch::{Engine, Prefill, RequestId, Step, StepOutcome};

/// Where a request's tokens go.
#[derive(Debug)]
struct Client {
    choice: u32,
    tokens: mpsc::Sender<TokenEvent>,
}

#[derive(Debug)]
pub(super) struct Runner {
    shared: Arc<Shared>,
    engine: Engine,
    clock: Clock,
    clients: HashMap<RequestId, Client>,
    last_id: RequestId,
}

impl Runner {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            engine: Engine::new(shared.config.batch.clone()),
            clock: Clock::new(shared.config.speed),
            clients: HashMap::new(),
            last_id: 0,
            shared,
        }
    }

    pub(super) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        shutdown: CancellationToken,
    ) {
        let work = self.work(&mut commands);
        // Dropping the work drops all clients' channels, which ends their answers.
        shutdown.run_until_cancelled(work).await;
    }

    async fn work(&mut self, commands: &mut mpsc::Receiver<Command>) {
        let mut busy = false;
        loop {
            while let Ok(command) = commands.try_recv() {
                self.apply(command);
            }
            self.abort_abandoned();
            let start = self.clock.step_start(busy);
            match self.engine.step(start) {
                Step::Idle => {
                    busy = false;
                    self.show_load();
                    match commands.recv().await {
                        Some(command) => self.apply(command),
                        None => return,
                    }
                }
                Step::Wait { until } => {
                    busy = false;
                    self.show_load();
                    let instant = self.clock.instant(until);
                    tokio::select! {
                        // At a speed without bound this is what moves the time on.
                        () = sleep_until(instant) => self.clock.step_ends(until),
                        Some(command) = commands.recv() => self.apply(command),
                    }
                }
                Step::Ran(outcome) => {
                    busy = true;
                    let load = outcome.load.clone();
                    self.shared.with_metrics(|metrics| metrics.set_load(load));
                    self.clock.step_ends(start + outcome.duration);
                    let end = self.clock.instant(start + outcome.duration);
                    self.pass_time(end, commands).await;
                    self.deliver(&outcome);
                }
            }
        }
    }

    /// Lets a step's time pass. Requests that come meanwhile wait for the next step.
    async fn pass_time(&mut self, end: Instant, commands: &mut mpsc::Receiver<Command>) {
        if end <= Instant::now() {
            // A timer would still take a millisecond; others get their turn all the same.
            tokio::task::yield_now().await;
            return;
        }
        let timer = sleep_until(end);
        tokio::pin!(timer);
        loop {
            tokio::select! {
                () = &mut timer => return,
                Some(command) = commands.recv() => {
                    self.apply(command);
                    let load = self.engine.load();
                    self.shared
                        .with_metrics(|metrics| metrics.set_waiting(load.waiting, load.deferred));
                }
            }
        }
    }

    fn apply(&mut self, command: Command) {
        match command {
            Command::Submit(job) => self.submit(job),
            Command::ResetCache(done) => {
                // The asker may be gone; the cache is empty all the same.
                let _ = done.send(self.engine.reset_cache());
            }
            Command::ForgetAdapter(name) => self.engine.forget_adapter(&name),
        }
    }

    fn submit(&mut self, job: Job) {
        let now = self.clock.now();
        for part in job.parts {
            self.last_id += 1;
            let mut request = part.request;
            request.id = self.last_id;
            request.arrived = now;
            if let Prefill::Remote { ready_at } = &mut request.prefill {
                *ready_at += now;
            }
            if let Err(error) = self.engine.submit(request) {
                // The HTTP side checks lengths first; dropping the channel fails the answer.
                tracing::warn!(%error, "request refused");
                continue;
            }
            let (choice, tokens) = (part.choice, job.tokens.clone());
            self.clients.insert(self.last_id, Client { choice, tokens });
        }
    }

    fn abort_abandoned(&mut self) {
        let engine = &mut self.engine;
        let before = self.clients.len();
        self.clients.retain(|id, client| {
            let gone = client.tokens.is_closed();
            if gone {
                engine.abort(*id);
            }
            !gone
        });
        let aborted = before - self.clients.len();
        if aborted > 0 {
            self.shared
                .with_metrics(|metrics| (0..aborted).for_each(|_| metrics.record_abort()));
        }
    }

    fn show_load(&self) {
        let load = self.engine.load();
        self.shared.with_metrics(|metrics| metrics.set_load(load));
    }

    fn deliver(&mut self, outcome: &StepOutcome) {
        let totals = self.engine.totals();
        self.shared
            .with_metrics(|metrics| metrics.record_step(outcome, totals));
        // Both lists are in the order of the batch.
        let mut finished = outcome.finished.iter().peekable();
        for new in &outcome.emitted {
            let done = finished.next_if(|done| done.id == new.id);
            let client = match done {
                Some(_) => self.clients.remove(&new.id),
                None => None,
            };
            let Some(target) = client.as_ref().or_else(|| self.clients.get(&new.id)) else {
                continue;
            };
            // The channel has room for all tokens, so this fails only when the client is gone.
            let _ = target.tokens.try_send(TokenEvent {
                choice: target.choice,
                token: new.token,
                cached_tokens: new.cached_tokens,
                finish: done.map(|done| done.reason),
            });
        }
    }
}
