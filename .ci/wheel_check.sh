#!/usr/bin/env bash
# Builds the wheel, checks it, installs it alone into an empty environment, and runs each door of the package there.
set -euo pipefail
cd "$(dirname "$0")/.."
LIMIT=3000000  # bytes; the embedded network is 0.6 MB of it

rm -rf dist .venv-wheel
"${PYTHON:-python3}" -m venv .venv-wheel/build
.venv-wheel/build/bin/pip install --quiet --upgrade pip build twine
.venv-wheel/build/bin/python -m build --outdir dist
.venv-wheel/build/bin/twine check --strict dist/*
size=$(wc -c < dist/*.whl)
if [ "$size" -gt "$LIMIT" ]; then
  echo "the wheel has $size bytes, more than $LIMIT" >&2
  exit 1
fi

"${PYTHON:-python3}" -m venv .venv-wheel/bare
.venv-wheel/bare/bin/pip install --quiet --upgrade pip
.venv-wheel/bare/bin/pip install --quiet dist/*.whl
cp .ci/wheel_use.py .venv-wheel/
cd .venv-wheel  # away from the sources: what is imported is the wheel
bare/bin/python wheel_use.py
bare/bin/fmiqa --version
bare/bin/fmiqa score reference.png restored.png --out scores.csv
bare/bin/fmiqa score reference.png restored.png --out scores.parquet
bare/bin/python -c "from pyarrow import parquet; assert parquet.read_table('scores.parquet').num_rows == 1"
bare/bin/python -m torchmetrics_fmiqa recipes > recipes.txt
grep -q ^embedded recipes.txt
mkdir outputs
cp restored.png outputs/
bare/bin/fmiqa gate record golden --from outputs
bare/bin/fmiqa gate check golden outputs --report looks
echo "the wheel works: $size bytes"
