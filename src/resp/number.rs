//! Parsing and formatting of integers.

use crate::error::ProtocolError;

/// The longest number in a header, in bytes: a sign and 19 digits.
const LONGEST_NUMBER: usize = 20;

/// Parses a line that is a number: digits with an optional sign. Returns the number and the length
/// of the line including its end, or `None` if the end has not been received yet.
pub(crate) fn parse_number(input: &[u8]) -> Result<Option<(i64, usize)>, ProtocolError> {
    let negative = input.first() == Some(&b'-');
    let start = usize::from(negative || input.first() == Some(&b'+'));
    let mut number: i64 = 0;
    for (at, &byte) in input.iter().enumerate().skip(start) {
        match byte {
            b'0'..=b'9' if at < LONGEST_NUMBER => {
                // Accumulated as a negative number, because the range reaches one further there.
                number = number
                    .checked_mul(10)
                    .and_then(|number| number.checked_sub(i64::from(byte - b'0')))
                    .ok_or(OUT_OF_RANGE)?;
            }
            b'0'..=b'9' => return Err(ProtocolError::new("line too long")),
            b'\r' => match input.get(at + 1) {
                None => return Ok(None),
                Some(_) if at == start => return Err(ProtocolError::new("number without digits")),
                Some(b'\n') if negative => return Ok(Some((number, at + 2))),
                Some(b'\n') => {
                    let number = number.checked_neg().ok_or(OUT_OF_RANGE)?;
                    return Ok(Some((number, at + 2)));
                }
                Some(_) => return Err(ProtocolError::at_byte(BAD_BYTE, byte)),
            },
            b'\n' => return Err(BAD_LINE_END),
            other => return Err(ProtocolError::at_byte(BAD_BYTE, other)),
        }
    }
    Ok(None)
}

/// Parses a line that is a length: digits, or exactly `-1`, which means nil and is returned as -1.
/// Otherwise like [`parse_number`].
pub(super) fn parse_length(input: &[u8]) -> Result<Option<(i64, usize)>, ProtocolError> {
    const NIL: &[u8] = b"-1\r\n";
    match input.first() {
        Some(b'+') => return Err(ProtocolError::at_byte(BAD_BYTE, b'+')),
        Some(b'-') => {}
        _ => return parse_number(input),
    }
    match input.iter().zip(NIL).position(|(byte, nil)| byte != nil) {
        None if input.len() < NIL.len() => Ok(None),
        None => Ok(Some((-1, NIL.len()))),
        Some(at) => Err(match (at, input[at]) {
            (1, b'\r') => ProtocolError::new("number without digits"),
            (1 | 2, b'0'..=b'9') => ProtocolError::new("negative length"),
            (1 | 2, b'\n') => BAD_LINE_END,
            (_, byte) => ProtocolError::at_byte(BAD_BYTE, byte),
        }),
    }
}

pub(super) const BAD_LINE_END: ProtocolError = ProtocolError::new("line does not end in \\r\\n");
const OUT_OF_RANGE: ProtocolError = ProtocolError::new("number out of range");
const BAD_BYTE: &str = "number with an unexpected byte";

/// Writes a number in decimal at the end of a buffer that is long enough. Returns the index of its
/// first digit.
pub(super) fn fill_digits(buffer: &mut [u8], mut number: u64) -> usize {
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return at;
        }
    }
}

/// A buffer for a 64-bit number in decimal, filled from the right.
pub(super) struct Digits([u8; 20]);

impl Digits {
    pub(super) fn new() -> Digits {
        Digits([b'0'; 20])
    }

    pub(super) fn unsigned(&mut self, number: u64) -> &[u8] {
        let start = fill_digits(&mut self.0, number);
        &self.0[start..]
    }

    pub(super) fn signed(&mut self, number: i64) -> &[u8] {
        // The magnitude of an i64 has at most 19 digits, so the sign fits.
        let length = self.unsigned(number.unsigned_abs()).len();
        let mut at = self.0.len() - length;
        if number < 0 {
            at -= 1;
            self.0[at] = b'-';
        }
        &self.0[at..]
    }
}
