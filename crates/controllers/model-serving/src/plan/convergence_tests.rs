//! Whatever happens, plan and apply reach the spec, and then rest.

mod rollouts;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kthena_api::int_or_percent::IntOrPercent;
use kthena_api::model_serving::{ModelServing, RecoveryPolicy};
use proptest::prelude::*;
use serde_json::json;

use rollouts::{Rollout, rollout};

use crate::names;
use crate::plan::Action;
use crate::testing::{Sim, role, serving};
use crate::view::{GangSupport, PodPhase, PodView, ServiceView};

/// Something that happens to the cluster or to the object.
#[derive(Debug, Clone)]
enum Event {
    Replicas(i32),
    RoleReplicas(usize, i32),
    Image(u8),
    Policy(RecoveryPolicy),
    Grace(i64),
    FailPod(usize),
    RestartPod(usize, u32),
    LosePod(usize),
    TerminatePod(usize),
    UnreadyPod(usize),
    LoseService(usize),
    LoseSnapshots,
    Cost(usize, i64),
    Step,
    Reap,
    Ready,
    RestartController,
    Wait(u64),
    Rollout(Rollout),
    Gang(Option<bool>),
    LosePodGroups,
    RolePartition(usize, Option<i32>),
    History(Option<i32>),
}

fn event() -> impl Strategy<Value = Event> {
    let policy = prop_oneof![
        Just(RecoveryPolicy::RoleRecreate),
        Just(RecoveryPolicy::ServingGroupRecreate),
        Just(RecoveryPolicy::None),
    ];
    prop_oneof![
        2 => (0..5).prop_map(Event::Replicas),
        2 => (0..2_usize, 0..4).prop_map(|(role, count)| Event::RoleReplicas(role, count)),
        1 => (0..3_u8).prop_map(Event::Image),
        1 => policy.prop_map(Event::Policy),
        1 => (0..20_i64).prop_map(Event::Grace),
        1 => any::<usize>().prop_map(Event::FailPod),
        1 => (any::<usize>(), 1..4_u32).prop_map(|(pod, count)| Event::RestartPod(pod, count)),
        1 => any::<usize>().prop_map(Event::LosePod),
        1 => any::<usize>().prop_map(Event::TerminatePod),
        1 => any::<usize>().prop_map(Event::UnreadyPod),
        1 => any::<usize>().prop_map(Event::LoseService),
        1 => Just(Event::LoseSnapshots),
        1 => (any::<usize>(), -50..50_i64).prop_map(|(pod, cost)| Event::Cost(pod, cost)),
        8 => Just(Event::Step),
        3 => Just(Event::Reap),
        3 => Just(Event::Ready),
        1 => Just(Event::RestartController),
        1 => (1..30_u64).prop_map(Event::Wait),
        1 => proptest::option::of(any::<bool>()).prop_map(Event::Gang),
        1 => Just(Event::LosePodGroups),
        1 => rollout().prop_map(Event::Rollout),
        1 => (0..2_usize, proptest::option::of(0..4)).prop_map(|(role, count)| Event::RolePartition(role, count)),
        1 => proptest::option::of(0..3).prop_map(Event::History),
    ]
}

fn any_serving() -> impl Strategy<Value = ModelServing> {
    (0..4, proptest::collection::vec((0..3, 0..3), 1..3)).prop_map(|(replicas, roles)| {
        let names = ["prefill", "decode"];
        let roles: Vec<_> = roles
            .iter()
            .zip(names)
            .map(|((count, workers), name)| role(name, *count, *workers))
            .collect();
        serving(replicas, &roles)
    })
}

impl Sim {
    fn pick(&mut self, index: usize) -> Option<&mut PodView> {
        let own: Vec<_> = self
            .pods
            .values_mut()
            .filter(|pod| pod.owner == crate::testing::UID)
            .collect();
        let count = own.len();
        own.into_iter().nth(index.checked_rem(count)?)
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Replicas(_)
            | Event::RoleReplicas(..)
            | Event::Image(_)
            | Event::Policy(_)
            | Event::Grace(_)
            | Event::Rollout(_)
            | Event::RolePartition(..)
            | Event::History(_) => self.ask(event),
            Event::FailPod(index) => {
                if let Some(pod) = self.pick(index) {
                    pod.phase = PodPhase::Failed;
                    pod.is_ready = false;
                }
            }
            Event::RestartPod(index, count) => {
                if let Some(pod) = self.pick(index) {
                    pod.restarts += count;
                    pod.is_ready = false;
                }
            }
            Event::LosePod(index) => {
                let name = self.pick(index).map(|pod| pod.name.clone());
                name.map(|name| self.pods.remove(&name));
            }
            Event::TerminatePod(index) => {
                if let Some(pod) = self.pick(index) {
                    pod.is_terminating = true;
                }
            }
            Event::UnreadyPod(index) => {
                if let Some(pod) = self.pick(index) {
                    pod.is_ready = false;
                }
            }
            Event::LoseService(index) => {
                let own = self
                    .services
                    .values()
                    .filter(|service| service.owner == crate::testing::UID);
                let names: Vec<_> = own.map(|service| service.name.clone()).collect();
                if let Some(index) = index.checked_rem(names.len()) {
                    self.services.remove(&names[index]);
                }
            }
            Event::LoseSnapshots => self.snapshots.clear(),
            Event::Cost(index, cost) => {
                if let Some(pod) = self.pick(index) {
                    pod.deletion_cost = cost;
                }
            }
            Event::Step => {
                self.step();
            }
            Event::Reap => self.reap(),
            Event::Ready => self.ready_all(),
            Event::RestartController => self.restart(),
            Event::Wait(seconds) => self.wait(Duration::from_secs(seconds)),
            Event::Gang(support) => {
                self.gang = support.map(|has_sub_groups| GangSupport { has_sub_groups });
                // Without the kind nobody sees its objects.
                if self.gang.is_none() {
                    self.pod_groups.clear();
                }
            }
            Event::LosePodGroups => self.pod_groups.clear(),
        }
    }

    /// The user changes the spec.
    fn ask(&mut self, event: &Event) {
        match *event {
            Event::Replicas(count) => self.edit(|serving| serving.spec.replicas = Some(count)),
            Event::RoleReplicas(index, count) => self.edit(|serving| {
                let roles = &mut serving.spec.template.roles;
                let index = index % roles.len();
                roles[index].replicas = Some(count);
            }),
            Event::Image(number) => self.edit_image(&format!("engine:{number}")),
            Event::Policy(policy) => {
                self.edit(|serving| serving.spec.recovery_policy = Some(policy));
            }
            Event::Grace(seconds) => {
                self.edit(|serving| {
                    serving.spec.template.restart_grace_period_seconds = Some(seconds);
                });
            }
            Event::Rollout(ref rollout) => {
                self.edit(|serving| serving.spec.rollout_strategy = Some(rollout.strategy()));
            }
            Event::RolePartition(index, count) => self.edit(|serving| {
                let roles = &mut serving.spec.template.roles;
                let index = index % roles.len();
                roles[index].partition = count.map(IntOrPercent::Int);
            }),
            Event::History(limit) => {
                self.edit(|serving| serving.spec.revision_history_limit = limit);
            }
            _ => {}
        }
    }
}

impl Sim {
    /// Nothing holds a rollout back any more.
    fn release(&mut self) {
        self.edit(|serving| {
            if let Some(strategy) = &mut serving.spec.rollout_strategy {
                strategy.paused = None;
                if let Some(configuration) = &mut strategy.rolling_update_configuration {
                    configuration.partition = None;
                }
            }
            for role in &mut serving.spec.template.roles {
                role.partition = None;
            }
        });
    }

    /// Live pods of each group by revision.
    fn revisions(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut revisions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let own = self
            .pods
            .values()
            .filter(|pod| pod.owner == crate::testing::UID);
        for pod in own.filter(|pod| !pod.is_terminating) {
            revisions
                .entry(&pod.group)
                .or_default()
                .insert(&pod.revision);
        }
        revisions
    }
}

/// Pods the spec asks for, if groups and instances have the ordinals found in the cluster.
fn assert_matches_spec(sim: &Sim) {
    let spec = &sim.serving.spec;
    let mut pods: BTreeMap<(&str, &str), BTreeMap<&str, BTreeSet<&str>>> = BTreeMap::new();
    let mut groups = BTreeSet::new();
    for pod in sim
        .pods
        .values()
        .filter(|pod| pod.owner == crate::testing::UID)
    {
        groups.insert(pod.group.as_str());
        pods.entry((&pod.group, &pod.role))
            .or_default()
            .entry(&pod.role_id)
            .or_default()
            .insert(&pod.name);
    }
    let has_pods = spec
        .template
        .roles
        .iter()
        .any(|role| role.replicas != Some(0));
    let wanted = usize::try_from(spec.replicas.unwrap()).unwrap();
    assert_eq!(
        groups.len(),
        if has_pods { wanted } else { 0 },
        "groups {groups:?}"
    );
    let mut services = BTreeSet::new();
    for group in groups {
        for role in &spec.template.roles {
            let none = BTreeMap::new();
            let instances = pods.get(&(group, role.name.as_str())).unwrap_or(&none);
            assert_eq!(
                i32::try_from(instances.len()).ok(),
                role.replicas,
                "{group} {}",
                role.name
            );
            for (id, members) in instances {
                let expected: BTreeSet<_> = (0..=role.worker_replicas)
                    .map(|index| names::pod(group, id, index))
                    .collect();
                assert_eq!(
                    members
                        .iter()
                        .map(|name| (*name).to_owned())
                        .collect::<BTreeSet<_>>(),
                    expected
                );
                if role.worker_template.is_some() {
                    services.insert(names::pod(group, id, 0));
                }
            }
        }
    }
    let own = sim
        .services
        .values()
        .filter(|service| service.owner == crate::testing::UID);
    assert_eq!(
        own.map(|service| service.name.clone())
            .collect::<BTreeSet<_>>(),
        services
    );
    let gangs = if sim.gang.is_some() { wanted } else { 0 };
    assert_eq!(
        sim.pod_groups.len(),
        if has_pods {
            gangs
        } else {
            sim.pod_groups.len()
        }
    );
    let status = sim.status();
    assert_eq!(
        status.observed_generation,
        sim.serving.metadata.generation.unwrap()
    );
    if has_pods {
        assert_eq!(
            [
                status.replicas,
                status.available_replicas,
                status.updated_replicas
            ],
            [spec.replicas.unwrap(); 3],
            "{status:?}"
        );
    }
    for pod in sim
        .pods
        .values()
        .filter(|pod| pod.owner == crate::testing::UID)
    {
        assert_eq!(
            pod.revision, status.update_revision,
            "{} is outdated",
            pod.name
        );
    }
    assert_history(sim, !has_pods || wanted == 0);
}

/// No more revisions are kept than the spec says. Where nothing runs the status may still refer to one.
fn assert_history(sim: &Sim, is_empty: bool) {
    let wanted = &sim.status().update_revision;
    let snapshots = sim.snapshots.values();
    let others = snapshots.filter(|one| one.revision != *wanted).count();
    let limit = sim.serving.spec.revision_history_limit.unwrap_or(0);
    let kept = usize::try_from(limit).unwrap();
    assert!(others <= kept + usize::from(is_empty), "{others} kept");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn any_history_ends_in_the_spec_and_then_rests(
        serving in any_serving(),
        is_graceful in any::<bool>(),
        events in proptest::collection::vec(event(), 0..40),
    ) {
        let mut sim = Sim::new(serving);
        sim.is_graceful = is_graceful;
        // A stranger with our labels, and one without an owner: neither may be touched or counted.
        for (name, owner) in [("sample-0-stranger-0-0", "uid-of-a-former-sample"), ("sample-9-x-0-0", "")] {
            let group = name[..8].to_owned();
            sim.pods.insert(name.to_owned(), PodView {
                name: name.to_owned(), uid: format!("uid-{name}"), owner: owner.to_owned(), group,
                role: "stranger".to_owned(), role_id: "stranger-0".to_owned(), phase: PodPhase::Failed,
                ..PodView::default()
            });
        }
        sim.services.insert("foreign".to_owned(), ServiceView {
            name: "foreign".to_owned(), uid: "uid-foreign".to_owned(), group: "sample-0".to_owned(),
            ..ServiceView::default()
        });
        for event in &events {
            sim.happen(event);
        }
        // Whatever holds a rollout back, there is an end to it.
        sim.settle();
        prop_assert!(sim.plan().is_idle());
        sim.release();
        sim.settle();

        assert_matches_spec(&sim);
        prop_assert!(sim.pods.contains_key("sample-0-stranger-0-0"));
        prop_assert!(sim.pods.contains_key("sample-9-x-0-0"));
        prop_assert!(sim.services.contains_key("foreign"));
        // A settled object gets nothing, also from a controller that just started.
        prop_assert!(sim.plan().is_idle());
        sim.restart();
        let fresh = sim.plan();
        prop_assert!(fresh.is_idle(), "{:?}", fresh);
    }

    #[test]
    fn the_same_view_gives_the_same_plan(
        serving in any_serving(),
        events in proptest::collection::vec(event(), 0..30),
    ) {
        let mut sim = Sim::new(serving);
        for event in &events {
            sim.happen(event);
        }
        prop_assert_eq!(sim.plan(), sim.plan());
        // Whatever order the objects are listed in.
        let mut view = sim.view();
        view.pods.reverse();
        view.services.reverse();
        view.snapshots.reverse();
        let reversed = crate::plan(&view, &sim.memory, sim.now);
        let sorted = |actions: &[Action]| {
            let mut actions: Vec<_> = actions.iter().map(|action| format!("{action:?}")).collect();
            actions.sort();
            actions
        };
        prop_assert_eq!(sorted(&reversed.actions), sorted(&sim.plan().actions));
        prop_assert_eq!(reversed.status, sim.plan().status);
    }

    #[test]
    fn r47_r50_a_rollout_never_goes_below_the_minimum(
        replicas in 1..6,
        (max_unavailable, max_surge) in (0..4, 0..3).prop_filter("no way to go on", |limits| *limits != (0, 0)),
        partition in proptest::option::of(0..5),
        is_graceful in any::<bool>(),
        readying in proptest::collection::vec(any::<bool>(), 60),
    ) {
        let mut object = serving(replicas, &[role("decode", 1, 1), role("prefill", 1, 0)]);
        object.spec.rollout_strategy = serde_json::from_value(json!({
            "type": "ServingGroupRollingUpdate",
            "rollingUpdateConfiguration": {
                "maxUnavailable": max_unavailable, "maxSurge": max_surge, "partition": partition,
            },
        })).unwrap();
        let mut sim = Sim::settled(object);
        sim.is_graceful = is_graceful;
        sim.edit_image("engine:2");
        for is_ready in readying {
            sim.step();
            let status = sim.status();
            prop_assert!(replicas - status.available_replicas <= max_unavailable, "{status:?}");
            prop_assert!(status.replicas <= replicas + max_surge, "{status:?}");
            for (group, revisions) in sim.revisions() {
                prop_assert!(revisions.len() == 1, "{group} mixes {revisions:?}");
            }
            if is_ready {
                sim.ready_all();
            } else {
                sim.reap();
            }
        }
        sim.settle();
        let ordinals: Vec<_> = (0..replicas).map(|ordinal| format!("sample-{ordinal}")).collect();
        prop_assert_eq!(sim.groups(), ordinals);
        let held = partition.unwrap_or(0).min(replicas);
        prop_assert_eq!(sim.status().updated_replicas, replicas - held);
        sim.release();
        sim.settle();
        assert_matches_spec(&sim);
    }

    #[test]
    fn a_loss_of_one_pod_touches_nothing_else(
        group in 0..3_i32,
        index in 0..3_i32,
        policy in prop_oneof![
            Just(RecoveryPolicy::RoleRecreate),
            Just(RecoveryPolicy::ServingGroupRecreate),
            Just(RecoveryPolicy::None),
        ],
        is_graceful in any::<bool>(),
    ) {
        let mut object = serving(3, &[role("prefill", 2, 2), role("decode", 1, 0)]);
        object.spec.recovery_policy = Some(policy);
        let mut sim = Sim::settled(object);
        sim.is_graceful = is_graceful;
        let before = sim.uids();
        let lost = format!("sample-{group}-prefill-1-{index}");
        sim.pods.remove(&lost);
        sim.settle();

        let renewed: BTreeSet<_> =
            sim.uids().into_iter().filter(|(name, uid)| before[name] != *uid).map(|(name, _)| name).collect();
        let unit = match policy {
            RecoveryPolicy::None => lost.clone(),
            RecoveryPolicy::RoleRecreate => format!("sample-{group}-prefill-1-"),
            RecoveryPolicy::ServingGroupRecreate => format!("sample-{group}-"),
        };
        let expected: BTreeSet<_> = before.into_keys().filter(|name| name.starts_with(&unit)).collect();
        prop_assert_eq!(renewed, expected, "R59, R61");
    }
}
