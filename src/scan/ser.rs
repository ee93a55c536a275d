//! serde's `Serializer` for arguments: structs, maps and lists.

use std::fmt;

use serde::ser::{
    self, Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeTuple,
    SerializeTupleStruct, Serializer,
};

use crate::args::{ArgWriter, Args, ToArgs};
use crate::error::{Error, Result};
use crate::from_value::quoted;

impl Args {
    /// Adds the parts of a value: the names and values of a struct, the keys and values of a map, the
    /// elements of a list. Any other value is one argument.
    ///
    /// | Part | Arguments |
    /// |---|---|
    /// | a string, a `char` | one: the text |
    /// | an enum variant without data | one: its name |
    /// | integers | one: decimal |
    /// | floats | one: in the format of Go's `%g`, such as `1.5` or `1e+06` |
    /// | `bool` | one: `1` or `0` |
    /// | `Vec<u8>`, `[u8; N]`, `serde_bytes` | one: the bytes |
    /// | `None`, `()` | none; as a value of a struct or map, its name is left out too |
    /// | a newtype | the arguments of the inner value |
    ///
    /// serde's attributes `rename`, `skip`, `skip_serializing_if`, `flatten` and `with` work. A field
    /// with your own type needs an implementation of [`Serialize`] that results in a type of the
    /// table.
    ///
    /// A field of a flattened struct with the same name as a field of the outer struct is not hidden:
    /// both are added, and of two equal names in an `HSET` the later one wins.
    ///
    /// ```
    /// use redigo::Args;
    ///
    /// #[derive(serde::Serialize)]
    /// struct Album {
    ///     title: &'static str,
    ///     rating: f64,
    ///     label: Option<&'static str>,
    /// }
    ///
    /// let album = Album { title: "Red", rating: 4.5, label: None };
    /// let args = Args::new().arg("album:1").add_flat(&album)?; // for HSET
    /// let expected: [&[u8]; 5] = [b"album:1", b"title", b"Red", b"rating", b"4.5"];
    /// assert_eq!(args.iter().collect::<Vec<_>>(), expected);
    /// # Ok::<(), redigo::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a value that is not flat: a struct, a map, or a list (other than a
    /// list of bytes) inside another one. The error names the field. [`Error::Other`] for an error of
    /// the value's own code.
    #[doc(alias = "AddFlat")]
    pub fn add_flat<T: Serialize + ?Sized>(self, value: &T) -> Result<Args> {
        let mut args = self;
        value.serialize(Flat { out: &mut args }).map_err(|SerializeError(error)| error)?;
        Ok(args)
    }
}

/// Serializes the outermost value.
struct Flat<'a> {
    out: &'a mut Args,
}

impl<'a> Flat<'a> {
    fn scalar(self) -> Single<'a> {
        Single { out: self.out, name: None, list: None }
    }
}

/// Serializes one argument, after its name if it has one.
struct Single<'a> {
    out: &'a mut Args,
    name: Option<&'a [u8]>,
    /// The list that contains this element.
    list: Option<&'a mut ListState>,
}

/// The elements of a list so far. A list of `u8` is a byte string, but serde shows only that its
/// elements are `u8`.
#[derive(Default)]
struct ListState {
    bytes: Vec<u8>,
    others: usize,
    only_bytes: bool,
}

impl<'a> Single<'a> {
    fn scalar(self) -> Single<'a> {
        self
    }

    fn write(mut self, write: impl Fn(&mut ArgWriter<'_>)) -> Result<(), SerializeError> {
        if let Some(list) = &mut self.list {
            list.others += 1;
            if list.only_bytes || !list.bytes.is_empty() {
                return self.refuse("a list");
            }
        }
        if let Some(name) = self.name {
            self.out.push(&name);
        }
        self.out.push(&ArgsFn(write));
        Ok(())
    }

    fn bytes(self, bytes: &[u8]) -> Result<(), SerializeError> {
        self.write(|out| out.bytes(bytes))
    }

    fn byte(mut self, byte: u8) -> Result<(), SerializeError> {
        match &mut self.list {
            None => self.write(|out| out.uint(byte.into())),
            Some(list) if list.others == 0 => {
                list.bytes.push(byte);
                Ok(())
            }
            Some(_) => self.refuse("a u8 among other types"),
        }
    }

    fn refuse<T>(&self, what: &str) -> Result<T, SerializeError> {
        let what = match self.name {
            Some(name) => format!("{what} as an argument, in field {}", quoted(name)),
            None => format!("{what} as an argument"),
        };
        Err(SerializeError(Error::Unsupported(what.into())))
    }
}

/// Implements `ToArgs` for a closure.
struct ArgsFn<F>(F);

impl<F: Fn(&mut ArgWriter<'_>)> ToArgs for ArgsFn<F> {
    fn write_args(&self, out: &mut ArgWriter<'_>) {
        (self.0)(out);
    }
}

/// The methods that are the same for the outermost value and for its parts.
macro_rules! one_argument {
    ($($serialize:ident($value:ident: $type:ty) => $write:expr;)*) => {$(
        fn $serialize(self, $value: $type) -> Result<(), SerializeError> {
            self.scalar().write($write)
        }
    )*};
}

macro_rules! scalars {
    () => {
        type Ok = ();
        type Error = SerializeError;
        type SerializeTupleVariant = Impossible<(), SerializeError>;
        type SerializeStructVariant = Impossible<(), SerializeError>;

        one_argument! {
            serialize_bool(flag: bool) => |out| out.bytes(if flag { b"1" } else { b"0" });
            serialize_i8(number: i8) => |out| out.int(number.into());
            serialize_i16(number: i16) => |out| out.int(number.into());
            serialize_i32(number: i32) => |out| out.int(number.into());
            serialize_i64(number: i64) => |out| out.int(number);
            serialize_i128(number: i128) => |out| out.bytes(number.to_string().as_bytes());
            serialize_u16(number: u16) => |out| out.uint(number.into());
            serialize_u32(number: u32) => |out| out.uint(number.into());
            serialize_u64(number: u64) => |out| out.uint(number);
            serialize_u128(number: u128) => |out| out.bytes(number.to_string().as_bytes());
            serialize_f32(number: f32) => |out| out.float32(number);
            serialize_f64(number: f64) => |out| out.float(number);
            serialize_str(text: &str) => |out| out.bytes(text.as_bytes());
            serialize_bytes(bytes: &[u8]) => |out| out.bytes(bytes);
        }

        fn serialize_u8(self, number: u8) -> Result<(), SerializeError> {
            self.scalar().byte(number)
        }

        fn serialize_char(self, letter: char) -> Result<(), SerializeError> {
            self.scalar().bytes(letter.encode_utf8(&mut [0; 4]).as_bytes())
        }

        fn serialize_none(self) -> Result<(), SerializeError> {
            Ok(())
        }

        fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), SerializeError> {
            value.serialize(self)
        }

        fn serialize_unit(self) -> Result<(), SerializeError> {
            Ok(())
        }

        fn serialize_unit_struct(self, _name: &'static str) -> Result<(), SerializeError> {
            Ok(())
        }

        fn serialize_unit_variant(
            self,
            _name: &'static str,
            _index: u32,
            variant: &'static str,
        ) -> Result<(), SerializeError> {
            self.scalar().bytes(variant.as_bytes())
        }

        fn serialize_newtype_struct<T: Serialize + ?Sized>(
            self,
            _name: &'static str,
            value: &T,
        ) -> Result<(), SerializeError> {
            value.serialize(self)
        }

        fn serialize_newtype_variant<T: Serialize + ?Sized>(
            self,
            _name: &'static str,
            _index: u32,
            _variant: &'static str,
            _value: &T,
        ) -> Result<(), SerializeError> {
            self.scalar().refuse(VARIANT)
        }

        fn serialize_tuple_variant(
            self,
            _name: &'static str,
            _index: u32,
            _variant: &'static str,
            _length: usize,
        ) -> Result<Impossible<(), SerializeError>, SerializeError> {
            self.scalar().refuse(VARIANT)
        }

        fn serialize_struct_variant(
            self,
            _name: &'static str,
            _index: u32,
            _variant: &'static str,
            _length: usize,
        ) -> Result<Impossible<(), SerializeError>, SerializeError> {
            self.scalar().refuse(VARIANT)
        }
    };
}

const VARIANT: &str = "an enum variant with data";

impl<'a> Serializer for Flat<'a> {
    type SerializeSeq = FlatList<'a>;
    type SerializeTuple = FlatList<'a>;
    type SerializeTupleStruct = FlatList<'a>;
    type SerializeMap = FlatMap<'a>;
    type SerializeStruct = FlatMap<'a>;

    scalars! {}

    fn serialize_seq(self, _length: Option<usize>) -> Result<FlatList<'a>, SerializeError> {
        Ok(FlatList { out: self.out, list: ListState::default() })
    }

    fn serialize_tuple(self, _length: usize) -> Result<FlatList<'a>, SerializeError> {
        self.serialize_seq(None)
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        _length: usize,
    ) -> Result<FlatList<'a>, SerializeError> {
        self.serialize_seq(None)
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<FlatMap<'a>, SerializeError> {
        Ok(FlatMap { out: self.out, key: Args::new() })
    }

    fn serialize_struct(
        self,
        _name: &'static str,
        _length: usize,
    ) -> Result<FlatMap<'a>, SerializeError> {
        self.serialize_map(None)
    }
}

impl<'a> Serializer for Single<'a> {
    type SerializeSeq = ByteList<'a>;
    type SerializeTuple = ByteList<'a>;
    type SerializeTupleStruct = Impossible<(), SerializeError>;
    type SerializeMap = Impossible<(), SerializeError>;
    type SerializeStruct = Impossible<(), SerializeError>;

    scalars! {}

    fn serialize_seq(self, _length: Option<usize>) -> Result<ByteList<'a>, SerializeError> {
        Ok(ByteList { single: self, list: ListState { only_bytes: true, ..ListState::default() } })
    }

    fn serialize_tuple(self, _length: usize) -> Result<ByteList<'a>, SerializeError> {
        self.serialize_seq(None)
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        _length: usize,
    ) -> Result<Impossible<(), SerializeError>, SerializeError> {
        self.refuse("a list")
    }

    fn serialize_map(
        self,
        _length: Option<usize>,
    ) -> Result<Impossible<(), SerializeError>, SerializeError> {
        self.refuse("a map")
    }

    fn serialize_struct(
        self,
        _name: &'static str,
        _length: usize,
    ) -> Result<Impossible<(), SerializeError>, SerializeError> {
        self.refuse("a struct")
    }
}

/// Serializes the elements of the outermost list.
struct FlatList<'a> {
    out: &'a mut Args,
    list: ListState,
}

impl FlatList<'_> {
    fn add<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), SerializeError> {
        value.serialize(Single { out: self.out, name: None, list: Some(&mut self.list) })
    }

    fn finish(self) -> Result<(), SerializeError> {
        if !self.list.bytes.is_empty() {
            self.out.push(&self.list.bytes);
        }
        Ok(())
    }
}

/// Serializes the elements of a list of bytes, which is one argument.
struct ByteList<'a> {
    single: Single<'a>,
    list: ListState,
}

impl ByteList<'_> {
    fn add<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), SerializeError> {
        value.serialize(Single {
            out: self.single.out,
            name: self.single.name,
            list: Some(&mut self.list),
        })
    }

    fn finish(self) -> Result<(), SerializeError> {
        self.single.bytes(&self.list.bytes)
    }
}

macro_rules! elements {
    ($($list:ident: $trait:ident $serialize:ident;)*) => {$(
        impl $trait for $list<'_> {
            type Ok = ();
            type Error = SerializeError;

            fn $serialize<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), SerializeError> {
                self.add(value)
            }

            fn end(self) -> Result<(), SerializeError> {
                self.finish()
            }
        }
    )*};
}

elements! {
    FlatList: SerializeSeq serialize_element;
    FlatList: SerializeTuple serialize_element;
    FlatList: SerializeTupleStruct serialize_field;
    ByteList: SerializeSeq serialize_element;
    ByteList: SerializeTuple serialize_element;
}

/// Serializes the names and values of the outermost struct or map.
struct FlatMap<'a> {
    out: &'a mut Args,
    /// The key whose value comes next.
    key: Args,
}

impl SerializeMap for FlatMap<'_> {
    type Ok = ();
    type Error = SerializeError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), SerializeError> {
        self.key = Args::new();
        let single = Single { out: &mut self.key, name: None, list: None };
        key.serialize(single)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), SerializeError> {
        // Without a name, the value would be sent in its place.
        let Some(name) = self.key.iter().next() else {
            return Flat { out: self.out }.scalar().refuse("a map key without a value");
        };
        value.serialize(Single { out: self.out, name: Some(name), list: None })
    }

    fn end(self) -> Result<(), SerializeError> {
        Ok(())
    }
}

impl SerializeStruct for FlatMap<'_> {
    type Ok = ();
    type Error = SerializeError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), SerializeError> {
        value.serialize(Single { out: self.out, name: Some(name.as_bytes()), list: None })
    }

    fn end(self) -> Result<(), SerializeError> {
        Ok(())
    }
}

/// The error of a serialization.
#[derive(Debug)]
struct SerializeError(Error);

impl fmt::Display for SerializeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for SerializeError {}

impl ser::Error for SerializeError {
    fn custom<T: fmt::Display>(message: T) -> SerializeError {
        SerializeError(Error::other(message.to_string()))
    }
}
