//! Create, update and patch.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::StatusCode;
use kthena_apiserver_objects::{
    ApiError, Object, Planned, Store, meta,
    ownership::{self, Conflicts, Writer},
    patch,
    write::{Outcome, Part},
};
use kthena_schema::{Fault, FieldPath};
use serde_json::Value;

use super::{
    Call, Signature,
    planning::{Target, plan_create, plan_update},
    present::{Presenter, with_warnings},
    read::body,
};
use crate::{
    answer::Answer,
    catalog::ResourceType,
    query::{FieldValidation, OptionsKind, WriteOptions},
    review::{self, Scope},
    server::Inner,
    views,
};

/// Media types of patches, as refusals list them.
const PATCH_TYPES: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

/// A whole object as a client sent it, ready to be planned.
#[derive(Debug)]
struct Sent {
    /// As it is stored.
    object: Value,
    warnings: Vec<String>,
    signature: Signature,
    dry_run: bool,
}

impl Sent {
    /// Reads the options and the body, checks the body and signs it.
    fn read(call: &Call, options: OptionsKind) -> Result<Self, ApiError> {
        let options = WriteOptions::read(&call.query, options)?;
        let decoded = body(call)?;
        let mut object = decoded.value;
        let warnings = review::intake(
            &call.kind,
            &mut object,
            &decoded.duplicates,
            options.field_validation,
        )?;
        Ok(Self {
            object: views::stored(&call.kind, object),
            warnings,
            signature: Signature::new(call, options.field_manager.as_deref())?,
            dry_run: options.dry_run,
        })
    }
}

/// `POST` of a collection.
pub(crate) async fn create(call: Call) -> Answer {
    let Sent {
        object,
        warnings,
        signature,
        dry_run,
    } = Sent::read(&call, OptionsKind::Create)?;
    let (kind, namespace) = (Arc::clone(&call.kind), call.namespace().to_owned());
    let plan = move |store: &Store| {
        plan_create(
            store,
            &kind,
            &namespace,
            object,
            signature.author(&kind),
            Scope::Object,
        )
    };
    let planned = call.server.engine.write(dry_run, plan).await?;
    let planned = if dry_run {
        unnumbered(&call, planned)?
    } else {
        planned
    };
    respond(&call, &planned, &warnings)
}

/// The object of a dry run, which never came to have a version.
fn unnumbered(call: &Call, planned: Planned) -> Result<Planned, ApiError> {
    let mut object = planned.object.value();
    meta::set(&mut object, "resourceVersion", Value::Null);
    let object = Arc::new(Object::from_value(&call.kind.rules, &object)?);
    Ok(Planned { object, ..planned })
}

/// `PUT` of an object or of a subresource that shows the whole object.
pub(crate) async fn update(call: Call, part: Part<'static>) -> Answer {
    let Sent {
        object,
        warnings,
        signature,
        dry_run,
    } = Sent::read(&call, OptionsKind::Update)?;
    let kind = Arc::clone(&call.kind);
    let (namespace, name) = (call.namespace().to_owned(), call.name().to_owned());
    let plan = move |store: &Store| {
        let missing = store
            .get(kind.group_resource(), &namespace, &name)
            .is_none();
        if missing && kind.rules.create_on_update && part == Part::Main {
            return plan_create(
                store,
                &kind,
                &namespace,
                object,
                signature.author(&kind),
                Scope::Object,
            );
        }
        let target = Target {
            kind: &kind,
            namespace: &namespace,
            name: &name,
            part,
        };
        plan_update(store, target, object, signature.author(&kind))
    };
    let planned = call.server.engine.write(dry_run, plan).await?;
    respond(&call, &planned, &warnings)
}

/// `PATCH` of an object or of a subresource that shows the whole object.
pub(crate) async fn patch(call: Call, part: Part<'static>) -> Answer {
    let options = WriteOptions::read(&call.query, OptionsKind::Patch)?;
    let patch = Patch::read(&call, &options)?;
    let warnings = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&warnings);
    let signature = Signature::new(&call, options.field_manager.as_deref())?;
    let kind = Arc::clone(&call.kind);
    let (namespace, name) = (call.namespace().to_owned(), call.name().to_owned());
    let plan = move |store: &Store| {
        let target = Target {
            kind: &kind,
            namespace: &namespace,
            name: &name,
            part,
        };
        let (planned, warnings) =
            plan_patch(store, target, &patch, &signature, options.field_validation)?;
        *noted.lock().unwrap_or_else(PoisonError::into_inner) = warnings;
        Ok(planned)
    };
    let planned = call.server.engine.write(options.dry_run, plan).await?;
    let warnings = std::mem::take(&mut *warnings.lock().unwrap_or_else(PoisonError::into_inner));
    respond(&call, &planned, &warnings)
}

fn respond(call: &Call, planned: &Planned, warnings: &[String]) -> Answer {
    let code = match planned.outcome {
        Outcome::Created => StatusCode::CREATED,
        _ => StatusCode::OK,
    };
    let answer = Presenter::new(call)?.answer(code, &planned.object, Inner::now());
    with_warnings(answer, warnings)
}

/// A patch as it was sent.
#[derive(Debug)]
enum Patch {
    /// A list of operations, as text.
    Json(Bytes),
    Merge(Value),
    Strategic(Value),
    Apply {
        configuration: Value,
        duplicates: Vec<String>,
        conflicts: Conflicts,
    },
}

impl Patch {
    fn read(call: &Call, options: &WriteOptions) -> Result<Self, ApiError> {
        let refuse = |error: crate::decode::DecodeError| ApiError::bad_request(error.to_string());
        let is_apply = call.content_type == "application/apply-patch+yaml";
        if options.force.is_some() && !is_apply {
            let fault = Fault::forbidden(
                FieldPath::new("force"),
                "may not be specified for non-apply patch",
            );
            return Err(OptionsKind::Patch.invalid(fault));
        }
        match call.content_type.as_str() {
            "application/json-patch+json" => Ok(Self::Json(call.body.clone())),
            "application/merge-patch+json" => Ok(Self::Merge(
                crate::decode::json(&call.body).map_err(refuse)?.value,
            )),
            "application/strategic-merge-patch+json" if call.kind.is_builtin() => Ok(
                Self::Strategic(crate::decode::json(&call.body).map_err(refuse)?.value),
            ),
            _ if is_apply => Self::read_apply(call, options),
            known if PATCH_TYPES.contains(&known) => Err(ApiError::UnsupportedMediaType {
                accepted: PATCH_TYPES
                    .iter()
                    .filter(|name| **name != known)
                    .map(ToString::to_string)
                    .collect(),
            }),
            _ => Err(ApiError::UnsupportedMediaType {
                accepted: Vec::new(),
            }),
        }
    }

    fn read_apply(call: &Call, options: &WriteOptions) -> Result<Self, ApiError> {
        if options.field_manager.is_none() {
            let fault = Fault::required(
                FieldPath::new("fieldManager"),
                "is required for apply patch",
            );
            return Err(OptionsKind::Patch.invalid(fault));
        }
        let decoded = crate::decode::yaml(&call.body)
            .map_err(|error| ApiError::bad_request(format!("error decoding YAML: {error}")))?;
        let conflicts = match options.force {
            Some(true) => Conflicts::Force,
            _ => Conflicts::Refuse,
        };
        Ok(Self::Apply {
            configuration: decoded.value,
            duplicates: decoded.duplicates,
            conflicts,
        })
    }
}

type Patched = Result<(Planned, Vec<String>), ApiError>;

fn plan_patch(
    store: &Store,
    target: Target<'_>,
    patch: &Patch,
    signature: &Signature,
    validation: FieldValidation,
) -> Patched {
    let Target {
        kind,
        namespace,
        name,
        ..
    } = target;
    let stored = store.get(kind.group_resource(), namespace, name);
    let live = stored.map(|object| views::shown(kind, object.value()));
    let mut patched = match (patch, &live) {
        (
            Patch::Apply {
                configuration,
                duplicates,
                conflicts,
            },
            _,
        ) => {
            let sent = Configuration {
                value: configuration,
                duplicates,
            };
            return plan_apply(
                store,
                target,
                live.as_ref(),
                sent,
                *conflicts,
                signature,
                validation,
            );
        }
        (_, None) => return Err(ApiError::not_found(kind.group_resource(), name)),
        (Patch::Json(operations), Some(live)) => patch::json_patch(live, operations)?,
        (Patch::Merge(patch), Some(live)) => {
            let mut merged = live.clone();
            patch::merge_patch(&mut merged, patch);
            merged
        }
        (Patch::Strategic(patch), Some(live)) => {
            patch::strategic_merge_patch(&kind.schema, live, patch)?
        }
    };
    let warnings = review::intake(kind, &mut patched, &[], validation)?;
    keep_uid(kind, live.as_ref(), &patched)?;
    let planned = plan_update(
        store,
        target,
        views::stored(kind, patched),
        signature.author(kind),
    )?;
    Ok((planned, warnings))
}

/// An update may name another uid as a precondition; a patch that does so tries to change it.
fn keep_uid(kind: &ResourceType, live: Option<&Value>, patched: &Value) -> Result<(), ApiError> {
    let uid = meta::text(patched, "uid");
    if live.is_none_or(|live| matches!(uid, "") || meta::text(live, "uid") == uid) {
        return Ok(());
    }
    let path = FieldPath::new("metadata.uid");
    Err(ApiError::Invalid {
        group: kind.group.clone(),
        kind: kind.kind.clone(),
        name: meta::text(patched, "name").to_owned(),
        faults: vec![Fault::invalid(path, uid, "field is immutable")],
    })
}

/// An applied configuration as it was sent.
#[derive(Clone, Copy)]
struct Configuration<'a> {
    value: &'a Value,
    duplicates: &'a [String],
}

fn plan_apply(
    store: &Store,
    target: Target<'_>,
    live: Option<&Value>,
    sent: Configuration<'_>,
    conflicts: Conflicts,
    signature: &Signature,
    validation: FieldValidation,
) -> Patched {
    let Target {
        kind,
        namespace,
        name,
        part,
    } = target;
    let mut configuration = sent.value.clone();
    let warnings = review::intake_applied(target, &mut configuration, sent.duplicates, validation)?;
    let Signature {
        manager,
        api_version,
        now,
        ..
    } = signature;
    let writer = Writer::new(&kind.rules, manager, api_version, part.subresource(), *now);
    let mut applied =
        ownership::apply(Some(&kind.schema), live, &configuration, writer, conflicts)?;
    review::intake(kind, &mut applied, &[], FieldValidation::Ignore)?;
    let applied = views::stored(kind, applied);
    let planned = if live.is_some() {
        plan_update(store, target, applied, signature.silent())?
    } else if part == Part::Main {
        let mut applied = applied;
        settle_applied_name(&mut applied, name)?;
        plan_create(
            store,
            kind,
            namespace,
            applied,
            signature.silent(),
            Scope::Object,
        )?
    } else {
        return Err(ApiError::not_found(kind.group_resource(), name));
    };
    Ok((planned, warnings))
}

/// A configuration that creates its object may leave the name to the URL.
fn settle_applied_name(object: &mut Value, name: &str) -> Result<(), ApiError> {
    let written = meta::text(object, "name");
    if !written.is_empty() && written != name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({written}) does not match the name on the URL ({name})"
        )));
    }
    meta::set(object, "name", name.into());
    Ok(())
}
