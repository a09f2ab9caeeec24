//! What the destinations of the crash tests hold and what took effect there, seen from their side.

use rowcast_testkit::api::Api;
use rowcast_testkit::postgres::Database;
use serde_json::Value;

use crate::history::{Effect, Records};

/// What a table of the destination looks like. Its trigger notes every record that a committed
/// transaction wrote, also one that changed nothing: `BEFORE INSERT` fires for the rows of an
/// upsert that then update. It refuses once with a serialization failure when it is told to.
pub(crate) fn tables(names: &[&str]) -> String {
    let mut sql = "CREATE SEQUENCE hiccup MINVALUE -9 START 1;
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           IF nextval('public.hiccup') = 0 THEN
             RAISE 'not now' USING ERRCODE = 'serialization_failure';
           END IF;
           IF TG_OP = 'DELETE' THEN
             EXECUTE format('INSERT INTO public.effects_on_%s (id) VALUES ($1)', TG_TABLE_NAME)
               USING OLD.id;
             RETURN OLD;
           END IF;
           EXECUTE format('INSERT INTO public.effects_on_%s (id, name, version, edition)
             VALUES ($1, $2, $3, $4)', TG_TABLE_NAME) USING NEW.id, NEW.name, NEW.version, NEW.edition;
           RETURN NEW;
         END $$;"
        .to_owned();
    for name in names {
        sql.push_str(&format!(
            "CREATE TABLE {name} (id bigint PRIMARY KEY, name text, version bigint, edition bigint);
             CREATE TABLE effects_on_{name} (n bigserial PRIMARY KEY, id bigint, name text,
               version bigint, edition bigint);
             CREATE TRIGGER note BEFORE INSERT OR DELETE ON {name}
               FOR EACH ROW EXECUTE FUNCTION note();"
        ));
    }
    sql
}

/// Where one sync delivers to.
pub(crate) enum Receiver {
    Http(Box<Api>),
    /// A table that [`tables`] made.
    Postgres(Database, &'static str),
}

impl Receiver {
    /// What it holds now.
    pub(crate) async fn holds(&self) -> Records {
        match self {
            Self::Http(api) => {
                let records = api.store().records;
                records
                    .iter()
                    .map(|(key, fields)| {
                        let key: Value = serde_json::from_str(key).expect("a key is JSON");
                        (id(&key), shown(fields))
                    })
                    .collect()
            }
            Self::Postgres(database, table) => {
                let sql = format!("SELECT id, name, version, edition FROM {table}");
                let rows = database.client().await.query(&sql, &[]).await;
                rows.expect("read the target")
                    .iter()
                    .map(|row| (row.get(0), (row.get(1), row.get(2), row.get(3))))
                    .collect()
            }
        }
    }

    /// Everything that took effect, in order.
    pub(crate) async fn effects(&self) -> Vec<Effect> {
        match self {
            Self::Http(api) => {
                let log = api.log();
                let applied = api.store().history;
                applied
                    .iter()
                    .map(|applied| {
                        let key = serde_json::from_str(&applied.key).expect("a key is JSON");
                        let records = &log[applied.request].records;
                        let sent = records.iter().find(|record| record["key"] == key);
                        let run = &sent.expect("an effect has its record")["run"];
                        let gone = applied.operation == "delete";
                        Effect {
                            key: id(&key),
                            fields: (!gone).then(|| shown(&applied.fields)),
                            run: Some(number(run)),
                        }
                    })
                    .collect()
            }
            Self::Postgres(database, table) => {
                let sql =
                    format!("SELECT id, name, version, edition FROM effects_on_{table} ORDER BY n");
                let rows = database.client().await.query(&sql, &[]).await;
                rows.expect("read the effects")
                    .iter()
                    .map(|row| Effect {
                        key: row.get(0),
                        fields: row
                            .get::<_, Option<String>>(1)
                            .map(|name| (name, row.get(2), row.get(3))),
                        run: None,
                    })
                    .collect()
            }
        }
    }
}

fn id(key: &Value) -> i64 {
    number(&key["id"])
}

/// A number, also one that is written as a string.
pub(crate) fn number(value: &Value) -> i64 {
    let text = value.as_str().map(str::to_owned);
    text.unwrap_or_else(|| value.to_string())
        .parse()
        .expect("a number")
}

fn shown(fields: &Value) -> (String, i64, i64) {
    let name = fields["name"].as_str().expect("a name").to_owned();
    (name, number(&fields["version"]), number(&fields["edition"]))
}
