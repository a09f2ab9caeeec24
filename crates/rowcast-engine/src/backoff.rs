//! How long to wait before a batch is tried again: the formula that the docs print.
//!
//! wait(n) = min(max, first × 2^(n−1)) × j, where j lies between 0.5 and 1 and follows from the
//! batch, so that batches that failed together do not come back together. Never before the time
//! the destination asked for.

use std::time::Duration;

use rowcast_core::sync::Backoff;

/// The wait after the `failures`-th failure in a row (from 1) of the batch that `seed` stands for.
pub fn wait_before_retry(
    backoff: &Backoff,
    failures: u32,
    after: Option<Duration>,
    seed: u64,
) -> Duration {
    let doublings = failures.saturating_sub(1).min(31);
    let full = backoff
        .first
        .saturating_mul(1 << doublings)
        .min(backoff.max);
    let jitter = 0.5 + 0.5 * unit(seed ^ u64::from(failures));
    full.mul_f64(jitter).max(after.unwrap_or_default())
}

/// A number from 0 to 1 that follows from the seed (the finalizer of SplitMix64).
fn unit(seed: u64) -> f64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_maximum_and_stay_within_their_jitter() {
        let backoff = Backoff::default();
        let full = [
            500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000,
        ];
        for (i, full) in full.into_iter().enumerate() {
            for seed in 0..100 {
                let wait = wait_before_retry(&backoff, i as u32 + 1, None, seed).as_millis();
                assert!(
                    wait * 2 >= full - 1 && wait <= full,
                    "{i}: {wait} of {full}"
                );
            }
        }
        let again = wait_before_retry(&backoff, 3, None, 7);
        assert_eq!(again, wait_before_retry(&backoff, 3, None, 7));
        assert_ne!(again, wait_before_retry(&backoff, 3, None, 8));
    }

    #[test]
    fn the_wait_is_never_shorter_than_the_destination_asked_for() {
        let asked = Duration::from_secs(90);
        assert_eq!(
            wait_before_retry(&Backoff::default(), 1, Some(asked), 1),
            asked
        );
    }
}
