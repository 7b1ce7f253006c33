//! Which route answers for a model name.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use kthena_api::model_route::{ModelRoute, RateLimit, SessionSticky};

use crate::rule::{RouteFacts, Rule, Target};

/// A `ModelRoute`, compiled.
#[derive(Debug)]
pub struct Route {
    key: Arc<str>,
    created: Option<Timestamp>,
    version: Version,
    base: Option<Arc<str>>,
    adapters: Vec<Arc<str>>,
    attached: bool,
    rules: Vec<Rule>,
    sticky: Option<SessionSticky>,
    rate_limit: Option<RateLimit>,
}

/// A resource version: numbers by value and before all other texts, so that the order is total.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Version {
    Number(u64),
    Text(String),
}

/// What was decided for a request.
#[derive(Debug, Clone, Copy)]
pub struct Selection<'t> {
    /// The route that matched.
    pub route: &'t Route,
    /// Position of the rule within the route.
    pub rule: usize,
    /// The target drawn; never [`Target::Malformed`].
    pub target: &'t Target,
    /// The model name is an adapter of the route, not its base model.
    pub adapter: bool,
}

/// A model name whose tokens are limited.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limited<'t> {
    /// The name.
    pub name: &'t Arc<str>,
    /// The name it shares its limit with: the base model of an adapter, otherwise its own.
    pub bucket: &'t Arc<str>,
    /// The limit; the same for all that share it.
    pub limit: &'t RateLimit,
}

/// Routes by the names they answer for.
#[derive(Debug, Default)]
pub struct RouteTable {
    base: HashMap<Arc<str>, Vec<Arc<Route>>>,
    adapters: HashMap<Arc<str>, Vec<Arc<Route>>>,
}

impl Route {
    /// Compiles `object`. Total: what admission would refuse becomes a rule that matches nothing.
    pub fn compile(object: &ModelRoute) -> Self {
        let meta = &object.metadata;
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let name = meta.name.as_deref().unwrap_or_default();
        let named = |text: &String| (!text.is_empty()).then(|| Arc::from(text.as_str()));
        Self {
            key: format!("{namespace}/{name}").into(),
            created: meta.creation_timestamp.as_ref().map(|time| time.0),
            version: Version::parse(meta.resource_version.as_deref().unwrap_or_default()),
            base: object.spec.model_name.as_ref().and_then(named),
            adapters: object
                .spec
                .lora_adapters
                .iter()
                .flatten()
                .filter_map(named)
                .collect(),
            attached: object
                .spec
                .parent_refs
                .as_ref()
                .is_some_and(|refs| !refs.is_empty()),
            rules: object
                .spec
                .rules
                .iter()
                .map(|rule| Rule::compile(namespace, rule))
                .collect(),
            sticky: object.spec.session_sticky.clone(),
            rate_limit: object.spec.rate_limit.clone(),
        }
    }

    /// `namespace/name`.
    pub fn key(&self) -> &Arc<str> {
        &self.key
    }

    /// The rules in order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// How sessions are told apart, if they stay on their pods.
    pub fn sticky(&self) -> Option<&SessionSticky> {
        self.sticky.as_ref()
    }

    /// Oldest first; equals by resource version, then by key.
    fn by_age(&self, other: &Self) -> Ordering {
        self.created
            .cmp(&other.created)
            .then_with(|| self.version.cmp(&other.version))
            .then_with(|| self.key.cmp(&other.key))
    }

    /// The first matching rule and the target drawn from it. A draw that fails gives the request to the next route,
    /// not to the next rule.
    fn select(&self, facts: &RouteFacts<'_>, draw: u64) -> Option<(usize, &Target)> {
        // Without Gateway API no request arrives on a Gateway, so a route bound to one is not eligible.
        if self.attached {
            return None;
        }
        let (position, rule) = self
            .rules
            .iter()
            .enumerate()
            .find(|(_, rule)| rule.matches(facts))?;
        Some((position, rule.pick(draw)?))
    }
}

impl Version {
    fn parse(text: &str) -> Self {
        text.parse()
            .map_or_else(|_| Self::Text(text.to_owned()), Self::Number)
    }
}

impl RouteTable {
    /// Indexes `routes`; their order does not matter.
    pub fn build<'r>(routes: impl IntoIterator<Item = &'r Arc<Route>>) -> Self {
        let mut table = Self::default();
        for route in routes {
            if let Some(base) = &route.base {
                table
                    .base
                    .entry(Arc::clone(base))
                    .or_default()
                    .push(Arc::clone(route));
            }
            let mut seen = BTreeSet::new();
            for adapter in route
                .adapters
                .iter()
                .filter(|adapter| seen.insert(Arc::clone(adapter)))
            {
                table
                    .adapters
                    .entry(Arc::clone(adapter))
                    .or_default()
                    .push(Arc::clone(route));
            }
        }
        for candidates in table.base.values_mut().chain(table.adapters.values_mut()) {
            candidates.sort_by(|a, b| a.by_age(b));
        }
        table
    }

    /// The target of a request. Base names win over adapter names: a model that is the base of any route is never
    /// looked up as an adapter.
    pub fn select(&self, facts: &RouteFacts<'_>, draw: u64) -> Option<Selection<'_>> {
        let (adapter, mut routes) = self.routes(facts.model);
        routes.find_map(|route| {
            let (rule, target) = route.select(facts, draw)?;
            Some(Selection {
                route,
                rule,
                target,
                adapter,
            })
        })
    }

    /// Every target of the routes that answer for `model`, and whether it is the name of an adapter.
    pub fn targets(&self, model: &str) -> (bool, impl Iterator<Item = &Target>) {
        let (adapter, routes) = self.routes(model);
        let targets = routes.flat_map(|route| route.rules.iter().flat_map(Rule::targets));
        (adapter, targets)
    }

    /// Whether `model` is not the name of a base, and the routes that answer for it, oldest first.
    pub fn routes(&self, model: &str) -> (bool, impl Iterator<Item = &Arc<Route>>) {
        let base = self.base.get(model);
        let routes = base.or_else(|| self.adapters.get(model));
        (base.is_none(), routes.into_iter().flatten())
    }

    /// Every name whose tokens are limited. Of the routes of a name the oldest that has a limit decides.
    pub fn limited(&self) -> impl Iterator<Item = Limited<'_>> {
        let bases = self.base.iter().filter_map(|(name, routes)| {
            Some(Limited {
                name,
                bucket: name,
                limit: limit_of(routes)?.1,
            })
        });
        let adapters = self.adapters.iter().filter_map(|(name, routes)| {
            if self.base.contains_key(name) {
                return None;
            }
            let (route, own) = limit_of(routes)?;
            let base = route.base.as_ref();
            let shared = base.and_then(|base| Some((base, limit_of(self.base.get(base)?)?.1)));
            let (bucket, limit) = shared.unwrap_or((name, own));
            Some(Limited {
                name,
                bucket,
                limit,
            })
        });
        bases.chain(adapters)
    }

    /// Whether some route names `model`, as base or as adapter. Returns the interned name.
    pub fn known(&self, model: &str) -> Option<&Arc<str>> {
        let base = self.base.get_key_value(model);
        base.or_else(|| self.adapters.get_key_value(model))
            .map(|(name, _)| name)
    }

    /// Every model name, base or adapter, once, sorted bytewise.
    pub fn models(&self) -> Vec<&str> {
        let names: BTreeSet<&str> = self
            .base
            .keys()
            .chain(self.adapters.keys())
            .map(AsRef::as_ref)
            .collect();
        names.into_iter().collect()
    }
}

/// The oldest of `routes`, which are in order, that has a limit.
fn limit_of(routes: &[Arc<Route>]) -> Option<(&Route, &RateLimit)> {
    routes
        .iter()
        .find_map(|route| Some((&**route, route.rate_limit.as_ref()?)))
}

#[cfg(test)]
mod tests;
