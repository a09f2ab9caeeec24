//! What a connector says of itself: its objects, and the fields, operations and limits of the one that a
//! sync writes to.

use std::time::Duration;

use rowcast_core::destination::{ObjectField, ObjectSchema, Rate};
use rowcast_core::{
    Capabilities, Check, Code, DestinationConfig, Fault, Mode, Name, Operation, Reason, Value,
};

use super::batch::Plan;
use super::link::Link;
use super::protocol::{self, Field, Object, Request, Told};

/// Requests a second from which a rate is none: a timer is not more exact.
const RATE_MAX: f64 = 1_000.0;

/// What a sync and a destination's file ask for.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) object: Name,
    mode: Mode,
    /// The field that records are found by; nothing before there is a sync.
    identifier: Option<Name>,
    batch_records: Option<usize>,
    concurrency: Option<usize>,
    rate: Option<Rate>,
}

impl Wanted {
    pub(super) fn new(config: &DestinationConfig) -> Self {
        Self {
            object: config.object.clone(),
            mode: config.mode,
            identifier: config.match_fields.first().cloned(),
            batch_records: config.batch_records,
            concurrency: config.concurrency,
            rate: config.rate,
        }
    }
}

/// What the connector says of the object of a sync.
#[derive(Debug)]
pub(super) struct Learned {
    pub(super) object: Object,
    pub(super) fields: Vec<Field>,
    pub(super) identifier: Name,
    pub(super) capabilities: Capabilities,
}

impl Learned {
    /// Asks for everything that a sync needs to know.
    ///
    /// # Errors
    /// The connector does not answer, or has no such object, operation or identifier.
    pub(super) async fn ask(
        link: &Link,
        wanted: &Wanted,
        assumed: &Capabilities,
    ) -> Result<Self, Fault> {
        let object = object(link, &wanted.object).await?;
        let operations = operations(link, &object).await?;
        let lacking = wanted.mode.operations();
        if let Some(lacking) = lacking.iter().find(|wanted| !operations.contains(wanted)) {
            return Err(Fault::fatal(unsupported(
                wanted.mode,
                *lacking,
                &object,
                &operations,
            )));
        }
        let fields = fields(link, &object).await?;
        let identifier = identifier(wanted, &object, &fields).map_err(Fault::fatal)?;
        let (speed, per_second) = speed(link).await?;
        let batch_records_max = wanted
            .batch_records
            .map_or(speed.batch, |own| own.min(speed.batch));
        let concurrency_max = wanted
            .concurrency
            .map_or(speed.parallel, |own| own.min(speed.parallel));
        // A record counts, whether it travels alone or not: so many full batches in a second.
        let by_records = speed
            .records_per_second
            .and_then(|records| rate(records / batch_records_max.max(1) as f64));
        let by_requests = per_second.and_then(|requests| rate(f64::from(requests)));
        let rates = [wanted.rate, by_records, by_requests];
        Ok(Self {
            identifier,
            capabilities: Capabilities {
                operations,
                batch_records_max: batch_records_max.max(1),
                concurrency_max: concurrency_max.max(1),
                rate: rates.into_iter().flatten().min_by(|a, b| {
                    let (a, b) = (per_second_of(*a), per_second_of(*b));
                    a.total_cmp(&b)
                }),
                ..assumed.clone()
            },
            object,
            fields,
        })
    }

    /// The object as validation sees it: what can be written.
    pub(super) fn schema(&self) -> ObjectSchema {
        schema(&self.object, &self.fields)
    }

    /// What batches are written into.
    pub(super) fn plan(&self) -> Plan<'_> {
        Plan {
            object: &self.object,
            fields: &self.fields,
            identifier: &self.identifier,
        }
    }

    /// One line for `check`.
    pub(super) fn summary(&self) -> String {
        let capabilities = &self.capabilities;
        let rate = capabilities.rate.map_or_else(String::new, |rate| {
            format!(", {:.1} calls a second", per_second_of(rate))
        });
        format!(
            "{}: {}; found by {}; {} records a call, {} calls at once{rate}",
            self.object.api_name,
            words(&capabilities.operations),
            self.identifier,
            capabilities.batch_records_max,
            capabilities.concurrency_max,
        )
    }
}

/// So many requests a second, smoothly: one in a part of a second, or several in one.
fn rate(requests_per_second: f64) -> Option<Rate> {
    if requests_per_second >= RATE_MAX || requests_per_second <= 0.0 {
        return None;
    }
    Some(Rate {
        requests: 1,
        per: Duration::from_secs_f64(1.0 / requests_per_second),
    })
}

fn per_second_of(rate: Rate) -> f64 {
    f64::from(rate.requests) / rate.per.as_secs_f64().max(0.001)
}

fn words(operations: &[Operation]) -> String {
    let words: Vec<&str> = operations.iter().map(|known| known.as_str()).collect();
    words.join(", ")
}

fn unsupported(mode: Mode, lacking: Operation, object: &Object, offered: &[Operation]) -> Reason {
    Reason::new(
        Code::UnsupportedMode,
        format!(
            "mode {mode} needs the operation {lacking}, which {} does not have",
            object.api_name
        ),
    )
    .detail(format!("the connector offers {}", words(offered)))
    .hint("choose another mode, or add the operation to the connector's supported_operations")
}

/// The field that records are found by.
fn identifier(wanted: &Wanted, object: &Object, fields: &[Field]) -> Result<Name, Reason> {
    let possible: Vec<&str> = fields
        .iter()
        .filter(|field| field.identifier)
        .map(|field| &*field.api_name)
        .collect();
    let named = wanted.identifier.as_deref().unwrap_or_default();
    match possible.iter().find(|name| **name == named) {
        Some(name) => Ok((*name).into()),
        None => Err(Reason::new(
            Code::InvalidSetting,
            format!("{} is not found by the field `{named}`", object.api_name),
        )
        .detail(if possible.is_empty() {
            "the connector names no field as identifier".to_owned()
        } else {
            format!("its identifiers are {}", possible.join(", "))
        })
        .hint(format!(
            "write `match_on: {{ {}: COLUMN }}` in the sync",
            possible.first().unwrap_or(&"FIELD")
        ))),
    }
}

/// Reads a result, and logs what is wrong with it without mattering.
fn understood<T>(
    link: &Link,
    method: &'static str,
    result: Result<Told<T>, String>,
) -> Result<Vec<T>, Fault> {
    let told = result.map_err(|why| Fault::fatal(link.not_understood(method, &why)))?;
    for complaint in &told.complaints {
        tracing::debug!(connector = %link.service().host, method, %complaint, "an odd answer");
    }
    Ok(told.items)
}

/// A call that changes nothing, so that no fault of it leaves anything behind.
async fn ask(link: &Link, request: &Request) -> Result<(Value, Option<u32>), Fault> {
    link.call(request, None).await.map_err(|fault| match fault {
        Fault::Transient { after, reason, .. } => Fault::Transient {
            after,
            applied: rowcast_core::Applied::No,
            reason,
        },
        other => Fault::fatal(other.reason().clone()),
    })
}

async fn objects(link: &Link) -> Result<Vec<Object>, Fault> {
    let (result, _) = ask(link, &Request::new("list_objects", "{}")).await?;
    understood(link, "list_objects", protocol::objects(&result))
}

async fn object(link: &Link, name: &str) -> Result<Object, Fault> {
    let all = objects(link).await?;
    if let Some(found) = all.iter().find(|object| &*object.api_name == name) {
        return Ok(found.clone());
    }
    let names: Vec<&str> = all.iter().map(|object| &*object.api_name).collect();
    Err(Fault::fatal(
        Reason::new(
            Code::DestinationObject,
            format!("{} has no object `{name}`", link.service().host),
        )
        .detail(format!(
            "it has: {}",
            link.service().tidy(&names.join(", "))
        ))
        .hint("name one of these after `object:` in the sync"),
    ))
}

async fn operations(link: &Link, object: &Object) -> Result<Vec<Operation>, Fault> {
    let request = Request::about("supported_operations", object);
    let (result, _) = ask(link, &request).await?;
    understood(link, request.method, protocol::operations(&result))
}

async fn fields(link: &Link, object: &Object) -> Result<Vec<Field>, Fault> {
    let request = Request::about("list_fields", object);
    let (result, _) = ask(link, &request).await?;
    understood(link, request.method, protocol::fields(&result))
}

async fn speed(link: &Link) -> Result<(protocol::Speed, Option<u32>), Fault> {
    let request = Request::new("get_sync_speed", "{}");
    let (result, per_second) = ask(link, &request).await?;
    let speed = protocol::speed(&result)
        .map_err(|why| Fault::fatal(link.not_understood(request.method, &why)))?;
    Ok((speed, per_second))
}

fn schema(object: &Object, fields: &[Field]) -> ObjectSchema {
    let writable = fields.iter().filter(|field| field.is_writable());
    ObjectSchema {
        name: object.api_name.clone(),
        fields: writable
            .map(|field| ObjectField {
                name: field.api_name.clone(),
                type_name: field.type_name(),
                required: field.required,
                help: Some(field.label.clone()).filter(|label| **label != *field.api_name),
            })
            .collect(),
    }
}

/// The object of the sync, or all.
pub(super) async fn discover(link: &Link, wanted: &Wanted) -> Result<Vec<ObjectSchema>, Fault> {
    let mut schemas = Vec::new();
    for object in objects(link).await? {
        if wanted.object.is_empty() || object.api_name == wanted.object {
            schemas.push(schema(&object, &fields(link, &object).await?));
        }
    }
    Ok(schemas)
}

/// `test_connection`, and the objects while no sync names one.
pub(super) async fn checks(link: &Link, wanted: &Wanted) -> Vec<Check> {
    let request = Request::new("test_connection", "{}");
    let mut checks = vec![match ask(link, &request).await {
        Ok((result, _)) => match protocol::connection(&result) {
            Ok(Ok(())) => Check::passed("test_connection", "the connector says that it works"),
            Ok(Err(why)) => Check::failed(
                "test_connection",
                Reason::new(
                    Code::CheckFailed,
                    format!("{} says that it does not work", link.service().host),
                )
                .detail(link.service().tidy(&why)),
            ),
            Err(why) => Check::failed("test_connection", link.not_understood(request.method, &why)),
        },
        Err(fault) => Check::failed("test_connection", fault.reason().clone()),
    }];
    if wanted.object.is_empty() && checks[0].reason.is_none() {
        checks.push(match objects(link).await {
            Ok(all) => {
                let names: Vec<&str> = all.iter().map(|object| &*object.api_name).collect();
                Check::passed("objects", names.join(", "))
            }
            Err(fault) => Check::failed("objects", fault.reason().clone()),
        });
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_smoothly() {
        let slow = rate(0.1).expect("a rate");
        assert_eq!((slow.requests, slow.per), (1, Duration::from_secs(10)));
        let fast = rate(20.0).expect("a rate");
        assert_eq!((fast.requests, fast.per), (1, Duration::from_millis(50)));
        assert_eq!(rate(100_000.0), None);
    }
}
