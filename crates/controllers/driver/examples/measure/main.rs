//! Measures the controller on a real API server, in a process of its own.
//!
//! - `measure fleet [SERVINGS] [GROUPS] [WORKERS] [PLAYER]` creates that many `ModelServing`s and tells how long it
//!   took until all were available, what the controller used and wrote, and what a restart costs. With the player
//!   `kwok` pods are bound by kube-scheduler and made ready by KWOK; with `status` this program writes their status
//!   itself, since thousands of pods keep those two busy for much longer than the controller.
//! - `measure rollout [SERVINGS] [GROUPS] [WORKERS] [SECONDS] [PLAYER]` replaces every pod of that many
//!   `ModelServing`s while the controller is killed every few seconds, and tells what an independent watcher saw.
//!
//! `controller KUBECONFIG` is what the measured process runs. `KTHENA_BIN` names a program whose
//! `controller-manager` is killed in its place.
#![expect(clippy::print_stdout, reason = "its output is the measurement")]

mod arguments;
mod child;
mod fleet;
mod kubelet;
mod progress;
mod rollout;
mod stage;

use std::path::PathBuf;

use arguments::Arguments;

/// As in the shipped program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type AnyError = Box<dyn std::error::Error>;

fn main() -> Result<(), AnyError> {
    let mut words = std::env::args().skip(1);
    let command = words.next();
    let rest: Vec<String> = words.collect();
    // One thread, as in the shipped program: the work is waiting for the API server.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match command.as_deref() {
        Some("controller") => {
            let kubeconfig = rest.first().ok_or("which kubeconfig?")?;
            runtime.block_on(child::controller(PathBuf::from(kubeconfig)))
        }
        Some("fleet") | None => runtime.block_on(fleet::run(&Arguments::fleet(&rest)?)),
        Some("rollout") => runtime.block_on(rollout::run(&Arguments::rollout(&rest)?)),
        Some(other) => Err(format!("{other}: not fleet or rollout").into()),
    }
}
