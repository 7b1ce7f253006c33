//! Label, annotation and environment names that users, dashboards and other controllers rely on.

/// Name of the `ModelServing` that owns the object.
pub const MODEL_SERVING_NAME: &str = "modelserving.volcano.sh/name";
/// Serving group, `<modelserving>-<ordinal>`.
pub const GROUP_NAME: &str = "modelserving.volcano.sh/group-name";
/// Role name.
pub const ROLE: &str = "modelserving.volcano.sh/role";
/// Role instance, `<role>-<ordinal>`.
pub const ROLE_ID: &str = "modelserving.volcano.sh/role-id";
/// `true` on entry pods, absent elsewhere.
pub const ENTRY: &str = "modelserving.volcano.sh/entry";
/// Revision of the serving group that the pod was built from.
pub const REVISION: &str = "modelserving.volcano.sh/revision";
/// Hash of the role template that the pod was built from.
pub const ROLE_TEMPLATE_HASH: &str = "modelserving.volcano.sh/role-template-hash";
/// The identity labels: a template never overrides them.
pub const IDENTITY: [&str; 7] = [
    MODEL_SERVING_NAME,
    GROUP_NAME,
    ROLE,
    ROLE_ID,
    ENTRY,
    REVISION,
    ROLE_TEMPLATE_HASH,
];

/// Annotation of a `ControllerRevision`: role counts last seen while it was the update revision, JSON map.
pub const ROLE_REPLICAS: &str = "modelserving.volcano.sh/role-replicas";
/// Annotation of a `ControllerRevision`: hashes that another controller gave to its roles, JSON map.
pub const ROLE_HASHES: &str = "modelserving.volcano.sh/role-hashes";
/// Annotation of a `ModelServing`: queue of its `PodGroup`s.
pub const QUEUE_NAME: &str = "scheduling.volcano.sh/queue-name";
/// Annotation of a pod: what its deletion costs, an integer; pods of lower cost go first.
pub const POD_DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// Annotation of a pod: the `PodGroup` it belongs to.
pub const POD_GROUP_NAME: &str = "scheduling.k8s.io/group-name";
/// Annotation of a pod: its task within the `PodGroup`.
pub const TASK_SPEC: &str = "volcano.sh/task-spec";
/// Label a Secret must carry to be usable as a provider credential, with value `true`.
pub const PROVIDER_CREDENTIAL: &str =
    "networking.serving.volcano.sh/external-model-provider-credential";

/// What [`PROVIDER_CREDENTIAL`] must be set to.
pub const PROVIDER_CREDENTIAL_VALUE: &str = "true";

/// Label of an object made from a `ModelBooster`: its name.
pub const MODEL_NAME: &str = "workload.serving.volcano.sh/model-name";
/// Label of an object made from a `ModelBooster`: the backend's name, empty on the `ModelRoute`.
pub const BACKEND_NAME: &str = "workload.serving.volcano.sh/backend-name";
/// Label of an object made from a `ModelBooster`: always [`MANAGED_BY_VALUE`].
pub const MANAGED_BY: &str = "workload.serving.volcano.sh/managed-by";
/// What [`MANAGED_BY`] is set to.
pub const MANAGED_BY_VALUE: &str = crate::WORKLOAD_GROUP;
/// Label of an object made from a `ModelBooster`: hash of what it was made from.
pub const MODEL_REVISION: &str = "workload.serving.volcano.sh/revision";
/// Label of an object made from a `ModelBooster`: its uid.
pub const MODEL_UID: &str = "workload.serving.volcano.sh/model-uid";

/// Label by which tools, and the `LeaderWorkerSet` project's own controller, find what belongs to a set: its name.
pub const LWS_NAME: &str = "leaderworkerset.sigs.k8s.io/name";
/// Label of a pod of a `LeaderWorkerSet`: ordinal of its group.
pub const LWS_GROUP_INDEX: &str = "leaderworkerset.sigs.k8s.io/group-index";
/// Label of a pod of a `LeaderWorkerSet`: 0 for the leader, then 1 and up.
pub const LWS_WORKER_INDEX: &str = "leaderworkerset.sigs.k8s.io/worker-index";
/// Label of a pod of a `LeaderWorkerSet`: hash of its group's name.
pub const LWS_GROUP_KEY: &str = "leaderworkerset.sigs.k8s.io/group-key";
/// Plugin of a `ModelServing` that gives the pods of a `LeaderWorkerSet` these labels, and its variables.
pub const LWS_PLUGIN: &str = "lws-standard-labels";
/// Annotation of a `LeaderWorkerSet`: what only one group may be on at a time.
pub const LWS_EXCLUSIVE_TOPOLOGY: &str = "leaderworkerset.sigs.k8s.io/exclusive-topology";
/// Annotation of a `LeaderWorkerSet`: what only one subgroup may be on at a time.
pub const LWS_SUBGROUP_EXCLUSIVE_TOPOLOGY: &str =
    "leaderworkerset.sigs.k8s.io/subgroup-exclusive-topology";

/// Component that reports events about a `ModelServing`.
pub const EVENT_COMPONENT: &str = "modelserving-controller";
/// Event reason: a role instance is being made.
pub const EVENT_ROLE_CREATING: &str = "RoleCreating";
/// Event reason: a role instance is ready.
pub const EVENT_ROLE_RUNNING: &str = "RoleRunning";
/// Event reason: a role instance is being removed.
pub const EVENT_ROLE_DELETING: &str = "RoleDeleting";

/// Environment variable of a `ModelBooster` backend: endpoint of an object store.
pub const ENV_ENDPOINT: &str = "ENDPOINT";
/// Environment variable of a `ModelBooster` backend: port of the runtime sidecar, 8100 unless set.
pub const ENV_RUNTIME_PORT: &str = "RUNTIME_PORT";
/// Environment variable of a `ModelBooster` backend: address of the engine as the sidecar sees it.
pub const ENV_RUNTIME_URL: &str = "RUNTIME_URL";
/// Environment variable of a `ModelBooster` backend: path of the engine's metrics, `/metrics` unless set.
pub const ENV_RUNTIME_METRICS_PATH: &str = "RUNTIME_METRICS_PATH";
/// Environment variable of a `ModelBooster` backend: endpoint of a Hugging Face mirror.
pub const ENV_HF_ENDPOINT: &str = "HF_ENDPOINT";
/// Environment variable of a `ModelBooster` backend: token for `ModelScope`.
pub const ENV_MS_TOKEN: &str = "MS_TOKEN";
/// Environment variable of a `ModelBooster` backend: revision of a model on `ModelScope`.
pub const ENV_MS_REVISION: &str = "MS_REVISION";
/// Environment variable of a `ModelBooster` backend: do not install what the engine depends on.
pub const ENV_SKIP_ENGINE_DEPENDENCY_INSTALL: &str = "KTHENA_SKIP_ENGINE_DEPENDENCY_INSTALL";

/// Environment variable: `<entry pod>.<namespace>`.
pub const ENV_ENTRY_ADDRESS: &str = "ENTRY_ADDRESS";
/// Environment variable: 0 for the entry pod, then 1 and up.
pub const ENV_WORKER_INDEX: &str = "WORKER_INDEX";
/// Environment variable: worker replicas plus one.
pub const ENV_GROUP_SIZE: &str = "GROUP_SIZE";
