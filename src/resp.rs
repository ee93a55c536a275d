//! RESP2, both ways, without a socket: bytes in, bytes out.

pub(crate) mod decode;
pub(crate) mod encode;
mod float;
pub(crate) mod number;
