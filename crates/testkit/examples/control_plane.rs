//! Runs a control plane by hand: prints the path of its kubeconfig and keeps it until the input ends.
//!
//! `cargo run -p kthena-testkit --example control_plane -- controller-manager scheduler kwok`

use std::io::{self, Read, Write};

use kthena_testkit::{ControlPlane, Part};

fn main() -> anyhow::Result<()> {
    let mut parts = Vec::new();
    for argument in std::env::args().skip(1) {
        parts.push(match argument.as_str() {
            "controller-manager" => Part::ControllerManager,
            "scheduler" => Part::Scheduler,
            "kwok" => Part::Kwok,
            other => {
                anyhow::bail!("unknown part {other}: use controller-manager, scheduler or kwok")
            }
        });
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let plane = runtime.block_on(ControlPlane::start(&parts))?;
    writeln!(io::stdout(), "{}", plane.kubeconfig().display())?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
