//! Sizes as people write them.

/// Parses `300Mi`, `2G`, `1048576`: bytes, with the suffixes of Kubernetes quantities.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let unit: u64 = match suffix {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => {
            return Err(format!(
                "{text:?} is not a size; write bytes or a number with Ki, Mi, Gi, k, M or G, as in 512Mi"
            ));
        }
    };
    let number: u64 =
        number.parse().map_err(|_| format!("{text:?} is not a size; write a whole number, as in 512Mi"))?;
    number.checked_mul(unit).ok_or_else(|| format!("{text:?} is too large"))
}

/// Renders bytes with three digits.
pub(crate) fn render(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1000.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_and_render() {
        assert_eq!(parse("300Mi"), Ok(300 << 20));
        assert_eq!(parse("2G"), Ok(2_000_000_000));
        assert_eq!(parse("17"), Ok(17));
        for wrong in ["", "Mi", "3 Mi", "-1", "3Xi", "99999999999Ti"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(render(300 << 20), "300.0 MiB");
        assert_eq!(render(999), "999 B");
    }
}
