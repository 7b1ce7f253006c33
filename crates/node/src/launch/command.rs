//! Decides which program stands for a container: its own, the simulated engine, or a stand-in.
//!
//! There are no images on this machine. What a user expects of a container is, in this order: its own command if
//! that program is here; the simulated engine if the container is an inference engine; for a container of Kthena
//! itself, which has no work to do beside a simulated engine, a stand-in that stays up (or, as an init container,
//! ends well). Anything else is refused with the missing program and the remedy, because a pod that silently lacks
//! one of its containers would lie. A user may ask for a stand-in by name with an annotation.

use std::net::IpAddr;

use super::engine::{self, Dialect, EngineCall};
use crate::plan::wish::Part;

/// Pod annotation: names of containers, separated by commas, that a stand-in takes the place of.
pub const STAND_IN_ANNOTATION: &str = "kthena.volcano.sh/stand-in";

/// How containers that are inference engines are run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EngineMode {
    /// The real engine if its program is here, else the simulated one.
    #[default]
    Auto,
    /// The real engine or nothing.
    Native,
    /// Always the simulated one.
    Simulated,
}

/// A container as the node found it, references already replaced.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Image.
    pub image: &'a str,
    /// `command`.
    pub command: &'a [String],
    /// `args`.
    pub args: &'a [String],
    /// What the container is for.
    pub part: Part,
    /// Address the pod's servers should listen on, unless it has a network namespace of its own.
    pub address: Option<IpAddr>,
    /// The annotation asks for a stand-in.
    pub stand_in: bool,
}

/// What the machine offers.
pub struct Offer<'a> {
    /// How engines are run.
    pub mode: EngineMode,
    /// Program and first arguments of the simulated engine.
    pub simulated: &'a [String],
    /// Program and first arguments of the node's own processes.
    pub shim: &'a [String],
    /// Whether a program is on the container's PATH (or is an executable file, for one with a slash).
    pub on_path: &'a dyn Fn(&str) -> bool,
    /// A variable of the container.
    pub variable: &'a dyn Fn(&str) -> Option<&'a str>,
}

/// Which kind of program was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The container's own.
    Native,
    /// The simulated engine.
    Simulated,
    /// A process without work.
    StandIn,
}

/// The program that stands for a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Which kind it is.
    pub kind: Kind,
    /// What was taken and why, for the pod's events.
    pub note: String,
}

/// No program can stand for the container.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its program is not on this machine.
    #[error(
        "image {image:?} cannot be run here and its program {program:?} is not on PATH: install it, or let a process \
         that does nothing take its place with the pod annotation {STAND_IN_ANNOTATION}: <container>"
    )]
    NoProgram {
        /// Image.
        image: String,
        /// Program.
        program: String,
    },
    /// It names none, and images are not pulled.
    #[error(
        "image {image:?} cannot be run here (containers are processes of this machine) and the container names no \
         command: give it a `command` that is on PATH, or let a process that does nothing take its place with the \
         pod annotation {STAND_IN_ANNOTATION}: <container>"
    )]
    NoCommand {
        /// Image.
        image: String,
    },
    /// Only the real engine is allowed, and it is not here.
    #[error(
        "{program:?} is not on PATH and simulated engines are switched off: install it, or use --engine auto"
    )]
    NoEngine {
        /// Program.
        program: String,
    },
}

/// Chooses the program for a container.
pub fn choose(wanted: &Wanted<'_>, offer: &Offer<'_>) -> Result<Choice, Refusal> {
    if wanted.stand_in {
        return Ok(stand_in(wanted, offer, "as its annotation asks"));
    }
    let argv: Vec<String> = wanted.command.iter().chain(wanted.args).cloned().collect();
    let by_image = Dialect::of_image(wanted.image);
    let Some(program) = argv.first() else {
        return match by_image {
            Some(dialect) => engine(default_call(dialect, &argv), wanted, offer),
            None => without_command(wanted, offer),
        };
    };
    if let Some(call) = EngineCall::parse(&argv) {
        return engine(call, wanted, offer);
    }
    if let Some(script) = script_of(&argv)
        && let Some(call) = EngineCall::in_script(script, offer.variable)
    {
        return engine_script(call, &argv, wanted, offer);
    }
    let named = !wanted.command.is_empty();
    match by_image {
        // Without a command the arguments go to the image's entry point.
        Some(Dialect::Vllm) if !named => engine(default_call(Dialect::Vllm, &argv), wanted, offer),
        Some(Dialect::Sglang) if program.starts_with('-') => {
            engine(default_call(Dialect::Sglang, &argv), wanted, offer)
        }
        // A worker of a multi-node engine, such as one that joins Ray: beside simulated engines it has no work.
        Some(_) if offer.mode == EngineMode::Simulated && wanted.part == Part::Main => {
            Ok(stand_in(
                wanted,
                offer,
                "because it helps an engine that is simulated",
            ))
        }
        _ if !named && is_own_image(wanted.image).is_some() => without_command(wanted, offer),
        _ if (offer.on_path)(program) => Ok(native(argv)),
        Some(_) if offer.mode == EngineMode::Auto => Ok(stand_in(
            wanted,
            offer,
            "because it helps an engine and its program is not on PATH",
        )),
        _ if !named => Err(Refusal::NoCommand {
            image: wanted.image.to_owned(),
        }),
        _ => Err(Refusal::NoProgram {
            image: wanted.image.to_owned(),
            program: program.clone(),
        }),
    }
}

fn engine(call: EngineCall, wanted: &Wanted<'_>, offer: &Offer<'_>) -> Result<Choice, Refusal> {
    let program = call.program.first().cloned().unwrap_or_default();
    let real = engine_is_here(&call, offer);
    if real && offer.mode != EngineMode::Simulated {
        let call = match wanted.address {
            Some(address) => call.on(address),
            None => call,
        };
        return Ok(native(call.argv()));
    }
    if offer.mode == EngineMode::Native {
        return Err(Refusal::NoEngine { program });
    }
    Ok(simulated(call, wanted, offer))
}

fn engine_script(
    call: EngineCall,
    argv: &[String],
    wanted: &Wanted<'_>,
    offer: &Offer<'_>,
) -> Result<Choice, Refusal> {
    let shell = argv.first().cloned().unwrap_or_default();
    if engine_is_here(&call, offer)
        && (offer.on_path)(&shell)
        && offer.mode != EngineMode::Simulated
    {
        let edit = |word: &String| match (script_of(argv), wanted.address) {
            (Some(script), Some(address)) if script == word => {
                engine::script_on_address(word, address)
            }
            _ => word.clone(),
        };
        return Ok(native(argv.iter().map(edit).collect()));
    }
    if offer.mode == EngineMode::Native {
        return Err(Refusal::NoEngine {
            program: call.program.first().cloned().unwrap_or_default(),
        });
    }
    Ok(simulated(call, wanted, offer))
}

/// `python -m vllm…` needs more than a Python: the engine's own command tells whether it is installed.
fn engine_is_here(call: &EngineCall, offer: &Offer<'_>) -> bool {
    let program = call.program.first().map(String::as_str).unwrap_or_default();
    let is_module = call.program.get(1).is_some_and(|word| word == "-m");
    (offer.on_path)(program) && (!is_module || (offer.on_path)(call.dialect.word()))
}

fn simulated(call: EngineCall, wanted: &Wanted<'_>, offer: &Offer<'_>) -> Choice {
    let dialect = call.dialect;
    let args = match wanted.address {
        Some(address) => engine::on_address(call.args, address),
        None => call.args,
    };
    let mut words = offer.simulated.to_vec();
    words.extend(["--dialect".to_owned(), dialect.word().to_owned()]);
    words.extend(args);
    let why = match offer.mode {
        EngineMode::Simulated => "as configured".to_owned(),
        _ => format!("because {:?} is not installed", call.program.join(" ")),
    };
    Choice {
        argv: words,
        kind: Kind::Simulated,
        note: format!("simulated {} engine, {why}", dialect.word()),
    }
}

fn native(argv: Vec<String>) -> Choice {
    let note = format!(
        "native program {:?}",
        argv.first().map(String::as_str).unwrap_or_default()
    );
    Choice {
        argv,
        kind: Kind::Native,
        note,
    }
}

fn without_command(wanted: &Wanted<'_>, offer: &Offer<'_>) -> Result<Choice, Refusal> {
    match is_own_image(wanted.image) {
        Some(why) if offer.mode != EngineMode::Native => Ok(stand_in(wanted, offer, why)),
        _ => Err(Refusal::NoCommand {
            image: wanted.image.to_owned(),
        }),
    }
}

/// Images of Kthena's own helpers, and why none is needed here.
fn is_own_image(image: &str) -> Option<&'static str> {
    let repository = image.split(['@', ':']).next().unwrap_or(image);
    let (path, name) = repository.rsplit_once('/').unwrap_or(("", repository));
    let ours = path.contains("kthena") || path.contains("volcano-sh");
    match name {
        "runtime" | "kthena-runtime" if ours => {
            Some("because the router reads the engine itself here")
        }
        "downloader" | "kthena-downloader" if ours => {
            Some("because a simulated engine needs no model files")
        }
        _ => None,
    }
}

fn stand_in(wanted: &Wanted<'_>, offer: &Offer<'_>, why: &str) -> Choice {
    let (verb, what) = match wanted.part {
        Part::Init => ("nothing", "ends at once"),
        _ => (
            "pause",
            "stays up and does nothing; its probes are not asked",
        ),
    };
    let mut argv = offer.shim.to_vec();
    argv.push(verb.to_owned());
    let note = format!("stand-in for image {:?}, {why}: it {what}", wanted.image);
    Choice {
        argv,
        kind: Kind::StandIn,
        note,
    }
}

fn default_call(dialect: Dialect, args: &[String]) -> EngineCall {
    let args = if args.first().is_some_and(|word| word == "serve") {
        &args[1..]
    } else {
        args
    };
    let program: &[&str] = match dialect {
        Dialect::Vllm => &["vllm", "serve"],
        Dialect::Sglang => &["python3", "-m", "sglang.launch_server"],
    };
    EngineCall {
        dialect,
        program: program.iter().map(|word| (*word).to_owned()).collect(),
        args: args.to_vec(),
    }
}

/// The script of `sh -c SCRIPT` and its like.
fn script_of(argv: &[String]) -> Option<&str> {
    let shell = argv.first()?.rsplit('/').next()?;
    if !matches!(shell, "sh" | "bash" | "dash" | "ash" | "zsh") {
        return None;
    }
    let at = argv
        .iter()
        .position(|word| word.starts_with('-') && !word.starts_with("--") && word.ends_with('c'))?;
    argv.get(at + 1).map(String::as_str)
}
