//! From method and path to a handler.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;

use super::respond::{Answer, ApiError, detail, empty, full, json, text};
use super::{Call, Server, VLLM_VERSION};
use crate::config::Dialect;
use crate::faults::{Fate, Faults, Verdict};
use crate::handover::{BLOCKS, ROOMS};
use crate::metrics;

/// Largest body taken; several times the longest context there is.
const MAX_BODY: usize = 64 << 20;

/// What a path stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    Chat,
    Completion,
    Responses,
    Embeddings,
    Generate,
    Models,
    Tokenize,
    Detokenize,
    Health,
    HealthGenerate,
    Ping,
    Version,
    Metrics,
    LoadAdapter,
    UnloadAdapter,
    ResetCache,
    ModelInfo,
    ServerInfo,
    Faults,
    Blocks,
    Rooms,
    Sockets,
}

/// Paths, who has them (both dialects if nobody is named), and how they are called.
#[rustfmt::skip]
const ROUTES: &[(&str, Option<Dialect>, &str, Endpoint)] = &[
    ("/v1/chat/completions", None, "POST", Endpoint::Chat),
    ("/v1/completions", None, "POST", Endpoint::Completion),
    ("/v1/responses", None, "POST", Endpoint::Responses),
    ("/v1/embeddings", None, "POST", Endpoint::Embeddings),
    ("/v1/models", None, "GET", Endpoint::Models),
    ("/tokenize", None, "POST", Endpoint::Tokenize),
    ("/v1/tokenize", Some(Dialect::Sglang), "POST", Endpoint::Tokenize),
    ("/detokenize", None, "POST", Endpoint::Detokenize),
    ("/v1/detokenize", Some(Dialect::Sglang), "POST", Endpoint::Detokenize),
    ("/health", None, "GET", Endpoint::Health),
    ("/health_generate", Some(Dialect::Sglang), "GET", Endpoint::HealthGenerate),
    ("/ping", None, "GET", Endpoint::Ping),
    ("/ping", None, "POST", Endpoint::Ping),
    ("/version", Some(Dialect::Vllm), "GET", Endpoint::Version),
    ("/metrics", None, "GET", Endpoint::Metrics),
    ("/v1/load_lora_adapter", None, "POST", Endpoint::LoadAdapter),
    ("/v1/unload_lora_adapter", None, "POST", Endpoint::UnloadAdapter),
    ("/load_lora_adapter", Some(Dialect::Sglang), "POST", Endpoint::LoadAdapter),
    ("/unload_lora_adapter", Some(Dialect::Sglang), "POST", Endpoint::UnloadAdapter),
    ("/reset_prefix_cache", Some(Dialect::Vllm), "POST", Endpoint::ResetCache),
    ("/flush_cache", Some(Dialect::Sglang), "POST", Endpoint::ResetCache),
    ("/flush_cache", Some(Dialect::Sglang), "GET", Endpoint::ResetCache),
    ("/get_model_info", Some(Dialect::Sglang), "GET", Endpoint::ModelInfo),
    ("/get_server_info", Some(Dialect::Sglang), "GET", Endpoint::ServerInfo),
    ("/generate", Some(Dialect::Sglang), "POST", Endpoint::Generate),
    ("/sim/faults", None, "GET", Endpoint::Faults),
    ("/sim/faults", None, "POST", Endpoint::Faults),
    (BLOCKS, Some(Dialect::Vllm), "GET", Endpoint::Blocks),
    (ROOMS, Some(Dialect::Sglang), "GET", Endpoint::Rooms),
    ("/sim/sockets", None, "GET", Endpoint::Sockets),
];

impl Endpoint {
    /// Whether faults of inference befall it.
    fn infers(self) -> bool {
        matches!(
            self,
            Self::Chat | Self::Completion | Self::Responses | Self::Embeddings | Self::Generate
        )
    }

    /// Whether it can be called while the model is still loading.
    fn always(self) -> bool {
        self == Self::Faults
    }
}

/// What a path and a method lead to.
enum Found {
    Nothing,
    /// The path is there, for another method.
    OtherMethod(&'static str),
    Endpoint(&'static str, Endpoint),
}

fn find(dialect: Dialect, path: &str, method: &Method) -> Found {
    let mut found = Found::Nothing;
    for &(known, owner, called, endpoint) in ROUTES {
        if known != path || owner.is_some_and(|owner| owner != dialect) {
            continue;
        }
        if called == method.as_str() {
            return Found::Endpoint(known, endpoint);
        }
        found = Found::OtherMethod(known);
    }
    found
}

/// Answers a request; the only thing that keeps it from an answer is a fault.
pub(super) async fn handle(
    server: Arc<Server>,
    local: SocketAddr,
    request: Request<Incoming>,
) -> Result<Answer, Infallible> {
    let (parts, body) = request.into_parts();
    let dialect = server.handle.shared.config.dialect;
    let (path, answer) = match find(dialect, parts.uri.path(), &parts.method) {
        Found::Nothing => ("none", detail(StatusCode::NOT_FOUND)),
        Found::OtherMethod(path) => (path, detail(StatusCode::METHOD_NOT_ALLOWED)),
        Found::Endpoint(path, endpoint) => {
            let answer = match admitted(&server, endpoint, local, &parts) {
                Err(refusal) => *refusal,
                Ok(call) => dispatch(&server, endpoint, &parts, &call, body).await,
            };
            (path, answer)
        }
    };
    Ok(counted(&server, path, &parts.method, answer))
}

fn counted(server: &Server, path: &'static str, method: &Method, answer: Answer) -> Answer {
    let method = match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        _ => "OTHER",
    };
    tracing::debug!(method, path, status = answer.status().as_u16(), "answered");
    // The probes themselves are not counted, as with the real engines.
    if !matches!(path, "/metrics" | "/health" | "/ping" | "/version") && !path.starts_with("/sim/")
    {
        let status = answer.status().as_u16();
        let shared = &server.handle.shared;
        shared.with_metrics(|metrics| metrics.record_http(path, method, status));
    }
    answer
}

/// Readiness and keys, and the fate of what gets through.
fn admitted(
    server: &Server,
    endpoint: Endpoint,
    local: SocketAddr,
    request: &Parts,
) -> Result<Call, Box<Answer>> {
    let shared = &server.handle.shared;
    if !shared.is_ready() && !endpoint.always() {
        return Err(Box::new(empty(StatusCode::SERVICE_UNAVAILABLE)));
    }
    let keys = &shared.config.api_keys;
    if !keys.is_empty() && request.uri.path().starts_with("/v1/") {
        let given = request
            .headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let key = given.and_then(|value| value.strip_prefix("Bearer "));
        if !key.is_some_and(|key| keys.iter().any(|known| known == key)) {
            let refusal = json(StatusCode::UNAUTHORIZED, "{\"error\":\"Unauthorized\"}");
            return Err(Box::new(refusal));
        }
    }
    let fate = if endpoint.infers() {
        shared.next_fate()
    } else {
        Fate::default()
    };
    Ok(Call::new(&request.headers, local, fate))
}

async fn dispatch(
    server: &Server,
    endpoint: Endpoint,
    request: &Parts,
    call: &Call,
    body: Incoming,
) -> Answer {
    let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
        let message = format!("The body is longer than {MAX_BODY} bytes or was cut off.");
        return ApiError::bad_request(message).into_answer();
    };
    let body = body.to_bytes();
    if let Some(answer) = suffer(server, call).await {
        return answer;
    }
    let query = request.uri.query().unwrap_or_default();
    let answer = match endpoint {
        Endpoint::Chat if server.generates() => server.chat(call, body).await,
        Endpoint::Completion if server.generates() => server.completion(call, body).await,
        Endpoint::Responses if server.generates() => server.responses(call, body).await,
        Endpoint::Embeddings if !server.generates() => server.embeddings(call, body).await,
        Endpoint::Generate => server.native_generate(call, body).await,
        Endpoint::Tokenize => server.tokenize(&body),
        Endpoint::Detokenize => server.detokenize(&body),
        Endpoint::LoadAdapter => server.load_adapter(&body),
        Endpoint::UnloadAdapter => server.unload_adapter(&body).await,
        Endpoint::Faults if request.method == Method::POST => server.set_faults(&body),
        Endpoint::ResetCache => Ok(server.reset_cache().await),
        Endpoint::Blocks => Ok(server.give_blocks(query).await),
        Endpoint::Rooms => Ok(server.open_room(query)),
        // The model is for the other task.
        Endpoint::Chat | Endpoint::Completion | Endpoint::Responses | Endpoint::Embeddings => {
            Ok(detail(StatusCode::NOT_FOUND))
        }
        _ => Ok(server.inform(endpoint)),
    };
    answer.unwrap_or_else(ApiError::into_answer)
}

/// Lets the faults act; the answer they give, if they do.
async fn suffer(server: &Server, call: &Call) -> Option<Answer> {
    if !call.fate.delay.is_zero() {
        tokio::time::sleep(call.fate.delay).await;
    }
    match call.fate.verdict {
        Verdict::Serve => None,
        Verdict::Refuse(status) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            Some(ApiError::new(status, "The simulated engine was told to fail.").into_answer())
        }
        Verdict::Hang => std::future::pending().await,
        Verdict::Die => {
            tracing::error!("out of memory, as told");
            server.handle.shared.death().cancel();
            std::future::pending().await
        }
    }
}

impl Server {
    /// Endpoints that only tell.
    fn inform(&self, endpoint: Endpoint) -> Answer {
        let unhealthy = self.handle.shared.faults().unhealthy;
        match endpoint {
            Endpoint::Models => self.models(),
            Endpoint::Health | Endpoint::HealthGenerate if unhealthy => {
                empty(StatusCode::SERVICE_UNAVAILABLE)
            }
            Endpoint::Version => {
                let body = format!("{{\"version\":\"{VLLM_VERSION}\"}}");
                json(StatusCode::OK, body)
            }
            Endpoint::ModelInfo => self.model_info(),
            Endpoint::ServerInfo => self.server_info(),
            Endpoint::Metrics => self.metrics(),
            Endpoint::Faults => self.show_faults(),
            Endpoint::Sockets => self.show_sockets(),
            _ => empty(StatusCode::OK),
        }
    }

    fn metrics(&self) -> Answer {
        let shared = &self.handle.shared;
        // Copied out, so that the batch loop does not wait for the text.
        let metrics = shared.with_metrics(|metrics| metrics.clone());
        let body = metrics.render(&shared.config);
        full(StatusCode::OK, metrics::CONTENT_TYPE, body)
    }

    async fn reset_cache(&self) -> Answer {
        let done = self.handle.reset_cache().await;
        match (self.handle.shared.config.dialect, done) {
            (Dialect::Vllm, _) => empty(StatusCode::OK),
            (Dialect::Sglang, true) => text(StatusCode::OK, "Cache flushed.\n"),
            (Dialect::Sglang, false) => text(
                StatusCode::BAD_REQUEST,
                "Requests are running; the cache stays.\n",
            ),
        }
    }

    /// Where else the engine listens, for those who let the system choose its ports.
    fn show_sockets(&self) -> Answer {
        let mut out = Vec::new();
        super::json::value(&mut out, &self.sockets);
        json(StatusCode::OK, out)
    }

    fn show_faults(&self) -> Answer {
        let mut out = Vec::new();
        super::json::value(&mut out, &self.handle.shared.faults());
        json(StatusCode::OK, out)
    }

    fn set_faults(&self, body: &[u8]) -> Result<Answer, ApiError> {
        let faults: Faults = serde_json::from_slice(body)
            .map_err(|error| ApiError::bad_request(error.to_string()))?;
        if let Some(member) = faults.fault() {
            let message = format!("{member} is out of range");
            return Err(ApiError::bad_request(message).at(member));
        }
        let dies = faults.out_of_memory;
        self.handle.shared.set_faults(faults);
        tracing::info!(dies, "faults changed");
        Ok(self.show_faults())
    }
}
