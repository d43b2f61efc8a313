//! Conditions of an expression as SQL.

use super::parser::{Node, NodeKind};
use super::translator::Translator;
use super::values::{Item, Scalar, Type};
use super::{literal, names};
use crate::error::Result;

impl Translator<'_> {
    /// Translates a condition; `top` if it must hold for each row of the result.
    ///
    /// # Errors
    /// `Kind::Invalid` for unknown names, and for types that the Butler does not compare.
    pub(super) fn condition(&mut self, node: &Node, top: bool) -> Result<String> {
        match &node.kind {
            NodeKind::Logical(op, nodes) => {
                let top = top && *op == "AND";
                let all = nodes.iter().map(|node| self.condition(node, top)).collect::<Result<Vec<_>>>()?;
                Ok(format!("({})", all.join(&format!(" {op} "))))
            }
            NodeKind::Not(inner) => Ok(format!("(NOT {})", self.condition(inner, false)?)),
            NodeKind::Compare(op, left, right) => self.compare(op, left, right, top),
            NodeKind::In(left, items) => self.member(left, items),
            NodeKind::Call(name, arguments) if name == "GLOB" => self.glob(arguments, node.at),
            _ => match self.value(node)? {
                Item::Scalar(Scalar { kind: Type::Bool, text, .. }) => Ok(text),
                other => Err(self.error(format!("a value of type {} is not a condition", other.type_name()), node.at)),
            },
        }
    }

    fn compare(&mut self, op: &str, left: &Node, right: &Node, top: bool) -> Result<String> {
        let sides = (self.value(left)?, self.value(right)?);
        let (a, b) = match sides {
            (Item::Scalar(a), Item::Scalar(b)) => (a, b),
            (Item::Scalar(column), Item::Null) | (Item::Null, Item::Scalar(column)) if matches!(op, "=" | "!=") => {
                return Ok(is_null(&column, op == "="));
            }
            (a, b) => {
                let message = format!("operator {op} does not take {} and {}", a.type_name(), b.type_name());
                return Err(self.error(message, left.at));
            }
        };
        if op == "OVERLAPS" {
            return self.overlaps(&a, &b, left.at, top);
        }
        self.comparison(op, &a, &b, left.at)
    }

    /// Compares two values of types that agree.
    fn comparison(&self, op: &str, a: &Scalar, b: &Scalar, at: usize) -> Result<String> {
        let is_time = |kind: Type| matches!(kind, Type::Time | Type::IngestDate);
        let agree = a.kind == b.kind || a.kind.is_number() && b.kind.is_number() || is_time(a.kind) && is_time(b.kind);
        // A text with the digits of an id is one; the Butler takes an id only as UUID('…') or as a bound UUID.
        let is_id = |id: &Scalar, text: &Scalar| {
            let written = text.written.as_deref().filter(|_| id.kind == Type::Uuid);
            written.and_then(|text| uuid::Uuid::try_parse(text).ok()).map(|id| literal(&id.to_string()))
        };
        if let Some(id) = is_id(a, b).filter(|_| matches!(op, "=" | "!=")) {
            let b = Scalar::constant(Type::Uuid, id);
            return self.comparison(op, a, &b, at);
        }
        if is_id(b, a).is_some() {
            return self.comparison(op, b, a, at);
        }
        let ordered = a.kind.is_number() || is_time(a.kind) || a.kind == Type::Text;
        let comparable = ordered || matches!(op, "=" | "!=") && !matches!(a.kind, Type::Bool | Type::Timespan);
        if !agree || !comparable {
            let hint = match (a.kind, b.kind) {
                (Type::Text, kind) | (kind, Type::Text) if is_time(kind) => "; write a time as T'2024-11-03'",
                (Type::Text, Type::Uuid) | (Type::Uuid, Type::Text) => "; write an id as UUID('…')",
                _ => "",
            };
            let message = format!("operator {op} does not take {} and {}{hint}", a.kind.name(), b.kind.name());
            return Err(self.error(message, at));
        }
        let op = if op == "!=" { "<>" } else { op };
        Ok(format!("({} {op} {})", a.text, b.text))
    }

    fn overlaps(&mut self, a: &Scalar, b: &Scalar, at: usize, top: bool) -> Result<String> {
        let is_time = |kind: Type| matches!(kind, Type::Time | Type::IngestDate);
        match (a.kind, b.kind) {
            (Type::Region, Type::Region) => self.regions(a, b, at, top),
            (Type::Timespan, Type::Timespan) => {
                if let (Some(one), Some(other)) = (&a.owner, &b.owner) {
                    if one != "dataset" && other != "dataset" {
                        let message = format!("a temporal join between {one} and {other} is not necessary");
                        return Err(self.error(message, at));
                    }
                    self.seen.validity = true;
                }
                Ok(format!("({} < {} AND {} < {})", a.text, b.end, b.text, a.end))
            }
            (Type::Timespan, kind) if is_time(kind) => {
                Ok(format!("({} <= {} AND {} < {})", a.text, b.text, b.text, a.end))
            }
            (kind, Type::Timespan) if is_time(kind) => self.overlaps(b, a, at, top),
            (one, other) => {
                let message = format!("operator OVERLAPS does not take {} and {}", one.name(), other.name());
                Err(self.error(message, at))
            }
        }
    }

    /// Compares two regions; those of two elements become a join.
    fn regions(&mut self, a: &Scalar, b: &Scalar, at: usize, top: bool) -> Result<String> {
        let universe = self.scope.universe;
        match (&a.owner, &b.owner) {
            (Some(one), Some(other)) => {
                if names::family(universe, one) == names::family(universe, other) {
                    let message = format!("a spatial join between {one} and {other} is not necessary");
                    return Err(self.error(message, at));
                }
                if !top {
                    return Err(self.error("a spatial join within OR or NOT is not supported", at));
                }
                self.seen.overlaps.push((one.clone(), other.clone()));
                Ok("TRUE".to_owned())
            }
            (None, None) => Err(self.error("OVERLAPS needs the region of a dimension", at)),
            _ => Ok(format!("overlaps({}, {})", a.text, b.text)),
        }
    }

    fn member(&mut self, left: &Node, items: &[Node]) -> Result<String> {
        let value = match self.value(left)? {
            Item::Scalar(scalar) if scalar.kind != Type::Bool => scalar,
            other => {
                let message = format!("IN does not take a value of type {}", other.type_name());
                return Err(self.error(message, left.at));
            }
        };
        let (mut plain, mut tests) = (Vec::new(), Vec::new());
        for node in items {
            match self.value(node)? {
                Item::Null => tests.push(is_null(&value, true)),
                Item::Range(begin, end, stride) => tests.push(self.range(&value, (begin, end, stride), node.at)?),
                Item::Sequence(values) => {
                    if let Some(other) = values.iter().find(|v| v.kind != values[0].kind) {
                        let (one, other) = (values[0].kind.name(), other.kind.name());
                        return Err(self.error(format!("a bound list mixes {one} and {other}"), node.at));
                    }
                    for item in values {
                        self.comparison("=", &value, &item, node.at)?;
                        plain.push(item.text);
                    }
                }
                Item::Scalar(item) => {
                    self.comparison("=", &value, &item, node.at)?;
                    plain.push(item.text);
                }
            }
        }
        if !plain.is_empty() {
            tests.push(format!("({} IN ({}))", value.text, plain.join(", ")));
        }
        Ok(match tests.len() {
            0 => "FALSE".to_owned(),
            _ => format!("({})", tests.join(" OR ")),
        })
    }

    fn range(&self, value: &Scalar, (begin, end, stride): (i64, i64, i64), at: usize) -> Result<String> {
        if value.kind != Type::Int {
            return Err(self.error(format!("a range needs an integer, not a {}", value.kind.name()), at));
        }
        if end < begin {
            return Err(self.error(format!("the end of range {begin}..{end} is less than its begin"), at));
        }
        let between = format!("{} BETWEEN {begin} AND {end}", value.text);
        Ok(match stride {
            1 => format!("({between})"),
            _ => format!("({between} AND {} % {stride} = {})", value.text, begin % stride),
        })
    }

    /// `GLOB(name, 'pattern')`: `*` matches any characters and `?` one; `\` makes the next of `*`, `?`, `\` literal.
    fn glob(&mut self, arguments: &[Node], at: usize) -> Result<String> {
        let [column, pattern] = arguments else {
            return Err(self.error("GLOB takes a column and a pattern", at));
        };
        if !matches!(column.kind, NodeKind::Name(_)) {
            return Err(self.error("the first argument of GLOB must be a column", column.at));
        }
        let column = match self.value(column)? {
            Item::Scalar(scalar) if scalar.kind == Type::Text && !scalar.is_constant => scalar,
            _ => return Err(self.error("the first argument of GLOB must be a column of type string", column.at)),
        };
        let is_pattern = matches!(pattern.kind, NodeKind::Text(_) | NodeKind::Bind(_));
        match if is_pattern { Some(self.value(pattern)?) } else { None } {
            Some(Item::Scalar(Scalar { written: Some(pattern), .. })) => {
                Ok(format!("({} LIKE {})", column.text, literal(&like(&pattern))))
            }
            _ => Err(self.error("the second argument of GLOB must be a text or a bound text", pattern.at)),
        }
    }
}

fn is_null(value: &Scalar, yes: bool) -> String {
    format!("({} IS {}NULL)", value.text, if yes { "" } else { "NOT " })
}

/// Converts a pattern of GLOB to one of LIKE, with `\` as escape character.
fn like(pattern: &str) -> String {
    let mut out = String::new();
    let mut chars = pattern.chars().peekable();
    let literally = |c: char, out: &mut String| {
        if matches!(c, '%' | '_' | '\\') {
            out.push('\\');
        }
        out.push(c);
    };
    while let Some(c) = chars.next() {
        match c {
            '*' => out.push('%'),
            '?' => out.push('_'),
            '\\' => match chars.next_if(|next| matches!(next, '*' | '?' | '\\')) {
                Some(next) => literally(next, &mut out),
                None => literally('\\', &mut out),
            },
            c => literally(c, &mut out),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::like;

    #[test]
    fn globs_become_like() {
        assert_eq!(like("50%*"), "50\\%%");
        assert_eq!(like("a?b_\\*\\x"), "a_b\\_*\\\\x");
    }
}
