//! The exchange by hand, with what it must do and nothing else: what goes out is encoded
//! beforehand, and the length of what comes back is known.

use std::io::{Read, Write};
use std::net::TcpStream;

pub(crate) struct Socket(TcpStream);

impl Socket {
    pub(crate) fn connect(address: &str) -> Socket {
        let stream = TcpStream::connect(address).expect("a server");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        Socket(stream)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("write");
    }

    /// Reads so many bytes behind those that the buffer holds.
    pub(crate) fn read(&mut self, buffer: &mut Vec<u8>, length: usize) {
        let read = (&self.0).take(length as u64).read_to_end(buffer).expect("read");
        assert_eq!(read, length, "the server closed the connection");
    }

    /// One command and its reply, the payload of which stays: all but `head` bytes and the last 2.
    pub(crate) fn exchange(&mut self, command: &[u8], reply: &mut [u8], head: usize) -> Vec<u8> {
        self.write(command);
        self.0.read_exact(reply).expect("read");
        reply[head..reply.len() - 2].to_vec()
    }
}

/// A command as it goes over the wire.
pub(crate) fn command<const N: usize>(args: [&str; N]) -> Vec<u8> {
    let mut bytes = format!("*{N}\r\n").into_bytes();
    for arg in args {
        bytes.extend_from_slice(format!("${}\r\n{arg}\r\n", arg.len()).as_bytes());
    }
    bytes
}
