//! One rule: compiled once, evaluated on values.

use cel::common::ast::{Expr, operators};
use cel::{Context, ExecutionError, IdedExpr, Value as Cel};
use serde_json::Value;

use super::compile::{compile, count};
use super::functions;
use super::need::Needs;
use crate::fault::FaultKind;

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
        ExecutionError::FunctionError { function, message }
            if message.starts_with("string parse error") =>
        {
            format!("type conversion error from 'string' to '{function}'")
        }
        ExecutionError::FunctionError { message, .. } => message.clone(),
        other => other.to_string(),
    }
}

fn mentions(expression: &IdedExpr, name: &str) -> bool {
    expression.references().has_variable(name)
}
