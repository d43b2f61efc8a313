#!/usr/bin/env bash
# Runs each reader of external files on mutated files for some seconds; a panic fails the run and prints its input.
#   bash tests/fuzz.sh [SECONDS]
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/butlersql/target}"
seconds="${1:-60}"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

# Only this crate is compiled with coverage counters; its dependencies are those of the tests.
cat >"$work/rustc" <<'EOF'
#!/bin/sh
exec "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table -Ccodegen-units=1
EOF
chmod +x "$work/rustc"
RUSTC_WORKSPACE_WRAPPER="$work/rustc" cargo build --quiet --example fuzz --message-format=json-render-diagnostics |
    python3 -c 'import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("target", {}).get("name") == "fuzz" and message.get("executable"): print(message["executable"])' >"$work/path"
cp "$(cat "$work/path")" "$work/fuzz"

# Valid files as seeds.
cargo run --quiet -- sample "$work/data" --exposures 3 >/dev/null
seed() { mkdir -p "$work/$1"; cp -- "${@:2}" "$work/$1/"; }
data="$work/data"
seed export_yaml "$data"/*-export.yaml
head -c 3000 "$data"/calibs/TAXICAB-44/*/export.yaml >"$work/export_yaml/calibs"
for ecsv in "$data"/the_monster_*.ecsv; do head -n 12 "$ecsv" >"$work/$(basename "$ecsv")"; done
seed ecsv "$work"/*.ecsv
for fits in "$data"/the_monster_*.fits; do head -c 8640 "$fits" | sed 's/\(NAXIS2  = \).\{20\}/\1                  99/' >"$work/$(basename "$fits")"; done
seed fits "$work"/*.fits
seed skymap "$data"/*.skymap.config
curated="$data/curated/comCam"
seed curated "$curated"/manual_defects/r22_s11/*
for kind in transmission_optics transmission_sensor/r22_s11; do head -n 60 "$curated/$kind"/*.ecsv >"$work/curated/${kind%%/*}"; done
sed 's/256/4/g; s/NAMP: 16/NAMP: 2/; s/\(\[[^],]*,[^],]*,[^],]*,[^],]*\)[^]]*\]/\1]/g' "$curated"/crosstalk/r22_s11/* >"$work/curated/crosstalk"
mkdir -p "$work/region"
printf 'p%072d' 0 >"$work/region/zeros"

for reader in export_yaml ecsv fits skymap curated region; do
    echo "fuzzing $reader for $seconds s"
    if ! BUTLERSQL_FUZZ="$reader" "$work/fuzz" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -verbosity=0 \
        -print_final_stats=1 -artifact_prefix="$work/" "$work/$reader" >"$work/log" 2>&1; then
        cat "$work/log"
        for found in "$work"/crash-* "$work"/timeout-* "$work"/oom-*; do if [ -e "$found" ]; then base64 "$found"; fi; done
        exit 1
    fi
    grep -E "number_of_executed_units|cov:" "$work/log" || true
done
