//! What can be wrong with a model's files, and why a prompt has no tokens.

/// A file that cannot be used. Says which, where in it, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileFault {
    /// `tokenizer.json` is no tokenizer.
    #[error(
        "tokenizer.json: {problem}; expected the file that Hugging Face's fast tokenizers save: where a model has none, \
         AutoTokenizer.from_pretrained(MODEL).save_pretrained(FOLDER) writes it"
    )]
    Tokenizer {
        /// Where, and what was expected there.
        problem: String,
    },
    /// A file is not the JSON it should be.
    #[error("{file}: {problem}; fetch the model's file again")]
    Json {
        /// Its name in the folder.
        file: &'static str,
        /// Where, and what was expected there.
        problem: String,
    },
    /// A member has a value of another kind.
    #[error("{file}: {field}: expected {expected}; fetch the model's file again")]
    Field {
        /// The file's name in the folder.
        file: &'static str,
        /// The member, with the path to it.
        field: String,
        /// What may stand there.
        expected: &'static str,
    },
    /// Several templates, but none that is used without asking.
    #[error(
        "tokenizer_config.json: chat_template: no template of the list is named \"default\"; \
         put the one to be used into chat_template.jinja"
    )]
    NoDefault,
    /// A template cannot be compiled.
    #[error(
        "{field}: {problem}; correct it, or put a template that works into chat_template.jinja, which goes first"
    )]
    Template {
        /// The file, and the member where it is one.
        field: String,
        /// What and where.
        problem: String,
    },
}

/// Why a prompt has no tokens.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeFault {
    /// The body is not what the API takes; its engine will say so.
    #[error("the body cannot be read: {0}")]
    Malformed(String),
    /// The tokens depend on something that the router does not have.
    #[error("a prompt with {0} is for the engine to tokenize")]
    Unsupported(&'static str),
    /// The model's folder has no template for chats.
    #[error("the model has no chat template")]
    NoTemplate,
    /// The template refused the messages, or failed on them.
    #[error("the chat template failed: {0}")]
    Template(String),
    /// The tokenizer failed.
    #[error("the tokenizer failed: {0}")]
    Tokenizer(String),
}
