//! Finds the programs: installed ones first, as users of envtest expect, then the project's own build.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{ControlPlaneError, Part};
use crate::binary::repository;

/// A program of the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    Etcd,
    ApiServer,
    ControllerManager,
    Scheduler,
    Kwok,
    Kubectl,
}

impl Program {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Kwok => "kwok",
            Self::Kubectl => "kubectl",
        }
    }

    /// The file in the project's own build that holds the program.
    const fn built_file(self) -> &'static str {
        match self {
            Self::Kwok => "kwok",
            _ => "control-plane",
        }
    }
}

/// Where each wanted program is.
#[derive(Debug)]
pub(super) struct Binaries {
    found: Vec<(Program, Found)>,
}

#[derive(Debug)]
enum Found {
    /// A program of its own.
    Own(PathBuf),
    /// The combined program, which takes the name as its first argument.
    Combined(PathBuf),
}

impl Binaries {
    /// Finds everything that a control plane with `parts` needs, or names the first that is missing.
    pub(super) fn find(parts: &[Part]) -> Result<Self, ControlPlaneError> {
        let mut wanted = vec![Program::Etcd, Program::ApiServer];
        wanted.extend(parts.iter().map(|part| match part {
            Part::ControllerManager => Program::ControllerManager,
            Part::Scheduler => Program::Scheduler,
            Part::Kwok => Program::Kwok,
        }));
        Self::find_all(wanted)
    }

    /// Finds exactly `wanted`, or names the first that is missing.
    pub(super) fn find_all(wanted: Vec<Program>) -> Result<Self, ControlPlaneError> {
        let mut folders: Vec<PathBuf> = env::var_os("KUBEBUILDER_ASSETS")
            .map(PathBuf::from)
            .into_iter()
            .collect();
        folders.extend(env::var_os("PATH").iter().flat_map(env::split_paths));
        let cache = repository().join(".cache").join("control-plane");
        let found = wanted
            .into_iter()
            .map(|program| Ok((program, find(program, &folders, &cache)?)));
        Ok(Self {
            found: found.collect::<Result<_, ControlPlaneError>>()?,
        })
    }

    /// A command that runs `program`, still without flags.
    pub(super) fn command(&self, program: Program) -> Option<Command> {
        let (_, found) = self
            .found
            .iter()
            .find(|(candidate, _)| *candidate == program)?;
        Some(match found {
            Found::Own(path) => Command::new(path),
            Found::Combined(path) => {
                let mut command = Command::new(path);
                // KWOK is alone in its file, so it never comes here.
                command.arg(program.name());
                command
            }
        })
    }
}

fn find(program: Program, folders: &[PathBuf], cache: &Path) -> Result<Found, ControlPlaneError> {
    let built = cache.join(program.built_file());
    // What kubectl prints depends on its version, so tests take the one that goes with the server.
    if program == Program::Kubectl && built.is_file() {
        return Ok(Found::Combined(built));
    }
    let installed = folders
        .iter()
        .map(|folder| folder.join(program.name()))
        .find(|path| path.is_file());
    if let Some(path) = installed {
        return Ok(Found::Own(path));
    }
    match (built.is_file(), program) {
        (true, Program::Kwok) => Ok(Found::Own(built)),
        (true, _) => Ok(Found::Combined(built)),
        (false, _) => Err(ControlPlaneError::MissingProgram {
            program: program.name(),
            cache: cache.to_path_buf(),
        }),
    }
}
