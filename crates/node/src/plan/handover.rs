//! What one agent hands over to the next: the memory as it is written down, and as it is taken up again.

use super::memory::{PodMemory, PostStart, ProbeMemory, StopStage};

impl PodMemory {
    /// The memory as it is written down: without what begins anew in the next agent.
    #[must_use]
    pub fn settled(&self) -> Self {
        let mut settled = self.clone();
        for memory in settled.containers.values_mut() {
            memory.blocked = None;
            for probe in [
                &mut memory.startup,
                &mut memory.readiness,
                &mut memory.liveness,
            ] {
                *probe = ProbeMemory {
                    passed: probe.passed,
                    ..ProbeMemory::default()
                };
            }
        }
        settled
    }

    /// Takes the memory over from an earlier agent: its hooks in flight are lost, and a stop that was only that
    /// agent's own is forgotten, so that the pod is started again.
    pub fn resume(&mut self) {
        for memory in self.containers.values_mut() {
            if memory.post_start == PostStart::InFlight {
                memory.post_start = PostStart::Done;
            }
            if let Some(stop) = memory
                .stop
                .as_mut()
                .filter(|stop| stop.stage == StopStage::Hook)
            {
                stop.stage = StopStage::HookDone;
            }
        }
        if self.is_shutting_down() {
            self.stop = None;
            for memory in self.containers.values_mut() {
                memory.retry_at = None;
                memory.stop = None;
            }
        }
    }
}
