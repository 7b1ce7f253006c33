//! Recognises inference engines in command lines, and adds what they need to share one machine.

use std::net::IpAddr;

/// An engine that can be simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
}

impl Dialect {
    /// The word the simulated engine takes.
    pub fn word(self) -> &'static str {
        match self {
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
        }
    }

    /// The engine whose name stands in the repository of an image.
    pub fn of_image(image: &str) -> Option<Self> {
        let repository = image
            .split(['@', ':'])
            .next()
            .unwrap_or(image)
            .to_ascii_lowercase();
        if repository.contains("sglang") {
            Some(Self::Sglang)
        } else if repository.contains("vllm") {
            Some(Self::Vllm)
        } else {
            None
        }
    }
}

/// A call of an engine's server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineCall {
    /// Which engine.
    pub dialect: Dialect,
    /// Words that call it, such as `vllm serve`.
    pub program: Vec<String>,
    /// The engine's own flags.
    pub args: Vec<String>,
}

impl EngineCall {
    /// Recognises a server call at the beginning of a command line.
    pub fn parse(argv: &[String]) -> Option<Self> {
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        let program = words.first()?.rsplit('/').next()?;
        let (dialect, length) = match (program, words.get(1), words.get(2)) {
            ("vllm", Some(&"serve"), _) => (Dialect::Vllm, 2),
            ("sglang", Some(&"serve"), _) => (Dialect::Sglang, 2),
            (python, Some(&"-m"), Some(module)) if python.starts_with("python") => {
                (of_module(module)?, 3)
            }
            _ => return None,
        };
        Some(Self {
            dialect,
            program: argv[..length].to_vec(),
            args: argv[length..].to_vec(),
        })
    }

    /// Recognises the first server call in a shell script; `value` gives the variables of the container.
    pub fn in_script<'v>(script: &str, value: impl Fn(&str) -> Option<&'v str>) -> Option<Self> {
        let joined = script.replace("\\\n", " ");
        let mut lines = joined.split(['\n', ';', '|', '&']);
        lines.find_map(|line| Self::in_words(&words(line, &value)))
    }

    fn in_words(words: &[String]) -> Option<Self> {
        (0..words.len()).find_map(|start| Self::parse(&words[start..]))
    }

    /// The call on the pod's own address: `--host` is added, or moved there from "all addresses".
    #[must_use]
    pub fn on(mut self, address: IpAddr) -> Self {
        self.args = on_address(self.args, address);
        self
    }

    /// The whole command line.
    pub fn argv(self) -> Vec<String> {
        let mut argv = self.program;
        argv.extend(self.args);
        argv
    }
}

fn of_module(module: &str) -> Option<Dialect> {
    if module.starts_with("vllm.entrypoints.") {
        Some(Dialect::Vllm)
    } else if module.starts_with("sglang.launch_server") {
        Some(Dialect::Sglang)
    } else {
        None
    }
}

/// Engine flags with `--host` set to `address`, unless they name another single address.
pub fn on_address(mut args: Vec<String>, address: IpAddr) -> Vec<String> {
    let address = address.to_string();
    let everywhere = |host: &str| matches!(host, "0.0.0.0" | "::" | "" | "*");
    let mut found = false;
    for index in 0..args.len() {
        if args[index] == "--host" {
            found = true;
            if let Some(host) = args.get_mut(index + 1).filter(|host| everywhere(host)) {
                host.clone_from(&address);
            }
        } else if let Some(host) = args[index].strip_prefix("--host=") {
            found = true;
            if everywhere(host) {
                args[index] = format!("--host={address}");
            }
        }
    }
    if !found {
        args.extend(["--host".to_owned(), address]);
    }
    args
}

/// A script whose engine listens on `address`, by the same rules; the rest of the script is untouched.
pub fn script_on_address(script: &str, address: IpAddr) -> String {
    let mut out = script.to_owned();
    for everywhere in ["0.0.0.0", "::"] {
        for glue in [" ", "="] {
            out = out.replace(
                &format!("--host{glue}{everywhere}"),
                &format!("--host{glue}{address}"),
            );
        }
    }
    if out.contains("--host ") || out.contains("--host=") {
        return out;
    }
    let calls = [
        "vllm serve",
        "sglang serve",
        "vllm.entrypoints.openai.api_server",
        "sglang.launch_server",
    ];
    match calls
        .iter()
        .find_map(|call| out.find(call).map(|at| at + call.len()))
    {
        Some(at) => {
            out.insert_str(at, &format!(" --host {address}"));
            out
        }
        None => out,
    }
}

/// Splits a line of shell as far as engine calls need it: quotes, backslashes, `$NAME` and `${NAME}`.
fn words<'v>(line: &str, value: &impl Fn(&str) -> Option<&'v str>) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', quote) if quote != Some('\'') => {
                word.get_or_insert_default().extend(chars.next());
            }
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, Some(open)) if c == open => quote = None,
            ('$', quote) if quote != Some('\'') => {
                let braced = chars.next_if_eq(&'{').is_some();
                let mut name = String::new();
                while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    name.push(c);
                }
                if braced {
                    chars.by_ref().find(|c| *c == '}');
                }
                word.get_or_insert_default()
                    .push_str(value(&name).unwrap_or_default());
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}
