//! The task that owns the engine.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc::{self, WeakSender};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use super::kept::Kept;
use super::link::Link;
use super::{Command, Half, Job, READY, Shared, TokenEvent};
use crate::batch::{After, Engine, NewRequest, Prefill, RequestId, Step, StepOutcome};
use crate::kv_cache::KvEvent;

/// Where a request's tokens go.
#[derive(Debug)]
struct Client {
    choice: u32,
    tokens: mpsc::Sender<TokenEvent>,
    half: Half,
}

impl Client {
    /// Whether nobody wants the answer, or the blocks, any more.
    fn is_gone(&self) -> bool {
        let unwanted = matches!(&self.half, Half::Send(offer) if offer.is_closed());
        unwanted || self.tokens.is_closed()
    }
}

#[derive(Debug)]
pub(super) struct Runner {
    shared: Arc<Shared>,
    engine: Engine,
    clock: Clock,
    clients: HashMap<RequestId, Client>,
    kept: Kept,
    link: Link,
    commands: WeakSender<Command>,
    events: Option<mpsc::Sender<Vec<KvEvent>>>,
    last_id: RequestId,
}

impl Runner {
    pub(super) fn new(
        shared: Arc<Shared>,
        commands: WeakSender<Command>,
        events: Option<mpsc::Sender<Vec<KvEvent>>>,
    ) -> Self {
        Self {
            engine: Engine::new(shared.config.batch.clone()),
            clock: Clock::new(shared.config.speed),
            clients: HashMap::new(),
            kept: Kept::default(),
            link: Link::default(),
            commands,
            events,
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
            self.drop_expired();
            let start = self.clock.step_start(busy);
            match self.engine.step(start) {
                Step::Idle => {
                    busy = false;
                    self.show_load();
                    self.publish(Vec::new()).await;
                    let Some(command) = self.next_command(commands).await else {
                        return;
                    };
                    self.apply(command);
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
                    self.publish(outcome.events).await;
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
            Command::Collect(key, offer, found) => {
                let kept = self.kept.take(&key);
                // An asker that is gone dropped the other end of the offer as well.
                let _ = found.send(kept.is_some());
                if let Some(id) = kept {
                    self.release_when_closed(id, offer, None);
                }
            }
            Command::Release(id) => {
                self.engine.release(id);
            }
        }
    }

    fn submit(&mut self, job: Job) {
        let now = self.clock.now();
        for part in job.parts {
            self.last_id += 1;
            let mut request = part.request;
            request.id = self.last_id;
            request.arrived = now;
            match &part.half {
                Half::Both => {}
                Half::Keep(_) | Half::Send(_) => request.after = After::Keep,
                Half::Fetch(_) => request.prefill = self.fetch(&request, now),
            }
            if let Err(error) = self.engine.submit(request) {
                // The HTTP side checks lengths first; dropping the channel fails the answer.
                tracing::warn!(%error, "request refused");
                continue;
            }
            let (choice, tokens) = (part.choice, job.tokens.clone());
            let client = Client {
                choice,
                tokens,
                half: part.half,
            };
            self.clients.insert(self.last_id, client);
        }
    }

    /// When the blocks of a prompt are here: what is cached already is not moved.
    fn fetch(&mut self, request: &NewRequest, now: std::time::Duration) -> Prefill {
        let config = &self.shared.config;
        let adapter = request.adapter.as_deref();
        let cached = self.engine.cached_tokens(&request.prompt, adapter);
        let missing = (request.prompt.len() as u64).saturating_sub(cached);
        let model = &config.batch.model;
        let length = model.transfer(missing, config.transfer_bandwidth);
        Prefill::Remote {
            ready_at: self.link.carry(now, length),
        }
    }

    /// Waits for a command, as far as nothing kept has to be given up first.
    async fn next_command(&mut self, commands: &mut mpsc::Receiver<Command>) -> Option<Command> {
        loop {
            // Without a bound on speed an idle engine's time stands still.
            let expiry = self.kept.first_expiry().filter(|_| self.clock.runs());
            let Some(expiry) = expiry else {
                return commands.recv().await;
            };
            let instant = self.clock.instant(expiry);
            tokio::select! {
                command = commands.recv() => return command,
                () = sleep_until(instant) => {
                    self.clock.step_ends(expiry);
                    self.drop_expired();
                    self.show_load();
                }
            }
        }
    }

    fn drop_expired(&mut self) {
        while let Some(id) = self.kept.expired(self.clock.now()) {
            tracing::warn!("nobody came for the blocks of a prompt");
            self.engine.release(id);
        }
    }

    /// Frees blocks once the other end of `offer` is gone, and only then says that the request
    /// ended, where that is left to say.
    fn release_when_closed(
        &self,
        id: RequestId,
        offer: super::Offer,
        last: Option<(mpsc::Sender<TokenEvent>, TokenEvent)>,
    ) {
        let commands = self.commands.clone();
        tokio::spawn(async move {
            offer.closed().await;
            if let Some((tokens, event)) = last {
                // The client may have gone meanwhile.
                let _ = tokens.try_send(event);
            }
            if let Some(commands) = commands.upgrade() {
                // An engine that stopped keeps no blocks.
                let _ = commands.send(Command::Release(id)).await;
            }
        });
    }

    /// Tells about changes of the cache: those of a step, or those since.
    async fn publish(&mut self, mut changes: Vec<KvEvent>) {
        let Some(events) = &self.events else { return };
        changes.extend(self.engine.take_events());
        if !changes.is_empty() && events.send(changes).await.is_err() {
            self.events = None;
        }
    }

    fn abort_abandoned(&mut self) {
        let engine = &mut self.engine;
        let before = self.clients.len();
        self.clients.retain(|id, client| {
            let gone = client.is_gone();
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
            let Some(client) = self.clients.get_mut(&new.id) else {
                continue;
            };
            if let Half::Fetch(lease) = &mut client.half {
                // The blocks are here: the other engine may have its own back.
                lease.take();
            }
            let event = TokenEvent {
                choice: client.choice,
                token: new.token,
                cached_tokens: new.cached_tokens,
                finish: done.map(|done| done.reason),
            };
            if done.is_some() {
                self.finish(new.id, event);
            } else {
                // The channel has room for all tokens, so this fails only when the client is gone.
                let _ = client.tokens.try_send(event);
            }
        }
    }

    /// Delivers a last token; blocks that someone else wants are kept.
    fn finish(&mut self, id: RequestId, event: TokenEvent) {
        let Some(client) = self.clients.remove(&id) else {
            return;
        };
        match client.half {
            Half::Keep(key) => {
                let expiry = self.clock.now() + self.shared.config.handover.keep;
                if let Some(replaced) = self.kept.put(key, id, expiry) {
                    self.engine.release(replaced);
                }
            }
            Half::Send(offer) => {
                // The other half reads no further than this; if it is gone, the channel is closed.
                let _ = offer.try_send(READY);
                return self.release_when_closed(id, offer, Some((client.tokens, event)));
            }
            Half::Both | Half::Fetch(_) => {}
        }
        // As above.
        let _ = client.tokens.try_send(event);
    }
}
