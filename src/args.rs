//! Command arguments: [`ToArgs`], [`ToArg`] and [`Args`].

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

pub use crate::resp::encode::ArgWriter;

/// A type that can be sent as the arguments of a command: none, one, or many.
///
/// | Type | Arguments |
/// |---|---|
/// | `()` | none |
/// | `"key"`, `String`, `Cow<str>` | one: the text |
/// | `b"bytes"`, `&[u8]`, `Vec<u8>`, `[u8; N]` | one: the bytes |
/// | integers except `u8` | one: decimal |
/// | floats | one: in the format of Go's `%g`, such as `1.5` or `1e+06` |
/// | `bool` | one: `1` or `0` |
/// | `("key", 1, "EX", 60)`: tuples of up to 12 members | the arguments of each member |
/// | `&["a", "b"]`, `Vec<T>`, sets | the arguments of each element |
/// | `HashMap<K, V>`, `BTreeMap<K, V>` | key, value, key, value … |
/// | `Option<T>` | the arguments of `T` for `Some`, none for `None` |
/// | `&[&dyn ToArgs]` | the arguments of each element; elements can have different types |
/// | [`Args`], [`args!`](crate::args!) | the arguments that were added |
///
/// A single `u8` does not implement this trait, because a slice of `u8` is one byte string. Use
/// `u16::from(byte)` to send it as a number.
///
/// # Examples
///
/// ```
/// use redigo::args::{ArgWriter, Args, ToArg, ToArgs};
///
/// /// A duration that is sent as seconds.
/// struct Expiry(std::time::Duration);
///
/// impl ToArgs for Expiry {
///     fn write_args(&self, out: &mut ArgWriter<'_>) {
///         self.0.as_secs_f64().write_args(out);
///     }
/// }
/// impl ToArg for Expiry {} // always writes exactly one argument
///
/// let args = Args::new().args(("key", Expiry(std::time::Duration::from_secs(60))));
/// assert_eq!(args.iter().collect::<Vec<_>>(), [&b"key"[..], b"60"]);
/// ```
#[doc(alias = "Argument")]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent as arguments of a command",
    label = "not an argument",
    note = "a tuple has up to 12 members: nest tuples, or use `redigo::args![…]` for more",
    note = "convert a `u8` with `u16::from(byte)`: a list of `u8` is one byte string",
    note = "collect an iterator into a `Vec`",
    note = "add a struct with `Args::new().add_flat(&value)?`, or implement `ToArgs` for it"
)]
pub trait ToArgs {
    /// Writes the arguments, in order. The library can call this more than once for one command,
    /// so each call must write the same arguments.
    ///
    /// ```
    /// use redigo::args::{ArgWriter, Args, ToArgs};
    ///
    /// struct Range { start: i64, stop: i64 }
    ///
    /// impl ToArgs for Range {
    ///     fn write_args(&self, out: &mut ArgWriter<'_>) {
    ///         out.int(self.start);
    ///         out.int(self.stop);
    ///     }
    /// }
    ///
    /// let args = Args::new().args(("list", Range { start: 0, stop: -1 }));
    /// assert_eq!(args.iter().collect::<Vec<_>>(), [&b"list"[..], b"0", b"-1"]);
    /// ```
    fn write_args(&self, out: &mut ArgWriter<'_>);
}

/// A type that is always exactly one argument, such as a key or a value of a map.
///
/// The trait has no methods. Implement it beside [`ToArgs`] for a type whose
/// [`write_args`](ToArgs::write_args) always writes one argument.
#[doc(alias = "Argument")]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not exactly one argument of a command",
    label = "not one argument",
    note = "only strings, byte strings, numbers and `bool` are one argument: use `Args::args` for \
            several, and `value.unwrap_or_default()` for an `Option`",
    note = "convert a `u8` with `u16::from(byte)`: a list of `u8` is one byte string",
    note = "implement `ToArgs` and `ToArg` for your own type"
)]
pub trait ToArg: ToArgs {}

/// A list of arguments whose length is known only at run time.
///
/// Where the number of arguments is fixed, a tuple is shorter: `("key", 60)`.
///
/// ```
/// use redigo::Args;
///
/// let mut args = Args::new().arg("key").arg(60);
/// for member in ["a", "b"] {
///     args = args.arg(member);
/// }
/// assert_eq!(args.len(), 4);
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Args {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Args {
    /// Returns an empty list.
    ///
    /// ```
    /// assert!(redigo::Args::new().is_empty());
    /// ```
    pub fn new() -> Args {
        Args::default()
    }

    /// Adds one argument.
    ///
    /// ```
    /// let args = redigo::Args::new().arg("key").arg(60);
    /// assert_eq!(args.iter().collect::<Vec<_>>(), [b"key".as_slice(), b"60"]);
    /// ```
    #[doc(alias = "Add")]
    #[must_use]
    pub fn arg(self, arg: impl ToArg) -> Args {
        self.args(arg)
    }

    /// Adds any number of arguments.
    ///
    /// ```
    /// let args = redigo::Args::new().arg("list").args(vec![1, 2]).args(("a", true));
    /// assert_eq!(args.len(), 5);
    /// ```
    #[doc(alias = "AddFlat")]
    #[must_use]
    pub fn args(mut self, args: impl ToArgs) -> Args {
        self.push(&args);
        self
    }

    /// Like [`args`](Args::args), but changes the list in place.
    ///
    /// ```
    /// let mut args = redigo::Args::new();
    /// for member in ["a", "b"] {
    ///     args.push(&member);
    /// }
    /// assert_eq!(args.len(), 2);
    /// ```
    pub fn push(&mut self, args: &dyn ToArgs) {
        args.write_args(&mut ArgWriter::to_list(&mut self.bytes, &mut self.ends));
    }

    /// Returns the number of arguments.
    ///
    /// ```
    /// assert_eq!(redigo::args!["key", 60].len(), 2);
    /// ```
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns true if the list has no arguments.
    ///
    /// ```
    /// assert!(redigo::args![None::<&str>].is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Iterates over the arguments, as the bytes that the server receives.
    ///
    /// ```
    /// let args = redigo::args!["key", 1.5, true];
    /// assert_eq!(args.iter().collect::<Vec<_>>(), [&b"key"[..], b"1.5", b"1"]);
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let arg = &self.bytes[start..end];
            start = end;
            arg
        })
    }
}

impl fmt::Debug for Args {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Arguments can be passwords, so only their number is shown.
        write!(f, "Args({} arguments)", self.len())
    }
}

impl ToArgs for Args {
    fn write_args(&self, out: &mut ArgWriter<'_>) {
        self.iter().for_each(|arg| out.bytes(arg));
    }
}

/// Creates an [`Args`] from any number of arguments of any types.
///
/// ```
/// let tags = vec!["new", "sale"];
/// let args = redigo::args!["key", 60, tags, Some(1.5), None::<&str>];
/// assert_eq!(args.len(), 5);
/// ```
#[macro_export]
macro_rules! args {
    ($($arg:expr),* $(,)?) => {
        $crate::Args::new()$(.args($arg))*
    };
}

impl<T: ToArgs + ?Sized> ToArgs for &T {
    fn write_args(&self, out: &mut ArgWriter<'_>) {
        (**self).write_args(out);
    }
}

impl<T: ToArg + ?Sized> ToArg for &T {}

macro_rules! one_argument {
    ($($type:ty => $write:expr;)*) => {$(
        impl ToArgs for $type {
            fn write_args(&self, out: &mut ArgWriter<'_>) {
                let write: fn(&Self, &mut ArgWriter<'_>) = $write;
                write(self, out);
            }
        }
        impl ToArg for $type {}
    )*};
}

one_argument! {
    str => |text, out| out.bytes(text.as_bytes());
    String => |text, out| out.bytes(text.as_bytes());
    Cow<'_, str> => |text, out| out.bytes(text.as_bytes());
    [u8] => |bytes, out| out.bytes(bytes);
    Vec<u8> => |bytes, out| out.bytes(bytes);
    Cow<'_, [u8]> => |bytes, out| out.bytes(bytes);
    bool => |flag, out| out.bytes(if *flag { b"1" } else { b"0" });
    i8 => |number, out| out.int((*number).into());
    i16 => |number, out| out.int((*number).into());
    i32 => |number, out| out.int((*number).into());
    i64 => |number, out| out.int(*number);
    i128 => |number, out| out.bytes(number.to_string().as_bytes());
    isize => |number, out| out.int(*number as i64);
    u16 => |number, out| out.uint((*number).into());
    u32 => |number, out| out.uint((*number).into());
    u64 => |number, out| out.uint(*number);
    u128 => |number, out| out.bytes(number.to_string().as_bytes());
    usize => |number, out| out.uint(*number as u64);
    f32 => |number, out| out.float32(*number);
    f64 => |number, out| out.float(*number);
}

impl<const N: usize> ToArgs for [u8; N] {
    fn write_args(&self, out: &mut ArgWriter<'_>) {
        out.bytes(self);
    }
}

impl<const N: usize> ToArg for [u8; N] {}

macro_rules! through_a_pointer {
    ($($pointer:ident)*) => {$(
        impl<T: ToArgs + ?Sized> ToArgs for $pointer<T> {
            fn write_args(&self, out: &mut ArgWriter<'_>) {
                (**self).write_args(out);
            }
        }
        impl<T: ToArg + ?Sized> ToArg for $pointer<T> {}
    )*};
}

through_a_pointer! { Box Arc Rc }

impl<T: ToArgs> ToArgs for Option<T> {
    fn write_args(&self, out: &mut ArgWriter<'_>) {
        if let Some(args) = self {
            args.write_args(out);
        }
    }
}

macro_rules! each_element {
    ($([$($generics:tt)*] $type:ty;)*) => {$(
        impl<$($generics)*> ToArgs for $type {
            fn write_args(&self, out: &mut ArgWriter<'_>) {
                self.iter().for_each(|element| element.write_args(out));
            }
        }
    )*};
}

each_element! {
    [T: ToArgs] [T];
    [T: ToArgs, const N: usize] [T; N];
    [T: ToArgs] Vec<T>;
    [T: ToArgs] VecDeque<T>;
    [T: ToArgs, S] HashSet<T, S>;
    [T: ToArgs] BTreeSet<T>;
}

macro_rules! each_pair {
    ($([$($generics:tt)*] $type:ty;)*) => {$(
        impl<$($generics)*> ToArgs for $type {
            fn write_args(&self, out: &mut ArgWriter<'_>) {
                for (key, value) in self {
                    key.write_args(out);
                    value.write_args(out);
                }
            }
        }
    )*};
}

each_pair! {
    [K: ToArg, V: ToArg, S] HashMap<K, V, S>;
    [K: ToArg, V: ToArg] BTreeMap<K, V>;
}

macro_rules! tuple {
    ($($name:ident)*) => {
        impl<$($name: ToArgs),*> ToArgs for ($($name,)*) {
            #[allow(non_snake_case, unused_variables)]
            fn write_args(&self, out: &mut ArgWriter<'_>) {
                let ($($name,)*) = self;
                $($name.write_args(out);)*
            }
        }
    };
}

tuple! {}
tuple! { A }
tuple! { A B }
tuple! { A B C }
tuple! { A B C D }
tuple! { A B C D E }
tuple! { A B C D E F }
tuple! { A B C D E F G }
tuple! { A B C D E F G H }
tuple! { A B C D E F G H I }
tuple! { A B C D E F G H I J }
tuple! { A B C D E F G H I J K }
tuple! { A B C D E F G H I J K L }

#[cfg(test)]
mod tests {
    use super::*;

    fn list(args: impl ToArgs) -> Vec<String> {
        let args = Args::new().args(args);
        args.iter().map(|arg| String::from_utf8(arg.to_vec()).unwrap()).collect()
    }

    #[test]
    fn each_type_writes_its_arguments() {
        assert!(list(()).is_empty());
        assert_eq!(list("k"), ["k"]);
        assert_eq!(list(("k", 1, "EX", 60u64)), ["k", "1", "EX", "60"]);
        assert_eq!(list(b"raw"), ["raw"]);
        assert_eq!(list(vec![b'r', b'w']), ["rw"]);
        assert_eq!(list(&[b'r', b'w'][..]), ["rw"]);
        assert_eq!(list(vec!["a", "b"]), ["a", "b"]);
        assert_eq!(list([1, 2]), ["1", "2"]);
        assert_eq!(list((i128::MIN, u128::MAX)), [i128::MIN.to_string(), u128::MAX.to_string()]);
        assert_eq!(list((true, false)), ["1", "0"]);
        assert_eq!(list((1e6, 0.5f32)), ["1e+06", "0.5"]);
        assert_eq!(list(("k", None::<i64>, Some("v"))), ["k", "v"]);
        assert_eq!(list(BTreeMap::from([("a", 1), ("b", 2)])), ["a", "1", "b", "2"]);
        assert_eq!(list(vec![("a", 1), ("b", 2)]), ["a", "1", "b", "2"]);
        assert_eq!(list(Cow::Borrowed("c")), ["c"]);
        assert_eq!(list(Box::<str>::from("boxed")), ["boxed"]);
        assert_eq!(list(Arc::new("shared".to_string())), ["shared"]);
        assert_eq!(list(crate::args!["k", vec![1, 2], None::<&str>,]), ["k", "1", "2"]);
        let mixed: &[&dyn ToArgs] = &[&"k", &1, &("x", 2.5), &Vec::<u8>::new()];
        assert_eq!(list(mixed), ["k", "1", "x", "2.5", ""]);
    }

    #[test]
    fn debug_shows_no_argument() {
        assert_eq!(format!("{:?}", Args::new().arg("secret")), "Args(1 arguments)");
    }
}
