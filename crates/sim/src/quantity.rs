//! Quantities in the words that the API server keeps: `1000m` is `1`, `1024Mi` is `1Gi`, `0.5` is `500m`.

/// Digits after the point that a quantity has.
const NANO: u32 = 9;
const DECIMAL: [(&str, i32); 10] =
    [("E", 18), ("P", 15), ("T", 12), ("G", 9), ("M", 6), ("k", 3), ("", 0), ("m", -3), ("u", -6), ("n", -9)];
const BINARY: [(&str, u32); 6] = [("Ei", 6), ("Pi", 5), ("Ti", 4), ("Gi", 3), ("Mi", 2), ("Ki", 1)];

enum Format {
    Decimal,
    Binary,
    Exponent,
}

/// None where the text is no quantity.
pub fn canonical(text: &str) -> Option<String> {
    let text = text.trim();
    let end = text.find(|c: char| !matches!(c, '0'..='9' | '.' | '+' | '-')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let nano = parse(number)?;
    let (nano, format) = if let Some((_, power)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        (nano.checked_mul(1024_i128.checked_pow(*power)?)?, Format::Binary)
    } else if let Some((_, power)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        (scale(nano, *power)?, Format::Decimal)
    } else {
        let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
        (scale(nano, exponent)?, Format::Exponent)
    };
    Some(print(nano, &format))
}

fn parse(number: &str) -> Option<i128> {
    let (sign, digits) = match number.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && part.is_empty()) || !all_digits(whole) || !all_digits(part) {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let kept = &part[..part.len().min(NANO as usize)];
    let mut nano: i128 = format!("{kept:0<9}").parse().ok()?;
    // What is smaller than can be kept is rounded up.
    if part[kept.len()..].bytes().any(|b| b != b'0') {
        nano += 1;
    }
    Some(sign * (whole.checked_mul(1_000_000_000)?.checked_add(nano)?))
}

fn scale(nano: i128, power: i32) -> Option<i128> {
    let factor = 10_i128.checked_pow(power.unsigned_abs())?;
    if power >= 0 {
        return nano.checked_mul(factor);
    }
    let rounded = nano / factor;
    Some(if nano % factor == 0 { rounded } else { rounded + nano.signum() })
}

fn print(nano: i128, format: &Format) -> String {
    const ONE: i128 = 1_000_000_000;
    if nano == 0 {
        return "0".to_owned();
    }
    if matches!(format, Format::Binary) && nano % ONE == 0 && (nano / ONE).abs() >= 1024 {
        let whole = nano / ONE;
        let fits = BINARY.iter().find(|(_, power)| whole % 1024_i128.pow(*power) == 0);
        return match fits {
            Some((suffix, power)) => format!("{}{suffix}", whole / 1024_i128.pow(*power)),
            None => whole.to_string(),
        };
    }
    for (suffix, power) in DECIMAL {
        let unit = 10_i128.pow((power + NANO.cast_signed()).unsigned_abs());
        if nano % unit == 0 {
            return match format {
                Format::Exponent if power != 0 => format!("{}e{power}", nano / unit),
                _ => format!("{}{suffix}", nano / unit),
            };
        }
    }
    nano.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_kept_in_their_shortest_form() {
        for (text, expected) in [
            ("1000m", "1"),
            ("1024Mi", "1Gi"),
            ("0.5", "500m"),
            ("0.1", "100m"),
            ("100000m", "100"),
            ("1000k", "1M"),
            ("1024", "1024"),
            ("512Ki", "512Ki"),
            ("0.5Ki", "512"),
            ("1e3", "1e3"),
            ("0", "0"),
            ("-1500m", "-1500m"),
            ("1025Ki", "1025Ki"),
        ] {
            assert_eq!(canonical(text).as_deref(), Some(expected), "{text}");
        }
        for text in ["", "x", "1Qi", "1.2.3"] {
            assert_eq!(canonical(text), None, "{text}");
        }
    }
}
