//! From TOML values to the structs of the file format, with every fault found and not just the first: a key that
//! the struct does not have is reported and left out; a value of the wrong type is reported, and the document read
//! again without it.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A fault of the document, and the path of the key it is at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) key: Vec<String>,
    pub(super) kind: FaultKind,
}

/// What is wrong there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// No such key in this table, which has these.
    UnknownKey(&'static [&'static str]),
    /// A value of another type.
    Type { wanted: Shape, found: &'static str },
    /// A text where only these may stand.
    UnknownValue { value: String, known: &'static [&'static str] },
    /// Anything else: a sentence without its subject, "must be …", and what to do.
    Other { message: String, help: String },
}

/// The type that a value should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    Flag,
    /// A whole number from 0 to 255.
    Number,
    List,
    Table,
    /// One of these texts.
    Choice(&'static [&'static str]),
}

impl fmt::Display for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => formatter.write_str("a string"),
            Self::Flag => formatter.write_str("true or false"),
            Self::Number => formatter.write_str("a whole number"),
            Self::List => formatter.write_str("a list"),
            Self::Table => formatter.write_str("a table"),
            Self::Choice(known) => write!(formatter, "one of `\"{}\"`", known.join("\"`, `\"")),
        }
    }
}

/// Every fault costs a reading of the whole document: a hostile one must not cost a million.
const MAX_FAULTS: usize = 100;

/// Reads `document` as a `T`, whose values must all be optional: those at fault are left out.
pub(super) fn decode<'de, T: Deserialize<'de> + Default>(document: &'de DeTable<'de>) -> (T, Vec<Fault>) {
    let mut faults = Vec::new();
    let mut left_out = HashSet::new();
    loop {
        let state = State { left_out, unknown_keys: RefCell::default() };
        let decoded =
            T::deserialize(Node { value: Value::Root(document), key: Vec::new(), state: &state, lone: false });
        let State { left_out: seen, unknown_keys } = state;
        left_out = seen;
        match decoded {
            Err(Error(fault)) if faults.len() < MAX_FAULTS && left_out.insert(fault.key.clone()) => faults.push(fault),
            decoded => {
                faults.extend(unknown_keys.into_inner());
                return (decoded.unwrap_or_default(), faults);
            }
        }
    }
}

struct State {
    left_out: HashSet<Vec<String>>,
    unknown_keys: RefCell<Vec<Fault>>,
}

/// One value of the document and where it stands.
struct Node<'de, 's> {
    value: Value<'de>,
    key: Vec<String>,
    state: &'s State,
    /// Whether a single value may stand for a list of one.
    lone: bool,
}

#[derive(Clone, Copy)]
enum Value<'de> {
    Root(&'de DeTable<'de>),
    Inner(&'de DeValue<'de>),
}

impl<'de> Value<'de> {
    fn as_table(self) -> Option<&'de DeTable<'de>> {
        match self {
            Self::Root(table) => Some(table),
            Self::Inner(value) => value.as_table(),
        }
    }

    fn as_str(self) -> Option<&'de str> {
        if let Self::Inner(value) = self { value.as_str() } else { None }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Root(_) | Self::Inner(DeValue::Table(_)) => "a table",
            Self::Inner(DeValue::String(_)) => "a string",
            Self::Inner(DeValue::Integer(_)) => "an integer",
            Self::Inner(DeValue::Float(_)) => "a number",
            Self::Inner(DeValue::Boolean(_)) => "true or false",
            Self::Inner(DeValue::Datetime(_)) => "a date",
            Self::Inner(DeValue::Array(_)) => "a list",
        }
    }
}

impl<'de> Node<'de, '_> {
    fn error(&self, kind: FaultKind) -> Error {
        Error(Fault { key: self.key.clone(), kind })
    }

    fn not_a(&self, wanted: Shape) -> Error {
        self.error(FaultKind::Type { wanted, found: self.value.kind() })
    }

    fn child(&self, key: &str, value: &'de DeValue<'de>) -> Self {
        let key = self.key.iter().cloned().chain([key.to_owned()]).collect();
        Node { value: Value::Inner(value), key, state: self.state, lone: false }
    }

    fn visit_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let text = self.value.as_str().ok_or_else(|| self.not_a(Shape::Text))?;
        visitor.visit_borrowed_str(text).map_err(|error: Error| error.at(&self.key))
    }

    /// Visits the entries of a table; with `fields`, only those, and all others are faults.
    fn visit_table<V: Visitor<'de>>(
        self,
        fields: Option<&'static [&'static str]>,
        visitor: V,
    ) -> Result<V::Value, Error> {
        let table = self.value.as_table().ok_or_else(|| self.not_a(Shape::Table))?;
        let mut entries = Vec::new();
        for (name, value) in table {
            let entry = self.child(name.get_ref(), value.get_ref());
            if let Some(fields) = fields.filter(|fields| !fields.contains(&name.get_ref().as_ref())) {
                let fault = Fault { key: entry.key, kind: FaultKind::UnknownKey(fields) };
                self.state.unknown_keys.borrow_mut().push(fault);
            } else if !self.state.left_out.contains(&entry.key) {
                entries.push((name.get_ref().as_ref(), entry));
            }
        }
        let mut entries = Entries { rest: entries.into_iter(), value: None };
        visitor.visit_map(&mut entries).map_err(|error: Error| error.at(&self.key))
    }
}

/// The methods for types that the file format has; every other type is a mistake in the format itself.
impl<'de> Deserializer<'de> for Node<'de, '_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(self.error(other("cannot be read", String::new())))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.visit_str(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.visit_str(visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Inner(DeValue::Boolean(flag)) => visitor.visit_bool(*flag),
            _ => Err(self.not_a(Shape::Flag)),
        }
    }

    /// Of compression levels: there is no other number.
    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let Value::Inner(DeValue::Integer(number)) = self.value else { return Err(self.not_a(Shape::Number)) };
        match u8::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => visitor.visit_u8(number),
            Err(_) => Err(self.error(other("is out of range", "write a number from 1 to 9".to_owned()))),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(Node { lone: name == "OneOrMany", ..self })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let values: Vec<Node<'de, '_>> = match self.value {
            Value::Inner(DeValue::Array(values)) => values
                .iter()
                .enumerate()
                .map(|(index, value)| self.child(&index.to_string(), Spanned::get_ref(value)))
                .filter(|node| !self.state.left_out.contains(&node.key))
                .collect(),
            _ if self.lone => vec![Node { lone: false, ..self }],
            _ => return Err(self.not_a(Shape::List)),
        };
        visitor.visit_seq(Values(values.into_iter()))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.visit_table(None, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.visit_table(Some(fields), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let unknown = |name: &str| FaultKind::UnknownValue { value: name.to_owned(), known: variants };
        if let Some(name) = self.value.as_str() {
            if !variants.contains(&name) {
                return Err(self.error(unknown(name)));
            }
            let key = self.key.clone();
            return visitor.visit_enum(Variant { name, value: None }).map_err(|error: Error| error.at(&key));
        }
        let Some(table) = self.value.as_table() else { return Err(self.not_a(Shape::Choice(variants))) };
        let mut entries = table.iter();
        match (entries.next(), entries.next()) {
            (Some((name, _)), None) if !variants.contains(&name.get_ref().as_ref()) => {
                Err(self.error(unknown(name.get_ref())))
            }
            (Some((name, value)), None) => {
                let value = self.child(name.get_ref(), value.get_ref());
                let variant = Variant { name: name.get_ref(), value: Some(value) };
                // What is left out is the whole value: half an occasion is none.
                visitor.visit_enum(variant).map_err(|error: Error| Error(Fault { key: self.key, ..error.0 }))
            }
            _ => {
                let names: Vec<String> = table.keys().map(|name| format!("{{ {} = \"…\" }}", name.get_ref())).collect();
                Err(self.error(other("must have one key", format!("write a list: `[{}]`", names.join(", ")))))
            }
        }
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.visit_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct
    }
}

struct Entries<'de, 's> {
    rest: std::vec::IntoIter<(&'de str, Node<'de, 's>)>,
    value: Option<Node<'de, 's>>,
}

impl<'de> MapAccess<'de> for &mut Entries<'de, '_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((name, value)) = self.rest.next() else { return Ok(None) };
        self.value = Some(value);
        seed.deserialize(StrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let value =
            self.value.take().ok_or_else(|| <Error as serde::de::Error>::custom("has a value without a key"))?;
        let key = value.key.clone();
        seed.deserialize(value).map_err(|error| error.at(&key))
    }
}

struct Values<'de, 's>(std::vec::IntoIter<Node<'de, 's>>);

impl<'de> SeqAccess<'de> for Values<'de, '_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(value) = self.0.next() else { return Ok(None) };
        let key = value.key.clone();
        seed.deserialize(value).map(Some).map_err(|error| error.at(&key))
    }
}

struct Variant<'de, 's> {
    name: &'de str,
    value: Option<Node<'de, 's>>,
}

impl<'de, 's> EnumAccess<'de> for Variant<'de, 's> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        Ok((seed.deserialize(StrDeserializer::<Error>::new(self.name))?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'de, '_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        match self.value {
            None => Ok(()),
            Some(node) => {
                let text = format!("`\"{}\"`", self.name);
                Err(node.error(other(&format!("must be just {text}"), format!("write {text}"))))
            }
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        let name = self.name;
        let missing = || {
            let help = format!("write `{{ {name} = \"…\" }}`");
            Error(Fault { key: Vec::new(), kind: other(&format!("must say which {name}"), help) })
        };
        seed.deserialize(self.value.ok_or_else(missing)?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Error> {
        Err(serde::de::Error::custom("cannot be read"))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Error> {
        Err(serde::de::Error::custom("cannot be read"))
    }
}

fn other(message: &str, help: String) -> FaultKind {
    FaultKind::Other { message: message.to_owned(), help }
}

/// The fault that ended a reading. Its key is empty until the value at fault is known.
#[derive(Debug)]
struct Error(Fault);

impl Error {
    /// At `key`, unless the place is known already.
    fn at(mut self, key: &[String]) -> Self {
        if self.0.key.is_empty() {
            self.0.key = key.to_vec();
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.0)
    }
}

impl std::error::Error for Error {}

impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(Fault { key: Vec::new(), kind: other(&message.to_string(), String::new()) })
    }
}
