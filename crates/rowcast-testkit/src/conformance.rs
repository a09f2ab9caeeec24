//! The suite that every connector passes: what the trait's documentation promises, tried.
//!
//! A connector's test implements `Subject` over the real thing or its emulator and asserts which
//! cases ran, so that none is skipped unseen. The cases know no connector by name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rowcast_core::json::to_json;
use rowcast_core::record::{
    Batch, Operation, Record, RunContext, idempotency_key, identity_digest,
};
use rowcast_core::value::Object;
use rowcast_core::{Applied, BoxFuture, Code, Destination, Fault, Key, Mode, Outcome, Value};

/// What the other side holds: by key, each field's text in the subject's form.
pub type Held = BTreeMap<i64, BTreeMap<String, String>>;

/// Trouble that a subject can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// From now on the record with this id is refused.
    BadRecord(i64),
    /// The next write is asked to wait.
    Busy,
    /// The next write takes effect and its answer is lost.
    LostAnswer,
    /// The credentials stop working.
    Revoked,
}

/// A connector under test. Records have one key column of whole numbers.
pub trait Subject: Sync {
    /// A destination for a mode that takes at most `records` a write.
    fn build(&self, mode: Mode, records: usize) -> Arc<dyn Destination>;

    /// What the other side holds; `None` when it keeps nothing.
    fn held(&self) -> BoxFuture<'_, Option<Held>>;

    /// Makes trouble; false when this subject can't.
    fn trouble(&self, trouble: Trouble) -> bool {
        let _ = trouble;
        false
    }

    /// Ends all trouble.
    fn calm(&self) {}

    /// The name of the key column, for services to which it means something.
    fn key_column(&self) -> &'static str {
        "id"
    }

    /// Whether it knows which records exist: updates of missing ones and inserts of existing ones
    /// are then rejected.
    fn knows_existing(&self) -> bool {
        false
    }

    /// What must never be shown.
    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }

    /// The fields of the case *values*. Subjects with fixed columns name their own.
    fn values(&self) -> Object {
        difficult_values()
    }

    /// A value as `held` shows it.
    fn form(&self, value: &Value) -> String {
        to_json(value)
    }
}

/// Values that get lost on the way: digits, signs, escapes, nothing.
pub fn difficult_values() -> Object {
    let nested = vec![
        ("a".into(), Value::List(vec![Value::Int(1), Value::Null])),
        ("B c".into(), Value::Object(vec![])),
    ];
    vec![
        (
            "text".into(),
            Value::from("a\"b'c\\d\n\r\t\u{1}\u{7f} é 漢 😀 \u{202e}"),
        ),
        ("long".into(), Value::from("x".repeat(100_000))),
        ("empty".into(), Value::from("")),
        ("nothing".into(), Value::Null),
        ("big".into(), Value::Int(i64::MAX)),
        ("small".into(), Value::Int(i64::MIN)),
        (
            "exact".into(),
            Value::Decimal("-12345678901234567890.1234567890".into()),
        ),
        ("not a number".into(), Value::Decimal("NaN".into())),
        ("float".into(), Value::float(0.1)),
        ("yes".into(), Value::Bool(true)),
        ("before 1970".into(), Value::Date(-25_567)),
        ("instant".into(), Value::TimestampTz(-1)),
        ("wall".into(), Value::Timestamp(1_709_209_800_500_000)),
        ("bytes".into(), Value::Bytes(Box::from([0, 255, 10]))),
        ("nested".into(), Value::Object(nested)),
        ("Mixed Case".into(), Value::Int(1)),
        ("select".into(), Value::Int(2)),
        ("a.b".into(), Value::Int(3)),
    ]
}

static RUN: AtomicI64 = AtomicI64::new(1);
static INTENT: AtomicI64 = AtomicI64::new(1);

/// One run of a sync against a subject.
struct Run {
    destination: Arc<dyn Destination>,
    context: Arc<RunContext>,
    shown: Vec<String>,
}

impl Run {
    async fn open(subject: &dyn Subject, mode: Mode, records: usize) -> Self {
        let run = RUN.fetch_add(1, Ordering::SeqCst);
        let context = Arc::new(RunContext {
            sync: "conformance".into(),
            sync_id: "6f1c9a".into(),
            run,
            epoch: run,
            generation: 1,
            object: "contact".into(),
            key_columns: vec![subject.key_column().into()],
            started_at: 1_709_209_800_000_000,
        });
        let destination = subject.build(mode, records);
        destination.open(&context).await.expect("open");
        Self {
            destination,
            context,
            shown: Vec::new(),
        }
    }

    fn batch(&self, operation: Operation, records: Vec<(i64, Object)>) -> Batch {
        let record = |(id, fields): (i64, Object)| {
            let key = Key::int(id);
            // Other values have another checksum: services tell repetitions by the key made from it.
            let checksum = (operation != Operation::Delete).then(|| identity_digest(&fields));
            Record {
                idempotency_key: idempotency_key(
                    &self.context,
                    &key.canonical(),
                    operation,
                    checksum,
                    self.context.run,
                ),
                match_on: key.to_object(&self.context.key_columns),
                key,
                operation,
                kind: operation.usual_kind(),
                fields,
                checksum,
                json: None,
                raw: None,
                doubtful: false,
            }
        };
        Batch {
            intent: INTENT.fetch_add(1, Ordering::SeqCst),
            operation,
            records: records.into_iter().map(record).collect(),
            context: Arc::clone(&self.context),
        }
    }

    /// Writes and checks what holds for every write: one outcome for each record, in order.
    async fn write(&mut self, batch: &Batch) -> Result<Vec<Outcome>, Fault> {
        self.shown.extend(self.destination.render(batch));
        let result = self.destination.write(batch).await;
        self.shown.push(format!("{result:?}"));
        if let Ok(outcomes) = &result {
            assert_eq!(
                outcomes.len(),
                batch.records.len(),
                "one outcome for each record"
            );
        }
        result
    }

    async fn send(&mut self, operation: Operation, ids: &[i64]) -> Result<Vec<Outcome>, Fault> {
        let records = ids.iter().map(|id| (*id, fields(operation, *id))).collect();
        let batch = self.batch(operation, records);
        self.write(&batch).await
    }

    /// What an acknowledged record looks like before the run has finished.
    fn taken(&self) -> Outcome {
        if self.destination.capabilities().publishes {
            Outcome::Accepted
        } else {
            Outcome::Delivered
        }
    }

    async fn taken_all(&mut self, operation: Operation, ids: &[i64]) {
        let outcomes = self.send(operation, ids).await.expect("taken");
        assert_eq!(
            outcomes,
            vec![self.taken(); ids.len()],
            "{operation} {ids:?}"
        );
    }

    async fn finish(self, subject: &dyn Subject) {
        self.destination.finish().await.expect("finish");
        for text in &self.shown {
            for secret in subject.secrets() {
                assert!(!text.contains(&secret), "a secret is shown: {text}");
            }
        }
    }
}

fn fields(operation: Operation, id: i64) -> Object {
    match operation {
        Operation::Delete => Vec::new(),
        _ => vec![("email".into(), Value::from(format!("c{id}@example.com")))],
    }
}

/// Runs every case that applies; returns the names of those that ran.
///
/// # Panics
/// At the first promise that is not kept.
pub async fn run(subject: &dyn Subject) -> Vec<&'static str> {
    let mut ran = vec![
        small_batches(subject).await,
        values(subject).await,
        newest_wins(subject).await,
        check_changes_nothing(subject).await,
    ];
    let offered = subject
        .build(Mode::Upsert, 10)
        .capabilities()
        .operations
        .clone();
    if offered.contains(&Operation::Delete) {
        ran.push(deletes(subject).await);
    }
    if subject.knows_existing() {
        ran.push(existing(subject).await);
    }
    if subject.build(Mode::Upsert, 10).capabilities().publishes {
        ran.push(unfinished(subject).await);
    }
    if subject.trouble(Trouble::BadRecord(402)) {
        ran.push(bad_record(subject).await);
    }
    subject.calm();
    if subject.trouble(Trouble::Busy) {
        ran.push(busy(subject).await);
    }
    subject.calm();
    if subject.trouble(Trouble::LostAnswer) {
        ran.push(lost_answer(subject).await);
    }
    subject.calm();
    if subject.trouble(Trouble::Revoked) {
        ran.push(revoked(subject).await);
    }
    subject.calm();
    ran
}

async fn holds(subject: &dyn Subject, id: i64, expected: Option<&Object>) {
    let Some(held) = subject.held().await else {
        return;
    };
    let expected = expected.map(|fields| {
        let fields = fields.iter();
        fields
            .map(|(name, value)| (name.to_string(), subject.form(value)))
            .collect()
    });
    assert_eq!(held.get(&id).cloned(), expected, "record {id}");
}

async fn small_batches(subject: &dyn Subject) -> &'static str {
    let mut run = Run::open(subject, Mode::Upsert, 10).await;
    assert_eq!(run.send(Operation::Upsert, &[]).await.expect("empty"), []);
    run.taken_all(Operation::Upsert, &[1]).await;
    let most = run.destination.capabilities().batch_records_max.min(10) as i64;
    let ids: Vec<i64> = (10..10 + most).collect();
    run.taken_all(Operation::Upsert, &ids).await;
    run.finish(subject).await;
    for id in ids.into_iter().chain([1]) {
        holds(subject, id, Some(&fields(Operation::Upsert, id))).await;
    }
    "empty, one, at the limit"
}

async fn values(subject: &dyn Subject) -> &'static str {
    let mut run = Run::open(subject, Mode::Upsert, 10).await;
    let values = subject.values();
    let batch = run.batch(Operation::Upsert, vec![(100, values.clone())]);
    let taken = run.taken();
    assert_eq!(run.write(&batch).await.expect("values"), [taken]);
    run.finish(subject).await;
    holds(subject, 100, Some(&values)).await;
    "values"
}

async fn newest_wins(subject: &dyn Subject) -> &'static str {
    let email = |text: &str| vec![("email".into(), Value::from(text))];
    let mut run = Run::open(subject, Mode::Upsert, 10).await;
    for text in ["old", "new"] {
        let batch = run.batch(Operation::Upsert, vec![(150, email(text))]);
        run.write(&batch).await.expect("taken");
    }
    run.finish(subject).await;
    holds(subject, 150, Some(&email("new"))).await;
    "newest wins"
}

async fn deletes(subject: &dyn Subject) -> &'static str {
    let mut run = Run::open(subject, Mode::Mirror, 10).await;
    run.taken_all(Operation::Upsert, &[200]).await;
    run.taken_all(Operation::Delete, &[200]).await;
    // A delete of what the destination does not know has nothing left to do (rule 9).
    run.taken_all(Operation::Delete, &[299]).await;
    run.finish(subject).await;
    holds(subject, 200, None).await;
    "deletes"
}

async fn existing(subject: &dyn Subject) -> &'static str {
    let rejected = |outcomes: Vec<Outcome>| match outcomes.as_slice() {
        [Outcome::Rejected(reason)] => reason.code,
        other => panic!("{other:?}"),
    };
    let mut run = Run::open(subject, Mode::Update, 1).await;
    let missing = run.send(Operation::Update, &[399]).await.expect("update");
    assert_eq!(rejected(missing), Code::NotFound);
    run.finish(subject).await;
    let mut run = Run::open(subject, Mode::Insert, 1).await;
    run.taken_all(Operation::Insert, &[300]).await;
    let again = run.send(Operation::Insert, &[300]).await.expect("insert");
    assert_eq!(rejected(again), Code::AlreadyExists);
    run.finish(subject).await;
    "missing and existing records"
}

async fn unfinished(subject: &dyn Subject) -> &'static str {
    let before = subject.held().await;
    let mut run = Run::open(subject, Mode::Upsert, 10).await;
    run.taken_all(Operation::Upsert, &[350]).await;
    drop(run);
    assert_eq!(
        subject.held().await,
        before,
        "an unfinished run publishes nothing"
    );
    "unfinished"
}

async fn check_changes_nothing(subject: &dyn Subject) -> &'static str {
    let before = subject.held().await;
    let checks = subject.build(Mode::Upsert, 10).check().await;
    assert!(!checks.is_empty());
    let failed: Vec<_> = checks
        .iter()
        .filter(|check| check.reason.is_some())
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(subject.held().await, before);
    let shown = format!("{checks:?}");
    assert!(
        subject
            .secrets()
            .iter()
            .all(|secret| !shown.contains(secret))
    );
    "check"
}

/// The bad record harms only itself, whether the destination tells it apart or refuses the batch.
async fn bad_record(subject: &dyn Subject) -> &'static str {
    let mut run = Run::open(subject, Mode::Upsert, 3).await;
    let most = run.destination.capabilities().batch_records_max;
    let bad = |outcome: &Outcome| matches!(outcome, Outcome::Rejected(_));
    let together = if most >= 3 {
        run.send(Operation::Upsert, &[401, 402, 403]).await
    } else {
        Err(Fault::Split {
            reason: rowcast_core::Reason::new(Code::DestinationRejected, "one at a time"),
        })
    };
    let outcomes = match together {
        Ok(outcomes) => outcomes,
        Err(Fault::Split { .. }) => {
            holds(subject, 401, None).await;
            let mut outcomes = Vec::new();
            for id in [401, 402, 403] {
                outcomes.extend(run.send(Operation::Upsert, &[id]).await.expect("alone"));
            }
            outcomes
        }
        Err(other) => panic!("{other:?}"),
    };
    let taken = run.taken();
    assert!(
        outcomes[0] == taken && bad(&outcomes[1]) && outcomes[2] == taken,
        "{outcomes:?}"
    );
    run.finish(subject).await;
    holds(subject, 401, Some(&fields(Operation::Upsert, 401))).await;
    holds(subject, 402, None).await;
    holds(subject, 403, Some(&fields(Operation::Upsert, 403))).await;
    "rejected in the middle"
}

async fn busy(subject: &dyn Subject) -> &'static str {
    let mut run = Run::open(subject, Mode::Upsert, 10).await;
    let fault = run.send(Operation::Upsert, &[500]).await.expect_err("busy");
    assert!(matches!(fault, Fault::Transient { .. }), "{fault:?}");
    run.taken_all(Operation::Upsert, &[500]).await;
    run.finish(subject).await;
    holds(subject, 500, Some(&fields(Operation::Upsert, 500))).await;
    "transient, then success"
}

async fn lost_answer(subject: &dyn Subject) -> &'static str {
    let mut run = Run::open(subject, Mode::Upsert, 10).await;
    let fault = run.send(Operation::Upsert, &[600]).await.expect_err("lost");
    assert!(matches!(fault, Fault::Transient { .. }), "{fault:?}");
    assert_eq!(
        fault.applied(),
        Applied::Unknown,
        "nobody knows what became of it"
    );
    run.taken_all(Operation::Upsert, &[600]).await;
    run.finish(subject).await;
    holds(subject, 600, Some(&fields(Operation::Upsert, 600))).await;
    "lost answer, sent again"
}

async fn revoked(subject: &dyn Subject) -> &'static str {
    let mut run = Run::open(subject, Mode::Upsert, 10).await;
    let fault = run
        .send(Operation::Upsert, &[700])
        .await
        .expect_err("revoked");
    assert!(matches!(fault, Fault::Fatal { .. }), "{fault:?}");
    assert_eq!(fault.reason().code, Code::DestinationAuth);
    assert!(
        fault.reason().hint.is_some(),
        "a person must know what to do"
    );
    assert_eq!(fault.applied(), Applied::No);
    run.finish(subject).await;
    holds(subject, 700, None).await;
    "credentials revoked"
}
