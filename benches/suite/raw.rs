//! An exchange on a bare socket. The command is encoded beforehand and the reply's length is known.

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

    /// Appends `length` bytes to the buffer.
    pub(crate) fn read(&mut self, buffer: &mut Vec<u8>, length: usize) {
        let read = (&self.0).take(length as u64).read_to_end(buffer).expect("read");
        assert_eq!(read, length, "the server closed the connection");
    }

    /// Sends a command and returns the payload of its reply: all but the first `head` bytes and the
    /// last 2.
    pub(crate) fn exchange(&mut self, command: &[u8], reply: &mut [u8], head: usize) -> Vec<u8> {
        self.write(command);
        self.0.read_exact(reply).expect("read");
        reply[head..reply.len() - 2].to_vec()
    }
}

/// Encodes a command.
pub(crate) fn command<const N: usize>(args: [&str; N]) -> Vec<u8> {
    let mut bytes = format!("*{N}\r\n").into_bytes();
    for arg in args {
        bytes.extend_from_slice(format!("${}\r\n{arg}\r\n", arg.len()).as_bytes());
    }
    bytes
}
