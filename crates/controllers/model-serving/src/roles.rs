//! How many instances of each role a group has, and whether they are complete.
//!
//! A missing pod of an instance is created from what its other pods were created from, so that one instance never
//! mixes two templates. A new instance is created from what its group is completed with.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use kthena_api::model_serving::Role;

use crate::groups::surplus_of;
use crate::names;
use crate::order::vacancies;
use crate::plan::Draft;
use crate::plugins::Chain;
use crate::pods::{self, PodIdentity};
use crate::revision::{GroupTemplate, PlannedRole, Revisions};
use crate::rollout::protected_instances;
use crate::services::{self, WantedService};
use crate::state::{Groups, InstanceState, Lifecycle, is_role_rollout, pods_of};
use crate::view::{PodView, ServingView};

/// Completes every group that stays and builds the missing ones. Answers with the services they need.
pub(crate) fn complete<'a>(
    view: &'a ServingView,
    groups: &mut Groups<'a>,
    missing: &[(i32, GroupTemplate<'a>)],
    revisions: &Revisions<'a>,
    draft: &mut Draft,
) -> Vec<WantedService> {
    let mut work = Completion::new(view, revisions, draft);
    let staying: Vec<_> = groups
        .iter()
        .filter(|(_, group)| !group.is_leaving())
        .map(|(ordinal, _)| *ordinal)
        .collect();
    for ordinal in staying {
        work.complete_group(groups, ordinal);
    }
    let none = BTreeMap::new();
    for (ordinal, template) in missing {
        let name = names::group(view.name(), *ordinal);
        for planned in &template.roles {
            work.create_instances(*ordinal, &name, planned, (&template.revision, None), &none);
        }
    }
    work.wanted
}

/// Pods of one complete group.
pub(crate) fn pods_of_group(template: &GroupTemplate<'_>) -> usize {
    let pods = |planned: &PlannedRole<'_>| {
        usize::try_from(planned.replicas)
            .unwrap_or(0)
            .saturating_mul(pods_of(planned.role.worker_replicas))
    };
    template
        .roles
        .iter()
        .map(pods)
        .fold(0, usize::saturating_add)
}

struct Completion<'a, 'd> {
    view: &'a ServingView,
    revisions: &'d Revisions<'a>,
    by_name: HashMap<&'a str, &'a Arc<PodView>>,
    /// `None` if one of them cannot be built: then no pod is made.
    plugins: Option<Chain<'a>>,
    wanted: Vec<WantedService>,
    draft: &'d mut Draft,
}

impl<'a, 'd> Completion<'a, 'd> {
    fn new(view: &'a ServingView, revisions: &'d Revisions<'a>, draft: &'d mut Draft) -> Self {
        let plugins = Chain::of(view)
            .map_err(|error| draft.plugin_failed(&error))
            .ok();
        let by_name = view
            .pods
            .iter()
            .map(|pod| (pod.name.as_str(), pod))
            .collect();
        Self {
            view,
            revisions,
            by_name,
            plugins,
            wanted: Vec::new(),
            draft,
        }
    }

    fn complete_group(&mut self, groups: &mut Groups<'a>, ordinal: i32) {
        let Some(group) = groups.get(&ordinal) else {
            return;
        };
        let template = group.template.clone();
        let name = group.name.clone();
        let older = self.older(&template, &group.revision).map(str::to_owned);
        let older = older.as_deref();
        for planned in &template.roles {
            let role = planned.role.name.as_str();
            self.scale_down(groups, ordinal, planned);
            let instances = groups
                .get(&ordinal)
                .and_then(|group| group.roles.get(role))
                .cloned();
            let instances = instances.unwrap_or_default();
            for (instance_ordinal, instance) in
                instances.iter().filter(|(_, one)| !one.is_leaving())
            {
                if !self.complete_instance(ordinal, &name, planned, instance) {
                    self.draft
                        .leave_instance(groups, ordinal, role, *instance_ordinal);
                }
            }
            self.create_instances(
                ordinal,
                &name,
                planned,
                (&template.revision, older),
                &instances,
            );
        }
    }

    /// Where instances that a role rollout leaves alone come back from: what is being replaced, else what the
    /// group is on.
    fn older<'r>(&'r self, template: &GroupTemplate<'_>, group: &'r str) -> Option<&'r str> {
        let is_rolled = is_role_rollout(self.view) && template.revision == self.revisions.update;
        let own = Some(group).filter(|group| *group != self.revisions.update);
        self.revisions.older.or(own).filter(|_| is_rolled)
    }

    /// Instances of a role that a role rollout leaves alone.
    fn protected(&self, role: &Role) -> usize {
        let role = self.revisions.spec_role(&role.name);
        role.filter(|_| is_role_rollout(self.view))
            .and_then(protected_instances)
            .unwrap_or(0)
    }

    fn scale_down(&mut self, groups: &mut Groups<'a>, ordinal: i32, planned: &PlannedRole<'a>) {
        let Some(group) = groups.get_mut(&ordinal) else {
            return;
        };
        let Some(instances) = group.roles.get(&planned.role.name) else {
            return;
        };
        let ranks = instances
            .iter()
            .map(|(ordinal, instance)| (*ordinal, instance.rank()))
            .collect();
        let protected = self.protected(planned.role);
        for surplus in surplus_of(&ranks, planned.replicas, protected) {
            self.draft
                .leave_instance(groups, ordinal, &planned.role.name, surplus);
        }
    }

    /// False if nobody remembers what the instance was built from, so that it can only be replaced as a whole.
    fn complete_instance(
        &mut self,
        ordinal: i32,
        group: &str,
        planned: &PlannedRole<'a>,
        instance: &InstanceState,
    ) -> bool {
        let name = planned.role.name.as_str();
        let own = self
            .revisions
            .role(&instance.revision, name)
            .map(|role| (role, instance.revision.as_str()));
        // Without a snapshot, an equal hash still says that it is what the spec asks for.
        let current = || {
            self.revisions
                .spec_role(name)
                .map(|role| (role, self.revisions.update.as_str()))
        };
        let Some((role, revision)) = own.or_else(|| current().filter(|_| instance.is_up_to_date))
        else {
            if !self.is_incomplete(planned.role, group, instance) {
                self.want_service(group, planned, &instance.id);
                return true;
            }
            let revision = &instance.revision;
            self.draft.warn(
                "SnapshotMissing",
                format!("Role {name}/{} in ServingGroup {group} is replaced: revision {revision} is lost", instance.id),
            );
            return false;
        };
        self.want_service(group, planned, &instance.id);
        let revision = revision.to_owned();
        let identity = PodIdentity {
            group,
            role,
            role_id: &instance.id,
            index: 0,
            revision: &revision,
            role_hash: &instance.role_hash,
        };
        self.create_pods(ordinal, identity);
        true
    }

    /// Whether pods are missing, as far as can be told from the group's template.
    fn is_incomplete(&self, role: &Role, group: &str, instance: &InstanceState) -> bool {
        let names = (0..pods::renderable(role)).map(|index| names::pod(group, &instance.id, index));
        names
            .into_iter()
            .any(|name| !self.by_name.contains_key(name.as_str()))
    }

    fn create_instances(
        &mut self,
        ordinal: i32,
        group: &str,
        planned: &PlannedRole<'a>,
        (revision, older): (&str, Option<&str>),
        existing: &BTreeMap<i32, InstanceState>,
    ) {
        let protected = i32::try_from(self.protected(planned.role)).unwrap_or(i32::MAX);
        for vacancy in vacancies(existing, planned.replicas) {
            if self.draft.is_full() {
                self.draft.look_again(Duration::ZERO);
                return;
            }
            let id = names::instance(&planned.role.name, vacancy);
            self.want_service(group, planned, &id);
            let kept = older.filter(|_| vacancy < protected);
            let kept = kept.and_then(|older| {
                let role = self.revisions.role(older, &planned.role.name)?;
                self.revisions
                    .differs(planned.role, older)
                    .then_some((role, older))
            });
            let (role, revision) = kept.unwrap_or((planned.role, revision));
            let hash = self.revisions.role_hash(revision, &role.name);
            let identity = PodIdentity {
                group,
                role,
                role_id: &id,
                index: 0,
                revision,
                role_hash: &hash,
            };
            if self.create_pods(ordinal, identity) {
                self.draft
                    .tell_role(group, &planned.role.name, &id, Lifecycle::Creating);
            }
        }
    }

    /// Creates those pods of an instance that are not there. True if there was one.
    fn create_pods(&mut self, ordinal: i32, identity: PodIdentity<'_>) -> bool {
        self.warn_without_template(identity.role);
        let mut has_created = false;
        for index in 0..pods::renderable(identity.role) {
            let identity = PodIdentity { index, ..identity };
            let name = identity.name();
            match self.by_name.get(name.as_str()) {
                Some(pod) if pod.owner != self.view.uid() => self.draft.name_taken("Pod", &name),
                // There, or on its way out: its name is free when it is gone.
                Some(_) => {}
                None if self.draft.is_full() => self.draft.look_again(Duration::ZERO),
                None => {
                    let Some(mut pod) = pods::render(self.view, &identity) else {
                        continue;
                    };
                    let Some(plugins) = &self.plugins else {
                        continue;
                    };
                    if let Err(error) = plugins.run(&identity, &mut pod) {
                        self.draft.plugin_failed(&error);
                        continue;
                    }
                    self.draft.create_pod(ordinal, name, pod);
                    has_created = true;
                }
            }
        }
        has_created
    }

    fn warn_without_template(&mut self, role: &Role) {
        if role.worker_replicas > 0 && role.worker_template.is_none() {
            let message = format!(
                "Role {} asks for worker pods but has no workerTemplate",
                role.name
            );
            self.draft.warn("WorkerTemplateMissing", message);
        }
    }

    fn want_service(&mut self, group: &str, planned: &PlannedRole<'_>, id: &str) {
        if services::is_wanted(planned) {
            self.wanted.push(WantedService {
                group: group.to_owned(),
                role: planned.role.name.clone(),
                role_id: id.to_owned(),
            });
        }
    }
}
