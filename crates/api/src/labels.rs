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
pub const IDENTITY: [&str; 7] =
    [MODEL_SERVING_NAME, GROUP_NAME, ROLE, ROLE_ID, ENTRY, REVISION, ROLE_TEMPLATE_HASH];

/// Annotation of a `ControllerRevision`: role counts last seen while it was the update revision, JSON map.
pub const ROLE_REPLICAS: &str = "modelserving.volcano.sh/role-replicas";
/// Annotation of a `ModelServing`: queue of its `PodGroup`s.
pub const QUEUE_NAME: &str = "scheduling.volcano.sh/queue-name";
/// Annotation of a pod: what its deletion costs, an integer; pods of lower cost go first.
pub const POD_DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// Annotation of a pod: the `PodGroup` it belongs to.
pub const POD_GROUP_NAME: &str = "scheduling.k8s.io/group-name";
/// Annotation of a pod: its task within the `PodGroup`.
pub const TASK_SPEC: &str = "volcano.sh/task-spec";
/// Label a Secret must carry to be usable as a provider credential, with value `true`.
pub const PROVIDER_CREDENTIAL: &str = "networking.serving.volcano.sh/external-model-provider-credential";

/// Environment variable: `<entry pod>.<namespace>`.
pub const ENV_ENTRY_ADDRESS: &str = "ENTRY_ADDRESS";
/// Environment variable: 0 for the entry pod, then 1 and up.
pub const ENV_WORKER_INDEX: &str = "WORKER_INDEX";
/// Environment variable: worker replicas plus one.
pub const ENV_GROUP_SIZE: &str = "GROUP_SIZE";
