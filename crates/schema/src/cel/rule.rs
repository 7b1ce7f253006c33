//! One rule: compiled once, evaluated on values.

use cel::common::ast::{EntryExpr, Expr, IdedEntryExpr, LiteralValue, operators};
use cel::parser::PrattParser;
use cel::{Context, ExecutionError, IdedExpr, Value as Cel};
use serde_json::Value;

use super::functions;
use super::need::Needs;
use crate::fault::FaultKind;

/// Nesting of an expression as written, beyond which it is refused.
const MAX_NESTING: u16 = 32;
/// Nesting of an expression with its macros written out.
const MAX_DEPTH: usize = 100;
/// Parts of an expression.
const MAX_NODES: usize = 8192;
/// Bytes of an expression beyond which it is refused.
const MAX_LENGTH: usize = 16 << 10;
/// Length of an evaluated message beyond which the plain one is used.
const MAX_MESSAGE: usize = 5 << 10;

/// Why a rule does not compile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// A member is missing or has the wrong JSON type.
    #[error("invalid {0}")]
    Member(&'static str),
    /// The expression is no CEL.
    #[error("compilation failed: {0}")]
    Syntax(String),
    /// A name that is neither `self`, `oldSelf` nor a loop variable.
    #[error("compilation failed: undeclared reference to '{0}'")]
    UndeclaredName(String),
    /// A function that does not exist here.
    #[error("compilation failed: undeclared reference to function '{0}'")]
    UndeclaredFunction(String),
    /// A pattern that does not compile.
    #[error("compilation failed: {0}")]
    Pattern(String),
}

/// A compiled rule.
#[derive(Debug)]
pub(crate) struct Rule {
    expression: IdedExpr,
    message_expression: Option<IdedExpr>,
    needs: Needs,
    /// Nodes of the expression by how many loops they stand in.
    loops: Vec<u64>,
    /// What is said when the rule does not hold.
    pub(super) message: String,
    /// What is said when the rule cannot be evaluated.
    pub(super) name: String,
    pub(super) uses_old: bool,
    pub(super) optional_old: bool,
    pub(super) kind: FaultKind,
    /// Relative to the value, without leading dot.
    pub(super) field: Option<String>,
}

/// What became of a rule.
pub(super) enum Verdict {
    Holds,
    Fails(String),
    /// It could not be evaluated; the text says why.
    Error(String),
}

impl Rule {
    pub(crate) fn parse(rule: &Value) -> Result<Self, RuleError> {
        let text = |member: &'static str| match rule.get(member) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(RuleError::Member(member)),
        };
        let source = text("rule")?.ok_or(RuleError::Member("rule"))?;
        let message = text("message")?
            .map(str::trim)
            .filter(|message| !message.is_empty());
        let expression = compile(source)?;
        let message_expression = text("messageExpression")?.map(compile).transpose()?;
        let mut needs = Needs::of(&expression);
        if let Some(message) = &message_expression {
            needs.add(message);
        }
        let mut loops = Vec::new();
        count(&expression, 0, &mut loops);
        Ok(Self {
            uses_old: mentions(&expression, "oldSelf"),
            optional_old: rule
                .get("optionalOldSelf")
                .and_then(Value::as_bool)
                .unwrap_or(false),
            name: message.unwrap_or(source.trim()).to_owned(),
            message: message
                .map_or_else(|| format!("failed rule: {}", source.trim()), str::to_owned),
            kind: reason(text("reason")?)?,
            field: text("fieldPath")?.map(|path| path.trim_start_matches('.').to_owned()),
            expression,
            message_expression,
            needs,
            loops,
        })
    }

    pub(super) fn needs(&self) -> &Needs {
        &self.needs
    }

    /// An upper bound of the steps it takes when no collection is larger than `largest`.
    pub(super) fn cost(&self, largest: u64) -> u64 {
        let mut weight: u64 = 1;
        let mut cost: u64 = 0;
        for nodes in &self.loops {
            cost = cost.saturating_add(nodes.saturating_mul(weight));
            weight = weight.saturating_mul(largest.max(1));
        }
        cost
    }

    pub(super) fn evaluate(&self, itself: Cel, old: Option<Cel>) -> Verdict {
        let mut context = Context::with_env(functions::environment().clone());
        context.add_variable_from_value("self", itself);
        if let Some(old) = old {
            context.add_variable_from_value("oldSelf", old);
        }
        match Cel::resolve(&self.expression, &context) {
            Ok(Cel::Bool(true)) => Verdict::Holds,
            Ok(_) => Verdict::Fails(
                self.evaluated_message(&context)
                    .unwrap_or_else(|| self.message.clone()),
            ),
            Err(ExecutionError::NoSuchOverload(_)) => Verdict::Error(format!(
                "'no such overload': call arguments did not match a supported operator, function or macro signature for rule: {}",
                self.name
            )),
            Err(error) => {
                let error = leftmost(&self.expression, &context, error);
                Verdict::Error(format!(
                    "{} evaluating rule: {}",
                    error_text(&error),
                    self.name
                ))
            }
        }
    }

    fn evaluated_message(&self, context: &Context<'_, '_>) -> Option<String> {
        let Ok(Cel::String(message)) = Cel::resolve(self.message_expression.as_ref()?, context)
        else {
            return None;
        };
        let message = message.trim();
        let usable =
            !message.is_empty() && message.len() <= MAX_MESSAGE && !message.contains(['\n', '\r']);
        usable.then(|| message.to_owned())
    }
}

/// Where both sides of a logical operator fail, the API server reports the left one.
fn leftmost(
    expression: &IdedExpr,
    context: &Context<'_, '_>,
    error: ExecutionError,
) -> ExecutionError {
    let Expr::Call(call) = &expression.expr else {
        return error;
    };
    let logical = matches!(
        call.func_name.as_str(),
        operators::LOGICAL_OR | operators::LOGICAL_AND
    );
    match (logical, call.args.as_slice()) {
        (true, [left, right]) => match Cel::resolve(left, context) {
            Err(error) => leftmost(left, context, error),
            Ok(_) => leftmost(right, context, error),
        },
        _ => error,
    }
}

fn reason(text: Option<&str>) -> Result<FaultKind, RuleError> {
    match text {
        None | Some("" | "FieldValueInvalid") => Ok(FaultKind::Invalid),
        Some("FieldValueRequired") => Ok(FaultKind::Required),
        Some("FieldValueForbidden") => Ok(FaultKind::Forbidden),
        Some("FieldValueDuplicate") => Ok(FaultKind::Duplicate),
        Some(_) => Err(RuleError::Member("reason")),
    }
}

/// As the Go implementation words it.
fn error_text(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
        ExecutionError::DivisionByZero(_) => "division by zero".to_owned(),
        ExecutionError::RemainderByZero(_) => "modulus by zero".to_owned(),
        ExecutionError::Overflow(..) => "integer overflow".to_owned(),
        ExecutionError::IndexOutOfBounds(Cel::Int(index)) => {
            format!("index out of bounds: {index}")
        }
        ExecutionError::FunctionError { message, .. } => message.clone(),
        other => other.to_string(),
    }
}

fn compile(source: &str) -> Result<IdedExpr, RuleError> {
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
            if matches!(name.as_str(), "lists" | "strings" | "optional" | "base64") =>
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

fn mentions(expression: &IdedExpr, name: &str) -> bool {
    expression.references().has_variable(name)
}

/// Counts nodes by how many loops they stand in.
fn count(expression: &IdedExpr, depth: usize, loops: &mut Vec<u64>) {
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
