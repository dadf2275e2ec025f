//! A function that does not exist stands in the plan until the types of its arguments are known: PostgreSQL's error names them.

use super::overloads::no_function;
use super::typing::Typing;
use arrow::datatypes::DataType;
use datafusion::common::internal_err;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use quiver_base::{Error, Result};
use std::sync::Arc;

#[derive(Debug, PartialEq, Eq, Hash)]
struct Missing {
    name: String,
    signature: Signature,
}

/// Stands for a function of this name.
pub(super) fn stand_in(name: &str) -> Arc<ScalarUDF> {
    let signature = Signature::variadic_any(Volatility::Volatile);
    Arc::new(ScalarUDF::new_from_impl(Missing { name: name.to_owned(), signature }))
}

/// 42883 if a call is of such a function.
pub(super) fn refuse(func: &ScalarUDF, args: &[Expr], typing: &Typing<'_>) -> Result<()> {
    let Some(missing) = func.inner().downcast_ref::<Missing>() else { return Ok(()) };
    let types = args.iter().map(|arg| typing.of(arg)).collect::<Result<Vec<_>>>()?;
    let name = missing.name.strip_prefix("pg_catalog.").unwrap_or(&missing.name);
    Err::<(), Error>(no_function(name, &types))
}

impl ScalarUDFImpl for Missing {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Null)
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        internal_err!("function {} does not exist", self.name)
    }
}
