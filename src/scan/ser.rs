//! Structs, maps and slices as arguments: serde's other direction.

use std::fmt;

use serde::ser::{
    self, Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeTuple,
    SerializeTupleStruct, Serializer,
};

use crate::args::{ArgWriter, Args, ToArgs};
use crate::error::{Error, Result};
use crate::from_value::quoted;

impl Args {
    /// Adds what a value consists of: of a struct its names and values, of a map its keys and
    /// values, of a list its elements. Any other value is one argument.
    ///
    /// | Value | Arguments |
    /// |---|---|
    /// | text, a `char`, an enum's variant without data | the text, the name |
    /// | integers, floats, `bool` | decimal; as Go's `%g` (`1e+06`); `1` or `0` |
    /// | `Vec<u8>`, `[u8; N]`, `serde_bytes` | one: the bytes |
    /// | `None`, `()` | none at all: as a value of a struct or map, its name is left out too |
    /// | a newtype | those of what is in it |
    ///
    /// serde's attributes work: `rename`, `skip`, `skip_serializing_if`, `flatten`, `with`. For
    /// fields of a type of one's own, implement [`Serialize`] so that it is one of the above.
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
    /// [`Error::Unsupported`] for a value that is not flat: a struct, map, or list other than of
    /// bytes inside of another. It names the field. [`Error::Other`] for an error of the value's own
    /// code.
    #[doc(alias = "AddFlat")]
    pub fn add_flat<T: Serialize + ?Sized>(self, value: &T) -> Result<Args> {
        let mut args = self;
        value.serialize(Flat { out: &mut args }).map_err(|Refusal(error)| error)?;
        Ok(args)
    }
}

/// The outermost value.
struct Flat<'a> {
    out: &'a mut Args,
}

impl<'a> Flat<'a> {
    fn scalar(self) -> One<'a> {
        One { out: self.out, name: None, list: None }
    }
}

/// One argument, behind its name if it has one.
struct One<'a> {
    out: &'a mut Args,
    name: Option<&'a [u8]>,
    /// The list that it is an element of.
    list: Option<&'a mut List>,
}

/// What a list had so far. A list of `u8` is a string of bytes, but only its elements tell.
#[derive(Default)]
struct List {
    bytes: Vec<u8>,
    others: usize,
    only_bytes: bool,
}

impl<'a> One<'a> {
    fn scalar(self) -> One<'a> {
        self
    }

    fn write(mut self, write: impl Fn(&mut ArgWriter<'_>)) -> Result<(), Refusal> {
        if let Some(list) = &mut self.list {
            list.others += 1;
            if list.only_bytes || !list.bytes.is_empty() {
                return self.refuse("a list");
            }
        }
        if let Some(name) = self.name {
            self.out.push(&name);
        }
        self.out.push(&Write(write));
        Ok(())
    }

    fn bytes(self, bytes: &[u8]) -> Result<(), Refusal> {
        self.write(|out| out.bytes(bytes))
    }

    fn byte(mut self, byte: u8) -> Result<(), Refusal> {
        match &mut self.list {
            None => self.write(|out| out.uint(byte.into())),
            Some(list) if list.others == 0 => {
                list.bytes.push(byte);
                Ok(())
            }
            Some(_) => self.refuse("a u8 among other types"),
        }
    }

    fn refuse<T>(&self, what: &str) -> Result<T, Refusal> {
        let what = match self.name {
            Some(name) => format!("{what} as an argument, in field {}", quoted(name)),
            None => format!("{what} as an argument"),
        };
        Err(Refusal(Error::Unsupported(what.into())))
    }
}

/// Lets a closure be arguments.
struct Write<F>(F);

impl<F: Fn(&mut ArgWriter<'_>)> ToArgs for Write<F> {
    fn write_args(&self, out: &mut ArgWriter<'_>) {
        (self.0)(out);
    }
}

/// The methods that are the same for a value on the outside and on the inside.
macro_rules! one_argument {
    ($($serialize:ident($value:ident: $type:ty) => $write:expr;)*) => {$(
        fn $serialize(self, $value: $type) -> Result<(), Refusal> {
            self.scalar().write($write)
        }
    )*};
}

macro_rules! scalars {
    () => {
        type Ok = ();
        type Error = Refusal;
        type SerializeTupleVariant = Impossible<(), Refusal>;
        type SerializeStructVariant = Impossible<(), Refusal>;

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

        fn serialize_u8(self, number: u8) -> Result<(), Refusal> {
            self.scalar().byte(number)
        }

        fn serialize_char(self, letter: char) -> Result<(), Refusal> {
            self.scalar().bytes(letter.encode_utf8(&mut [0; 4]).as_bytes())
        }

        fn serialize_none(self) -> Result<(), Refusal> {
            Ok(())
        }

        fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Refusal> {
            value.serialize(self)
        }

        fn serialize_unit(self) -> Result<(), Refusal> {
            Ok(())
        }

        fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Refusal> {
            Ok(())
        }

        fn serialize_unit_variant(
            self,
            _name: &'static str,
            _index: u32,
            variant: &'static str,
        ) -> Result<(), Refusal> {
            self.scalar().bytes(variant.as_bytes())
        }

        fn serialize_newtype_struct<T: Serialize + ?Sized>(
            self,
            _name: &'static str,
            value: &T,
        ) -> Result<(), Refusal> {
            value.serialize(self)
        }

        fn serialize_newtype_variant<T: Serialize + ?Sized>(
            self,
            _name: &'static str,
            _index: u32,
            _variant: &'static str,
            _value: &T,
        ) -> Result<(), Refusal> {
            self.scalar().refuse(VARIANT)
        }

        fn serialize_tuple_variant(
            self,
            _name: &'static str,
            _index: u32,
            _variant: &'static str,
            _length: usize,
        ) -> Result<Impossible<(), Refusal>, Refusal> {
            self.scalar().refuse(VARIANT)
        }

        fn serialize_struct_variant(
            self,
            _name: &'static str,
            _index: u32,
            _variant: &'static str,
            _length: usize,
        ) -> Result<Impossible<(), Refusal>, Refusal> {
            self.scalar().refuse(VARIANT)
        }
    };
}

const VARIANT: &str = "an enum's variant with data";

impl<'a> Serializer for Flat<'a> {
    type SerializeSeq = FlatList<'a>;
    type SerializeTuple = FlatList<'a>;
    type SerializeTupleStruct = FlatList<'a>;
    type SerializeMap = FlatMap<'a>;
    type SerializeStruct = FlatMap<'a>;

    scalars! {}

    fn serialize_seq(self, _length: Option<usize>) -> Result<FlatList<'a>, Refusal> {
        Ok(FlatList { out: self.out, list: List::default() })
    }

    fn serialize_tuple(self, _length: usize) -> Result<FlatList<'a>, Refusal> {
        self.serialize_seq(None)
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        _length: usize,
    ) -> Result<FlatList<'a>, Refusal> {
        self.serialize_seq(None)
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<FlatMap<'a>, Refusal> {
        Ok(FlatMap { out: self.out, key: Args::new() })
    }

    fn serialize_struct(self, _name: &'static str, _length: usize) -> Result<FlatMap<'a>, Refusal> {
        self.serialize_map(None)
    }
}

impl<'a> Serializer for One<'a> {
    type SerializeSeq = ByteList<'a>;
    type SerializeTuple = ByteList<'a>;
    type SerializeTupleStruct = Impossible<(), Refusal>;
    type SerializeMap = Impossible<(), Refusal>;
    type SerializeStruct = Impossible<(), Refusal>;

    scalars! {}

    fn serialize_seq(self, _length: Option<usize>) -> Result<ByteList<'a>, Refusal> {
        Ok(ByteList { one: self, list: List { only_bytes: true, ..List::default() } })
    }

    fn serialize_tuple(self, _length: usize) -> Result<ByteList<'a>, Refusal> {
        self.serialize_seq(None)
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        _length: usize,
    ) -> Result<Impossible<(), Refusal>, Refusal> {
        self.refuse("a list")
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<Impossible<(), Refusal>, Refusal> {
        self.refuse("a map")
    }

    fn serialize_struct(
        self,
        _name: &'static str,
        _length: usize,
    ) -> Result<Impossible<(), Refusal>, Refusal> {
        self.refuse("a struct")
    }
}

/// The elements of the outermost list.
struct FlatList<'a> {
    out: &'a mut Args,
    list: List,
}

impl FlatList<'_> {
    fn add<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refusal> {
        value.serialize(One { out: self.out, name: None, list: Some(&mut self.list) })
    }

    fn finish(self) -> Result<(), Refusal> {
        if !self.list.bytes.is_empty() {
            self.out.push(&self.list.bytes);
        }
        Ok(())
    }
}

/// The elements of a list that is one argument.
struct ByteList<'a> {
    one: One<'a>,
    list: List,
}

impl ByteList<'_> {
    fn add<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refusal> {
        value.serialize(One { out: self.one.out, name: self.one.name, list: Some(&mut self.list) })
    }

    fn finish(self) -> Result<(), Refusal> {
        self.one.bytes(&self.list.bytes)
    }
}

macro_rules! elements {
    ($($list:ident: $trait:ident $serialize:ident;)*) => {$(
        impl $trait for $list<'_> {
            type Ok = ();
            type Error = Refusal;

            fn $serialize<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refusal> {
                self.add(value)
            }

            fn end(self) -> Result<(), Refusal> {
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

/// The names and values of the outermost struct or map.
struct FlatMap<'a> {
    out: &'a mut Args,
    /// The key whose value comes next.
    key: Args,
}

impl SerializeMap for FlatMap<'_> {
    type Ok = ();
    type Error = Refusal;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Refusal> {
        self.key = Args::new();
        let one = One { out: &mut self.key, name: None, list: None };
        key.serialize(one)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refusal> {
        // A key that is nothing would leave the value in its place.
        let Some(name) = self.key.iter().next() else {
            return Flat { out: self.out }.scalar().refuse("a map's key of no value");
        };
        value.serialize(One { out: self.out, name: Some(name), list: None })
    }

    fn end(self) -> Result<(), Refusal> {
        Ok(())
    }
}

impl SerializeStruct for FlatMap<'_> {
    type Ok = ();
    type Error = Refusal;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Refusal> {
        value.serialize(One { out: self.out, name: Some(name.as_bytes()), list: None })
    }

    fn end(self) -> Result<(), Refusal> {
        Ok(())
    }
}

/// Why a value is not arguments.
#[derive(Debug)]
struct Refusal(Error);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Refusal {}

impl ser::Error for Refusal {
    fn custom<T: fmt::Display>(message: T) -> Refusal {
        Refusal(Error::other(message.to_string()))
    }
}
