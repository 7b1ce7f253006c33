//! `quantity()`: amounts such as `1.5Gi` and `100m`.
//!
//! A value is a text that counts billionths, `1500000000n`, so that equal amounts are equal texts. Amounts beyond
//! about 10^29, which the API server caps, are errors.

use core::cmp::Ordering;

use cel::common::types::{CelBool, CelDouble, CelInt, CelString};
use cel::{DeclarationError, Env, ExecutionError};

use crate::quantity;

type Outcome<T> = Result<T, ExecutionError>;

/// Billionths of one.
const ONE: i128 = 1_000_000_000;

/// Adds the functions to `env`.
pub(super) fn extension(env: &mut Env) -> Result<(), DeclarationError> {
    cel::add_overload!(env, fn is_quantity: (CelString) -> CelBool)?;
    cel::add_overload!(env, fn quantity: (CelString) -> Result<CelString>)?;
    cel::add_member_overload!(env, fn is_integer: (CelString) -> Result<CelBool>)?;
    cel::add_member_overload!(env, fn as_integer: (CelString) -> Result<CelInt>)?;
    cel::add_member_overload!(env, fn as_approximate_float: (CelString) -> Result<CelDouble>)?;
    cel::add_member_overload!(env, fn is_greater_than: (CelString, CelString) -> Result<CelBool>)?;
    cel::add_member_overload!(env, fn is_less_than: (CelString, CelString) -> Result<CelBool>)?;
    cel::add_member_overload!(env, fn compare_to: (CelString, CelString) -> Result<CelInt>)?;
    cel::add_member_overload!(env, fn add: (CelString, CelString) -> Result<CelString>)?;
    cel::add_member_overload!(env, fn add_whole: (CelString, CelInt) -> Result<CelString>, name = "add")?;
    cel::add_member_overload!(env, fn sub: (CelString, CelString) -> Result<CelString>)?;
    cel::add_member_overload!(env, fn sub_whole: (CelString, CelInt) -> Result<CelString>, name = "sub")?;
    Ok(())
}

fn amount(text: &CelString<'_>) -> Outcome<i128> {
    let nanos = quantity::parse(text.inner()).map(|(nanos, _)| nanos);
    nanos.map_err(|error| ExecutionError::function_error("quantity", error.to_string()))
}

fn text(amount: Option<i128>) -> Outcome<CelString<'static>> {
    let amount =
        amount.ok_or_else(|| ExecutionError::function_error("quantity", "quantity overflow"))?;
    Ok(format!("{amount}n").into())
}

fn is_quantity(text: &CelString<'_>) -> CelBool {
    quantity::parse(text.inner()).is_ok().into()
}

fn quantity(of: &CelString<'_>) -> Outcome<CelString<'static>> {
    text(Some(amount(of)?))
}

fn whole(of: &CelString<'_>) -> Outcome<Option<i64>> {
    let amount = amount(of)?;
    Ok((amount % ONE == 0)
        .then(|| i64::try_from(amount / ONE).ok())
        .flatten())
}

fn is_integer(of: &CelString<'_>) -> Outcome<CelBool> {
    Ok(whole(of)?.is_some().into())
}

fn as_integer(of: &CelString<'_>) -> Outcome<CelInt> {
    let message = "cannot convert value to integer";
    let whole = whole(of)?.ok_or_else(|| ExecutionError::function_error("asInteger", message))?;
    Ok(whole.into())
}

fn as_approximate_float(of: &CelString<'_>) -> Outcome<CelDouble> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "the value is called approximate"
    )]
    let float = amount(of)? as f64 / ONE as f64;
    Ok(float.into())
}

fn compared(one: &CelString<'_>, other: &CelString<'_>) -> Outcome<Ordering> {
    Ok(amount(one)?.cmp(&amount(other)?))
}

fn is_greater_than(one: &CelString<'_>, other: &CelString<'_>) -> Outcome<CelBool> {
    Ok(compared(one, other)?.is_gt().into())
}

fn is_less_than(one: &CelString<'_>, other: &CelString<'_>) -> Outcome<CelBool> {
    Ok(compared(one, other)?.is_lt().into())
}

fn compare_to(one: &CelString<'_>, other: &CelString<'_>) -> Outcome<CelInt> {
    Ok((compared(one, other)? as i64).into())
}

fn add(one: &CelString<'_>, other: &CelString<'_>) -> Outcome<CelString<'static>> {
    text(amount(one)?.checked_add(amount(other)?))
}

fn sub(one: &CelString<'_>, other: &CelString<'_>) -> Outcome<CelString<'static>> {
    text(amount(one)?.checked_sub(amount(other)?))
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the registration hands out references"
)]
fn add_whole(one: &CelString<'_>, other: &CelInt) -> Outcome<CelString<'static>> {
    text(amount(one)?.checked_add(i128::from(*other.inner()) * ONE))
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the registration hands out references"
)]
fn sub_whole(one: &CelString<'_>, other: &CelInt) -> Outcome<CelString<'static>> {
    text(amount(one)?.checked_sub(i128::from(*other.inner()) * ONE))
}
