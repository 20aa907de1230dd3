//! Sizes in words.

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// "820 MiB" or "11.1 GiB".
pub fn size(bytes: u64) -> String {
    let (number, unit) = parts(bytes, bytes);
    format!("{number} {unit}")
}

/// "820 of 1,400 MiB".
pub fn share(part: u64, all: u64) -> String {
    let (part, unit) = parts(part, all);
    format!("{part} of {} {unit}", parts(all, all).0)
}

/// The number in the unit that is right for `all`.
fn parts(bytes: u64, all: u64) -> (String, &'static str) {
    match all {
        ..10_737_418_240 => (with_commas((bytes + MIB / 2) / MIB), "MiB"),
        _ => (format!("{:.1}", bytes as f64 / GIB as f64), "GiB"),
    }
}

fn with_commas(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_at_a_glance() {
        assert_eq!(size(0), "0 MiB");
        assert_eq!(size(3 * MIB / 2), "2 MiB");
        assert_eq!(size(1_234_567 * MIB / 1000), "1,235 MiB");
        assert_eq!(share(820 * MIB, 1400 * MIB), "820 of 1,400 MiB");
        assert_eq!(share(820 * MIB, 20 * GIB), "0.8 of 20.0 GiB");
    }
}
