//! What fuzzing reaches of this crate: the reader of answers. Not for programs.

use reqwest::header::HeaderMap;
use rowcast_core::{Batch, DestinationConfig, Outcome, Record};

use super::client::Answer;
use super::config::Settings;
use crate::settings::Problems;

/// What an answer means for the records of a batch; `None` for a failure of the whole.
///
/// # Panics
/// The configuration is wrong, or there is not one outcome for each record.
pub fn outcomes(
    config: &DestinationConfig,
    batch: &Batch,
    status: u16,
    body: &[u8],
) -> Option<Vec<Outcome>> {
    let mut problems = Problems::default();
    let settings = Settings::parse(config, &mut problems);
    let (settings, service, _) = settings.unwrap_or_else(|| panic!("wrong settings: {problems:?}"));
    let call = settings.call(batch.operation)?;
    let records: Vec<&Record> = batch.records.iter().collect();
    let answer = Answer {
        status,
        headers: HeaderMap::new(),
        body: body.to_vec(),
        cut: false,
    };
    let outcomes = settings
        .reading(&service, call)
        .judge(batch, &records, &answer)
        .ok()?;
    assert_eq!(outcomes.len(), records.len(), "an outcome for each record");
    Some(outcomes)
}
