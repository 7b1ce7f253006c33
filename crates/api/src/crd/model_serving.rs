//! CRD of `ModelServing`.

use serde_json::{Value, json};

use super::Definition;
use super::build::{
    about, age, anything, column, default, int32, int64, list, map, object, one_of, resource, rule,
    rules, string, with,
};
use super::{common, expand, schemas};

pub(super) fn definition() -> Definition {
    let schema = resource(
        "Runs a number of serving groups, each made of roles of pods that run an engine.",
        spec(),
        status(),
        &[],
    );
    let columns = vec![
        column(
            "Replicas",
            "integer",
            ".status.replicas",
            "Total number of serving groups",
        ),
        column(
            "Available",
            "integer",
            ".status.availableReplicas",
            "Number of serving groups that are ready",
        ),
        column(
            "Updated",
            "integer",
            ".status.updatedReplicas",
            "Number of serving groups updated to the latest revision",
        ),
        age(),
    ];
    let scale = json!({
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.labelSelector",
    });
    Definition::workload("ModelServing", "modelservings", schema)
        .columns(columns)
        .scale(scale)
}

fn spec() -> Value {
    let recovery = one_of(&["ServingGroupRecreate", "RoleRecreate", "None"]);
    let members = [
        (
            "replicas",
            about("Number of serving groups.", default(1, int32())),
        ),
        (
            "schedulerName",
            about(
                "Scheduler of every pod; `volcano` enables pod groups.",
                default("volcano", string()),
            ),
        ),
        (
            "plugins",
            about(
                "Run on each pod before it is created, in order.",
                list(plugin()),
            ),
        ),
        (
            "template",
            about("What one serving group looks like.", template()),
        ),
        (
            "rolloutStrategy",
            about("How a change of the template is rolled out.", rollout()),
        ),
        (
            "recoveryPolicy",
            about(
                "What is rebuilt when a pod fails.",
                default("RoleRecreate", recovery),
            ),
        ),
        (
            "revisionHistoryLimit",
            about(
                "Revisions to keep beyond those that pods run, for a rollback; absent = 0.",
                with(int32(), json!({"minimum": 0})),
            ),
        ),
    ];
    about("What is asked for.", object(members, &["template"]))
}

fn plugin() -> Value {
    let scope = object(
        [
            ("roles", about("Role names; empty = all.", list(string()))),
            (
                "target",
                about("`All`, `Entry` or `Worker`; empty = all.", string()),
            ),
        ],
        &[],
    );
    object(
        [
            ("name", about("Name in the registry.", string())),
            ("type", default("BuiltIn", one_of(&["BuiltIn"]))),
            (
                "config",
                about("Any JSON; its meaning is the plugin's.", anything()),
            ),
            (
                "scope",
                about("Which pods the plugin sees; absent = all.", scope),
            ),
        ],
        &["name", "type"],
    )
}

fn template() -> Value {
    let min_replicas = rules(
        [rule("self == oldSelf", "minRoleReplicas is immutable")],
        map(int32()),
    );
    let gang = object(
        [(
            "minRoleReplicas",
            about(
                "Role instances needed, by role name; a role not listed needs all.",
                min_replicas,
            ),
        )],
        &[],
    );
    let topology = object(
        [
            (
                "groupPolicy",
                about("For a whole serving group.", topology_policy()),
            ),
            (
                "rolePolicy",
                about("For each role instance.", topology_policy()),
            ),
        ],
        &[],
    );
    let unique = rule(
        "self.all(x, self.exists_one(y, y.name == x.name))",
        "roles name must be unique",
    );
    let roles = rules(
        [unique],
        with(list(role()), json!({"minItems": 1, "maxItems": 4})),
    );
    let kept = rule(
        "!has(oldSelf.gangPolicy) || has(self.gangPolicy)",
        "gangPolicy is required once set",
    );
    let members = [
        (
            "restartGracePeriodSeconds",
            about(
                "Wait before a failed pod is rebuilt; not positive = at once.",
                default(0, int64()),
            ),
        ),
        (
            "gangPolicy",
            about("Which pods must be placed together.", gang),
        ),
        (
            "networkTopology",
            about("How close pods must be placed.", topology),
        ),
        ("roles", about("The parts of a serving group.", roles)),
    ];
    rules([kept], object(members, &["roles"]))
}

fn topology_policy() -> Value {
    object(
        [
            ("mode", default("hard", one_of(&["hard", "soft"]))),
            (
                "highestTierAllowed",
                json!({"type": "integer", "minimum": 0}),
            ),
            ("highestTierName", with(string(), json!({"maxLength": 253}))),
        ],
        &[],
    )
}

fn role() -> Value {
    let name = with(
        string(),
        json!({"maxLength": 12, "pattern": "^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?$"}),
    );
    let members = [
        ("name", about("A DNS label.", name)),
        (
            "replicas",
            about("Instances per serving group.", default(1, int32())),
        ),
        (
            "entryTemplate",
            about("The one entry pod of each instance.", pod_template()),
        ),
        (
            "workerReplicas",
            about("Worker pods per instance.", int32()),
        ),
        (
            "workerTemplate",
            about("Needed when there are worker pods.", pod_template()),
        ),
        (
            "maxUnavailable",
            about(
                "Instances that may be down during a role rollout, a count or a share.",
                default(1, expand::int_or_string()),
            ),
        ),
        (
            "partition",
            about(
                "Instances that a role rollout leaves alone, the lowest ordinals.",
                expand::int_or_string(),
            ),
        ),
    ];
    object(members, &["entryTemplate", "name", "workerReplicas"])
}

fn pod_template() -> Value {
    let metadata = object(
        [("annotations", map(string())), ("labels", map(string()))],
        &[],
    );
    object([("metadata", metadata), ("spec", schemas::pod_spec())], &[])
}

fn rollout() -> Value {
    let configuration = object(
        [
            (
                "maxUnavailable",
                about(
                    "Groups that may be down, a count or a share rounded down.",
                    default(1, expand::int_or_string()),
                ),
            ),
            (
                "partition",
                about(
                    "Groups that stay as they are, the lowest ordinals.",
                    expand::int_or_string(),
                ),
            ),
            (
                "maxSurge",
                about(
                    "Groups beyond replicas that may exist during a rollout, a count or a share rounded up; absent = none.",
                    expand::int_or_string(),
                ),
            ),
        ],
        &[],
    );
    let types = one_of(&["ServingGroupRollingUpdate", "RoleRollingUpdate"]);
    object(
        [
            (
                "type",
                about(
                    "The unit that is replaced.",
                    default("ServingGroupRollingUpdate", types),
                ),
            ),
            (
                "rollingUpdateConfiguration",
                about("Only for ServingGroupRollingUpdate.", configuration),
            ),
            (
                "paused",
                about(
                    "Nothing is replaced while this is true, and what is lost comes back as it was.",
                    json!({"type": "boolean"}),
                ),
            ),
            (
                "progressDeadlineSeconds",
                about(
                    "Seconds without progress after which a rollout is reported as stalled; absent = never.",
                    with(int32(), json!({"minimum": 1})),
                ),
            ),
        ],
        &["type"],
    )
}

fn status() -> Value {
    let members = [
        ("observedGeneration", common::observed_generation()),
        ("replicas", about("Serving groups that exist.", int32())),
        (
            "currentReplicas",
            about("Groups not on the update revision.", int32()),
        ),
        (
            "updatedReplicas",
            about("Groups on the update revision.", int32()),
        ),
        ("availableReplicas", about("Ready groups.", int32())),
        (
            "currentRevision",
            about("Revision of groups not updated yet.", string()),
        ),
        (
            "updateRevision",
            about("Revision that the spec asks for.", string()),
        ),
        ("conditions", common::conditions(false)),
        (
            "labelSelector",
            about("Selects one pod per group.", string()),
        ),
        (
            "roles",
            about(
                "Instances of each role over all groups.",
                list(role_status()),
            ),
        ),
    ];
    about("What was last observed.", object(members, &[]))
}

fn role_status() -> Value {
    let members = [
        ("name", about("Name of the role.", string())),
        ("replicas", about("Instances that exist.", int32())),
        (
            "readyReplicas",
            about("Instances whose pods are all ready.", int32()),
        ),
        (
            "updatedReplicas",
            about("Instances that are what the spec asks for.", int32()),
        ),
    ];
    // Counts of zero are written too: a role without instances is news.
    object(
        members,
        &["name", "readyReplicas", "replicas", "updatedReplicas"],
    )
}
