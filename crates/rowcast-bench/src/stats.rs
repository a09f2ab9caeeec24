//! The few statistics of the benchmark: medians and ratios.

/// The middle value; the mean of the two in the middle of an even number. `None` of nothing.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// `a / b`; `None` when there is nothing to divide by.
pub(crate) fn ratio(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) if b > 0.0 => Some(a / b),
        _ => None,
    }
}

/// Rounded to `digits` places, so that a results file holds no noise.
pub(crate) fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

/// A number for people: three significant digits, thousands separated.
pub(crate) fn for_people(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude >= 1000.0 {
        return separated(value.round() as i64);
    }
    let digits = match magnitude {
        m if m >= 100.0 => 0,
        m if m >= 10.0 => 1,
        m if m >= 0.01 || m == 0.0 => 2,
        _ => 4,
    };
    format!("{value:.digits$}")
}

/// A whole number with separators.
pub(crate) fn separated(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_not_moved_by_one_slow_run() {
        assert_eq!(median(&[1.0, 1.1, 0.9, 1.0, 60.0]), Some(1.0));
        assert_eq!(median(&[1.0, 3.0]), Some(2.0));
        assert_eq!(median(&[f64::NAN, 2.0]), Some(2.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_ratio_needs_both_sides() {
        assert_eq!(ratio(Some(3.0), Some(2.0)), Some(1.5));
        assert_eq!(ratio(Some(3.0), Some(0.0)), None);
        assert_eq!(ratio(None, Some(2.0)), None);
    }

    #[test]
    fn numbers_are_for_people() {
        assert_eq!(for_people(1_234_567.4), "1,234,567");
        assert_eq!(for_people(412.6), "413");
        assert_eq!(for_people(41.26), "41.3");
        assert_eq!(for_people(1.046), "1.05");
        assert_eq!(for_people(0.0), "0.00");
        assert_eq!(separated(-1000), "-1,000");
        assert!((rounded(1.234_56, 3) - 1.235).abs() < 1e-9);
    }
}
