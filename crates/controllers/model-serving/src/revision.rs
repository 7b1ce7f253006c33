//! Which revision the spec is, and what each revision looked like.
//!
//! A revision is identified by the content of its snapshot, not by how its name was made: if a stored snapshot
//! equals the spec, its name is the spec's revision, whoever wrote it. Only when none matches is a name computed.
//!
//! # Invariants
//!
//! - Scaling a role or changing how a rollout proceeds never changes the revision.
//! - Two different contents never share a name.

use std::collections::{BTreeMap, BTreeSet};

use kthena_api::model_serving::Role;
use serde_json::Value;

use crate::canonical;
use crate::state::is_role_rollout;
use crate::view::{ServingView, SnapshotView};

/// Digits as Kubernetes writes them in generated names: no vowels, nothing that looks like another digit.
const SAFE_DIGITS: [char; 10] = ['4', '5', '6', '7', '8', '9', 'b', 'c', 'd', 'f'];

/// Roles in canonical form, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Blueprint {
    roles: Vec<CanonicalRole>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct CanonicalRole {
    name: String,
    text: String,
    hash: String,
}

/// What a snapshot holds: the roles as they were.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SnapshotContent {
    roles: Vec<Role>,
    blueprint: Blueprint,
}

/// The revision of the spec and the snapshots of all revisions.
#[derive(Debug)]
pub(crate) struct Revisions<'a> {
    /// Revision of the spec.
    pub(crate) update: String,
    /// The snapshot of that revision, if it is stored.
    pub(crate) update_snapshot: Option<&'a SnapshotView>,
    /// The revision that is being replaced, if there is one and its snapshot is stored.
    pub(crate) older: Option<&'a str>,
    spec_roles: &'a [Role],
    blueprint: &'a Blueprint,
    snapshots: BTreeMap<&'a str, (&'a SnapshotView, &'a SnapshotContent)>,
    hashes: BTreeMap<&'a str, String>,
}

/// A role and how many instances of it a group should have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlannedRole<'a> {
    pub(crate) role: &'a Role,
    pub(crate) replicas: i32,
}

/// What a group is built from.
#[derive(Debug, Clone)]
pub(crate) struct GroupTemplate<'a> {
    pub(crate) revision: String,
    pub(crate) roles: Vec<PlannedRole<'a>>,
}

impl Blueprint {
    /// Brings roles into canonical form. Worth keeping: it reads all templates.
    pub fn of(roles: &[Role]) -> Self {
        let roles = roles
            .iter()
            .map(|role| {
                let text = canonical::role(role);
                let hash = safe_hash(&[&text], 0);
                CanonicalRole {
                    name: role.name.clone(),
                    text,
                    hash,
                }
            })
            .collect();
        Self { roles }
    }

    /// The name computed for this content; `attempt` makes another one if that is taken.
    fn revision(&self, attempt: u32) -> String {
        let texts: Vec<_> = self.roles.iter().map(|role| role.text.as_str()).collect();
        safe_hash(&texts, attempt)
    }

    fn role(&self, name: &str) -> Option<&CanonicalRole> {
        self.roles.iter().find(|role| role.name == name)
    }
}

impl SnapshotContent {
    /// Reads the data of a ControllerRevision: `{"data": [role, …]}`, or the bare list.
    pub fn read(data: &Value) -> Option<Self> {
        let list = data.get("data").unwrap_or(data);
        let roles: Vec<Role> = serde_json::from_value(list.clone()).ok()?;
        Some(Self::of(roles))
    }

    /// The content that a snapshot of these roles has.
    pub fn of(roles: Vec<Role>) -> Self {
        let blueprint = Blueprint::of(&roles);
        Self { roles, blueprint }
    }

    /// Role counts in the data.
    pub(crate) fn replicas(&self) -> BTreeMap<String, i32> {
        self.roles
            .iter()
            .map(|role| (role.name.clone(), replicas(role)))
            .collect()
    }
}

impl<'a> Revisions<'a> {
    pub(crate) fn of(view: &'a ServingView) -> Self {
        let snapshots: BTreeMap<_, _> = view
            .owned_snapshots()
            .filter_map(|snapshot| {
                Some((
                    snapshot.revision.as_str(),
                    (&**snapshot, snapshot.content.as_ref()?),
                ))
            })
            .collect();
        let update = update_revision(view, &snapshots);
        let reported = view.serving.status.as_ref();
        let older = reported
            .map(|status| status.current_revision.as_str())
            .filter(|current| *current != update && snapshots.contains_key(current));
        let mut revisions = Self {
            older,
            update_snapshot: snapshots
                .get(update.as_str())
                .map(|(snapshot, _)| *snapshot),
            update,
            spec_roles: &view.serving.spec.template.roles,
            blueprint: &view.blueprint,
            snapshots,
            hashes: BTreeMap::new(),
        };
        revisions.learn_hashes(view);
        revisions
    }

    /// Learns which hashes stand for roles of the spec: new pods of a role that did not change carry the hash its pods
    /// carry already, and pods of a revision without a snapshot are known by it.
    fn learn_hashes(&mut self, view: &'a ServingView) {
        for (snapshot, content) in self.snapshots.values() {
            for (name, hash) in &snapshot.role_hashes {
                if is_same_role(&content.blueprint, self.blueprint, name) {
                    self.hashes.insert(name, hash.clone());
                }
            }
        }
        let adopts = adopted(view).is_some();
        for pod in view.owned_pods().filter(|pod| !pod.role_hash.is_empty()) {
            if adopts || self.is_up_to_date(&pod.role, &pod.revision, &pod.role_hash) {
                let known = self
                    .hashes
                    .entry(&pod.role)
                    .or_insert_with(|| pod.role_hash.clone());
                if pod.role_hash < *known {
                    known.clone_from(&pod.role_hash);
                }
            }
        }
    }

    /// Hashes of roles of the spec that are not the ones computed here. Only a snapshot can tell them once the pods
    /// that carry them are at a revision without one.
    pub(crate) fn foreign_hashes(&self) -> BTreeMap<&str, &str> {
        let is_foreign = |name: &str, hash: &str| {
            let own = self.blueprint.role(name);
            own.is_some_and(|own| own.hash != hash)
        };
        let all = self.hashes.iter().map(|(name, hash)| (*name, &**hash));
        all.filter(|(name, hash)| is_foreign(name, hash)).collect()
    }

    /// The spec as a template.
    pub(crate) fn spec(&self) -> GroupTemplate<'a> {
        let roles = self.spec_roles.iter().map(|role| PlannedRole {
            role,
            replicas: replicas(role),
        });
        GroupTemplate {
            revision: self.update.clone(),
            roles: roles.collect(),
        }
    }

    /// A revision as it was, `None` if nobody remembers.
    pub(crate) fn template(&self, revision: &str) -> Option<GroupTemplate<'a>> {
        if revision == self.update {
            return Some(self.spec());
        }
        let (snapshot, content) = self.snapshots.get(revision)?;
        let roles = content.roles.iter().map(|role| {
            let recorded = snapshot.role_replicas.get(&role.name).copied();
            PlannedRole {
                role,
                replicas: recorded.unwrap_or_else(|| replicas(role)).max(0),
            }
        });
        Some(GroupTemplate {
            revision: revision.to_owned(),
            roles: roles.collect(),
        })
    }

    /// The roles of the spec.
    pub(crate) fn spec_roles(&self) -> &'a [Role] {
        self.spec_roles
    }

    /// Whether a role of the spec was there at that revision and was another.
    pub(crate) fn differs(&self, role: &Role, revision: &str) -> bool {
        self.role(revision, &role.name).is_some() && !self.is_up_to_date(&role.name, revision, "")
    }

    /// A role of the spec.
    pub(crate) fn spec_role(&self, name: &str) -> Option<&'a Role> {
        self.spec_roles.iter().find(|role| role.name == name)
    }

    /// A role as it was at a revision.
    pub(crate) fn role(&self, revision: &str, name: &str) -> Option<&'a Role> {
        if revision == self.update {
            return self.spec_role(name);
        }
        self.snapshots
            .get(revision)?
            .1
            .roles
            .iter()
            .find(|role| role.name == name)
    }

    /// Hash label of new pods of a role at a revision.
    pub(crate) fn role_hash(&self, revision: &str, name: &str) -> String {
        if revision == self.update
            && let Some(hash) = self.hashes.get(name)
        {
            return hash.clone();
        }
        let blueprint = match self.snapshots.get(revision) {
            Some((_, content)) if revision != self.update => &content.blueprint,
            _ => self.blueprint,
        };
        blueprint
            .role(name)
            .map(|role| role.hash.clone())
            .unwrap_or_default()
    }

    /// Whether a role of that revision, with that hash label, is what the spec asks for.
    pub(crate) fn is_up_to_date(&self, name: &str, revision: &str, hash: &str) -> bool {
        let Some(wanted) = self.blueprint.role(name) else {
            return false;
        };
        if revision == self.update {
            return true;
        }
        if let Some((_, content)) = self.snapshots.get(revision) {
            return is_same_role(&content.blueprint, self.blueprint, name);
        }
        hash == wanted.hash || self.hashes.get(name).is_some_and(|known| known == hash)
    }
}

/// The name of the revision that the spec is.
fn update_revision(
    view: &ServingView,
    snapshots: &BTreeMap<&str, (&SnapshotView, &SnapshotContent)>,
) -> String {
    let reported = view
        .serving
        .status
        .as_ref()
        .map(|status| status.update_revision.as_str());
    let is_same = |revision: &str| {
        snapshots
            .get(revision)
            .is_some_and(|(_, content)| content.blueprint == *view.blueprint)
    };
    if let Some(revision) = reported.filter(|revision| is_same(revision)) {
        return revision.to_owned();
    }
    if let Some(revision) = snapshots.keys().find(|revision| is_same(revision)) {
        return (*revision).to_owned();
    }
    if let Some(revision) = adopted(view) {
        return revision;
    }
    // A name whose snapshot says something else is taken; ask for the next one.
    let mut attempt = 0;
    loop {
        let revision = view.blueprint.revision(attempt);
        if !snapshots.contains_key(revision.as_str()) {
            return revision;
        }
        attempt += 1;
    }
}

/// Whether both have the role and mean the same by it.
fn is_same_role(one: &Blueprint, other: &Blueprint, name: &str) -> bool {
    match (one.role(name), other.role(name)) {
        (Some(one), Some(other)) => one.text == other.text,
        _ => false,
    }
}

/// The revision another controller gave to exactly this spec, if it left no snapshot but clear traces: all its pods
/// carry the revision, or, where roles are rolled on their own and unchanged ones keep their label, all pods of a role
/// carry one hash.
fn adopted(view: &ServingView) -> Option<String> {
    if view.owned_snapshots().next().is_some() {
        return None;
    }
    let status = view.serving.status.as_ref()?;
    let revision = &status.update_revision;
    let is_settled = Some(status.observed_generation) == view.serving.metadata.generation
        && !revision.is_empty()
        && *revision == status.current_revision;
    let mut pods = view.owned_pods().peekable();
    let is_carried = pods.peek().is_some() && pods.all(|pod| pod.revision == *revision);
    let is_told = is_carried || is_role_rollout(view) && has_one_hash_per_role(view);
    (is_settled && is_told).then(|| revision.clone())
}

/// There are pods of exactly the roles of the spec, and those of one role carry the same hash.
fn has_one_hash_per_role(view: &ServingView) -> bool {
    let mut hashes: BTreeMap<&str, &str> = BTreeMap::new();
    let agree = view.owned_pods().all(|pod| {
        let known = *hashes.entry(&pod.role).or_insert(&pod.role_hash);
        !known.is_empty() && known == pod.role_hash
    });
    let roles = view.serving.spec.template.roles.iter();
    let with_pods = roles
        .filter(|role| replicas(role) > 0)
        .map(|role| &*role.name);
    agree && with_pods.collect::<BTreeSet<_>>() == hashes.into_keys().collect()
}

/// Instances of a role per group.
pub(crate) fn replicas(role: &Role) -> i32 {
    role.replicas.unwrap_or(1).max(0)
}

/// 32-bit FNV-1a of the texts as letters that Kubernetes accepts anywhere.
fn safe_hash(texts: &[&str], attempt: u32) -> String {
    const OFFSET: u32 = 0x811c_9dc5;
    const PRIME: u32 = 0x0100_0193;
    let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(PRIME);
    let mut hash = OFFSET;
    for text in texts {
        hash = text.as_bytes().iter().fold(hash, step);
        hash = step(hash, &b'\n');
    }
    if attempt > 0 {
        hash = attempt.to_be_bytes().iter().fold(hash, step);
    }
    hash.to_string()
        .bytes()
        .map(|digit| SAFE_DIGITS[usize::from(digit - b'0')])
        .collect()
}

#[cfg(test)]
mod tests;
