//! Visits an object and evaluates the rules that stand at its parts.

use serde_json::Value;

use super::convert::{self, Converter};
use super::rule::{Rule, Verdict};
use crate::correlate::{self, OldItems};
use crate::fault::{Fault, FaultKind};
use crate::node::{Additional, Node, Schema};
use crate::path::{FieldPath, Trail};

const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

impl Schema {
    /// Evaluates the rules on a value that [`Schema::validate`] found nothing to block.
    ///
    /// Rules that name `oldSelf` run only where there is an old value to compare with. Other rules are not held against
    /// parts that did not change. All rules together may take `budget` steps.
    pub fn validate_rules(&self, value: &Value, old: Option<&Value>, budget: u64) -> Vec<Fault> {
        let mut walk = Walk {
            budget: Some(budget),
            faults: Vec::new(),
        };
        walk.visit(&self.0, value, old, false, &Trail::ROOT);
        walk.faults
    }
}

struct Walk {
    /// Steps left; `None` once they are spent.
    budget: Option<u64>,
    faults: Vec<Fault>,
}

impl Walk {
    /// `same`: an enclosing part is unchanged.
    fn visit(
        &mut self,
        node: &Node,
        value: &Value,
        old: Option<&Value>,
        same: bool,
        trail: &Trail<'_>,
    ) {
        if !node.below.rules || value.is_null() || self.budget.is_none() {
            return;
        }
        let same = same || old.is_some_and(|old| old == value);
        let old = old.filter(|old| !old.is_null());
        for rule in &node.rules {
            self.rule(node, rule, value, old, same, trail);
        }
        for schema in node.limits.iter().flat_map(|limits| limits.all_of.iter()) {
            self.visit(&schema.0, value, old, same, trail);
        }
        match value {
            Value::Object(map) => {
                for (name, member) in map {
                    let same = same || correlate::member(old, name) == Some(member);
                    let old = correlate::visible_member(node, old, name);
                    if let Some(schema) = node.properties.get(name.as_str()) {
                        self.visit(&schema.0, member, old, same, &trail.field(name));
                    } else if let Additional::Of(schema) = &node.additional {
                        self.visit(&schema.0, member, old, same, &trail.key(name));
                    }
                }
            }
            Value::Array(items) => {
                let Some(schema) = node.items.as_ref().filter(|schema| schema.0.below.rules) else {
                    return;
                };
                let old_items = OldItems::new(node, old);
                for (index, item) in items.iter().enumerate() {
                    let old = old_items.find(node, item);
                    self.visit(&schema.0, item, old, same, &trail.index(index));
                }
            }
            _ => {}
        }
    }

    fn rule(
        &mut self,
        node: &Node,
        rule: &Rule,
        value: &Value,
        old: Option<&Value>,
        same: bool,
        trail: &Trail<'_>,
    ) {
        let Some(budget) = self.budget else { return };
        if rule.uses_old && old.is_none() && !rule.optional_old {
            return;
        }
        let mut converter = Converter { largest: 0 };
        let itself = converter.convert(value, Some(node), &rule.needs().itself);
        let old = old.filter(|_| rule.uses_old).map(|old| {
            let aligned = convert::aligned(node, value, old);
            converter.convert(
                aligned.as_ref().unwrap_or(old),
                Some(node),
                &rule.needs().old,
            )
        });
        let old = if rule.optional_old {
            Some(optional(old))
        } else {
            old
        };
        let type_name = node.kind.map_or("", crate::node::Kind::name);
        let cost = rule.cost(converter.largest);
        let Some(rest) = budget.checked_sub(cost) else {
            self.budget = None;
            self.faults
                .push(Fault::invalid(trail.path(), type_name, OUT_OF_BUDGET));
            return;
        };
        self.budget = Some(rest);
        match rule.evaluate(itself, old) {
            Verdict::Holds => {}
            Verdict::Fails(_) if same && !rule.uses_old => {}
            Verdict::Fails(detail) => self.faults.push(failure(rule, value, detail, trail)),
            Verdict::Error(detail) => {
                self.faults
                    .push(Fault::invalid(trail.path(), type_name, detail));
            }
        }
    }
}

/// What `oldSelf` is for rules that take it as optional.
fn optional(old: Option<cel::Value>) -> cel::Value {
    use cel::objects::OptionalValue;
    let value = old.map_or_else(OptionalValue::none, OptionalValue::of);
    cel::Value::Opaque(std::sync::Arc::new(value))
}

fn failure(rule: &Rule, value: &Value, detail: String, trail: &Trail<'_>) -> Fault {
    let base = trail.path();
    let path: FieldPath = rule
        .field
        .as_ref()
        .map_or(base.clone(), |field| base.field(field));
    let scalar = !matches!(value, Value::Object(_) | Value::Array(_));
    let detail = if rule.kind == FaultKind::Duplicate {
        String::new()
    } else {
        detail
    };
    Fault {
        path,
        kind: rule.kind,
        value: scalar.then(|| value.clone()),
        detail,
    }
}
