//! The line of an instruction, by the tables in code objects.

use super::layout::Table;

/// The line of the instruction at that byte. A table that ends early has the line of its last entry.
pub fn line_of(table: Table, mut bytes: impl Iterator<Item = u8>, first_line: i32, at: i64) -> i32 {
    let mut line = first_line;
    let mut end = 0_i64;
    match table {
        Table::Lnotab => {
            while let (Some(step), Some(delta)) = (bytes.next(), bytes.next()) {
                end += i64::from(step);
                if end > at {
                    break;
                }
                line = line.wrapping_add(i32::from(delta as i8));
            }
        }
        Table::Linetable => {
            while let (Some(step), Some(delta)) = (bytes.next(), bytes.next()) {
                const NO_LINE: i8 = -128;
                end += i64::from(step);
                if delta as i8 != NO_LINE {
                    line = line.wrapping_add(i32::from(delta as i8));
                }
                if end > at {
                    break;
                }
            }
        }
        Table::Locations => {
            const UNIT: i64 = 2;
            let mut next = bytes.next();
            while let Some(head) = next {
                let code = (head >> 3) & 15;
                end += (i64::from(head & 7) + 1) * UNIT;
                let mut number = Number::default();
                // Only the first byte of an entry has its highest bit set.
                loop {
                    next = bytes.next();
                    match next {
                        Some(byte) if byte & 0x80 == 0 => number.take(byte),
                        _ => break,
                    }
                }
                line = line.wrapping_add(match code {
                    13 | 14 => number.signed(),
                    10..=12 => i32::from(code) - 10,
                    _ => 0,
                });
                if end > at {
                    break;
                }
            }
        }
    }
    line
}

/// The first number of an entry: six bits in each byte, the lowest first.
#[derive(Default)]
struct Number {
    value: u32,
    shift: u32,
    is_complete: bool,
}

impl Number {
    fn take(&mut self, byte: u8) {
        if self.is_complete {
            return;
        }
        let bits = u32::from(byte & 63);
        self.value |= bits.checked_shl(self.shift).unwrap_or(0);
        self.shift += 6;
        self.is_complete = byte & 64 == 0;
    }

    /// The lowest bit is the sign.
    fn signed(&self) -> i32 {
        let value = (self.value >> 1) as i32;
        if self.value & 1 == 0 { value } else { -value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(table: Table, bytes: &[u8], until: i64) -> Vec<i32> {
        (0..until).step_by(2).map(|at| line_of(table, bytes.iter().copied(), 10, at)).collect()
    }

    #[test]
    fn the_table_of_3_9() {
        // Two bytes on line 10, four on line 12, then line 11.
        assert_eq!(lines(Table::Lnotab, &[2, 2, 4, 255], 10), [10, 12, 12, 11, 11]);
        // A step of more than 127 lines is two entries.
        assert_eq!(lines(Table::Lnotab, &[2, 127, 0, 3], 4), [10, 140]);
        assert_eq!(lines(Table::Lnotab, &[], 4), [10, 10]);
    }

    #[test]
    fn the_table_of_3_10() {
        // Two bytes on line 11, two without a line, two on line 9.
        assert_eq!(lines(Table::Linetable, &[2, 1, 2, 128, 2, 254], 8), [11, 11, 9, 9]);
    }

    #[test]
    fn the_table_of_3_11() {
        let head = |code: u8, units: u8| 0x80 | (code << 3) | (units - 1);
        let table = [
            vec![head(10, 1), 1, 2],
            vec![head(11, 2), 1, 2],
            vec![head(3, 1), 5],
            // Without columns, minus two lines; with more bits than one byte has: plus 40.
            vec![head(13, 1), 0b101],
            vec![head(14, 1), 0b101_0000 | 64, 1, 0, 0, 0],
            vec![head(15, 1)],
        ];
        // 40 is 0b101000; shifted by the sign 0b1010000: six bits are 0b010000, the rest is 1.
        assert_eq!(lines(Table::Locations, &table.concat(), 14), [10, 11, 11, 11, 9, 49, 49]);
    }
}
