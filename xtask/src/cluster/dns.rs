//! The smallest DNS client: does the server know the name?

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

/// Whether the server answers the question for an IPv4 address without an error and with at least one record.
pub(super) fn knows(server: Ipv4Addr, name: &str) -> bool {
    let ask = || -> std::io::Result<bool> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        socket.connect((server, 53))?;
        socket.send(&question(name))?;
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer)?;
        Ok(has_records(&answer[..length]))
    };
    ask().unwrap_or(false)
}

/// A header that asks for recursion and counts one question, and the question: type A, class Internet.
fn question(name: &str) -> Vec<u8> {
    let mut message = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).unwrap_or(0));
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, 1, 0, 1]);
    message
}

fn has_records(answer: &[u8]) -> bool {
    let [_, _, _, flags, _, _, high, low, ..] = answer else { return false };
    flags & 0x0f == 0 && (*high, *low) != (0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_written_label_by_label() {
        assert_eq!(question("s3.svc")[12..], *b"\x02s3\x03svc\0\0\x01\0\x01");
    }

    #[test]
    fn only_records_without_an_error_count() {
        assert!(has_records(&[0, 7, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]));
        assert!(!has_records(&[0, 7, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0]));
        assert!(!has_records(&[0, 7, 0x81, 0x83, 0, 1, 0, 1, 0, 0, 0, 0]));
        assert!(!has_records(&[0, 7]));
    }
}
