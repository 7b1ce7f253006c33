//! What the router's own tokenizers did, and whether engines agree with them.

use crate::text::{escaped, head, sample};

/// One model's tokenizer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenizerFigures {
    /// The name engines know the model by.
    pub model: String,
    /// Prompts by what became of them.
    pub prompts: Vec<(&'static str, u64)>,
    /// What checks found, by kind of prompt.
    pub kinds: Vec<KindFigures>,
}

/// What checks found of one kind of prompts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KindFigures {
    /// `text`, `chat` or `tools`.
    pub kind: &'static str,
    /// The last answer of an engine was another than ours.
    pub differs: bool,
    /// Checks in which an engine had the same tokens.
    pub same: u64,
    /// Checks in which it had others.
    pub different: u64,
    /// Checks that no engine answered.
    pub unanswered: u64,
}

/// Families of all models; none if there are no tokenizers.
pub(super) fn write(tokenizers: &[TokenizerFigures], out: &mut String) {
    if tokenizers.is_empty() {
        return;
    }
    let help = "Prompts given to the router's own tokenizers.";
    head(out, "tokenizer_prompts_total", "counter", help);
    for tokenizer in tokenizers {
        let model = escaped(&tokenizer.model);
        for (result, count) in &tokenizer.prompts {
            let labels = format!("model=\"{model}\",result=\"{result}\"");
            sample(out, "tokenizer_prompts_total", &labels, count);
        }
    }
    let help = "Comparisons of the router's tokens with an engine's.";
    head(out, "tokenizer_checks_total", "counter", help);
    for (labels, kind) in kinds(tokenizers) {
        let results = [
            ("same", kind.same),
            ("different", kind.different),
            ("unanswered", kind.unanswered),
        ];
        for (result, count) in results {
            let labels = format!("{labels},result=\"{result}\"");
            sample(out, "tokenizer_checks_total", &labels, &count);
        }
    }
    let help = "Whether an engine made other tokens at the last comparison; its own answers are used then.";
    head(out, "tokenizer_differs", "gauge", help);
    for (labels, kind) in kinds(tokenizers) {
        sample(out, "tokenizer_differs", &labels, &u8::from(kind.differs));
    }
}

fn kinds(tokenizers: &[TokenizerFigures]) -> impl Iterator<Item = (String, &KindFigures)> {
    tokenizers.iter().flat_map(|tokenizer| {
        let model = escaped(&tokenizer.model);
        tokenizer.kinds.iter().map(move |kind| {
            let labels = format!("model=\"{model}\",kind=\"{}\"", kind.kind);
            (labels, kind)
        })
    })
}
