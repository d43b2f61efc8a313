//! Sky map configurations: parses the assignments of a pex_config file and writes them as a pickle.

use std::collections::BTreeMap;

use super::python::{Value, parse_value, statements, steps};
use crate::error::{Error, Result, hint};
use crate::sphere::rings::{Builder, Rings};

/// A sky map: its name and its geometry.
#[derive(Debug, Clone, PartialEq)]
pub struct SkyMap {
    /// The value of the dimension `skymap`.
    pub name: String,
    /// The geometry of tracts and patches.
    pub rings: Rings,
}

/// The fields that have been set, by name; fields of a tract builder are prefixed by the name of the builder and a dot.
#[derive(Debug, Default)]
struct Settings {
    name: Option<String>,
    selected: Option<String>,
    builder: Option<String>,
    fields: BTreeMap<String, (Value, usize)>,
}

const FIELDS: [&str; 6] = ["numRings", "raStart", "tractOverlap", "pixelScale", "projection", "rotation"];
const CELLS: [&str; 4] = ["cellInnerDimensions", "cellBorder", "numCellsPerPatchInner", "numCellsInPatchBorder"];
const LEGACY: [&str; 2] = ["patchInnerDimensions", "patchBorder"];
const KINDS: [&str; 6] = ["dodeca", "equat", "rings", "healpix", "discrete", "ringsFast"];

impl SkyMap {
    /// Parses a configuration file and applies the assignments `name=value` of `more` after it.
    ///
    /// # Errors
    /// A statement that is not an assignment of a literal to a field, with its line; a sky map that is not supported.
    pub fn parse(text: &str, more: &[String]) -> Result<Self> {
        let mut settings = Settings::default();
        for (number, statement) in statements(text)? {
            settings.assign(&statement, number).map_err(|e| e.context(format_args!("line {number}")))?;
        }
        for pair in more {
            let Some((path, value)) = pair.split_once('=') else {
                return Err(Error::invalid(format!("argument 'config' takes name=value, not '{pair}'")));
            };
            let value = match parse_value(value.trim()) {
                Ok(value) => value,
                Err(_) => Value::Text(value.trim().to_owned()),
            };
            settings
                .set(&format!("config.{}", path.trim()), value, 0)
                .map_err(|e| e.context(format_args!("'{pair}'")))?;
        }
        settings.build()
    }

    /// Returns the SHA-1 hash that identifies the geometry in the registry.
    pub fn hash(&self) -> [u8; 20] {
        let rings = &self.rings;
        let mut bytes = b"RingsSkyMap".to_vec();
        let ints = match rings.builder {
            Builder::Cells { inner, border, per_patch, in_border } => vec![inner, inner, border, per_patch, in_border],
            Builder::Legacy { inner, border } => vec![inner[0], inner[1], border],
        };
        ints.iter().for_each(|i| bytes.extend(i.to_le_bytes()));
        bytes.extend(rings.tract_overlap.to_le_bytes());
        bytes.extend(rings.pixel_scale.to_le_bytes());
        bytes.extend(b"TAN");
        bytes.extend(0.0_f64.to_le_bytes());
        bytes.extend(rings.num_rings.to_le_bytes());
        bytes.extend(rings.ra_start.to_le_bytes());
        sha1_smol::Sha1::from(bytes).digest().bytes()
    }

    /// Returns the `skyMap` dataset, a pickle of the sky map that the Butler can load.
    pub fn pickle(&self) -> Vec<u8> {
        let text = self.assignments().into_bytes();
        let mut out = Vec::new();
        let string = |out: &mut Vec<u8>, text: &str| {
            out.extend([0x8c, u8::try_from(text.len()).unwrap_or(u8::MAX)]);
            out.extend(text.as_bytes());
            out.push(0x94);
        };
        string(&mut out, "lsst.skymap.ringsSkyMap");
        string(&mut out, "RingsSkyMap");
        out.extend([0x93, 0x94]);
        string(&mut out, "lsst.pex.config.config");
        string(&mut out, "unreduceConfig");
        out.extend([0x93, 0x94, 0x68, 0x00]);
        string(&mut out, "RingsSkyMapConfig");
        out.extend([0x93, 0x94]);
        match u8::try_from(text.len()) {
            Ok(length) => out.extend([0x43, length]),
            Err(_) => {
                out.push(0x42);
                out.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
            }
        }
        out.extend(&text);
        out.extend([0x94, 0x86, 0x94, 0x52, 0x94, 0x4b, 0x01, 0x86, 0x94, 0x52, 0x94, 0x2e]);
        let mut whole = vec![0x80, 0x05, 0x95];
        whole.extend((out.len() as u64).to_le_bytes());
        whole.extend(out);
        whole
    }

    /// Formats all fields as assignments.
    fn assignments(&self) -> String {
        let rings = &self.rings;
        let (selected, cells, legacy) = match rings.builder {
            Builder::Cells { inner, border, per_patch, in_border } => {
                ("cells", [inner, border, per_patch, in_border], ([4000, 4000], 100))
            }
            Builder::Legacy { inner, border } => ("legacy", [150, 50, 20, 1], (inner, border)),
        };
        let [inner, border, per_patch, in_border] = cells;
        let ([width, height], patch_border) = legacy;
        format!(
            "config.tractBuilder['legacy'].patchInnerDimensions=[{width}, {height}]\n\
             config.tractBuilder['legacy'].patchBorder={patch_border}\n\
             config.tractBuilder['cells'].cellInnerDimensions=[{inner}, {inner}]\n\
             config.tractBuilder['cells'].cellBorder={border}\n\
             config.tractBuilder['cells'].numCellsPerPatchInner={per_patch}\n\
             config.tractBuilder['cells'].numCellsInPatchBorder={in_border}\n\
             config.tractBuilder.name='{selected}'\n\
             config.tractOverlap={:?}\nconfig.pixelScale={:?}\nconfig.projection='TAN'\nconfig.rotation=0.0\n\
             config.numRings={}\nconfig.raStart={:?}\n",
            rings.tract_overlap, rings.pixel_scale, rings.num_rings, rings.ra_start
        )
    }
}

impl Settings {
    fn assign(&mut self, statement: &str, line: usize) -> Result<()> {
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

    fn set(&mut self, path: &str, value: Value, line: usize) -> Result<()> {
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

    fn build(self) -> Result<SkyMap> {
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
        Ok(SkyMap { name, rings })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sphere::polygon::Polygon;
    use crate::sphere::region::Region;
    use crate::sphere::vectors::{cases, hex_bytes};

    const TEXT: &str = "# a comment\nconfig.name = \"lsst_cells_v1\"\nconfig.skyMap = 'rings'\r\nconfig.skyMap[\"rings\"].numRings = 120\n\
        config.skyMap['rings'].projection = 'TAN'  # not STG\nconfig.skyMap.active.tractOverlap = 1.0 / 60\n\
        config.skyMap[\"rings\"].pixelScale = 0.2\nconfig.skyMap[\"rings\"].tractBuilder.name = 'cells'\n";

    #[test]
    fn the_map_of_rubin_has_its_hash() {
        let map = SkyMap::parse(TEXT, &[]).unwrap();
        let hex: String = map.hash().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!((map.name.as_str(), hex.as_str()), ("lsst_cells_v1", "e2736e41244df00bbdb93aecac0ae4b2d19dda91"));
        assert_eq!(SkyMap::parse(TEXT, &["name=other".to_owned()]).unwrap().name, "other");
        assert!(map.pickle().starts_with(b"\x80\x05\x95") && map.pickle().ends_with(b"\x94R\x94."));
        // Fields of sky map types that are not selected accept any literal.
        let others = "config.skyMap['discrete'].raList = [5.5, -10.7]\nconfig.skyMap['healpix'].log2NSide = 5\n\
                      config.skyMap['equat'].names = ['a, b', ('c', [1])]\n";
        assert_eq!(SkyMap::parse(&format!("{TEXT}{others}"), &[]).unwrap(), map);
    }

    #[test]
    fn what_is_no_assignment_of_literals_is_refused() {
        for (from, to, message) in [
            ("120", "hundred", "line 4: only assignments of literals"),
            ("numRings", "numRing", "line 4: no field of a rings sky map named 'numRing'; did you mean 'numRings'?"),
            ("'cells'", "'cell'", "line 8: no tract builder named 'cell'; did you mean 'cells'?"),
            ("'TAN'", "'STG'", "only the projection 'TAN'"),
            ("config.name", "name", "line 2: only assignments"),
            ("120", "120.0", "line 4: 'numRings' takes an integer"),
            ("1.0 / 60", "[1", "unclosed bracket"),
            ("120", "[120, x]", "line 4: only assignments of literals"),
            ("'rings'\r", "'dodeca'\r", "'dodeca' are not supported"),
            ("config.name = \"lsst_cells_v1\"", "for i in range(3): pass", "line 2: only assignments"),
        ] {
            let error = SkyMap::parse(&TEXT.replacen(from, to, 1), &[]).unwrap_err();
            assert!(error.message().contains(message), "{from} -> {to}: {error}");
        }
    }

    /// Configurations with the results of the original code, if these files are available.
    #[test]
    fn maps_equal_those_of_the_real_code() {
        let near = |ours: Polygon, theirs: &serde_json::Value| {
            let Some(Region::Polygon(theirs)) = Region::decode(&hex_bytes(theirs)) else { return false };
            let mut pairs = ours.vertices().iter().flatten().zip(theirs.vertices().iter().flatten());
            pairs.all(|(a, b)| (a - b).abs() < 1e-14)
        };
        for case in cases("config_cases.jsonl") {
            let parsed = SkyMap::parse(case["text"].as_str().unwrap(), &[]);
            // Local names, loops and sky maps without a name are refused.
            let refused =
                ["cells_v1_plain", "with_import_and_loop", "no_name"].contains(&case["case"].as_str().unwrap());
            if refused || case["error"].is_string() {
                assert!(parsed.is_err(), "{case}");
                continue;
            }
            let map = parsed.unwrap();
            assert_eq!(map.hash().to_vec(), hex_bytes(&case["sha1"]), "{case}");
            assert_eq!(map.rings.count(), case["tract_max"].as_i64().unwrap(), "{case}");
            let grid = ["patch_nx_max", "patch_ny_max"].map(|name| case[name].as_i64().unwrap());
            assert_eq!(map.rings.grid().map(i64::from), grid, "{case}");
            for (at, polygon) in case["tract_poly_ids"]
                .as_array()
                .into_iter()
                .flatten()
                .zip(case["tract_polys_hex"].as_array().into_iter().flatten())
            {
                let tract = map.rings.tracts().nth(usize::try_from(at.as_u64().unwrap()).unwrap()).unwrap();
                assert!(near(tract.polygon(), polygon), "tract {at}: {case}");
            }
            if case["patch0_of_tract1_hex"].is_string() {
                assert!(near(map.rings.tracts().nth(1).unwrap().patch(0, 0), &case["patch0_of_tract1_hex"]), "{case}");
            }
        }
    }
}
