//! CRD of `ModelRoute`.

use serde_json::{Value, json};

use super::Definition;
use super::build::{
    about, age, at_least, bounded, default, list, object, one_of, resource, rule, rules, string,
    with,
};
use super::common;

pub(super) fn definition() -> Definition {
    let status = about("Reserved, without members.", object([], &[]));
    let schema = resource(
        "Maps requests for a model, or for adapters of it, to model servers or external providers.",
        spec(),
        status,
        &["spec"],
    );
    Definition::networking("ModelRoute", "modelroutes", schema).columns(vec![age()])
}

fn spec() -> Value {
    let model_name = rules(
        [rule("self == oldSelf", "modelName is immutable")],
        string(),
    );
    let members = [
        (
            "modelName",
            about(
                "Value of the request field `model` that selects this route. Immutable once set.",
                model_name,
            ),
        ),
        (
            "loraAdapters",
            about(
                "Other values of `model` that select it: names of LoRA adapters.",
                with(list(string()), json!({"maxItems": 10})),
            ),
        ),
        (
            "parentRefs",
            about(
                "Gateways served; absent = the default listener and every Gateway of the namespace.",
                list(common::parent_reference()),
            ),
        ),
        (
            "rules",
            about(
                "In order; the first that matches wins.",
                with(list(route_rule()), json!({"maxItems": 16})),
            ),
        ),
        (
            "rateLimit",
            about("Token limits; absent = unlimited.", rate_limit()),
        ),
        (
            "sessionSticky",
            about(
                "Keeps the requests of a session on one pod; absent = each request is placed on its own.",
                session_sticky(),
            ),
        ),
    ];
    let named = rule(
        "self.modelName != \"\" || size(self.loraAdapters) > 0",
        "ModelName and LoraAdapters cannot both be empty",
    );
    about(
        "What is asked for.",
        rules([named], object(members, &["rules"])),
    )
}

fn route_rule() -> Value {
    let target = object(
        [
            (
                "modelServerName",
                about("A ModelServer of the namespace.", string()),
            ),
            (
                "externalModelProviderName",
                about("An ExternalModelProvider of the namespace.", string()),
            ),
            (
                "weight",
                about("Relative weight.", default(100, bounded(0, 100))),
            ),
        ],
        &[],
    );
    let one_name = rule(
        "(has(self.modelServerName) && self.modelServerName != \"\") != (has(self.externalModelProviderName) && self.externalModelProviderName != \"\")",
        "exactly one of modelServerName or externalModelProviderName must be set",
    );
    let targets = with(
        list(rules([one_name], target)),
        json!({"minItems": 1, "maxItems": 16}),
    );
    object(
        [
            ("name", about("Free text.", string())),
            (
                "modelMatch",
                about(
                    "Conditions on the request; absent = every request.",
                    common::model_match(),
                ),
            ),
            (
                "targetModels",
                about("Where matching requests go, by weight.", targets),
            ),
        ],
        &["targetModels"],
    )
}

fn rate_limit() -> Value {
    let redis = object([("address", about("`host:port`.", string()))], &["address"]);
    let global = object(
        [(
            "redis",
            about("Present = the limit is shared by all routers.", redis),
        )],
        &[],
    );
    object(
        [
            (
                "inputTokensPerUnit",
                about("Absent = unlimited.", at_least(1)),
            ),
            (
                "outputTokensPerUnit",
                about("Absent = unlimited.", at_least(1)),
            ),
            (
                "unit",
                about(
                    "A month is 30 days.",
                    default(
                        "second",
                        one_of(&["second", "minute", "hour", "day", "month"]),
                    ),
                ),
            ),
            ("global", about("Where a shared limit is kept.", global)),
        ],
        &["unit"],
    )
}

fn session_sticky() -> Value {
    let source = object(
        [
            (
                "type",
                about(
                    "Part of the request. `Body` knows the field `user`; `JWTClaim` needs authentication.",
                    one_of(&["Header", "Query", "Cookie", "Body", "JWTClaim"]),
                ),
            ),
            (
                "name",
                about(
                    "Name of the header, in any case, or of the parameter, cookie, field or claim.",
                    with(string(), json!({"minLength": 1, "maxLength": 256})),
                ),
            ),
        ],
        &["name", "type"],
    );
    object(
        [
            (
                "sessionAffinitySeconds",
                about(
                    "Seconds after the last success for which a session stays bound.",
                    default(10_800, at_least(1)),
                ),
            ),
            (
                "sources",
                about(
                    "Where the session's key is looked for; the first value that is not empty wins.",
                    with(list(source), json!({"minItems": 1, "maxItems": 16})),
                ),
            ),
        ],
        &["sources"],
    )
}
