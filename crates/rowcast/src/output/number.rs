//! Numbers, durations, sizes and instants as people read them.

/// `98,412`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 row`, `98,412 rows`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(number))
}

/// `812 B`, `1.5 MB`.
pub(crate) fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1_000.0 {
            return if unit == "B" {
                format!("{bytes} B")
            } else {
                format!("{value:.1} {unit}")
            };
        }
        value /= 1_000.0;
    }
    format!("{value:.1} TB")
}

/// `80 ms`, `4.2 s`, `41 s`, `3 min 20 s`, `2 h 5 min`.
pub(crate) fn duration(milliseconds: u64) -> String {
    match milliseconds {
        0..1_000 => format!("{milliseconds} ms"),
        1_000..10_000 => format!("{}.{} s", milliseconds / 1_000, milliseconds % 1_000 / 100),
        10_000..60_000 => format!("{} s", milliseconds / 1_000),
        60_000..3_600_000 => {
            let seconds = milliseconds / 1_000;
            format!("{} min {} s", seconds / 60, seconds % 60)
        }
        _ => {
            let minutes = milliseconds / 60_000;
            format!("{} h {} min", minutes / 60, minutes % 60)
        }
    }
}

/// How long ago an instant of an answer was; the instant itself when it can't be read.
pub(crate) fn since(instant: &str) -> String {
    match rowcast_app::seconds_since(instant) {
        Some(seconds) => ago(seconds),
        None => instant.to_owned(),
    }
}

/// How far off an instant of an answer is: `in 4 min`.
pub(crate) fn until(instant: &str) -> String {
    match rowcast_app::seconds_from_now(instant) {
        Some(seconds) => ahead(seconds),
        None => instant.to_owned(),
    }
}

/// `now`, `in 40 s`, `in 4 min`, `in 3 h`, `in 12 d`.
fn ahead(seconds: i64) -> String {
    match seconds {
        ..1 => "now".to_owned(),
        1..120 => format!("in {seconds} s"),
        120..7_200 => format!("in {} min", seconds / 60),
        7_200..172_800 => format!("in {} h", seconds / 3_600),
        _ => format!("in {} d", seconds / 86_400),
    }
}

/// `just now`, `4 min ago`, `3 h ago`, `12 d ago`.
fn ago(seconds: u64) -> String {
    match seconds {
        0..10 => "just now".to_owned(),
        10..120 => format!("{seconds} s ago"),
        120..7_200 => format!("{} min ago", seconds / 60),
        7_200..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ahead_is_told_roughly() {
        for (seconds, expected) in [
            (-3, "now"),
            (59, "in 59 s"),
            (600, "in 10 min"),
            (10_800, "in 3 h"),
            (200_000, "in 2 d"),
        ] {
            assert_eq!(ahead(seconds), expected);
        }
    }

    #[test]
    fn numbers_are_grouped_and_nouns_agree() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(98_412), "98,412");
        assert_eq!(grouped(1_204_331), "1,204,331");
        assert_eq!(counted(1, "row"), "1 row");
        assert_eq!(counted(2_000, "row"), "2,000 rows");
    }

    #[test]
    fn bytes_have_the_unit_that_fits() {
        let of = [812, 1_500_000, 2_000_000_000_000_000].map(bytes);
        assert_eq!(of, ["812 B", "1.5 MB", "2000.0 TB"]);
    }

    #[test]
    fn durations_use_two_units_at_most() {
        assert_eq!(duration(80), "80 ms");
        assert_eq!(duration(4_250), "4.2 s");
        assert_eq!(duration(41_900), "41 s");
        assert_eq!(duration(200_000), "3 min 20 s");
        assert_eq!(duration(7_500_000), "2 h 5 min");
    }

    #[test]
    fn ages_are_relative() {
        assert_eq!(ago(1), "just now");
        assert_eq!(ago(4 * 60), "4 min ago");
        assert_eq!(ago(3 * 3_600), "3 h ago");
        assert_eq!(ago(5 * 86_400), "5 d ago");
    }
}
