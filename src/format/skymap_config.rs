//! Sky map configurations: parses the assignments of a pex_config file and writes them as a pickle.

use super::python::{Value, parse_value, statements};
use super::skymap_settings::Settings;
use crate::error::{Error, Result};
use crate::sphere::rings::{Builder, Rings};

/// A sky map: its name and its geometry.
#[derive(Debug, Clone, PartialEq)]
pub struct SkyMap {
    /// The value of the dimension `skymap`.
    pub name: String,
    /// The geometry of tracts and patches.
    pub rings: Rings,
}

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
        let (name, rings) = settings.build()?;
        Ok(Self { name, rings })
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
