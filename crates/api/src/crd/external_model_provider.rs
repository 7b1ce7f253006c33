//! CRD of `ExternalModelProvider`.

use serde_json::{Value, json};

use super::Definition;
use super::build::{
    about, boolean, default, map, object, one_of, resource, rule, rules, string, with,
};
use super::common;

pub(super) fn definition() -> Definition {
    let status = object(
        [
            ("conditions", common::conditions(false)),
            ("observedGeneration", common::observed_generation()),
        ],
        &[],
    );
    let schema = resource(
        "A model API outside the cluster.",
        spec(),
        about("What was last observed.", status),
        &[],
    );
    Definition::networking("ExternalModelProvider", "externalmodelproviders", schema)
}

fn spec() -> Value {
    let auth = object(
        [
            (
                "scheme",
                about(
                    "Absent = what the provider type expects.",
                    one_of(&["Bearer", "APIKey"]),
                ),
            ),
            (
                "secretRef",
                about(
                    "A labelled Secret of the namespace.",
                    common::secret_key_selector(),
                ),
            ),
        ],
        &["secretRef"],
    );
    let not_optional = rule(
        "!has(self.secretRef.optional) || !self.secretRef.optional",
        "secretRef.optional must be false or unset",
    );
    let url = with(string(), json!({"minLength": 1, "pattern": "^https://.+"}));
    let members = [
        (
            "providerType",
            about(
                "Which protocol the provider speaks.",
                default("OpenAI", one_of(&["OpenAI", "Anthropic"])),
            ),
        ),
        (
            "model",
            about(
                "Replaces the request's `model` when not empty.",
                with(string(), json!({"maxLength": 256})),
            ),
        ),
        ("baseURL", about("Root of the API.", url)),
        (
            "insecureSkipVerify",
            about("Accept any TLS certificate.", default(false, boolean())),
        ),
        (
            "auth",
            about(
                "Credential; absent = none is sent.",
                rules([not_optional], auth),
            ),
        ),
        (
            "headers",
            about("Headers added to every request.", map(string())),
        ),
    ];
    about("What is asked for.", object(members, &["baseURL"]))
}
