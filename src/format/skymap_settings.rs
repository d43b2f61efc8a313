//! The fields of a sky map configuration, and the sky map that they describe.

use std::collections::BTreeMap;

use super::python::{Value, parse_value, steps};
use crate::error::{Error, Result, hint};
use crate::sphere::rings::{Builder, Rings};

/// The fields that have been set, by name; fields of a tract builder are prefixed by the name of the builder and a dot.
#[derive(Debug, Default)]
pub(super) struct Settings {
    name: Option<String>,
    selected: Option<String>,
    builder: Option<String>,
    fields: BTreeMap<String, (Value, usize)>,
}

const FIELDS: [&str; 6] = ["numRings", "raStart", "tractOverlap", "pixelScale", "projection", "rotation"];
const CELLS: [&str; 4] = ["cellInnerDimensions", "cellBorder", "numCellsPerPatchInner", "numCellsInPatchBorder"];
const LEGACY: [&str; 2] = ["patchInnerDimensions", "patchBorder"];
const KINDS: [&str; 6] = ["dodeca", "equat", "rings", "healpix", "discrete", "ringsFast"];

impl Settings {
    pub(super) fn assign(&mut self, statement: &str, line: usize) -> Result<()> {
        // Files written by pex_config begin with these statements.
        if statement.starts_with("import ") || statement.starts_with("assert type(config)") {
            return Ok(());
        }
        let refused = || {
            Error::invalid(format!(
                "only assignments of literals to fields of 'config' are supported, not '{statement}'"
            ))
        };
        let (path, value) = statement.split_once('=').ok_or_else(refused)?;
        let path = path.trim();
        if !path.starts_with("config.") || value.starts_with('=') {
            return Err(refused());
        }
        let value = parse_value(value.trim()).map_err(|_| refused())?;
        self.set(path, value, line)
    }

    pub(super) fn set(&mut self, path: &str, value: Value, line: usize) -> Result<()> {
        let steps = steps(path)?;
        let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
        match steps[..] {
            ["config", "name"] => self.name = Some(text(path, value)?),
            ["config", "skyMap"] | ["config", "skyMap", "name"] => {
                let kind = text(path, value)?;
                if !KINDS.contains(&kind.as_str()) {
                    return Err(Error::not_found("sky map type", &kind, KINDS));
                }
                self.selected = Some(kind);
            }
            ["config", "skyMap", kind, ref rest @ ..] => {
                let kind = if kind == "active" { self.selected.clone().unwrap_or_default() } else { kind.to_owned() };
                if kind == "rings" {
                    return self.field(path, rest, value, line);
                }
                if !KINDS.contains(&kind.as_str()) {
                    return Err(Error::not_found("sky map type", &kind, KINDS));
                }
            }
            _ => {
                return Err(Error::invalid(format!(
                    "'{path}' is not a field of a sky map configuration{}",
                    hint(path, ["config.name", "config.skyMap"])
                )));
            }
        }
        Ok(())
    }

    fn field(&mut self, path: &str, rest: &[&str], value: Value, line: usize) -> Result<()> {
        let key = match rest {
            ["tractBuilder"] | ["tractBuilder", "name"] => {
                let builder = text(path, value)?;
                if !["cells", "legacy"].contains(&builder.as_str()) {
                    return Err(Error::not_found("tract builder", &builder, ["cells", "legacy"]));
                }
                self.builder = Some(builder);
                return Ok(());
            }
            ["tractBuilder", builder, field] => {
                let builder = if *builder == "active" { self.builder.as_deref().unwrap_or("legacy") } else { builder };
                let known: &[&str] = match builder {
                    "cells" => &CELLS,
                    "legacy" => &LEGACY,
                    other => return Err(Error::not_found("tract builder", other, ["cells", "legacy"])),
                };
                if !known.contains(field) {
                    return Err(Error::not_found(
                        &format!("field of the tract builder '{builder}'"),
                        field,
                        known.iter().copied(),
                    ));
                }
                format!("{builder}.{field}")
            }
            // Short forms of the fields of the legacy builder.
            [field] if LEGACY.contains(field) => format!("legacy.{field}"),
            [field] if FIELDS.contains(field) => (*field).to_owned(),
            [field] => return Err(Error::not_found("field of a rings sky map", field, FIELDS)),
            _ => return Err(Error::invalid(format!("'{path}' is not a field of a sky map configuration"))),
        };
        self.fields.insert(key, (value, line));
        Ok(())
    }

    pub(super) fn build(self) -> Result<(String, Rings)> {
        let kind = self.selected.as_deref().unwrap_or("dodeca");
        if kind != "rings" {
            return Err(Error::invalid(format!("sky maps of type '{kind}' are not supported, only 'rings'")));
        }
        let name = self.name.clone().ok_or_else(|| Error::invalid("the configuration does not set 'config.name'"))?;
        let projection = match self.fields.get("projection") {
            None => "STG".to_owned(),
            Some((value, line)) => text("projection", value.clone()).map_err(|e| at(e, *line))?,
        };
        let rotation = self.float("rotation", 0.0)?;
        if projection != "TAN" || rotation != 0.0 {
            let message = format!(
                "only the projection 'TAN' without rotation is supported, not '{projection}' with rotation {rotation}"
            );
            return Err(Error::invalid(message));
        }
        let num_rings = self.int("numRings", None)?;
        let ra_start = self.float("raStart", 0.0)?;
        if num_rings < 1 || !(0.0..360.0).contains(&ra_start) {
            return Err(Error::invalid("numRings must be positive, and raStart in [0, 360)"));
        }
        let builder = if self.builder.as_deref() == Some("cells") {
            let [inner, other] = self.pair("cells.cellInnerDimensions", [150, 150])?;
            if inner != other {
                return Err(Error::invalid("cellInnerDimensions must be two equal numbers"));
            }
            Builder::Cells {
                inner,
                border: self.int("cells.cellBorder", Some(50))?,
                per_patch: self.int("cells.numCellsPerPatchInner", Some(20))?,
                in_border: self.int("cells.numCellsInPatchBorder", Some(1))?,
            }
        } else {
            Builder::Legacy {
                inner: self.pair("legacy.patchInnerDimensions", [4000, 4000])?,
                border: self.int("legacy.patchBorder", Some(100))?,
            }
        };
        let (tract_overlap, pixel_scale) = (self.float("tractOverlap", 1.0)?, self.float("pixelScale", 0.333)?);
        let sides = match builder {
            Builder::Cells { inner, per_patch, .. } => [inner, per_patch],
            Builder::Legacy { inner, .. } => inner,
        };
        if pixel_scale <= 0.0 || tract_overlap < 0.0 || sides.iter().any(|side| *side < 1) {
            return Err(Error::invalid(
                "pixelScale and the sizes of patches must be positive, tractOverlap not negative",
            ));
        }
        let border = match builder {
            Builder::Cells { border, in_border, .. } => border.max(in_border),
            Builder::Legacy { border, .. } => border,
        };
        let rings = Rings { num_rings, ra_start, tract_overlap, pixel_scale, builder };
        if num_rings > 10_000
            || sides.into_iter().chain([border]).any(|side| side > 20_000)
            || border < 0
            || !rings.is_sane()
        {
            return Err(Error::invalid(
                "numRings, pixelScale, tractOverlap and the sizes of patches do not give a valid sky map",
            ));
        }
        Ok((name, rings))
    }

    fn int(&self, key: &str, default: Option<i32>) -> Result<i32> {
        match (self.fields.get(key), default) {
            (Some((Value::Int(value), line)), _) => {
                i32::try_from(*value).map_err(|_| at(Error::invalid(format!("'{key}' is out of range")), *line))
            }
            (Some((value, line)), _) => {
                Err(at(Error::invalid(format!("'{key}' takes an integer, not {value:?}")), *line))
            }
            (None, Some(default)) => Ok(default),
            (None, None) => Err(Error::invalid(format!("the configuration does not set '{key}'"))),
        }
    }

    fn float(&self, key: &str, default: f64) -> Result<f64> {
        match self.fields.get(key) {
            Some((Value::Float(value), _)) if value.is_finite() => Ok(*value),
            Some((Value::Int(value), _)) => Ok(*value as f64),
            Some((value, line)) => Err(at(Error::invalid(format!("'{key}' takes a number, not {value:?}")), *line)),
            None => Ok(default),
        }
    }

    fn pair(&self, key: &str, default: [i32; 2]) -> Result<[i32; 2]> {
        match self.fields.get(key) {
            Some((Value::List(list), line)) => match list[..] {
                [Value::Int(a), Value::Int(b)] => Ok([a, b].map(|v| i32::try_from(v).unwrap_or(0))),
                _ => Err(at(Error::invalid(format!("'{key}' takes two integers")), *line)),
            },
            Some((_, line)) => Err(at(Error::invalid(format!("'{key}' takes a list of two integers")), *line)),
            None => Ok(default),
        }
    }
}

fn at(error: Error, line: usize) -> Error {
    if line == 0 { error } else { error.context(format_args!("line {line}")) }
}

fn text(path: &str, value: Value) -> Result<String> {
    match value {
        Value::Text(text) => Ok(text),
        other => Err(Error::invalid(format!("'{path}' takes a string, not {other:?}"))),
    }
}
