//! Turns a container of a pod into a command line, an environment and folders of this machine.
//!
//! Everything here is a function of texts: the agent fetches what they refer to and carries the result out.
//!
//! # What is not there
//!
//! Containers are ordinary processes of one user. There are no images, no mount namespaces, no CPU or memory limits,
//! no users and no security context; requests only decide whether a pod fits.
//!
//! # Where to go next
//!
//! `command` chooses the program, `env` resolves variables, `names` stands in for cluster DNS, `mounts` for mounts.

pub mod command;
pub mod engine;
pub mod env;
pub mod expand;
pub mod mounts;
pub mod names;
#[cfg(test)]
mod tests;
