#!/usr/bin/env bash
# Builds the wheel for each Python given, installs it into an environment of that Python, and runs
# the end-to-end tests of the examples, WSGI and ASGI against it. Called by `make test-pythons`.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$PWD/.venv/bin
place=$PWD/target/pythons
profile=$1
shift
tried=()
for python in "$@"; do
    if ! version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null); then
        echo "== $python: not found, left out"
        continue
    fi
    echo "== CPython $version"
    rm -rf "${place:?}/$version"
    "$python" -m venv "$place/$version"
    "$tools/maturin" build --quiet --locked --profile "$profile" \
        --interpreter "$place/$version/bin/python" --out "$place/$version/wheel"
    "$place/$version/bin/python" -m pip install --quiet --disable-pip-version-check \
        "$place/$version"/wheel/*.whl -r examples/requirements.txt
    INDRIK_TEST_COMMAND=$place/$version/bin/indrik "$tools/python" -m pytest --quiet --no-header \
        -p no:cacheprovider tests/e2e/test_examples.py tests/e2e/test_wsgi.py tests/e2e/test_asgi.py \
        tests/e2e/test_startup.py
    tried+=("$version")
done
[ ${#tried[@]} -gt 0 ] || { echo "no Python found: set PYTHONS='path ...'"; exit 1; }
echo "== passed with CPython ${tried[*]}"
