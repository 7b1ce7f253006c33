//! Which parts of a value a rule can look at, so that no more than those is converted.
//!
//! A rule on a pod template that asks `has(self.gangPolicy)` need not see the pods. The analysis errs on the side of
//! more: whatever is used as a value is needed whole.

use std::collections::BTreeMap;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, operators};

/// What is needed of one value.
#[derive(Debug, Default)]
pub(super) struct Need {
    /// All of it.
    pub(super) whole: bool,
    /// These members, by name as written in the rule.
    pub(super) members: BTreeMap<String, Need>,
    /// Any member or item.
    pub(super) any: Option<Box<Need>>,
}

#[derive(Debug, Clone)]
enum Step {
    Member(String),
    Any,
}

type Path = (Root, Vec<Step>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Root {
    Itself,
    Old,
}

/// What a rule needs of `self` and of `oldSelf`.
#[derive(Debug, Default)]
pub(super) struct Needs {
    pub(super) itself: Need,
    pub(super) old: Need,
}

impl Needs {
    pub(super) fn of(expression: &IdedExpr) -> Self {
        let mut finder = Finder {
            needs: Self::default(),
            scope: Vec::new(),
        };
        finder.value(expression);
        finder.needs
    }

    pub(super) fn add(&mut self, expression: &IdedExpr) {
        let mut finder = Finder {
            needs: std::mem::take(self),
            scope: Vec::new(),
        };
        finder.value(expression);
        *self = finder.needs;
    }
}

struct Finder {
    needs: Needs,
    /// Loop variables, innermost last, with the part of the value they stand for, if it is one.
    scope: Vec<(String, Option<Path>)>,
}

impl Finder {
    /// `expression` is used as a value.
    fn value(&mut self, expression: &IdedExpr) {
        if let Some(path) = self.path(expression) {
            self.mark(&path, true);
            self.indexes(expression);
            return;
        }
        match &expression.expr {
            Expr::Select(select) => match self.path(&select.operand) {
                // Only reached for `has(…)`: whether the member is there, not what it holds.
                Some((root, mut steps)) => {
                    steps.push(Step::Member(select.field.clone()));
                    self.mark(&(root, steps), false);
                }
                None => self.value(&select.operand),
            },
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::List(list) => list.elements.iter().for_each(|element| self.value(element)),
            Expr::Map(map) => map.entries.iter().for_each(|entry| self.entry(&entry.expr)),
            Expr::Struct(structure) => structure
                .entries
                .iter()
                .for_each(|entry| self.entry(&entry.expr)),
            Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
        }
    }

    fn entry(&mut self, entry: &cel::common::ast::EntryExpr) {
        match entry {
            cel::common::ast::EntryExpr::StructField(field) => self.value(&field.value),
            cel::common::ast::EntryExpr::MapEntry(entry) => {
                self.value(&entry.key);
                self.value(&entry.value);
            }
        }
    }

    fn call(&mut self, call: &CallExpr) {
        let operands: Vec<&IdedExpr> = call
            .target
            .as_deref()
            .into_iter()
            .chain(&call.args)
            .collect();
        if let (true, [only]) = (call.func_name == "size", operands.as_slice())
            && let Some(path) = self.path(only)
        {
            self.mark(&path, false);
            self.indexes(only);
            return;
        }
        for operand in operands {
            self.value(operand);
        }
    }

    fn comprehension(&mut self, it: &ComprehensionExpr) {
        let element = self.path(&it.iter_range).map(|(root, mut steps)| {
            self.mark(&(root, steps.clone()), false);
            steps.push(Step::Any);
            (root, steps)
        });
        match element {
            Some(_) => self.indexes(&it.iter_range),
            None => self.value(&it.iter_range),
        }
        self.value(&it.accu_init);
        let depth = self.scope.len();
        self.scope.push((it.accu_var.clone(), None));
        self.scope.push((it.iter_var.clone(), element.clone()));
        if let Some(second) = &it.iter_var2 {
            self.scope.push((second.clone(), element));
        }
        self.value(&it.loop_cond);
        self.value(&it.loop_step);
        self.value(&it.result);
        self.scope.truncate(depth);
    }

    /// Index expressions inside a path are values of their own.
    fn indexes(&mut self, expression: &IdedExpr) {
        match &expression.expr {
            Expr::Select(select) => self.indexes(&select.operand),
            Expr::Call(call) if call.func_name == operators::INDEX => {
                if let [operand, index] = call.args.as_slice() {
                    self.indexes(operand);
                    self.value(index);
                }
            }
            _ => {}
        }
    }

    /// The part of the value that an expression stands for, if it is one.
    fn path(&self, expression: &IdedExpr) -> Option<Path> {
        match &expression.expr {
            Expr::Ident(name) => match self
                .scope
                .iter()
                .rev()
                .find(|(variable, _)| variable == name)
            {
                Some((_, path)) => path.clone(),
                None if name == "self" => Some((Root::Itself, Vec::new())),
                None if name == "oldSelf" => Some((Root::Old, Vec::new())),
                None => None,
            },
            Expr::Select(select) if !select.test => {
                let (root, mut steps) = self.path(&select.operand)?;
                steps.push(Step::Member(select.field.clone()));
                Some((root, steps))
            }
            Expr::Call(call) if call.func_name == operators::INDEX && call.args.len() == 2 => {
                let (root, mut steps) = self.path(&call.args[0])?;
                steps.push(Step::Any);
                Some((root, steps))
            }
            _ => None,
        }
    }

    fn mark(&mut self, (root, steps): &Path, whole: bool) {
        let mut need = match root {
            Root::Itself => &mut self.needs.itself,
            Root::Old => &mut self.needs.old,
        };
        for step in steps {
            need = match step {
                Step::Member(name) => need.members.entry(name.clone()).or_default(),
                Step::Any => need.any.get_or_insert_default(),
            };
        }
        need.whole |= whole;
    }
}
