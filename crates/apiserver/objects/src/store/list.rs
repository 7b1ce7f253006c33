//! Lists: which objects, as of which version, in which chunks.
//!
//! A past version is shown by taking the present table and undoing the logged changes since then, so
//! any version still in the log can be listed and older ones have expired.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::Store;
use super::continuation::Continuation;
use crate::error::{ApiError, Fault, FieldPath};
use crate::object::{Object, ObjectKey};
use crate::resource::{GroupResource, Resource};
use crate::selector::{FieldSelector, LabelSelector};

/// Query parameters of a list or watch, as they stand in the URL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawListOptions {
    /// `labelSelector`.
    pub label_selector: Option<String>,
    /// `fieldSelector`.
    pub field_selector: Option<String>,
    /// `limit`.
    pub limit: Option<String>,
    /// `continue`.
    pub continue_token: Option<String>,
    /// `resourceVersion`.
    pub resource_version: Option<String>,
    /// `resourceVersionMatch`.
    pub resource_version_match: Option<String>,
    /// `sendInitialEvents`, watches only.
    pub send_initial_events: Option<bool>,
}

/// Which state a list shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum VersionRule {
    /// The newest.
    #[default]
    Latest,
    /// Anything the server has; here always the newest. Chunk limits do not apply.
    Any,
    /// The newest, which must not be older than this.
    NotOlderThan(u64),
    /// Exactly this one.
    Exact(u64),
}

/// A list as meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Only this namespace; `None` is all.
    pub namespace: Option<String>,
    /// Labels asked for.
    pub labels: LabelSelector,
    /// Field values asked for.
    pub fields: FieldSelector,
    /// Most objects in a chunk.
    pub limit: Option<usize>,
    /// Where the last chunk stopped.
    pub continue_token: Option<String>,
    /// Which state to show.
    pub version: VersionRule,
}

/// A chunk of a list.
#[derive(Debug, Clone, Default)]
pub struct ListPage {
    /// The objects, by namespace and name.
    pub items: Vec<Arc<Object>>,
    /// The list's `resourceVersion`.
    pub version: u64,
    /// Where to go on, if there is more.
    pub continue_token: Option<String>,
    /// How many are left, if known without selectors.
    pub remaining: Option<usize>,
}

impl RawListOptions {
    /// Reads a list's options.
    pub fn list_query(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
    ) -> Result<ListQuery, ApiError> {
        self.check_list()?;
        let limit = match self.limit.as_deref() {
            None | Some("") => None,
            Some(text) => {
                let limit: i64 = text.parse().map_err(|_| number_error("ParseInt", text))?;
                usize::try_from(limit).ok().filter(|limit| *limit > 0)
            }
        };
        let continue_token = self
            .continue_token
            .clone()
            .filter(|token| !token.is_empty());
        let version = self.version_rule(limit, continue_token.is_some())?;
        Ok(ListQuery {
            namespace: namespace.map(str::to_owned),
            labels: LabelSelector::parse(self.label_selector.as_deref().unwrap_or_default())?,
            fields: FieldSelector::parse(
                self.field_selector.as_deref().unwrap_or_default(),
                resource,
            )?,
            limit,
            continue_token,
            version,
        })
    }

    /// The `resourceVersion` as a number; `None` if it is unset.
    pub(crate) fn version_number(&self) -> Result<Option<u64>, ApiError> {
        match self.resource_version.as_deref() {
            None | Some("") => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| {
                ApiError::bad_request(format!(
                    "invalid resource version: resourceVersion: Invalid value: {text:?}: \
                     strconv.ParseUint: parsing {text:?}: invalid syntax"
                ))
            }),
        }
    }

    fn version_rule(&self, limit: Option<usize>, continued: bool) -> Result<VersionRule, ApiError> {
        let number = self.version_number()?;
        if continued {
            return match number {
                None | Some(0) => Ok(VersionRule::Latest),
                Some(_) => Err(ApiError::bad_request(
                    "specifying resource version is not allowed when using continue",
                )),
            };
        }
        Ok(match (number, self.rule_name(), limit) {
            (None, ..) => VersionRule::Latest,
            (Some(0), ..) => VersionRule::Any,
            // A version with a limit and no rule is the historic way to ask for exactly that version.
            (Some(version), "Exact", _) | (Some(version), "", Some(_)) => {
                VersionRule::Exact(version)
            }
            (Some(version), ..) => VersionRule::NotOlderThan(version),
        })
    }

    fn rule_name(&self) -> &str {
        self.resource_version_match.as_deref().unwrap_or_default()
    }

    fn check_list(&self) -> Result<(), ApiError> {
        let rule = FieldPath::new("resourceVersionMatch");
        let mut faults = Vec::new();
        let version = self.resource_version.as_deref().unwrap_or_default();
        let name = self.rule_name();
        if !name.is_empty() {
            let forbidden = |why: &str| Fault::forbidden(rule.clone(), why);
            if version.is_empty() {
                faults.push(forbidden(
                    "resourceVersionMatch is forbidden unless resourceVersion is provided",
                ));
            }
            if self
                .continue_token
                .as_ref()
                .is_some_and(|token| !token.is_empty())
            {
                faults.push(forbidden(
                    "resourceVersionMatch is forbidden when continue is provided",
                ));
            }
            if name != "Exact" && name != "NotOlderThan" {
                faults.push(Fault::not_supported(
                    rule.clone(),
                    name,
                    &["Exact", "NotOlderThan", ""],
                ));
            }
            if name == "Exact" && version == "0" {
                faults.push(forbidden(
                    "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
                ));
            }
        }
        if self.send_initial_events.is_some() {
            let path = FieldPath::new("sendInitialEvents");
            faults.push(Fault::forbidden(
                path,
                "sendInitialEvents is forbidden for list",
            ));
        }
        options_verdict(faults)
    }

    /// Refuses option combinations that a watch cannot have.
    pub(crate) fn check_watch(&self) -> Result<(), ApiError> {
        let rule = FieldPath::new("resourceVersionMatch");
        let mut faults = Vec::new();
        let name = self.rule_name();
        if !name.is_empty() {
            if self.send_initial_events.is_none() {
                faults.push(Fault::forbidden(
                    rule.clone(),
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                ));
            }
            if name != "NotOlderThan" {
                faults.push(Fault::not_supported(rule.clone(), name, &["NotOlderThan"]));
            }
        } else if self.send_initial_events.is_some() {
            faults.push(Fault::forbidden(
                rule,
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ));
        }
        options_verdict(faults)
    }
}

fn options_verdict(faults: Vec<Fault>) -> Result<(), ApiError> {
    if faults.is_empty() {
        return Ok(());
    }
    Err(ApiError::Invalid {
        group: "meta.k8s.io".to_owned(),
        kind: "ListOptions".to_owned(),
        name: String::new(),
        faults,
    })
}

fn number_error(function: &str, text: &str) -> ApiError {
    ApiError::bad_request(format!(
        "strconv.{function}: parsing {text:?}: invalid syntax"
    ))
}

/// The state a list shows: the present, or the present with overlaid past values.
struct Shown {
    version: u64,
    /// Keys whose value differed at `version`, with what they held then.
    overlay: BTreeMap<ObjectKey, Option<Arc<Object>>>,
}

impl Store {
    /// The objects a query asks for.
    pub fn list(&self, resource: &GroupResource, query: &ListQuery) -> Result<ListPage, ApiError> {
        let mut after = None;
        let mut rule = query.version;
        if let Some(token) = &query.continue_token {
            let continuation = Continuation::decode(token)?;
            rule = match continuation.version {
                Some(version) => VersionRule::Exact(version),
                None => VersionRule::Latest,
            };
            after = Some(continuation.after);
        }
        let shown = self
            .shown(resource, rule)
            .map_err(|error| with_fresh_token(error, after.as_ref()))?;
        let limit = if rule == VersionRule::Any {
            None
        } else {
            query.limit
        };
        Ok(self.collect(resource, query, &shown, after, limit))
    }

    fn shown(&self, resource: &GroupResource, rule: VersionRule) -> Result<Shown, ApiError> {
        let current = self.version;
        let version = match rule {
            VersionRule::NotOlderThan(asked) | VersionRule::Exact(asked) if asked > current => {
                return Err(ApiError::VersionTooLarge { asked, current });
            }
            VersionRule::Latest | VersionRule::Any | VersionRule::NotOlderThan(_) => current,
            VersionRule::Exact(asked) => asked,
        };
        let mut overlay = BTreeMap::new();
        if version < current {
            for change in self
                .log
                .since(version)?
                .filter(|change| change.resource == *resource)
            {
                // The oldest change after `version` knows what was there at `version`.
                overlay
                    .entry(change.object.key().clone())
                    .or_insert_with(|| change.previous.clone());
            }
        }
        Ok(Shown { version, overlay })
    }

    fn collect(
        &self,
        resource: &GroupResource,
        query: &ListQuery,
        shown: &Shown,
        after: Option<ObjectKey>,
        limit: Option<usize>,
    ) -> ListPage {
        let matches =
            |object: &Object| query.labels.matches(object) && query.fields.matches(object);
        let mut candidates = self.shown_objects(resource, query.namespace.as_deref(), shown, after);
        let mut page = ListPage {
            version: shown.version,
            ..ListPage::default()
        };
        let Some(limit) = limit else {
            page.items = candidates
                .filter(|object| matches(object))
                .cloned()
                .collect();
            return page;
        };
        while page.items.len() < limit {
            let Some(object) = candidates.next() else {
                return page;
            };
            if matches(object) {
                page.items.push(object.clone());
            }
        }
        let plain = query.labels.is_empty() && query.fields.is_empty();
        let rest = if plain {
            candidates.count()
        } else {
            candidates.filter(|object| matches(object)).count()
        };
        if rest > 0 {
            page.continue_token = page.items.last().map(|last| {
                Continuation {
                    version: Some(shown.version),
                    after: last.key().clone(),
                }
                .encode()
            });
            page.remaining = plain.then_some(rest);
        }
        page
    }

    /// Objects in order, merged from the present table and the overlay.
    fn shown_objects<'a>(
        &'a self,
        resource: &GroupResource,
        namespace: Option<&'a str>,
        shown: &'a Shown,
        after: Option<ObjectKey>,
    ) -> Box<dyn Iterator<Item = &'a Arc<Object>> + 'a> {
        let start = match (after, namespace) {
            (Some(after), _) => Bound::Excluded(after),
            (None, Some(namespace)) => Bound::Included(ObjectKey::new(namespace, "")),
            (None, None) => Bound::Unbounded,
        };
        let inside = move |key: &ObjectKey| {
            namespace.is_none_or(|namespace| key.namespace.as_ref() == namespace)
        };
        let bounds = (start, Bound::Unbounded);
        let present = self
            .tables
            .get(resource)
            .into_iter()
            .flat_map({
                let bounds = bounds.clone();
                move |table| table.range(bounds.clone())
            })
            .take_while(move |(key, _)| inside(key));
        if shown.overlay.is_empty() {
            return Box::new(present.map(|(_, object)| object));
        }
        let mut merged: BTreeMap<&ObjectKey, Option<&'a Arc<Object>>> =
            present.map(|(key, object)| (key, Some(object))).collect();
        for (key, past) in shown.overlay.range(bounds).filter(|(key, _)| inside(key)) {
            merged.insert(key, past.as_ref());
        }
        Box::new(merged.into_values().flatten())
    }
}

/// An expired chunked list may go on without consistency; the error offers the token for that.
fn with_fresh_token(error: ApiError, after: Option<&ObjectKey>) -> ApiError {
    match (error, after) {
        (ApiError::Expired { .. }, Some(after)) => ApiError::Expired {
            message: CONTINUE_EXPIRED.to_owned(),
            continue_token: Some(
                Continuation {
                    version: None,
                    after: after.clone(),
                }
                .encode(),
            ),
        },
        (error, _) => error,
    }
}

const CONTINUE_EXPIRED: &str = "The provided continue parameter is too old to display a consistent \
     list result. You can start a new list without the continue parameter, or use the continue token \
     in this response to retrieve the remainder of the results. Continuing with the provided token \
     results in an inconsistent list - objects that were created, modified, or deleted between the \
     time the first chunk was returned and now may show up in the list.";
