//! Columns whose values have types of their own.

use crate::session::Means;
use crate::user::UserName;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use yubiotp::guesses::Bucket;
use yubiotp::key::Fingerprint;
use yubiotp::recovery::CodeMac;
use yubiotp::seal::StoreKeyId;
use yubiotp::{Position, SetId, TokenId};

/// A value of a column.
pub(crate) struct Column<T>(pub(crate) T);

fn text<'v, T>(value: ValueRef<'v>, read: impl FnOnce(&'v str) -> Option<T>) -> FromSqlResult<Column<T>> {
    read(value.as_str()?).map(Column).ok_or(FromSqlError::InvalidType)
}

fn bytes<const N: usize, T>(value: ValueRef<'_>, of: impl FnOnce([u8; N]) -> T) -> FromSqlResult<Column<T>> {
    value.as_blob()?.try_into().map(of).map(Column).map_err(|_| FromSqlError::InvalidType)
}

fn number(value: ValueRef<'_>) -> FromSqlResult<u64> {
    let number = value.as_i64()?;
    u64::try_from(number).map_err(|_| FromSqlError::OutOfRange(number))
}

/// A number of 63 bits at most, which all are that a token or a clock makes.
fn whole(number: u64) -> rusqlite::Result<ToSqlOutput<'static>> {
    let too_large = |_| rusqlite::Error::ToSqlConversionFailure("a number of 64 bits".into());
    i64::try_from(number).map(ToSqlOutput::from).map_err(too_large)
}

impl FromSql for Column<UserName> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        text(value, |text| UserName::parse(text).ok())
    }
}

impl FromSql for Column<TokenId> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        text(value, |text| TokenId::parse(text.as_bytes()).ok())
    }
}

impl FromSql for Column<SetId> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        text(value, SetId::new)
    }
}

impl FromSql for Column<Means> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        text(value, Means::named)
    }
}

impl FromSql for Column<Fingerprint> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        bytes(value, Fingerprint)
    }
}

impl FromSql for Column<CodeMac> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        bytes(value, CodeMac)
    }
}

impl FromSql for Column<StoreKeyId> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        bytes(value, StoreKeyId)
    }
}

impl FromSql for Column<Position> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        number(value).map(Position::from_stored).map(Self)
    }
}

impl FromSql for Column<Bucket> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        number(value).map(Bucket::from_stored).map(Self)
    }
}

impl ToSql for Column<&UserName> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.as_str().into())
    }
}

impl ToSql for Column<&TokenId> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.to_string().into())
    }
}

impl ToSql for Column<&SetId> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.as_str().into())
    }
}

impl ToSql for Column<Means> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.name().into())
    }
}

impl ToSql for Column<Fingerprint> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.0.as_slice().into())
    }
}

impl ToSql for Column<&CodeMac> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.0.as_slice().into())
    }
}

impl ToSql for Column<StoreKeyId> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.0.as_slice().into())
    }
}

impl ToSql for Column<Position> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        whole(self.0.to_stored())
    }
}

impl ToSql for Column<Bucket> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        whole(self.0.to_stored())
    }
}
