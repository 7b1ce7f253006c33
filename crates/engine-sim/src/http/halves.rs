//! Requests of which another engine does one half.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use kthena_wire::sampling::Sampling;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::Server;
use super::respond::{Answer, ApiError, Broken, empty};
use crate::batch::FinishReason;
use crate::config::{Dialect, LoadFailure, Role};
use crate::core::{Half, READY};
use crate::handover::{BLOCKS, FetchError, ROOMS, fetch};

/// `kv_transfer_params` of a request, as the other engine made them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Transfer {
    do_remote_decode: bool,
    do_remote_prefill: bool,
    remote_request_id: Option<String>,
    remote_host: Option<String>,
    remote_port: Option<u16>,
}

impl Server {
    /// What of a request is done here. It returns when that can begin.
    ///
    /// With it comes what a decode engine needs to fetch the blocks, where some are kept.
    pub(super) async fn half(
        &self,
        sampling: &Sampling,
        finish: FinishReason,
        prompt_tokens: usize,
        local: SocketAddr,
    ) -> Result<(Half, Option<Value>), ApiError> {
        let config = &self.handle.shared.config;
        if config.dialect == Dialect::Sglang {
            return Ok((self.half_of_room(sampling).await?, None));
        }
        let Some(params) = &sampling.kv_transfer_params else {
            return Ok((Half::Both, None));
        };
        let params = Transfer::deserialize(params)
            .map_err(|error| ApiError::bad_request(error.to_string()).at("kv_transfer_params"))?;
        if params.do_remote_prefill {
            return Ok((self.fetched(&params).await?, None));
        }
        // Only an answer that was cut off is to go on elsewhere.
        if params.do_remote_decode && finish == FinishReason::Length {
            let key = self.random_id("");
            let offer = self.kept_blocks(&key, prompt_tokens, local);
            return Ok((Half::Keep(key), Some(offer)));
        }
        Ok((Half::Both, None))
    }

    /// What a decode engine is told, with the members NIXL has.
    fn kept_blocks(&self, key: &str, prompt_tokens: usize, local: SocketAddr) -> Value {
        let config = &self.handle.shared.config;
        let size = config.batch.cache.block_size as usize;
        let blocks = prompt_tokens.div_ceil(size);
        json!({
            "do_remote_prefill": true,
            "do_remote_decode": false,
            "remote_block_ids": (1..=blocks).collect::<Vec<_>>(),
            "remote_engine_id": format!("{:016x}", self.engine_id),
            "remote_request_id": key,
            "remote_host": local.ip().to_string(),
            "remote_port": local.port(),
            "tp_size": config.batch.model.tensor_parallel,
        })
    }

    async fn fetched(&self, params: &Transfer) -> Result<Half, ApiError> {
        let config = &self.handle.shared.config;
        let lease = match (
            &params.remote_request_id,
            &params.remote_host,
            params.remote_port,
        ) {
            (Some(key), Some(host), Some(port)) if is_key(key) => {
                fetch(host, port, &format!("{BLOCKS}?key={key}")).await
            }
            _ => Err(FetchError::Gone {
                address: "the engine that is not named in kv_transfer_params".to_owned(),
            }),
        };
        match (lease, config.handover.load_failure) {
            (Ok(lease), _) => Ok(Half::Fetch(Some(lease))),
            (Err(error), LoadFailure::Recompute) => {
                tracing::warn!(%error, "the prompt is computed here instead");
                Ok(Half::Both)
            }
            (Err(error), LoadFailure::Fail) => Err(failed(&error.to_string())),
        }
    }

    async fn half_of_room(&self, sampling: &Sampling) -> Result<Half, ApiError> {
        let config = &self.handle.shared.config;
        if config.role == Role::Aggregated {
            return Ok(Half::Both);
        }
        let Some(room) = sampling.bootstrap_room else {
            let message = "A disaggregated request needs a bootstrap_room.";
            return Err(ApiError::bad_request(message).at("bootstrap_room"));
        };
        let patience = scaled(config.handover.meet, config.speed);
        if config.role == Role::Prefill {
            let meeting = tokio::time::timeout(patience, self.rooms.enter_prefill(room));
            return match meeting.await {
                Ok(Some(offer)) => Ok(Half::Send(offer)),
                _ => Err(failed("no decode engine came to the room")),
            };
        }
        let Some(host) = &sampling.bootstrap_host else {
            let message = "A decode request needs the bootstrap_host of its prefill half.";
            return Err(ApiError::bad_request(message).at("bootstrap_host"));
        };
        let port = sampling.bootstrap_port;
        let port = port.unwrap_or(config.handover.bootstrap_port);
        let path = format!("{ROOMS}?room={room}");
        let meeting = tokio::time::timeout(patience, fetch(host, port, &path));
        match meeting.await {
            Ok(Ok(lease)) => Ok(Half::Fetch(Some(lease))),
            Ok(Err(error)) => Err(failed(&error.to_string())),
            Err(_) => Err(failed("the prefill half did not come to the room")),
        }
    }

    /// Another engine comes for blocks kept here.
    pub(super) async fn give_blocks(&self, query: &str) -> Answer {
        let key = query.strip_prefix("key=").unwrap_or_default().to_owned();
        let (offer, taken) = mpsc::channel(1);
        // There is room: nothing else was sent.
        let _ = offer.try_send(READY);
        if self.handle.collect(key, offer).await {
            held_open(taken)
        } else {
            empty(StatusCode::NOT_FOUND)
        }
    }

    /// The decode half of a request comes to its room.
    pub(super) fn open_room(&self, query: &str) -> Answer {
        let room = query.strip_prefix("room=").map(str::parse);
        let Some(Ok(room)) = room else {
            return empty(StatusCode::BAD_REQUEST);
        };
        let (offer, taken) = mpsc::channel(1);
        self.rooms.enter_decode(room, offer);
        held_open(taken)
    }
}

/// An answer that lasts until either side lets go.
fn held_open(taken: mpsc::Receiver<Bytes>) -> Answer {
    Response::new(HeldOpen(taken).boxed_unsync())
}

struct HeldOpen(mpsc::Receiver<Bytes>);

impl Body for HeldOpen {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let data = self.0.poll_recv(context);
        data.map(|data| data.map(|data| Ok(Frame::data(data))))
    }
}

fn failed(reason: &str) -> ApiError {
    let message = format!("KV transfer failed: {reason}");
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, message)
}

/// Keys are made by [`Server::random_id`]; anything else must not get into a path.
fn is_key(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn scaled(time: Duration, speed: f64) -> Duration {
    if speed.is_finite() {
        time.div_f64(speed)
    } else {
        time
    }
}
