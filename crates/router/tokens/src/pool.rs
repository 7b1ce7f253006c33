//! A few threads for work that takes too long for the threads that serve connections.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

/// Pieces of work that may wait. More would wait longer than anybody waits for them.
const WAITING: usize = 32;

type Work = Box<dyn FnOnce() + Send>;

/// The threads. They end, after what they are doing, when this drops.
#[derive(Debug)]
pub struct Pool {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    more: Condvar,
}

#[derive(Default)]
struct Waiting {
    work: VecDeque<Work>,
    closed: bool,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue")
            .field("waiting", &self.lock().work.len())
            .finish()
    }
}

impl Pool {
    /// Starts `threads` threads.
    pub fn start(threads: usize) -> io::Result<Self> {
        let mut pool = Self {
            queue: Arc::default(),
            threads: Vec::new(),
        };
        for number in 0..threads {
            let queue = Arc::clone(&pool.queue);
            let thread = std::thread::Builder::new()
                .name(format!("tokens-{number}"))
                .spawn(move || queue.run())?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// What `work` gives; `None` = too much waits, or `work` panicked. If nobody waits for the answer any more when
    /// its turn comes, it is left out.
    pub async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Option<R> {
        let (sender, receiver) = oneshot::channel();
        self.queue.add(Box::new(move || {
            if sender.is_closed() {
                return;
            }
            // Whoever waited may have left meanwhile.
            let _ = sender.send(work());
        }));
        receiver.await.ok()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut waiting = self.queue.lock();
        waiting.closed = true;
        waiting.work.clear();
        drop(waiting);
        self.queue.more.notify_all();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that tokenizes panicked");
            }
        }
    }
}

impl Queue {
    /// Work that is not taken in drops, which its waiter hears.
    fn add(&self, work: Work) {
        let mut waiting = self.lock();
        if waiting.work.len() < WAITING {
            waiting.work.push_back(work);
            drop(waiting);
            self.more.notify_one();
        }
    }

    fn run(&self) {
        while let Some(work) = self.next() {
            // Foreign code on foreign texts: what it does to one prompt must not take the thread from the others.
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                tracing::error!("a tokenizer panicked on a prompt");
            }
        }
    }

    fn next(&self) -> Option<Work> {
        let mut waiting = self.lock();
        loop {
            if let Some(work) = waiting.work.pop_front() {
                return Some(work);
            }
            if waiting.closed {
                return None;
            }
            waiting = self
                .more
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::{Pool, WAITING};

    #[tokio::test]
    async fn work_is_done_and_a_panic_hits_only_its_own() {
        let pool = Pool::start(1).unwrap();
        assert_eq!(pool.run(|| 1 + 1).await, Some(2));
        let panicking = || -> u8 { panic!("as a tokenizer might") };
        assert_eq!(pool.run(panicking).await, None);
        assert_eq!(pool.run(|| 3).await, Some(3));
    }

    #[tokio::test]
    async fn too_much_work_is_refused_and_what_nobody_waits_for_is_left_out() {
        let pool = Pool::start(1).unwrap();
        let (begun, is_begun) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let first = pool.run(move || {
            begun.send(()).unwrap();
            released.recv().unwrap();
        });
        let (done, is_done) = mpsc::channel();
        let others = async {
            // The thread has taken the first, so that all places are free.
            tokio::task::yield_now().await;
            is_begun.recv_timeout(Duration::from_secs(30)).unwrap();
            let mut waiting: Vec<_> = (0..WAITING)
                .map(|number| {
                    let done = done.clone();
                    Box::pin(pool.run(move || done.send(number).unwrap()))
                })
                .collect();
            for work in &mut waiting {
                assert!(futures::poll!(work).is_pending());
            }
            assert_eq!(pool.run(|| ()).await, None, "one too many");
            waiting.truncate(1);
            release.send(()).unwrap();
            waiting.remove(0).await
        };
        let (first, last) = tokio::join!(first, others);
        assert_eq!((first, last), (Some(()), Some(())));
        assert_eq!(pool.run(|| ()).await, Some(()));
        assert_eq!(is_done.try_iter().collect::<Vec<_>>(), [0]);
    }
}
