//! `ModelRoute`: which requests go to which model servers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::resource::custom_resource;

custom_resource! {
    /// Maps requests for a model, or for adapters of it, to model servers or external providers.
    ModelRoute, group: "networking.serving.volcano.sh", plural: "modelroutes",
    spec: ModelRouteSpec, status: ModelRouteStatus
}

/// What a `ModelRoute` asks for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelRouteSpec {
    /// Value of the request field `model` that selects this route. Immutable once set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_name: Option<String>,
    /// Other values of `model` that select it: names of `LoRA` adapters. At most 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora_adapters: Option<Vec<String>>,
    /// Gateways served; absent = the default listener and every Gateway of the route's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_refs: Option<Vec<ParentReference>>,
    /// Rules in order; the first that matches wins. At most 16, may be empty.
    #[serde(deserialize_with = "crate::resource::null_as_default")]
    pub rules: Vec<Rule>,
    /// Token limits; absent = unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// Keeps the requests of a session on one pod; absent = each request is placed on its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_sticky: Option<SessionSticky>,
}

/// A `ModelRoute` has no status fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRouteStatus {}

/// A Gateway, or one listener of it, that a route attaches to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ParentReference {
    /// Default `gateway.networking.k8s.io`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Default `Gateway`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Default: the route's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the Gateway.
    pub name: String,
    /// Name of one listener; absent = any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
    /// Port of one listener; absent = any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
}

/// A condition on requests and the targets of those that meet it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    /// Free text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Absent = every request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_match: Option<ModelMatch>,
    /// Where matching requests go, by weight. 1 to 16.
    #[serde(deserialize_with = "crate::resource::null_as_default")]
    pub target_models: Vec<TargetModel>,
}

/// Conditions on a request; all that are set must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelMatch {
    /// By header name, in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers: Option<BTreeMap<String, StringMatch>>,
    /// On the decoded URL path without query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<StringMatch>,
    /// On the request body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<BodyMatch>,
}

/// How a text is compared: exact wins over prefix, prefix over regex; none set matches anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StringMatch {
    /// The whole text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// The start of the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// RE2 syntax, searched anywhere in the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
}

/// Conditions on the request body.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BodyMatch {
    /// Exact value of the request field `model`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// One target of a rule: exactly one of the two names is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TargetModel {
    /// A `ModelServer` of the route's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_server_name: Option<String>,
    /// An `ExternalModelProvider` of the route's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_model_provider_name: Option<String>,
    /// Relative weight, 0 to 100; the API server defaults it to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<i32>,
}

/// Token limits per unit of time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RateLimit {
    /// At least 1; absent = unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_tokens_per_unit: Option<i32>,
    /// At least 1; absent = unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens_per_unit: Option<i32>,
    /// Default `second`.
    pub unit: RateLimitUnit,
    /// Shared between routers when it names a store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub global: Option<GlobalRateLimit>,
}

/// The unit of time of a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RateLimitUnit {
    /// 1 s.
    #[default]
    Second,
    /// 60 s.
    Minute,
    /// 3,600 s.
    Hour,
    /// 86,400 s.
    Day,
    /// 30 days.
    Month,
}

/// Where a limit that several routers share is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GlobalRateLimit {
    /// Present = shared; absent = each router limits on its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<RedisConfig>,
}

/// A Redis server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RedisConfig {
    /// `host:port`.
    pub address: String,
}

/// How sessions are told apart and for how long they stay on a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionSticky {
    /// Time after the last success for which a session stays bound, in seconds, at least 1. Default 10,800.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_affinity_seconds: Option<i32>,
    /// Where the session's key is looked for; the first value that is not empty wins. 1 to 16.
    #[serde(deserialize_with = "crate::resource::null_as_default")]
    pub sources: Vec<SessionSource>,
}

/// One place where the key of a session may stand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionSource {
    /// Which part of the request.
    #[serde(rename = "type")]
    pub kind: SessionSourceType,
    /// Name of the header, in any case, or of the parameter, cookie, field or claim.
    pub name: String,
}

/// A part of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionSourceType {
    /// A header.
    #[default]
    Header,
    /// A parameter of the URL's query.
    Query,
    /// A cookie.
    Cookie,
    /// A field of the request body; only `user` is looked for.
    Body,
    /// A claim of the token that the router has verified; nothing without authentication.
    #[serde(rename = "JWTClaim")]
    JwtClaim,
}
