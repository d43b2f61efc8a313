//! Functions of an expression: regions on the sky, and ids.

use super::literal;
use super::parser::{Node, NodeKind};
use super::translator::Translator;
use super::values::{Item, Scalar, Type};
use crate::error::Result;

const FUNCTIONS: [&str; 7] = ["POINT", "CIRCLE", "BOX", "POLYGON", "REGION", "GLOB", "UUID"];

impl Translator<'_> {
    /// Translates a function that is a value. Angles are ICRS degrees; the radius of a circle is taken as written.
    pub(super) fn call(&mut self, name: &str, arguments: &[Node], at: usize) -> Result<Scalar> {
        match name {
            "UUID" => self.uuid(arguments, at),
            "REGION" => {
                let text = match arguments {
                    [one] => match self.value(one)? {
                        Item::Scalar(Scalar { written: Some(text), .. }) => Some(text),
                        _ => None,
                    },
                    _ => None,
                };
                let shape = text.as_deref().and_then(position_shape);
                shape.ok_or_else(|| {
                    self.error("REGION takes a text such as 'CIRCLE ra dec radius', 'RANGE …' or 'POLYGON …'", at)
                })
            }
            "POINT" | "CIRCLE" | "BOX" | "POLYGON" => {
                let numbers = arguments.iter().map(|a| self.degrees(name, a)).collect::<Result<Vec<_>>>()?;
                let shape = shape(name, &numbers);
                shape.ok_or_else(|| self.error(format!("{name} does not take these {} numbers", numbers.len()), at))
            }
            "GLOB" => Err(self.error("GLOB is a condition, not a value", at)),
            _ => {
                let near = crate::error::hint(name, FUNCTIONS);
                Err(self.error(format!("unknown function '{name}'{near}"), at))
            }
        }
    }

    fn uuid(&self, arguments: &[Node], at: usize) -> Result<Scalar> {
        let id = match arguments {
            [Node { kind: NodeKind::Text(text), .. }] => uuid::Uuid::try_parse(text).ok(),
            _ => None,
        };
        let id = id.ok_or_else(|| self.error("UUID takes a text with 32 hexadecimal digits", at))?;
        Ok(Scalar::constant(Type::Uuid, literal(&id.to_string())))
    }

    /// An argument of a region: a number or a bound value.
    fn degrees(&mut self, function: &str, node: &Node) -> Result<f64> {
        let plain =
            matches!(node.kind, NodeKind::Number(_) | NodeKind::Sign(..) | NodeKind::Bind(_) | NodeKind::Name(_));
        let value = if plain { Some(self.scalar(node)?) } else { None };
        let number = value.filter(|v| v.is_constant && v.kind.is_number()).and_then(|v| {
            let text = v.text.replace(['(', ')', ' '], "");
            text.trim_start_matches("--").parse::<f64>().ok()
        });
        number.ok_or_else(|| self.error(format!("an argument of {function} is not a literal number"), node.at))
    }
}

/// A region of numbers; `None` if they do not fit.
fn shape(name: &str, numbers: &[f64]) -> Option<Scalar> {
    let text = |function: &str, numbers: &[f64]| {
        let all: Vec<String> = numbers.iter().map(|n| format!("{n:?}")).collect();
        Some(Scalar::constant(Type::Region, format!("{function}({})", all.join(", "))))
    };
    let latitude = |dec: f64| (-90.0..=90.0).contains(&dec);
    match (name, numbers) {
        ("POINT", [_, dec]) if latitude(*dec) => text("point", numbers),
        // A negative radius is the empty region, which overlaps nothing.
        ("CIRCLE", [_, dec, radius]) if latitude(*dec) && *radius < 0.0 => {
            Some(Scalar::constant(Type::Region, "CAST(NULL AS BYTEA)".to_owned()))
        }
        ("CIRCLE", [ra, dec, radius]) if latitude(*dec) => text("circle", &[*ra, *dec, radius.min(180.0)]),
        ("BOX", [_, dec, width, height]) if latitude(*dec) && *width >= 0.0 && *height >= 0.0 => text("box", numbers),
        ("POLYGON", vertices) if vertices.len() >= 6 && vertices.len().is_multiple_of(2) => text("polygon", vertices),
        _ => None,
    }
}

/// A region in the syntax of the parameter POS of IVOA's SIA 2.
fn position_shape(text: &str) -> Option<Scalar> {
    let mut words = text.split_whitespace();
    let kind = words.next()?.to_uppercase();
    let numbers: Vec<f64> =
        words.map(|word| word.parse().ok().filter(|n: &f64| n.is_finite())).collect::<Option<_>>()?;
    match (kind.as_str(), numbers.as_slice()) {
        ("RANGE", [west, east, south, north]) if south <= north => {
            let width = if east < west { east - west + 360.0 } else { east - west };
            shape("BOX", &[west + width / 2.0, f64::midpoint(*south, *north), width, north - south])
        }
        ("CIRCLE" | "POLYGON", numbers) => shape(&kind, numbers),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_regions() {
        let shown = |text: &str| position_shape(text).map(|scalar| scalar.text);
        assert_eq!(shown("CIRCLE 30 -45 0.1").as_deref(), Some("circle(30.0, -45.0, 0.1)"));
        assert_eq!(shown("RANGE 350 10 -46 -44").as_deref(), Some("box(360.0, -45.0, 20.0, 2.0)"));
        assert_eq!(shown("POLYGON 29 -46 31 -46"), None);
        assert_eq!(shown("nonsense"), None);
    }
}
