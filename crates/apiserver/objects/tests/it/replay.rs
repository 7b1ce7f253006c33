//! The least server that answers the recorded requests: decoding, the store, an answer.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kthena_apiserver_objects::ownership::{self, Conflicts, Writer};
use kthena_apiserver_objects::patch;
use kthena_apiserver_objects::store::RawListOptions;
use kthena_apiserver_objects::watch_log::LogLimits;
use kthena_apiserver_objects::write::{
    Author, Outcome, Part, Planned, Propagation, Review, Tracking,
};
use kthena_apiserver_objects::{
    ApiError, Create, Delete, DeleteOptions, Resource, Scope, Store, Update,
};
use kthena_schema::{Definitions, Schema};
use serde_json::{Value, json};

use crate::request::Target;

const SCHEMAS: &str = include_str!("../transcripts/schemas.json");

/// A recorded request and its answer.
pub(crate) struct Step<'a> {
    pub(crate) value: &'a Value,
}

impl Step<'_> {
    fn text(&self, member: &str) -> &str {
        self.value
            .get(member)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    fn body(&self) -> Value {
        self.value.get("body").cloned().unwrap_or_default()
    }
}

struct Kind {
    resource: Resource,
    schema: Option<Schema>,
}

pub(crate) struct Server {
    store: Store,
    kinds: BTreeMap<String, Kind>,
    clock: i64,
}

impl Server {
    pub(crate) fn new() -> Self {
        let schemas: Value = serde_json::from_str(SCHEMAS).unwrap();
        let names = [
            "apps.v1.Deployment",
            "core.v1.Pod",
            "core.v1.ConfigMap",
            "core.v1.Service",
        ];
        let roots: Vec<String> = names
            .iter()
            .map(|name| format!("io.k8s.api.{name}"))
            .collect();
        let roots: Vec<&str> = roots.iter().map(String::as_str).collect();
        let definitions = Definitions::parse(schemas.as_object().unwrap(), &roots).unwrap();
        let builtin = |group, plural, kind, scope, definition: &str| {
            let resource = Resource::builtin(group, plural, kind, scope);
            (
                plural.to_owned(),
                Kind {
                    resource,
                    schema: definitions.get(definition).cloned(),
                },
            )
        };
        let custom = Kind {
            resource: Resource::custom("x.io", "ws", "W", Scope::Namespaced, true, &[]),
            schema: Some(Schema::parse_resource(&custom_schema()).unwrap()),
        };
        let namespaced = Scope::Namespaced;
        let kinds = BTreeMap::from([
            ("ws".to_owned(), custom),
            builtin("", "namespaces", "Namespace", Scope::Cluster, ""),
            builtin("", "pods", "Pod", namespaced, roots[1]),
            builtin("", "configmaps", "ConfigMap", namespaced, roots[2]),
            builtin("", "services", "Service", namespaced, roots[3]),
            builtin("apps", "deployments", "Deployment", namespaced, roots[0]),
        ]);
        let mut server = Self {
            store: Store::new(LogLimits::default()),
            kinds,
            clock: 1_000_000,
        };
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "t"}});
        let step = json!({"verb": "POST", "path": "/api/v1/namespaces", "body": namespace});
        assert_eq!(server.handle(&Step { value: &step }).0, 201);
        server
    }

    /// The status code and body of the answer.
    pub(crate) fn handle(&mut self, step: &Step<'_>) -> (u16, Value) {
        self.clock += 1;
        match self.answer(step) {
            Ok(answer) => answer,
            Err(error) => (error.code(), error.status()),
        }
    }

    fn answer(&mut self, step: &Step<'_>) -> Result<(u16, Value), ApiError> {
        let target = Target::parse(step.text("path"));
        let kind = &self.kinds[&target.resource];
        match (step.text("verb"), target.name.is_empty()) {
            ("GET", true) => return self.list(&kind.resource, &target),
            ("GET", false) => {
                let found = self.store.fetch(
                    &kind.resource.group_resource,
                    &target.namespace,
                    &target.name,
                )?;
                return Ok((200, found.value()));
            }
            _ => {}
        }
        let planned = match step.text("verb") {
            "POST" => self.create(kind, &target, step.body(), step)?,
            "PUT" => self.update(kind, &target, step.body(), step, true)?,
            "PATCH" => self.patch(kind, &target, step)?,
            "DELETE" => self.delete(kind, &target, step)?,
            other => panic!("unknown verb {other}"),
        };
        let (returns_deleted, resource) = (
            kind.resource.returns_deleted,
            kind.resource.group_resource.clone(),
        );
        self.store.commit(&planned.changes)?;
        let code = if planned.outcome == Outcome::Created {
            201
        } else {
            200
        };
        if planned.outcome == Outcome::Deleted && step.text("verb") == "DELETE" && !returns_deleted
        {
            let mut details = json!({"name": target.name, "kind": resource.resource()});
            if !resource.group().is_empty() {
                details["group"] = json!(resource.group());
            }
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
            });
            return Ok((200, status));
        }
        Ok((code, planned.object.value()))
    }

    fn list(&self, resource: &Resource, target: &Target) -> Result<(u16, Value), ApiError> {
        let text = |name: &str| target.parameter(name).map(str::to_owned);
        let options = RawListOptions {
            label_selector: text("labelSelector"),
            field_selector: text("fieldSelector"),
            limit: text("limit"),
            continue_token: text("continue"),
            resource_version: text("resourceVersion"),
            resource_version_match: text("resourceVersionMatch"),
            send_initial_events: None,
        };
        let query = options.list_query(resource, Some(&target.namespace))?;
        let page = self.store.list(&resource.group_resource, &query)?;
        let items: Vec<Value> = page.items.iter().map(|object| object.value()).collect();
        let kind = format!("{}List", resource.kind);
        let api_version = items
            .first()
            .map(|item| item["apiVersion"].clone())
            .unwrap_or_default();
        Ok((
            200,
            json!({"kind": kind, "apiVersion": api_version, "metadata": {}, "items": items}),
        ))
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.clock).unwrap()
    }

    fn author<'a>(
        &self,
        kind: &'a Kind,
        target: &'a Target,
        api_version: &'a str,
        uid: &'a str,
    ) -> Author<'a> {
        let manager = target.parameter("fieldManager").unwrap_or("Python-urllib");
        let tracking = Tracking {
            manager,
            api_version,
            schema: kind.schema.as_ref(),
        };
        Author {
            now: self.now(),
            uid,
            seed: 7,
            tracking: Some(tracking),
        }
    }

    fn create(
        &self,
        kind: &Kind,
        target: &Target,
        object: Value,
        step: &Step<'_>,
    ) -> Result<Planned, ApiError> {
        let uid = format!("uid-{}", self.clock);
        let api_version = object["apiVersion"].as_str().unwrap_or_default().to_owned();
        let mut author = self.author(kind, target, &api_version, &uid);
        if is_apply(step) {
            author.tracking = None;
        }
        let mut admit = |review: Review<'_>| {
            fill_defaults(kind, review.new, &step.value["answer"]);
            Ok(())
        };
        let namespace = &target.namespace;
        self.store.plan_create(
            &kind.resource,
            Create {
                namespace,
                object,
                author,
                admit: &mut admit,
            },
        )
    }

    fn update(
        &self,
        kind: &Kind,
        target: &Target,
        object: Value,
        step: &Step<'_>,
        tracked: bool,
    ) -> Result<Planned, ApiError> {
        let api_version = object["apiVersion"].as_str().unwrap_or_default().to_owned();
        let mut author = self.author(kind, target, &api_version, "");
        if !tracked {
            author.tracking = None;
        }
        let part = match target.subresource.as_str() {
            "" => Part::Main,
            "status" => Part::Status,
            other => Part::Whole(other),
        };
        let mut admit = |review: Review<'_>| {
            fill_defaults(kind, review.new, &step.value["answer"]);
            Ok(())
        };
        let (namespace, name) = (&target.namespace, &target.name);
        let update = Update {
            namespace,
            name,
            part,
            object,
            author,
            admit: &mut admit,
        };
        self.store.plan_update(&kind.resource, update)
    }

    fn patch(&self, kind: &Kind, target: &Target, step: &Step<'_>) -> Result<Planned, ApiError> {
        let live = self.store.get(
            &kind.resource.group_resource,
            &target.namespace,
            &target.name,
        );
        let live = live.map(|object| object.value());
        let body = step.body();
        let missing = || ApiError::not_found(&kind.resource.group_resource, &*target.name);
        if live.is_none() && !target.subresource.is_empty() {
            return Err(missing());
        }
        if is_apply(step) {
            let api_version = body["apiVersion"].as_str().unwrap();
            let manager = target.parameter("fieldManager").unwrap();
            let writer = Writer::new(
                &kind.resource,
                manager,
                api_version,
                &target.subresource,
                self.now(),
            );
            let force = target.parameter("force") == Some("true");
            let conflicts = if force {
                Conflicts::Force
            } else {
                Conflicts::Refuse
            };
            let applied = ownership::apply(
                kind.schema.as_ref(),
                live.as_ref(),
                &body,
                writer,
                conflicts,
            )?;
            return match live {
                Some(_) => self.update(kind, target, applied, step, false),
                None => self.create(kind, target, applied, step),
            };
        }
        let mut object =
            live.ok_or_else(|| ApiError::not_found(&kind.resource.group_resource, &*target.name))?;
        match step.text("type") {
            "application/merge-patch+json" => patch::merge_patch(&mut object, &body),
            "application/json-patch+json" => {
                object = patch::json_patch(&object, body.to_string().as_bytes())?;
            }
            "application/strategic-merge-patch+json" => {
                let schema = kind.schema.as_ref().unwrap();
                object = patch::strategic_merge_patch(schema, &object, &body)?;
            }
            other => panic!("unknown patch type {other}"),
        }
        self.update(kind, target, object, step, true)
    }

    fn delete(&self, kind: &Kind, target: &Target, step: &Step<'_>) -> Result<Planned, ApiError> {
        let mut options = DeleteOptions::from_value(&step.body())?;
        if let Some(policy) = target.parameter("propagationPolicy") {
            options.propagation = Some(Propagation::parse(policy)?);
        }
        if let Some(seconds) = target.parameter("gracePeriodSeconds") {
            options.grace_period_seconds = seconds.parse().ok();
        }
        let (namespace, name, now) = (&target.namespace, &target.name, self.now());
        self.store.plan_delete(
            &kind.resource,
            &Delete {
                namespace,
                name,
                options,
                now,
            },
        )
    }
}

fn is_apply(step: &Step<'_>) -> bool {
    step.text("type") == "application/apply-patch+yaml"
}

/// Stands in for the defaults of built-in kinds, which are not this crate's: what the real answer has
/// and the object lacks, in spec and status only.
fn fill_defaults(kind: &Kind, object: &mut Value, answer: &Value) {
    if kind.schema.is_none() || kind.resource.is_custom() || answer["kind"] == "Status" {
        return;
    }
    for member in ["spec", "status"] {
        if let Some(answered) = answer.get(member) {
            fill(
                object
                    .as_object_mut()
                    .unwrap()
                    .entry(member)
                    .or_insert(json!({})),
                answered,
            );
        }
    }
}

fn fill(value: &mut Value, answered: &Value) {
    match (value, answered) {
        (Value::Object(members), Value::Object(answered)) => {
            for (name, answered) in answered {
                fill(members.entry(name.clone()).or_insert(Value::Null), answered);
            }
        }
        (Value::Array(items), Value::Array(answered)) => {
            for (item, answered) in items.iter_mut().zip(answered) {
                fill(item, answered);
            }
        }
        (value @ Value::Null, answered) => *value = answered.clone(),
        _ => {}
    }
}

/// The schema of the resource that the transcripts call `ws.x.io`.
fn custom_schema() -> Value {
    let text = json!({"type": "string"});
    json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "a": text,
            "b": {"type": "integer"},
            "m": {"type": "object", "additionalProperties": text},
            "at": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"p": text, "q": text}},
            "l": {"type": "array", "items": text},
            "s": {"type": "array", "x-kubernetes-list-type": "set", "items": text},
            "k": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["id"],
                "items": {
                    "type": "object",
                    "required": ["id"],
                    "properties": {"id": text, "v": text, "w": text},
                },
            },
            "o": {"type": "object", "properties": {"x": text, "t": text}},
        }},
        "status": {"type": "object", "properties": {"r": {"type": "integer"}}},
    }})
}
