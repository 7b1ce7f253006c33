#!/usr/bin/env bash
# Runs every target, or those named behind the time, with libFuzzer and the address sanitizer for so many seconds each.
# New inputs that reach new code are gathered in target/fuzz; what breaks a target is written to target/fuzz/found.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-600}
targets=("${@:2}")
if [ ${#targets[@]} -eq 0 ]; then
  mapfile -t targets < <(ls corpus)
fi
build=${CARGO_TARGET_DIR:-$PWD/../target}/fuzz
host=$(rustc +nightly -vV | sed -n 's/^host: //p')
# What cargo-fuzz would set.
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-pc-table"
coverage+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-trace-compares"
export RUSTFLAGS="$coverage -Ccodegen-units=1 -Zsanitizer=address --cfg fuzzing"
cargo +nightly build --manifest-path libfuzzer/Cargo.toml --release --target "$host" --target-dir "$build"
for target in "${targets[@]}"; do
  mkdir -p "$build/corpus/$target" "$build/found"
  echo "$target: $seconds s"
  "$build/$host/release/$target" -max_total_time="$seconds" -max_len=8192 -timeout=60 -rss_limit_mb=1024 -verbosity=0 \
    -print_final_stats=1 -artifact_prefix="$build/found/$target-" "$build/corpus/$target" "corpus/$target"
done
