//! Exact decimal arithmetic on PostgreSQL's numeric text.
//!
//! Addition, subtraction and multiplication are exact. Division keeps `DIVISION_DIGITS` digits
//! after the point, rounded half away from zero. Must never go through a float and never panic;
//! numbers that would take more than `MAX_DIGITS` digits are refused instead of filling the memory.

use std::cmp::Ordering;

use crate::json::to_text;
use crate::value::Value;

/// Digits after the point of a quotient, at least; more if an operand has more.
pub const DIVISION_DIGITS: usize = 20;

/// The most digits a number may have to be calculated with. Far beyond any amount, and low enough
/// that a division of the longest numbers stays well under a second.
pub const MAX_DIGITS: usize = 2_000;

/// A finite decimal: `digits` (most significant first, each 0..=9) scaled down by 10^`scale`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    scale: usize,
}

/// How to round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// Half away from zero, as PostgreSQL's `round(numeric)`.
    Half,
    Floor,
    Ceil,
}

impl Decimal {
    /// Reads `-12.50`, `1e3`, `+7`. Not numbers (`NaN`, infinities, other text) are `None`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (negative, body) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = match body.find(['e', 'E']) {
            Some(at) => (&body[..at], body[at + 1..].parse::<i64>().ok()?),
            None => (body, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        if !whole
            .bytes()
            .chain(fraction.bytes())
            .all(|b| b.is_ascii_digit())
        {
            return None;
        }
        let mut digits: Vec<u8> = whole
            .bytes()
            .chain(fraction.bytes())
            .map(|b| b - b'0')
            .collect();
        let mut scale = fraction.len() as i64 - exponent;
        if exponent.unsigned_abs() as usize > MAX_DIGITS || digits.len() > MAX_DIGITS {
            return None;
        }
        if scale < 0 {
            digits.extend(std::iter::repeat_n(0, scale.unsigned_abs() as usize));
            scale = 0;
        }
        Some(Self::made(negative, digits, scale as usize))
    }

    fn made(negative: bool, mut digits: Vec<u8>, scale: usize) -> Self {
        // At least one digit before the point, no other leading zeros.
        if digits.len() <= scale {
            let missing = scale + 1 - digits.len();
            digits.splice(0..0, std::iter::repeat_n(0, missing));
        }
        let keep = digits.len() - scale;
        let zeros = digits[..keep - 1].iter().take_while(|d| **d == 0).count();
        digits.drain(..zeros);
        let negative = negative && digits.iter().any(|d| *d != 0);
        Self {
            negative,
            digits,
            scale,
        }
    }

    /// The plain digits, without exponent, trailing zeros kept.
    pub fn to_plain(&self) -> String {
        let mut out = String::with_capacity(self.digits.len() + 2);
        if self.negative {
            out.push('-');
        }
        let point = self.digits.len() - self.scale;
        for (i, digit) in self.digits.iter().enumerate() {
            if i == point {
                out.push('.');
            }
            out.push(char::from(b'0' + digit));
        }
        out
    }

    fn is_zero(&self) -> bool {
        self.digits.iter().all(|d| *d == 0)
    }

    /// The digits with this many after the point (`scale` must not be lower than its own).
    fn aligned(&self, scale: usize) -> Vec<u8> {
        let mut digits = self.digits.clone();
        digits.extend(std::iter::repeat_n(0, scale - self.scale));
        digits
    }

    /// The same number with the other sign.
    #[must_use]
    pub fn negated(mut self) -> Self {
        self.negative = !self.negative && !self.is_zero();
        self
    }

    /// The number without its sign.
    #[must_use]
    pub fn absolute(mut self) -> Self {
        self.negative = false;
        self
    }

    /// The exact sum; `None` when it has too many digits.
    pub fn add(&self, other: &Self) -> Option<Self> {
        let scale = self.scale.max(other.scale);
        let (a, b) = (self.aligned(scale), other.aligned(scale));
        if a.len().max(b.len()) >= MAX_DIGITS {
            return None;
        }
        Some(if self.negative == other.negative {
            Self::made(self.negative, add_digits(&a, &b), scale)
        } else if compare_digits(&a, &b) == Ordering::Less {
            Self::made(other.negative, subtract_digits(&b, &a), scale)
        } else {
            Self::made(self.negative, subtract_digits(&a, &b), scale)
        })
    }

    /// The exact product; `None` when it has too many digits.
    pub fn multiply(&self, other: &Self) -> Option<Self> {
        let length = self.digits.len() + other.digits.len();
        if length > MAX_DIGITS {
            return None;
        }
        let mut out = vec![0_u32; length];
        for (i, a) in self.digits.iter().enumerate().rev() {
            let mut carry = 0;
            for (j, b) in other.digits.iter().enumerate().rev() {
                let sum = out[i + j + 1] + u32::from(*a) * u32::from(*b) + carry;
                out[i + j + 1] = sum % 10;
                carry = sum / 10;
            }
            out[i] += carry;
        }
        let digits = out.into_iter().map(|d| d as u8).collect();
        Some(Self::made(
            self.negative != other.negative,
            digits,
            self.scale + other.scale,
        ))
    }

    /// The quotient with `DIVISION_DIGITS` digits after the point (or as many as an operand has),
    /// rounded half away from zero, trailing zeros removed. `None` for division by zero.
    pub fn divide(&self, other: &Self) -> Option<Self> {
        if other.is_zero() {
            return None;
        }
        let scale = DIVISION_DIGITS.max(self.scale).max(other.scale);
        // One digit more than shown, for rounding.
        let mut numerator = self.digits.clone();
        numerator.extend(std::iter::repeat_n(0, scale + 1 + other.scale - self.scale));
        let divisor: Vec<u8> = other
            .digits
            .iter()
            .copied()
            .skip_while(|d| *d == 0)
            .collect();
        let mut quotient = Vec::with_capacity(numerator.len());
        let mut rest: Vec<u8> = Vec::with_capacity(divisor.len() + 1);
        for digit in numerator {
            if !(rest.is_empty() && digit == 0) {
                rest.push(digit);
            }
            let mut times = 0;
            while compare_digits(&rest, &divisor) != Ordering::Less {
                rest = subtract_digits(&rest, &divisor);
                let zeros = rest.iter().take_while(|d| **d == 0).count();
                rest.drain(..zeros);
                times += 1;
            }
            quotient.push(times);
        }
        let exact = Self::made(self.negative != other.negative, quotient, scale + 1);
        Some(exact.round(scale as i64, Rounding::Half).trimmed())
    }

    /// The number with at most `places` digits after the point (negative: tens, hundreds, …).
    #[must_use]
    pub fn round(&self, places: i64, rounding: Rounding) -> Self {
        if places >= self.scale as i64 {
            return self.clone();
        }
        let cut = (self.scale as i64 - places) as usize;
        let mut digits = self.digits.clone();
        if cut > digits.len() {
            let missing = cut - digits.len();
            if missing > MAX_DIGITS {
                return Self::made(false, vec![0], 0);
            }
            digits.splice(0..0, std::iter::repeat_n(0, missing));
        }
        let at = digits.len() - cut;
        let dropped = digits.split_off(at);
        let away = match rounding {
            Rounding::Half => dropped.first().is_some_and(|d| *d >= 5),
            Rounding::Floor => self.negative && dropped.iter().any(|d| *d != 0),
            Rounding::Ceil => !self.negative && dropped.iter().any(|d| *d != 0),
        };
        if digits.is_empty() {
            digits.push(0);
        }
        if away {
            digits = add_digits(&digits, &[1]);
        }
        if places < 0 {
            digits.extend(std::iter::repeat_n(0, places.unsigned_abs() as usize));
        }
        Self::made(self.negative, digits, places.max(0) as usize)
    }

    /// The whole number towards zero.
    #[must_use]
    pub fn cut(self) -> Self {
        let rounding = if self.negative {
            Rounding::Ceil
        } else {
            Rounding::Floor
        };
        self.round(0, rounding)
    }

    /// Without trailing zeros after the point.
    #[must_use]
    pub fn trimmed(mut self) -> Self {
        while self.scale > 0 && self.digits.last() == Some(&0) {
            self.digits.pop();
            self.scale -= 1;
        }
        self
    }

    /// As a value: whole numbers that fit are integers, others keep their digits.
    pub fn into_value(self) -> Value {
        let text = self.to_plain();
        if self.scale == 0
            && let Ok(whole) = text.parse()
        {
            return Value::Int(whole);
        }
        Value::Decimal(text.into())
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let scale = self.scale.max(other.scale);
        let size = compare_digits(&self.aligned(scale), &other.aligned(scale));
        Some(match (self.negative, other.negative) {
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => size,
            (true, true) => size.reverse(),
        })
    }
}

/// The number of a value that is one: integers, decimals, finite floats (by their shortest digits).
pub fn of(value: &Value) -> Option<Decimal> {
    match value {
        Value::Int(_) | Value::Decimal(_) | Value::Float { .. } => Decimal::parse(&to_text(value)),
        _ => None,
    }
}

/// The order of two values that are both numbers.
pub(super) fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    of(a)?.partial_cmp(&of(b)?)
}

/// Whether a numeric's text is zero.
pub(super) fn is_zero(text: &str) -> bool {
    Decimal::parse(text).is_some_and(|number| number.is_zero())
}

fn compare_digits(a: &[u8], b: &[u8]) -> Ordering {
    let a = &a[a.iter().take_while(|d| **d == 0).count()..];
    let b = &b[b.iter().take_while(|d| **d == 0).count()..];
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn add_digits(a: &[u8], b: &[u8]) -> Vec<u8> {
    let length = a.len().max(b.len()) + 1;
    let mut out = vec![0; length];
    let mut carry = 0;
    for i in 0..length {
        let digit = |digits: &[u8]| digits.len().checked_sub(i + 1).map_or(0, |at| digits[at]);
        let sum = digit(a) + digit(b) + carry;
        out[length - 1 - i] = sum % 10;
        carry = sum / 10;
    }
    out
}

/// `a - b` for `a >= b`.
fn subtract_digits(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut out = a.to_vec();
    let mut borrow = false;
    for i in 0..a.len() {
        let at = a.len() - 1 - i;
        let take = b.len().checked_sub(i + 1).map_or(0, |at| b[at]) + u8::from(borrow);
        borrow = out[at] < take;
        out[at] = if borrow {
            out[at] + 10 - take
        } else {
            out[at] - take
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn d(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    #[test]
    fn arithmetic_is_exact_beyond_what_a_double_holds() {
        assert_eq!(d("0.1").add(&d("0.2")).unwrap().to_plain(), "0.3");
        assert_eq!(
            d("12345678901234567890.01")
                .multiply(&d("100"))
                .unwrap()
                .to_plain(),
            "1234567890123456789001.00"
        );
        assert_eq!(d("1").add(&d("-1.50")).unwrap().to_plain(), "-0.50");
        assert_eq!(
            d("1").divide(&d("3")).unwrap().to_plain(),
            "0.33333333333333333333"
        );
        assert_eq!(
            d("2").divide(&d("3")).unwrap().to_plain(),
            "0.66666666666666666667"
        );
        assert_eq!(d("10").divide(&d("4")).unwrap().to_plain(), "2.5");
        assert_eq!(d("0.001").divide(&d("0.0001")).unwrap().to_plain(), "10");
        assert_eq!(d("1").divide(&d("0.0")), None);
    }

    #[test]
    fn rounding_goes_away_from_zero_at_the_half() {
        for (text, places, expected) in [
            ("2.5", 0, "3"),
            ("-2.5", 0, "-3"),
            ("1.005", 2, "1.01"),
            ("1.004", 2, "1.00"),
            ("0.04", 1, "0.0"),
            ("-0.04", 1, "0.0"),
            ("1250", -2, "1300"),
            ("49", -2, "0"),
            ("9.99", 1, "10.0"),
            ("7", 2, "7"),
        ] {
            assert_eq!(
                d(text).round(places, Rounding::Half).to_plain(),
                expected,
                "{text}"
            );
        }
        assert_eq!(d("-1.2").round(0, Rounding::Floor).to_plain(), "-2");
        assert_eq!(d("-1.2").round(0, Rounding::Ceil).to_plain(), "-1");
        assert_eq!(d("1.2").round(0, Rounding::Ceil).to_plain(), "2");
    }

    #[test]
    fn the_longest_numbers_are_divided_and_longer_ones_refused() {
        let long = d(&"9".repeat(MAX_DIGITS));
        assert_eq!(long.divide(&long).unwrap().to_plain(), "1");
        assert!(long.divide(&d("7")).is_some());
        assert_eq!(long.multiply(&long), None);
        assert_eq!(Decimal::parse(&"9".repeat(MAX_DIGITS + 1)), None);
    }

    #[test]
    fn exponents_and_odd_forms_are_read() {
        assert_eq!(d("1.5e3").to_plain(), "1500");
        assert_eq!(d("1.5e-3").to_plain(), "0.0015");
        assert_eq!(d("+007.50").to_plain(), "7.50");
        assert_eq!(d("-0").to_plain(), "0");
        for text in [
            "",
            "-",
            ".",
            "1e",
            "NaN",
            "Infinity",
            "1.2.3",
            "1e99999999999",
            "0x1",
        ] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_integer_arithmetic(a in -1_000_000_000_i64..1_000_000_000, b in -1_000_000_000_i64..1_000_000_000, sa in 0_usize..6, sb in 0_usize..6) {
            let x = Decimal::made(a < 0, digits_of(a), sa);
            let y = Decimal::made(b < 0, digits_of(b), sb);
            let product = x.multiply(&y).unwrap();
            prop_assert_eq!(&product, &Decimal::made(a.signum() * b.signum() < 0, digits_of_wide(i128::from(a) * i128::from(b)), sa + sb));
            let scale = sa.max(sb) as u32;
            let sum = i128::from(a) * 10_i128.pow(scale - sa as u32) + i128::from(b) * 10_i128.pow(scale - sb as u32);
            prop_assert_eq!(x.add(&y).unwrap(), Decimal::made(sum < 0, digits_of_wide(sum), scale as usize));
            if b != 0 {
                // The quotient, multiplied back, is within half a unit of its last digit.
                let back = x.divide(&y).unwrap().multiply(&y).unwrap();
                let error = back.add(&x.clone().negated()).unwrap().absolute();
                let bound = y.absolute().multiply(&d("0.000000000000000000005")).unwrap();
                prop_assert!(error <= bound, "{} > {}", error.to_plain(), bound.to_plain());
            }
        }

        #[test]
        fn reads_back_what_it_writes(text in "-?[0-9]{1,30}(\\.[0-9]{1,30})?") {
            let number = d(&text);
            prop_assert_eq!(d(&number.to_plain()), number);
        }
    }

    fn digits_of(value: i64) -> Vec<u8> {
        digits_of_wide(i128::from(value))
    }

    fn digits_of_wide(value: i128) -> Vec<u8> {
        value
            .unsigned_abs()
            .to_string()
            .bytes()
            .map(|b| b - b'0')
            .collect()
    }
}
