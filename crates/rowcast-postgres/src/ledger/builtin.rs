//! What the catalog of every server says of the built-in types that most columns have.
//!
//! Their oids never change, so a run need not ask. Only what is the same on every supported version
//! may stand here; a test compares each line with the server's own answer.

use super::forms::TypeFacts;

/// Oid, name as PostgreSQL prints it, name in the catalog, whether it has an order.
const TYPES: [(u32, &str, &str, bool); 17] = [
    (16, "boolean", "bool", true),
    (17, "bytea", "bytea", true),
    (20, "bigint", "int8", true),
    (21, "smallint", "int2", true),
    (23, "integer", "int4", true),
    (25, "text", "text", true),
    (114, "json", "json", false),
    (700, "real", "float4", true),
    (701, "double precision", "float8", true),
    (1043, "character varying", "varchar", true),
    (1082, "date", "date", true),
    (1083, "time without time zone", "time", true),
    (1114, "timestamp without time zone", "timestamp", true),
    (1184, "timestamp with time zone", "timestamptz", true),
    (1700, "numeric", "numeric", true),
    (2950, "uuid", "uuid", true),
    (3802, "jsonb", "jsonb", true),
];

/// The facts of a built-in type.
pub(super) fn facts(oid: u32) -> Option<TypeFacts> {
    let (_, type_name, base, ordered) = TYPES.iter().find(|known| known.0 == oid)?;
    Some(TypeFacts {
        type_name: (*type_name).to_owned(),
        base: (*base).to_owned(),
        element: None,
        kind: 'b',
        ordered: *ordered,
    })
}

#[cfg(test)]
mod tests {
    use rowcast_testkit::postgres::Cluster;

    use super::*;
    use crate::ledger::model::asked;

    #[tokio::test]
    async fn built_in_types_are_what_the_server_says_of_them() {
        let database = Cluster::shared().database("builtin");
        let client = database.client().await;
        let oids: Vec<u32> = TYPES.iter().map(|known| known.0).collect();
        let said = asked(&client, &oids, "asking").await.unwrap();
        assert_eq!(said.len(), TYPES.len());
        for (oid, said) in said {
            assert_eq!(facts(oid), Some(said));
        }
    }
}
