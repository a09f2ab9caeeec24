//! What the service does in place of its duty.

use serde_json::Value;

use super::Seen;

/// What to do with a request.
#[derive(Debug, Clone)]
pub enum Act {
    /// Take the records and answer.
    Normal,
    /// Wait for `Api::release`, then take and answer. The way to be slower than a timeout, or to
    /// look at the client while a request is in flight.
    Hold,
    /// Answer without taking anything.
    Answer(Answer),
    /// Take the records, then answer something else.
    TakeAndAnswer(Answer),
    /// Close the connection without taking anything.
    Cut,
    /// The lost answer: take the records, then close the connection.
    TakeAndCut,
    /// Take the records and close in the middle of the answer's body.
    TakeAndTruncate,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Only half of the body is sent, then the connection ends.
    pub truncated: bool,
}

impl Answer {
    /// A status with an empty body.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            truncated: false,
        }
    }

    /// A status with a JSON body.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::status(status)
            .header("content-type", "application/json")
            .body(body.to_string())
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
}

type Applies = Box<dyn Fn(&Seen) -> bool + Send>;

/// When to do something else, how often, and what.
pub struct Script {
    applies: Applies,
    left: Option<usize>,
    act: Act,
}

impl Script {
    /// For every request, without end.
    pub fn always(act: Act) -> Self {
        Self {
            applies: Box::new(|_| true),
            left: None,
            act,
        }
    }

    /// For the next request.
    pub fn once(act: Act) -> Self {
        Self::always(act).times(1)
    }

    /// For requests of which `applies` is true.
    pub fn when(applies: impl Fn(&Seen) -> bool + Send + 'static, act: Act) -> Self {
        Self {
            applies: Box::new(applies),
            left: None,
            act,
        }
    }

    /// At most so many times.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.left = Some(times);
        self
    }
}

/// The act of the oldest script that applies; it is used up by one.
pub(super) fn choose(scripts: &mut Vec<Script>, seen: &Seen) -> Act {
    let Some(position) = scripts.iter().position(|script| (script.applies)(seen)) else {
        return Act::Normal;
    };
    let act = scripts[position].act.clone();
    if let Some(left) = &mut scripts[position].left {
        *left = left.saturating_sub(1);
        if *left == 0 {
            scripts.remove(position);
        }
    }
    act
}

type IsBad = Box<dyn Fn(&Value) -> bool + Send>;

/// Records that the service does not take.
pub struct BadRecords {
    pub(super) is_bad: IsBad,
    pub(super) status: u16,
    pub(super) message: String,
    pub(super) whole: bool,
}

impl BadRecords {
    /// A request that holds one is refused whole with 422, as services with atomic batches do.
    pub fn refuse_whole(is_bad: impl Fn(&Value) -> bool + Send + 'static) -> Self {
        Self {
            is_bad: Box::new(is_bad),
            status: 422,
            message: "the record is not valid".into(),
            whole: true,
        }
    }

    /// The others are taken; the answer is 200 with `{"results": [{"status": "error", …}, …]}`.
    pub fn by_record(is_bad: impl Fn(&Value) -> bool + Send + 'static) -> Self {
        Self {
            whole: false,
            ..Self::refuse_whole(is_bad)
        }
    }

    /// With these words.
    #[must_use]
    pub fn message(mut self, message: &str) -> Self {
        message.clone_into(&mut self.message);
        self
    }

    /// With this status in place of 422.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Whether the record's key has one of these ids: `{"key": {"id": …}}`.
    pub fn ids(ids: &[i64]) -> impl Fn(&Value) -> bool + Send + use<> {
        let ids = ids.to_vec();
        move |record| {
            record["key"]["id"]
                .as_i64()
                .is_some_and(|id| ids.contains(&id))
        }
    }
}
