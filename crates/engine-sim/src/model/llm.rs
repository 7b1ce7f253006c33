//! Profiles of language models, recognised by name.
//!
//! Shapes (layers, heads, sizes) are those of the models' published `config.json`.

/// How a weight or a cache entry is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 16 bits.
    Half,
    /// 8 bits.
    Byte,
    /// 4 bits with scales.
    Nibble,
}

impl Precision {
    /// Bytes of one weight.
    pub fn bytes(self) -> f64 {
        match self {
            Self::Half => 2.0,
            Self::Byte => 1.0,
            // Scales and zero points add about a tenth.
            Self::Nibble => 0.55,
        }
    }
}

/// What of a model matters to time and memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ModelProfile {
    /// The name of the profile.
    pub name: &'static str,
    /// All parameters.
    pub params: f64,
    /// Parameters a token passes through; fewer than `params` in a mixture of experts.
    pub active_params: f64,
    /// Parameters of the input embedding that are stored but not read for a step (zero when the
    /// output layer shares them).
    pub embedding_params: f64,
    /// Layers.
    pub layers: u32,
    /// Width of the residual stream.
    pub hidden: u32,
    /// Query heads times their width.
    pub attention_width: u32,
    /// Numbers cached per token and layer: keys and values together.
    pub kv_width: u32,
    /// Experts a token is routed to, and experts in all; one of one when dense.
    pub experts: (u32, u32),
    /// Longest context the model was made for, tokens.
    pub max_context: u32,
    /// How weights are stored.
    pub precision: Precision,
}

const fn dense(
    name: &'static str,
    params: (f64, f64),
    layers: u32,
    hidden: u32,
    attention_width: u32,
    kv_width: u32,
    max_context: u32,
) -> ModelProfile {
    ModelProfile {
        name,
        params: params.0 * 1e9,
        active_params: params.0 * 1e9,
        embedding_params: params.1 * 1e9,
        layers,
        hidden,
        attention_width,
        kv_width,
        experts: (1, 1),
        max_context,
        precision: Precision::Half,
    }
}

// (parameters, of which input embedding) in 1e9, layers, hidden, query width, kv width, context.
const QWEN_05B: ModelProfile = dense("qwen-0.5b", (0.494, 0.0), 24, 896, 896, 256, 32_768);
const QWEN_15B: ModelProfile = dense("qwen-1.5b", (1.544, 0.0), 28, 1536, 1536, 512, 32_768);
const LLAMA_1B: ModelProfile = dense("llama-1b", (1.236, 0.0), 16, 2048, 2048, 1024, 131_072);
const QWEN_3B: ModelProfile = dense("qwen-3b", (3.086, 0.0), 36, 2048, 2048, 512, 32_768);
const QWEN_4B: ModelProfile = dense("qwen-4b", (4.022, 0.0), 36, 2560, 4096, 2048, 40_960);
const QWEN_7B: ModelProfile = dense("qwen-7b", (7.616, 0.545), 28, 3584, 3584, 1024, 32_768);
const LLAMA2_7B: ModelProfile = dense("llama2-7b", (6.738, 0.131), 32, 4096, 4096, 8192, 4096);
const MISTRAL_7B: ModelProfile = dense("mistral-7b", (7.248, 0.134), 32, 4096, 4096, 2048, 32_768);
const LLAMA_8B: ModelProfile = dense("llama-8b", (8.030, 0.525), 32, 4096, 4096, 2048, 131_072);
const QWEN_8B: ModelProfile = dense("qwen-8b", (8.191, 0.622), 36, 4096, 4096, 2048, 40_960);
const LLAMA2_13B: ModelProfile = dense("llama2-13b", (13.016, 0.164), 40, 5120, 5120, 10_240, 4096);
const QWEN_14B: ModelProfile = dense("qwen-14b", (14.770, 0.779), 48, 5120, 5120, 2048, 32_768);
const QWEN_32B: ModelProfile = dense("qwen-32b", (32.764, 0.779), 64, 5120, 5120, 2048, 32_768);
const LLAMA_70B: ModelProfile = dense("llama-70b", (70.554, 1.051), 80, 8192, 8192, 2048, 131_072);
const QWEN_72B: ModelProfile = dense("qwen-72b", (72.706, 1.246), 80, 8192, 8192, 2048, 32_768);
const LLAMA_405B: ModelProfile = dense(
    "llama-405b",
    (405.9, 2.10),
    126,
    16_384,
    16_384,
    2048,
    131_072,
);

const MIXTRAL: ModelProfile = ModelProfile {
    active_params: 12.9e9,
    experts: (2, 8),
    ..dense("mixtral-8x7b", (46.7, 0.131), 32, 4096, 4096, 2048, 32_768)
};
const QWEN_30B_A3B: ModelProfile = ModelProfile {
    active_params: 3.35e9,
    experts: (8, 128),
    ..dense("qwen-30b-a3b", (30.5, 0.311), 48, 2048, 4096, 1024, 40_960)
};
/// Latent attention caches one vector of 576 numbers a layer instead of keys and values.
const DEEPSEEK_LITE: ModelProfile = ModelProfile {
    active_params: 2.4e9,
    experts: (6, 64),
    ..dense("deepseek-lite", (15.7, 0.21), 27, 2048, 3072, 576, 32_768)
};
const DEEPSEEK_V3: ModelProfile = ModelProfile {
    active_params: 37e9,
    experts: (8, 256),
    precision: Precision::Byte,
    ..dense("deepseek-v3", (671.0, 0.93), 61, 7168, 24_576, 576, 163_840)
};

/// The first entry whose words all occur in a name decides.
const BY_WORDS: &[(&[&str], ModelProfile)] = &[
    (&["mixtral"], MIXTRAL),
    (&["8x7b"], MIXTRAL),
    (&["30b-a3b"], QWEN_30B_A3B),
    (&["deepseek", "lite"], DEEPSEEK_LITE),
    (&["distill", "llama", "70b"], LLAMA_70B),
    (&["distill", "llama", "8b"], LLAMA_8B),
    (&["llama-2", "7b"], LLAMA2_7B),
    (&["llama2", "7b"], LLAMA2_7B),
    (&["llama-2", "13b"], LLAMA2_13B),
    (&["llama2", "13b"], LLAMA2_13B),
    (&["mistral", "7b"], MISTRAL_7B),
    (&["qwen", "72b"], QWEN_72B),
    (&["qwen", "8b"], QWEN_8B),
];

/// By the size in a name, largest family first.
const BY_SIZE: &[(f64, ModelProfile)] = &[
    (0.8, QWEN_05B),
    (1.3, LLAMA_1B),
    (2.2, QWEN_15B),
    (3.5, QWEN_3B),
    (5.0, QWEN_4B),
    (7.9, QWEN_7B),
    (10.0, LLAMA_8B),
    (13.5, LLAMA2_13B),
    (20.0, QWEN_14B),
    (50.0, QWEN_32B),
    (71.0, LLAMA_70B),
    (110.0, QWEN_72B),
    (f64::INFINITY, LLAMA_405B),
];

impl ModelProfile {
    /// The profile that fits `name` best. A name that says nothing is taken for a 7B model.
    pub fn by_name(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        let mut profile = Self::shape_of(&name);
        if let Some(precision) = precision_of(&name) {
            profile.precision = precision;
        }
        profile
    }

    /// The same model with its weights stored as `method` says (`fp8`, `awq`, …).
    #[must_use]
    pub fn quantized(mut self, method: &str) -> Self {
        self.precision = precision_of(&method.to_ascii_lowercase()).unwrap_or(self.precision);
        self
    }

    fn shape_of(name: &str) -> Self {
        let by_words = BY_WORDS
            .iter()
            .find(|(words, _)| words.iter().all(|word| has_word(name, word)));
        if let Some((_, profile)) = by_words {
            return *profile;
        }
        if let Some(size) = billions(name) {
            let entry = BY_SIZE.iter().find(|(limit, _)| size < *limit);
            return entry.map_or(LLAMA_405B, |(_, profile)| *profile);
        }
        if name.contains("deepseek") && (name.contains("v3") || name.contains("r1")) {
            return DEEPSEEK_V3;
        }
        QWEN_7B
    }

    /// Bytes of all weights.
    pub fn weight_bytes(&self) -> f64 {
        self.params * self.precision.bytes()
    }

    /// Bytes of keys and values of one token over all layers.
    pub fn kv_bytes_per_token(&self) -> f64 {
        f64::from(self.layers) * f64::from(self.kv_width) * Precision::Half.bytes()
    }

    /// Bytes one token of a step needs while it passes through a layer: both halves of the gated
    /// product, their result, and the residual stream with its copies, in 16 bits.
    ///
    /// vLLM 0.8.5 prints 4.35 GiB for steps of 32,768 tokens of Qwen2.5-7B, which is 142.5 kB each.
    pub fn activation_bytes_per_token(&self) -> f64 {
        let (hidden, attention) = (f64::from(self.hidden), f64::from(self.attention_width));
        let layers = f64::from(self.layers);
        let layer = (self.active_params - 2.0 * self.embedding_params) / layers;
        let projections = hidden * (2.0 * attention + f64::from(self.kv_width));
        // Three matrices of the feed-forward part make up the rest of a layer.
        let inner = ((layer - projections) / (3.0 * hidden)).max(0.0);
        Precision::Half.bytes() * (3.0 * inner + 4.0 * hidden)
    }

    /// Bytes of weights a step over `tokens` tokens reads: everything in a dense model, the experts
    /// that at least one token was routed to in a mixture.
    pub fn bytes_read(&self, tokens: f64) -> f64 {
        let stored = self.params - self.embedding_params;
        let (used, all) = (f64::from(self.experts.0), f64::from(self.experts.1));
        if self.experts.1 <= 1 {
            return stored * self.precision.bytes();
        }
        // Expert weights are what makes `params` exceed `active_params`.
        let experts = (self.params - self.active_params) / (1.0 - used / all);
        let untouched = (1.0 - used / all).powf(tokens.max(1.0));
        (stored - experts * untouched) * self.precision.bytes()
    }
}

fn precision_of(name: &str) -> Option<Precision> {
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    if has(&["awq", "gptq", "int4", "w4a16", "nf4", "4bit"]) {
        Some(Precision::Nibble)
    } else if has(&["fp8", "int8", "w8a8", "w8a16"]) {
        Some(Precision::Byte)
    } else {
        None
    }
}

/// Whether `word` occurs in `name` and, where it starts with a digit, is not the tail of a number.
fn has_word(name: &str, word: &str) -> bool {
    let digit = word.starts_with(|first: char| first.is_ascii_digit());
    name.match_indices(word).any(|(at, _)| {
        let before = name[..at].chars().next_back();
        !(digit && before.is_some_and(|last| last.is_ascii_digit() || last == '.'))
    })
}

/// The number in front of the first lone `b` of a name: 1.5 for `qwen2.5-1.5b-instruct`.
fn billions(name: &str) -> Option<f64> {
    for (at, _) in name.match_indices('b') {
        let after = name[at + 1..].chars().next();
        if after.is_some_and(char::is_alphanumeric) {
            continue;
        }
        let digits = name[..at]
            .rfind(|c: char| !(c.is_ascii_digit() || c == '.'))
            .map_or(0, |last| {
                last + name[last..].chars().next().map_or(1, char::len_utf8)
            });
        if let Ok(size) = name[digits..at].parse::<f64>() {
            return Some(size);
        }
    }
    None
}
