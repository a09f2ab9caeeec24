//! Statements with parameters, always unnamed.
//!
//! A prepared statement with a name outlives its transaction and meets another client's behind a
//! pooler; these leave nothing behind. One box a statement keeps the callers' futures small.

use bytes::BytesMut;
use futures::future::BoxFuture;
use futures::{TryFutureExt as _, TryStreamExt};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Error, Row};

/// A parameter, sent as the type its name says.
#[derive(Debug)]
pub(super) enum Param<'a> {
    Text(&'a str),
    Int8(i64),
    Oid(u32),
    Texts(Vec<Option<&'a str>>),
}

impl Param<'_> {
    fn type_of(&self) -> Type {
        match self {
            Self::Text(_) => Type::TEXT,
            Self::Int8(_) => Type::INT8,
            Self::Oid(_) => Type::OID,
            Self::Texts(_) => Type::TEXT_ARRAY,
        }
    }
}

impl ToSql for Param<'_> {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Text(text) => text.to_sql(ty, out),
            Self::Int8(number) => number.to_sql(ty, out),
            Self::Oid(oid) => oid.to_sql(ty, out),
            Self::Texts(texts) => texts.to_sql(ty, out),
        }
    }

    fn accepts(ty: &Type) -> bool {
        [Type::TEXT, Type::INT8, Type::OID, Type::TEXT_ARRAY].contains(ty)
    }

    to_sql_checked!();
}

fn typed(params: Vec<Param<'_>>) -> Vec<(Param<'_>, Type)> {
    let mut typed = Vec::with_capacity(params.len());
    for param in params {
        let ty = param.type_of();
        typed.push((param, ty));
    }
    typed
}

/// All rows of a statement.
pub(super) fn rows<'a>(
    client: &'a Client,
    sql: &'a str,
    params: Vec<Param<'a>>,
) -> BoxFuture<'a, Result<Vec<Row>, Error>> {
    let stream = client.query_typed_raw(sql, typed(params));
    Box::pin(stream.and_then(TryStreamExt::try_collect))
}

/// The first row of a statement.
pub(super) async fn first(
    client: &Client,
    sql: &str,
    params: Vec<Param<'_>>,
) -> Result<Option<Row>, Error> {
    Ok(rows(client, sql, params).await?.into_iter().next())
}

/// The row of a statement that always has one: a SELECT without FROM.
pub(super) async fn row(client: &Client, sql: &str, params: Vec<Param<'_>>) -> Result<Row, Error> {
    let row = first(client, sql, params).await?;
    Ok(row.expect("a SELECT without FROM has one row"))
}

/// How many rows a statement changed.
pub(super) fn count<'a>(
    client: &'a Client,
    sql: &'a str,
    params: Vec<Param<'a>>,
) -> BoxFuture<'a, Result<u64, Error>> {
    let stream = client.query_typed_raw(sql, typed(params));
    Box::pin(stream.and_then(async |stream| {
        let mut stream = Box::pin(stream);
        while stream.try_next().await?.is_some() {}
        Ok(stream.rows_affected().unwrap_or(0))
    }))
}
