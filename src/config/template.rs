//! Templates such as `pr_{pr}__{version}`: parsed and checked when the configuration is loaded, rendered when the
//! values are known.

use std::fmt;

/// The variables that a channel's tags may use.
pub const TAG_VARIABLES: [&str; 9] =
    ["name", "version", "backstage", "rhdh", "pr", "branch", "sha", "short-sha", "date"];

/// OCI distribution spec: a tag is at most 128 characters.
pub(super) const MAX_TAG: usize = 128;

/// A text with `{variables}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Literal(String),
    Variable(String),
}

/// Why a text is not a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// `{name}` where `name` is no variable.
    #[error("`{{{0}}}` is not a variable")]
    UnknownVariable(String),
    /// A `{` without `}`, or a `}` without `{`.
    #[error("`{0}` has an unpaired brace")]
    UnpairedBrace(String),
    /// Nothing at all.
    #[error("the template is empty")]
    Empty,
}

/// A variable that has no value on this occasion, such as `{pr}` outside a pull request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{{{variable}}}` of `{template}` has no value here")]
pub struct MissingValue {
    /// The variable's name.
    pub variable: String,
    /// The whole template.
    pub template: String,
}

impl Template {
    /// Reads `text`; `is_variable` tells which names are variables.
    ///
    /// # Errors
    /// When a brace is unpaired, a variable unknown, or the text empty.
    pub fn parse(text: &str, is_variable: impl Fn(&str) -> bool) -> Result<Self, TemplateError> {
        let unpaired = || TemplateError::UnpairedBrace(text.to_owned());
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(brace) = rest.find(['{', '}']) {
            let (literal, tail) = rest.split_at(brace);
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            let (name, tail) = tail.strip_prefix('{').and_then(|tail| tail.split_once('}')).ok_or_else(unpaired)?;
            if name.contains('{') {
                return Err(unpaired());
            }
            if !is_variable(name) {
                return Err(TemplateError::UnknownVariable(name.to_owned()));
            }
            parts.push(Part::Variable(name.to_owned()));
            rest = tail;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        if parts.is_empty() {
            return Err(TemplateError::Empty);
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Whether it has this variable.
    #[must_use]
    pub fn has(&self, variable: &str) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Variable(name) if name == variable))
    }

    /// The text with every variable replaced by what `value` knows.
    ///
    /// # Errors
    /// When `value` knows nothing of a variable.
    pub fn render(&self, value: impl Fn(&str) -> Option<String>) -> Result<String, MissingValue> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Variable(name) => out.push_str(
                    &value(name).ok_or_else(|| MissingValue { variable: name.clone(), template: self.text.clone() })?,
                ),
            }
        }
        Ok(out)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl serde::Serialize for Template {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// `text` as a legal OCI tag: `+` becomes `_`, every other illegal character `-`, and it is cut to 128 characters.
/// A tag may not begin with `.` or `-`: there, too, stands `_`.
#[must_use]
pub fn to_tag(text: &str) -> String {
    let mut tag: String = text
        .chars()
        .map(|character| match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '.' | '-' => character,
            '+' => '_',
            _ => '-',
        })
        .take(MAX_TAG)
        .collect();
    if tag.starts_with(['.', '-']) {
        tag.replace_range(..1, "_");
    }
    tag
}

/// Whether [`to_tag`] makes a tag of `text` that still says all of it: only `+` is not legal as it is.
#[must_use]
pub fn is_tag(text: &str) -> bool {
    !text.is_empty() && text.replace('+', "_") == to_tag(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Template, TemplateError> {
        Template::parse(text, |name| TAG_VARIABLES.contains(&name))
    }

    #[test]
    fn variables_are_replaced() {
        let template = parse("pr_{pr}__{version}").unwrap();
        let value = |name: &str| match name {
            "pr" => Some("17".to_owned()),
            "version" => Some("1.0.0".to_owned()),
            _ => None,
        };
        assert_eq!(template.render(value), Ok("pr_17__1.0.0".to_owned()));
        assert_eq!(template.render(|_| None).unwrap_err().variable, "pr");
    }

    #[test]
    fn what_is_no_template_is_refused() {
        assert_eq!(parse("{verison}"), Err(TemplateError::UnknownVariable("verison".into())));
        for text in ["{version", "version}", "{{version}}", "}{"] {
            assert_eq!(parse(text), Err(TemplateError::UnpairedBrace(text.into())));
        }
        assert_eq!(parse(""), Err(TemplateError::Empty));
    }

    #[test]
    fn tags_are_legal() {
        assert_eq!(to_tag("1.0.0+build"), "1.0.0_build");
        assert_eq!(to_tag("feature/übung"), "feature--bung");
        assert_eq!(to_tag("-x"), "_x");
        assert_eq!(to_tag(&"x".repeat(200)).len(), 128);
    }
}
