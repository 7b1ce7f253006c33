//! CRD of `AutoscalingPolicy`.

use serde_json::{Value, json};

use super::Definition;
use super::build::{
    about, age, at_least, boolean, bounded, default, int32, list, map, object, one_of, resource,
    rule, rules, string, with,
};
use super::{common, expand};

const MOST_REPLICAS: i64 = 1_000_000;

pub(super) fn definition() -> Definition {
    let schema = resource("Scales one target by metrics.", spec(), status(), &[]);
    Definition::workload("AutoscalingPolicy", "autoscalingpolicies", schema).columns(vec![age()])
}

fn spec() -> Value {
    let members = [
        (
            "tolerancePercent",
            about(
                "Deviation that changes nothing.",
                default(10, bounded(0, 100)),
            ),
        ),
        (
            "metrics",
            about("What is measured and what it should be.", list(metric())),
        ),
        ("behavior", about("How fast to scale.", behavior())),
        (
            "homogeneousTarget",
            about("One ModelServing.", homogeneous()),
        ),
        (
            "heterogeneousTarget",
            about("Several ModelServings of different cost.", heterogeneous()),
        ),
        (
            "disaggregatedTarget",
            about("One or two roles of a ModelServing.", disaggregated()),
        ),
    ];
    about(
        "What is asked for. Exactly one target is set.",
        object(members, &[]),
    )
}

fn metric() -> Value {
    object(
        [
            (
                "name",
                about(
                    "Key into metricSources.",
                    with(string(), json!({"minLength": 1})),
                ),
            ),
            (
                "targetValue",
                about(
                    "Wanted value per instance, more than 0.",
                    expand::quantity(),
                ),
            ),
        ],
        &["name", "targetValue"],
    )
}

fn behavior() -> Value {
    let panic = object(
        [
            (
                "percent",
                about(
                    "Largest step as a share of the current count.",
                    default(1000, bounded(0, 1000)),
                ),
            ),
            ("period", about("0 to 30 minutes.", string())),
            (
                "panicThresholdPercent",
                about("Rise that starts it.", default(200, bounded(110, 1000))),
            ),
            (
                "panicModeHold",
                about(
                    "How long it lasts; 0 = it never starts.",
                    default("60s", string()),
                ),
            ),
        ],
        &["period"],
    );
    let scale_up = object(
        [
            ("stablePolicy", about("Normally.", stable_policy())),
            ("panicPolicy", about("Under a sudden rise.", panic)),
        ],
        &[],
    );
    object(
        [
            ("scaleUp", about("Up.", scale_up)),
            ("scaleDown", about("Down.", stable_policy())),
        ],
        &[],
    )
}

fn stable_policy() -> Value {
    object(
        [
            (
                "instances",
                about("Largest step per period.", default(1, at_least(0))),
            ),
            (
                "percent",
                about(
                    "Largest step as a share of the current count.",
                    default(100, bounded(0, 1000)),
                ),
            ),
            (
                "period",
                about("0 to 30 minutes.", default("15s", string())),
            ),
            (
                "selectPolicy",
                about(
                    "`Or` = the laxer limit, `And` = the stricter.",
                    default("Or", one_of(&["Or", "And"])),
                ),
            ),
            (
                "stabilizationWindow",
                about(
                    "How far back recommendations count, 0 to 30 minutes.",
                    string(),
                ),
            ),
        ],
        &[],
    )
}

fn target() -> Value {
    object(
        [
            (
                "targetRef",
                about("A ModelServing.", common::object_reference()),
            ),
            (
                "metricSources",
                about("By metric name.", map(metric_source())),
            ),
        ],
        &["targetRef"],
    )
}

fn metric_source() -> Value {
    let pod = object(
        [
            (
                "name",
                about(
                    "Name in the exposition; empty = the metric's key.",
                    string(),
                ),
            ),
            (
                "uri",
                default("/metrics", with(string(), json!({"pattern": "^/"}))),
            ),
            ("port", default(8100, bounded(1, 65535))),
            (
                "labelSelector",
                about("Which of the target's pods.", common::label_selector()),
            ),
        ],
        &[],
    );
    let prometheus = object(
        [
            (
                "serverURL",
                json!({"type": "string", "format": "uri", "minLength": 1}),
            ),
            ("query", with(string(), json!({"minLength": 1}))),
            ("auth", about("Reserved, without members.", object([], &[]))),
        ],
        &["query", "serverURL"],
    );
    let one = rule(
        "has(self.pod) || has(self.prometheus)",
        "one metric source backend config is required",
    );
    let not_both = rule(
        "!(has(self.pod) && has(self.prometheus))",
        "pod and prometheus configs are mutually exclusive",
    );
    let members = [
        ("pod", about("Scraped from the pods.", pod)),
        ("prometheus", about("Queried from Prometheus.", prometheus)),
    ];
    rules([one, not_both], object(members, &[]))
}

fn least() -> (&'static str, Value) {
    (
        "minReplicas",
        about("Lower bound.", bounded(0, MOST_REPLICAS)),
    )
}

fn most() -> (&'static str, Value) {
    (
        "maxReplicas",
        about("Upper bound.", bounded(1, MOST_REPLICAS)),
    )
}

fn homogeneous() -> Value {
    object(
        [("target", target()), least(), most()],
        &["maxReplicas", "minReplicas"],
    )
}

fn heterogeneous() -> Value {
    let cost = ("cost", about("Cost of an instance.", at_least(0)));
    let param = object(
        [("target", target()), cost, least(), most()],
        &["maxReplicas", "minReplicas"],
    );
    object(
        [
            ("params", with(list(param), json!({"minItems": 1}))),
            (
                "costExpansionRatePercent",
                about("Cost added at the most.", default(200, at_least(0))),
            ),
        ],
        &[],
    )
}

fn disaggregated() -> Value {
    let role = object(
        [
            least(),
            most(),
            (
                "metrics",
                about(
                    "In place of the policy's metrics.",
                    with(list(metric()), json!({"minItems": 1})),
                ),
            ),
            (
                "metricSources",
                about("By metric name.", map(metric_source())),
            ),
        ],
        &["maxReplicas", "minReplicas"],
    );
    let differ = rule(
        "self.numeratorRole != self.denominatorRole",
        "numeratorRole and denominatorRole must differ",
    );
    let ratio = object(
        [
            ("numeratorRole", string()),
            ("denominatorRole", string()),
            ("minRatio", expand::quantity()),
            ("maxRatio", expand::quantity()),
        ],
        &["denominatorRole", "maxRatio", "minRatio", "numeratorRole"],
    );
    let two = rule(
        "!has(self.ratioConstraint) || size(self.roles) >= 2",
        "roles must contain at least two entries when ratioConstraint is configured",
    );
    let members = [
        (
            "targetRef",
            about("The ModelServing.", common::object_reference()),
        ),
        (
            "roles",
            about(
                "By role name.",
                with(map(role), json!({"minProperties": 1, "maxProperties": 2})),
            ),
        ),
        (
            "ratioConstraint",
            about(
                "Bounds on the ratio of the two roles.",
                rules([differ], ratio),
            ),
        ),
    ];
    rules([two], object(members, &["roles", "targetRef"]))
}

fn status() -> Value {
    let scaling = || {
        object(
            [
                ("name", string()),
                ("currentReplicas", int32()),
                ("desiredReplicas", int32()),
                ("mode", about("`Stable` or `Panic`.", string())),
                (
                    "lastScaleTime",
                    json!({"type": "string", "format": "date-time"}),
                ),
            ],
            &["currentReplicas", "desiredReplicas"],
        )
    };
    let ratio = object(
        [
            ("numeratorRole", string()),
            ("denominatorRole", string()),
            ("currentRatio", string()),
        ],
        &["denominatorRole", "numeratorRole"],
    );
    let disaggregated = object(
        [
            ("roles", list(scaling())),
            ("ratioStatus", ratio),
            ("ratioAdjusted", boolean()),
        ],
        &["roles"],
    );
    let members = [
        ("observedGeneration", common::observed_generation()),
        ("conditions", common::conditions(true)),
        ("homogeneousStatus", scaling()),
        ("heterogeneousStatus", list(scaling())),
        ("disaggregatedStatus", disaggregated),
    ];
    about("What was last observed.", object(members, &[]))
}
