//! The controller against a real kube-apiserver, with pods that KWOK plays.

mod fixture;
mod lifecycle;
mod recovery;
mod rollout;
mod scaling;
