//! YAML and JSON with the line of every field.
//!
//! Owns: [`Node`], made of what the YAML parser reads. Must not: know what a document is about.

use saphyr::{LoadableYamlNode as _, MarkedYaml, Scalar, YamlData};
use serde_json::{Map, Number, Value};

/// A value and the line on which it begins, from 1.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) data: Data,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Data {
    /// Null, a boolean, a number.
    Plain(Value),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Field>),
}

/// A field of a map. Its line is the key's.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    pub(crate) line: usize,
    pub(crate) key: String,
    pub(crate) node: Node,
}

/// Why a text is no YAML: the line, and what is wrong.
pub(crate) type Unreadable = (usize, String);

const NOT_JSON: &str = "has a value that JSON does not have";

/// All documents of a text. Empty ones are left out.
pub(crate) fn read(text: &str) -> Result<Vec<Node>, Unreadable> {
    let documents =
        MarkedYaml::load_from_str(text).map_err(|error| (error.marker().line(), error.info().to_owned()))?;
    let nodes = documents.iter().map(node).collect::<Result<Vec<_>, _>>()?;
    Ok(nodes.into_iter().filter(|node| node.data != Data::Plain(Value::Null)).collect())
}

fn node(yaml: &MarkedYaml<'_>) -> Result<Node, Unreadable> {
    let line = yaml.span.start.line();
    let data = match &yaml.data {
        YamlData::Value(scalar) => match scalar {
            Scalar::Null => Data::Plain(Value::Null),
            Scalar::Boolean(it) => Data::Plain(Value::Bool(*it)),
            Scalar::Integer(it) => Data::Plain(Value::from(*it)),
            Scalar::FloatingPoint(it) => {
                let number = Number::from_f64(it.into_inner()).ok_or((line, NOT_JSON.to_owned()))?;
                Data::Plain(Value::Number(number))
            }
            Scalar::String(it) => Data::Text(it.to_string()),
        },
        YamlData::Sequence(items) => Data::List(items.iter().map(node).collect::<Result<_, _>>()?),
        YamlData::Mapping(fields) => Data::Map(fields.iter().map(field).collect::<Result<_, _>>()?),
        YamlData::Tagged(_, inner) => return node(inner),
        YamlData::Representation(..) | YamlData::Alias(_) | YamlData::BadValue => {
            return Err((line, NOT_JSON.to_owned()));
        }
    };
    Ok(Node { line, data })
}

fn field((key, value): (&MarkedYaml<'_>, &MarkedYaml<'_>)) -> Result<Field, Unreadable> {
    let name = node(key)?;
    let key = match &name.data {
        Data::Text(key) => key.clone(),
        Data::Plain(value) => value.to_string(),
        Data::List(_) | Data::Map(_) => return Err((name.line, "has a key that is not a string".to_owned())),
    };
    Ok(Field { line: name.line, key, node: node(value)? })
}

impl Node {
    pub(crate) fn to_json(&self) -> Value {
        match &self.data {
            Data::Plain(value) => value.clone(),
            Data::Text(text) => Value::String(text.clone()),
            Data::List(items) => items.iter().map(Self::to_json).collect(),
            Data::Map(fields) => {
                let fields = fields.iter().map(|field| (field.key.clone(), field.node.to_json()));
                Value::Object(fields.collect::<Map<_, _>>())
            }
        }
    }

    pub(crate) fn fields(&self) -> &[Field] {
        match &self.data {
            Data::Map(fields) => fields,
            Data::Plain(_) | Data::Text(_) | Data::List(_) => &[],
        }
    }

    pub(crate) fn is_map(&self) -> bool {
        matches!(self.data, Data::Map(_))
    }

    pub(crate) fn field(&self, key: &str) -> Option<&Field> {
        self.fields().iter().find(|field| field.key == key)
    }

    /// The field of this name, unless it is null.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        let node = &self.field(key)?.node;
        (node.data != Data::Plain(Value::Null)).then_some(node)
    }

    /// Field of field of ….
    pub(crate) fn at(&self, keys: &[&str]) -> Option<&Self> {
        keys.iter().try_fold(self, |node, key| node.get(key))
    }

    /// The line of the key at the end of this path, or of the last that is there.
    pub(crate) fn line_at(&self, keys: &[&str]) -> usize {
        let mut found = (self.line, self);
        for key in keys {
            let Some(field) = found.1.field(key) else { break };
            found = (field.line, &field.node);
        }
        found.0
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match &self.data {
            Data::Text(text) => Some(text),
            Data::Plain(_) | Data::List(_) | Data::Map(_) => None,
        }
    }

    pub(crate) fn text_at(&self, keys: &[&str]) -> Option<&str> {
        self.at(keys)?.text()
    }

    pub(crate) fn is_true(&self) -> bool {
        self.data == Data::Plain(Value::Bool(true))
    }

    /// The items of a list; none of anything else.
    pub(crate) fn items(&self) -> &[Self] {
        match &self.data {
            Data::List(items) => items,
            Data::Plain(_) | Data::Text(_) | Data::Map(_) => &[],
        }
    }

    pub(crate) fn items_at(&self, keys: &[&str]) -> &[Self] {
        self.at(keys).map(Self::items).unwrap_or_default()
    }

    /// The strings of a list.
    pub(crate) fn texts_at<'a>(&'a self, keys: &[&str]) -> impl Iterator<Item = &'a str> {
        self.items_at(keys).iter().filter_map(Self::text)
    }

    /// This node and all below it.
    pub(crate) fn walk(&self) -> Vec<&Self> {
        let mut found = vec![self];
        match &self.data {
            Data::Plain(_) | Data::Text(_) => {}
            Data::List(items) => found.extend(items.iter().flat_map(Self::walk)),
            Data::Map(fields) => found.extend(fields.iter().flat_map(|field| field.node.walk())),
        }
        found
    }

    /// Moves all lines, for a document that is written inside another.
    pub(crate) fn moved(mut self, lines: usize) -> Self {
        self.line += lines;
        self.data = match self.data {
            Data::Plain(_) | Data::Text(_) => self.data,
            Data::List(items) => Data::List(items.into_iter().map(|item| item.moved(lines)).collect()),
            Data::Map(fields) => Data::Map(
                fields
                    .into_iter()
                    .map(|Field { line, key, node }| Field {
                        line: line + lines,
                        key,
                        node: node.moved(lines),
                    })
                    .collect(),
            ),
        };
        self
    }
}
