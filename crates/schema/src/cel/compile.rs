//! From a rule's text to an expression that may be evaluated: bounded, with known names, patterns compiled.

use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr, IdedEntryExpr, LiteralValue};
use cel::parser::PrattParser;

use super::functions;
use super::rule::RuleError;

/// Nesting of an expression as written, beyond which it is refused.
const MAX_NESTING: u16 = 32;
/// Nesting of an expression with its macros written out.
const MAX_DEPTH: usize = 100;
/// Parts of an expression.
const MAX_NODES: usize = 8192;
/// Bytes of an expression beyond which it is refused.
const MAX_LENGTH: usize = 16 << 10;

pub(super) fn compile(source: &str) -> Result<IdedExpr, RuleError> {
    let too_large =
        || RuleError::Syntax("the expression is too long or nests too deeply".to_owned());
    if source.len() > MAX_LENGTH {
        return Err(too_large());
    }
    // This parser is bounded in stack and nodes; the crate's other one exhausts the stack on nested brackets.
    let parser = PrattParser::new()
        .enable_optional_syntax(true)
        .max_recursion_depth(MAX_NESTING)
        .max_expression_node_count(MAX_NODES);
    let parsed = parser.parse(source);
    let mut expression = parsed.map_err(|errors| RuleError::Syntax(errors.to_string()))?;
    if deeper_than(&expression, MAX_DEPTH) {
        return Err(too_large());
    }
    prepare(&mut expression, &mut Vec::new())?;
    Ok(expression)
}

/// True if an expression is nested more than `limit` times. Everything that walks an expression recurses.
fn deeper_than(expression: &IdedExpr, limit: usize) -> bool {
    let Some(limit) = limit.checked_sub(1) else {
        return true;
    };
    let below = |part: &IdedExpr| deeper_than(part, limit);
    match &expression.expr {
        Expr::Call(call) => call
            .target
            .as_deref()
            .into_iter()
            .chain(&call.args)
            .any(below),
        Expr::Comprehension(it) => [
            &it.iter_range,
            &it.accu_init,
            &it.loop_cond,
            &it.loop_step,
            &it.result,
        ]
        .into_iter()
        .any(below),
        Expr::Select(select) => below(&select.operand),
        Expr::List(list) => list.elements.iter().any(below),
        Expr::Map(map) => map.entries.iter().any(|entry| match &entry.expr {
            EntryExpr::MapEntry(entry) => below(&entry.key) || below(&entry.value),
            EntryExpr::StructField(field) => below(&field.value),
        }),
        Expr::Struct(_) | Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => false,
    }
}

/// Checks names and replaces the functions that take patterns by our own.
fn prepare(expression: &mut IdedExpr, scope: &mut Vec<String>) -> Result<(), RuleError> {
    match &mut expression.expr {
        Expr::Ident(name) => {
            const NAMES: [&str; 12] = [
                "self",
                "oldSelf",
                "int",
                "uint",
                "double",
                "bool",
                "string",
                "bytes",
                "list",
                "map",
                "null_type",
                "type",
            ];
            let known =
                name.starts_with('@') || scope.contains(name) || NAMES.contains(&name.as_str());
            if !known {
                return Err(RuleError::UndeclaredName(name.clone()));
            }
        }
        Expr::Call(call) => {
            let namespaced = namespace(call.target.as_deref(), &call.func_name);
            let name = namespaced.clone().unwrap_or_else(|| call.func_name.clone());
            match call.func_name.as_str() {
                "matches" => functions::MATCHES.clone_into(&mut call.func_name),
                "find" => functions::FIND.clone_into(&mut call.func_name),
                _ if functions::is_known(&name) => {}
                _ => return Err(RuleError::UndeclaredFunction(name)),
            }
            if matches!(
                call.func_name.as_str(),
                functions::MATCHES | functions::FIND
            ) && let Some(Expr::Literal(LiteralValue::String(pattern))) =
                call.args.last().map(|arg| &arg.expr)
            {
                functions::prepare(pattern.inner())
                    .map_err(|error| RuleError::Pattern(error.to_string()))?;
            }
            if namespaced.is_none()
                && let Some(target) = &mut call.target
            {
                prepare(target, scope)?;
            }
            for argument in &mut call.args {
                prepare(argument, scope)?;
            }
        }
        Expr::Comprehension(comprehension) => {
            prepare(&mut comprehension.iter_range, scope)?;
            prepare(&mut comprehension.accu_init, scope)?;
            let depth = scope.len();
            scope.extend([
                comprehension.accu_var.clone(),
                comprehension.iter_var.clone(),
            ]);
            scope.extend(comprehension.iter_var2.clone());
            for part in [
                &mut comprehension.loop_cond,
                &mut comprehension.loop_step,
                &mut comprehension.result,
            ] {
                prepare(part, scope)?;
            }
            scope.truncate(depth);
        }
        other => {
            for child in children_mut(other) {
                prepare(child, scope)?;
            }
        }
    }
    Ok(())
}

/// `optional.of` and its like look like a call on a variable called `optional`.
fn namespace(target: Option<&IdedExpr>, function: &str) -> Option<String> {
    match target.map(|target| &target.expr) {
        Some(Expr::Ident(name))
            if matches!(
                name.as_str(),
                "lists" | "strings" | "optional" | "base64" | "ip"
            ) =>
        {
            Some(format!("{name}.{function}"))
        }
        _ => None,
    }
}

fn children_mut(expression: &mut Expr) -> Vec<&mut IdedExpr> {
    match expression {
        Expr::Select(select) => vec![&mut select.operand],
        Expr::List(list) => list.elements.iter_mut().collect(),
        Expr::Map(map) => entries_mut(&mut map.entries),
        Expr::Struct(structure) => entries_mut(&mut structure.entries),
        _ => Vec::new(),
    }
}

fn entries_mut(entries: &mut [IdedEntryExpr]) -> Vec<&mut IdedExpr> {
    let parts = entries.iter_mut().map(|entry| match &mut entry.expr {
        EntryExpr::StructField(field) => vec![&mut field.value],
        EntryExpr::MapEntry(entry) => vec![&mut entry.key, &mut entry.value],
    });
    parts.flatten().collect()
}

/// Counts nodes by how many loops they stand in.
pub(super) fn count(expression: &IdedExpr, depth: usize, loops: &mut Vec<u64>) {
    if loops.len() <= depth {
        loops.resize(depth + 1, 0);
    }
    loops[depth] += 1;
    match &expression.expr {
        Expr::Call(call) => {
            for operand in call.target.as_deref().into_iter().chain(&call.args) {
                count(operand, depth, loops);
            }
        }
        Expr::Comprehension(comprehension) => {
            for once in [
                &comprehension.iter_range,
                &comprehension.accu_init,
                &comprehension.result,
            ] {
                count(once, depth, loops);
            }
            for repeated in [&comprehension.loop_cond, &comprehension.loop_step] {
                count(repeated, depth + 1, loops);
            }
        }
        Expr::Select(select) => count(&select.operand, depth, loops),
        Expr::List(list) => list
            .elements
            .iter()
            .for_each(|element| count(element, depth, loops)),
        _ => {}
    }
}
