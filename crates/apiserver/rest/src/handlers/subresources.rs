//! What lies below an object: status, scale, binding, eviction, finalize and logs.

use std::sync::Arc;

use futures::StreamExt as _;
use http::{Method, Response, StatusCode};
use kthena_apiserver_objects::{ApiError, DeleteOptions, Store, meta, write::Part};
use serde_json::{Value, json};

use super::{
    Call, Signature, delete,
    planning::{Target, plan_update},
    read, scale, write,
};
use crate::{
    answer,
    answer::{Answer, Body},
    catalog::Subresource,
    logs::{LogError, LogOptions},
    query::{self, OptionsKind, WriteOptions},
};

/// Answers a request below an object.
pub(crate) async fn handle(call: Call, subresource: Subresource) -> Answer {
    match (subresource, &call.method) {
        (Subresource::Status, &Method::GET) => read::get(&call),
        (Subresource::Status, &Method::PUT) => write::update(call, Part::Status).await,
        (Subresource::Status, &Method::PATCH) => write::patch(call, Part::Status).await,
        (Subresource::Finalize, &Method::PUT) => write::update(call, Part::Whole("finalize")).await,
        (Subresource::Scale, &Method::GET) => scale::get(&call),
        (Subresource::Scale, &Method::PUT | &Method::PATCH) => scale::write(call).await,
        (Subresource::Binding, &Method::POST) => bind(call).await,
        (Subresource::Eviction, &Method::POST) => evict(call).await,
        (Subresource::Log, &Method::GET) => log(call).await,
        _ => Err(call.unsupported()),
    }
}

/// Says what to do instead of connecting to a pod through the server.
pub(crate) fn refuse_connection(call: &Call, subresource: &str) -> Result<(), ApiError> {
    if !call.kind.group.is_empty() || call.kind.plural != "pods" {
        return Ok(());
    }
    let instead = match subresource.split('/').next().unwrap_or_default() {
        "exec" | "attach" => {
            "its containers are processes of this machine: run the command in a shell here, and read their output with \
             \"kubectl logs\" or \"kthena local logs\""
        }
        "portforward" | "proxy" => {
            "its address, status.podIP, can be reached from this machine directly"
        }
        _ => return Ok(()),
    };
    let name = call.name();
    Err(ApiError::NotImplemented {
        message: format!("local mode does not connect to pod {name}; {instead}"),
    })
}

/// The answer of subresources that have no object to show.
fn done(code: StatusCode) -> Response<Body> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": code.as_u16(),
    });
    answer::whole(code, "application/json", status.to_string().into())
}

/// Gives a pod to a node.
async fn bind(call: Call) -> Answer {
    let options = WriteOptions::read(&call.query, OptionsKind::Update)?;
    let binding = read::body(&call)?.value;
    let node = binding
        .pointer("/target/name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if node.is_empty() {
        let message = "Binding is invalid: target.name: Required value";
        return Err(ApiError::bad_request(message));
    }
    let signature = Signature::new(&call, options.field_manager.as_deref())?;
    let kind = Arc::clone(&call.kind);
    let (namespace, name, node) = (
        call.namespace().to_owned(),
        call.name().to_owned(),
        node.to_owned(),
    );
    let plan = move |store: &Store| {
        let stored = store.fetch(kind.group_resource(), &namespace, &name)?;
        let refuse =
            |message: String| ApiError::conflict(kind.group_resource(), name.as_str(), message);
        if stored.is_deleting() {
            return Err(refuse(format!(
                "pod {name} is being deleted, cannot be assigned to a host"
            )));
        }
        let mut pod = stored.value();
        let taken = meta::at(&pod, &["spec", "nodeName"])
            .and_then(Value::as_str)
            .unwrap_or_default();
        if !taken.is_empty() {
            return Err(refuse(format!(
                "pod {name} is already assigned to node {taken:?}"
            )));
        }
        pod["spec"]["nodeName"] = node.into();
        note_scheduled(&mut pod, &meta::time_text(signature.now));
        let target = Target {
            kind: &kind,
            namespace: &namespace,
            name: &name,
            part: Part::Whole("binding"),
        };
        plan_update(store, target, pod, signature.author(&kind))
    };
    call.server.engine.write(options.dry_run, plan).await?;
    Ok(done(StatusCode::CREATED))
}

fn note_scheduled(pod: &mut Value, now: &str) {
    let condition = json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now,
    });
    let status = &mut pod["status"];
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    if let Some(conditions) = status["conditions"].as_array_mut() {
        conditions.retain(|held| held["type"] != "PodScheduled");
        conditions.push(condition);
    }
}

/// Deletes a pod as its eviction asks; there are no disruption budgets to stand in the way.
async fn evict(call: Call) -> Answer {
    let eviction = read::body(&call)?.value;
    let mut options = match eviction
        .get("deleteOptions")
        .filter(|options| options.is_object())
    {
        Some(options) => DeleteOptions::from_value(options)?,
        None => DeleteOptions::default(),
    };
    options.dry_run |= query::dry_run(&call.query, OptionsKind::Create)?;
    let place = (call.namespace().to_owned(), call.name().to_owned());
    delete::delete(&call.server, &call.kind, place, options).await?;
    Ok(done(StatusCode::CREATED))
}

/// Streams a pod's log from whoever runs it.
async fn log(call: Call) -> Answer {
    let number = |option| -> Result<Option<u64>, ApiError> {
        Ok(call
            .query
            .number(option)?
            .and_then(|number| u64::try_from(number).ok()))
    };
    let options = LogOptions {
        container: call.query.text("container").map(ToOwned::to_owned),
        follow: call.query.flag("follow")?,
        previous: call.query.flag("previous")?,
        tail_lines: number("tailLines")?,
        since_seconds: number("sinceSeconds")?,
        since_time: call.query.text("sinceTime").map(ToOwned::to_owned),
        limit_bytes: number("limitBytes")?,
        timestamps: call.query.flag("timestamps")?,
    };
    let pod = {
        let store = call.server.engine.store();
        store
            .fetch(call.kind.group_resource(), call.namespace(), call.name())?
            .value()
    };
    let options = choose_container(&pod, call.name(), options)?;
    if pod["spec"]["nodeName"].as_str().is_none_or(str::is_empty) {
        // A pod that no node has yet has said nothing.
        return Ok(answer::whole(
            StatusCode::NO_CONTENT,
            "text/plain",
            bytes::Bytes::new(),
        ));
    }
    let logs = call
        .server
        .logs()
        .ok_or_else(|| ApiError::ServiceUnavailable {
            message: "no node agent offers logs".into(),
        })?;
    let opened = logs.open(call.namespace(), call.name(), options).await;
    let stream = opened.map_err(|error| match error {
        LogError::BadRequest(message) => ApiError::bad_request(message),
        LogError::NotFound(message) => ApiError::not_found(call.kind.group_resource(), message),
        LogError::Failed(message) => ApiError::internal(message),
    })?;
    let closing = call.server.closing.clone();
    let stream = stream.take_until(async move { closing.cancelled().await });
    Ok(answer::stream("text/plain", stream))
}

/// A pod of several containers needs the one to be named.
fn choose_container(
    pod: &Value,
    name: &str,
    mut options: LogOptions,
) -> Result<LogOptions, ApiError> {
    let names = |list: &str| -> Vec<String> {
        let items = pod["spec"][list].as_array().into_iter().flatten();
        items
            .filter_map(|item| item["name"].as_str())
            .map(ToOwned::to_owned)
            .collect()
    };
    let (containers, initial) = (names("containers"), names("initContainers"));
    match &options.container {
        Some(asked) if containers.contains(asked) || initial.contains(asked) => Ok(options),
        Some(asked) => Err(ApiError::bad_request(format!(
            "container {asked} is not valid for pod {name}"
        ))),
        None if containers.len() > 1 => Err(ApiError::bad_request(format!(
            "a container name must be specified for pod {name}, choose one of: [{}]",
            [initial, containers].concat().join(" "),
        ))),
        None => {
            options.container = containers.into_iter().next();
            Ok(options)
        }
    }
}
