//! What a rule asks of a request, and where it sends it.

use std::sync::Arc;

use kthena_api::model_route::{ModelMatch, Rule as RawRule, TargetModel};

use crate::text_match::TextMatch;
use crate::weights::Weights;

/// Where the headers of a request are looked up.
pub trait HeaderSource {
    /// The first value of the header of this lower-case name.
    fn first(&self, name: &str) -> Option<&[u8]>;
}

/// A request without headers.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHeaders;

impl HeaderSource for NoHeaders {
    fn first(&self, _name: &str) -> Option<&[u8]> {
        None
    }
}

/// What routing may look at.
#[derive(Clone, Copy)]
pub struct RouteFacts<'a> {
    /// Value of the body's `model`, untrimmed.
    pub model: &'a str,
    /// URL path, percent-decoded, without the query.
    pub path: &'a [u8],
    /// The request's headers.
    pub headers: &'a dyn HeaderSource,
}

/// Where a request is sent: `namespace/name` of the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A `ModelServer`.
    Server(Arc<str>),
    /// An `ExternalModelProvider`.
    Provider(Arc<str>),
    /// Neither name or both are set: the draw fell on nothing.
    Malformed,
}

impl Target {
    fn of(namespace: &str, raw: &TargetModel) -> Self {
        let named = |name: &Option<String>| {
            name.as_deref()
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
        };
        match (
            named(&raw.model_server_name),
            named(&raw.external_model_provider_name),
        ) {
            (Some(server), None) => Self::Server(format!("{namespace}/{server}").into()),
            (None, Some(provider)) => Self::Provider(format!("{namespace}/{provider}").into()),
            _ => Self::Malformed,
        }
    }
}

/// One rule of a route, compiled.
#[derive(Debug)]
pub struct Rule {
    name: Option<String>,
    headers: Vec<(String, TextMatch)>,
    uri: Option<TextMatch>,
    model: Option<String>,
    targets: Vec<Target>,
    weights: Weights,
}

impl Rule {
    pub(crate) fn compile(namespace: &str, raw: &RawRule) -> Self {
        let none = ModelMatch::default();
        let wanted = raw.model_match.as_ref().unwrap_or(&none);
        let headers = wanted.headers.iter().flatten();
        Self {
            name: raw.name.clone(),
            headers: headers
                .map(|(name, text)| (name.to_ascii_lowercase(), TextMatch::compile(text)))
                .collect(),
            uri: wanted.uri.as_ref().map(TextMatch::compile),
            model: wanted.body.as_ref().and_then(|body| body.model.clone()),
            targets: raw
                .target_models
                .iter()
                .map(|target| Target::of(namespace, target))
                .collect(),
            weights: Weights::of(&raw.target_models),
        }
    }

    /// The user's name for the rule.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Where it may send a request.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &Target> {
        self.targets.iter()
    }

    /// Whether all conditions hold.
    pub fn matches(&self, facts: &RouteFacts<'_>) -> bool {
        self.model
            .as_deref()
            .is_none_or(|model| model == facts.model)
            && self.uri.as_ref().is_none_or(|uri| uri.matches(facts.path))
            && self
                .headers
                .iter()
                .all(|(name, text)| text.matches(facts.headers.first(name).unwrap_or_default()))
    }

    /// The target `draw` falls on, if it names exactly one object.
    pub fn pick(&self, draw: u64) -> Option<&Target> {
        let target = self.targets.get(self.weights.pick(draw)?)?;
        (*target != Target::Malformed).then_some(target)
    }
}
