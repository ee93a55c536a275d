//! Encoding and decoding of RESP2. Works on bytes in memory and does no I/O.

pub(crate) mod decode;
pub(crate) mod encode;
mod float;
pub(crate) mod number;
