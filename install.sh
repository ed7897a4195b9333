#!/bin/sh
# Makes or completes a virtual environment from the lock files: install.sh VENV [dev|openvino ...]
# Says whether one that is there cannot be used any more: install.sh --is-dead VENV
#
# Everything that is installed is named there with version and hash, so nothing is resolved. uv is
# used where it is on PATH (and UV is not empty), else the environment's pip.
#   PYTHON       the Python to make it with (python3)
#   PROJECT      what to install of the project itself (-e .), or a wheel; empty: nothing
#   TORCH_INDEX  where PyTorch's CPU builds are, if no configured index has them
set -eu

is_dead() { # is_dead VENV: it was moved, or the Python that it was made with is gone
    [ -f "$1/pyvenv.cfg" ] || return 1
    "$1/bin/python" -c 'import os, sys, sysconfig
sys.exit(not os.path.isdir(sysconfig.get_path("purelib")))' 2>/dev/null || return 0
    [ -e "$1/bin/pip" ] || return 1
    code=0
    "$1/bin/pip" --version >/dev/null 2>&1 || code=$?
    [ "$code" -ge 126 ] # it names a Python that is not there
}

if [ "$1" = --is-dead ]; then
    is_dead "$2"
    exit
fi
venv=$1
shift
python=${PYTHON:-python3}
project=${PROJECT--e .}
torch_index=${TORCH_INDEX:-https://download.pytorch.org/whl/cpu}
uv=${UV-uv}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
clock=
trap '[ -z "$clock" ] || kill "$clock"; exit 130' INT
trap '[ -z "$clock" ] || kill "$clock"; exit 143' TERM

tick() { # tick WHAT BEGAN: seconds that pass
    while :; do
        printf '\r%s ... %s s' "$1" $(($(date +%s) - $2))
        sleep 0.2
    done
}

# The command is what runs in the foreground, so that Ctrl-C ends it, too, and SIGTERM waits for it.
step() { # step WHAT COMMAND...: one line, with seconds that pass on a terminal
    what=$1
    shift
    began=$(date +%s)
    printf '%s ...' "$what"
    if [ -t 1 ]; then
        tick "$what" "$began" &
        clock=$!
    fi
    code=0
    "$@" >"$log" 2>&1 || code=$?
    if [ -n "$clock" ]; then
        kill "$clock"
        wait "$clock" 2>/dev/null || :
        clock=
        printf '\r%s ...' "$what"
    fi
    if [ "$code" -eq 0 ]; then
        printf ' %s s\n' $(($(date +%s) - began))
    else
        printf ' failed\n' >&2
        tail -n 15 "$log" >&2
        return 1
    fi
}

if "$uv" --version >/dev/null 2>&1; then
    installer=uv
    make_venv() { "$uv" venv --quiet --seed --allow-existing --python "$python" "$venv"; }
    install() { VIRTUAL_ENV=$venv "$uv" pip install --no-deps "$@"; }
    # uv does not read pip's settings: where pip finds files, PyTorch may be, too.
    local_files() { for place in ${PIP_FIND_LINKS:-}; do printf ' --find-links %s' "$place"; done; }
else
    installer=pip
    make_venv() { "$python" -m venv "$venv"; }
    # Files are compiled when they are first imported: most never are.
    install() { "$venv/bin/python" -m pip install --no-deps --no-compile --no-input "$@"; }
    local_files() { :; }
fi

locked() { install --require-hashes --only-binary :all: -r "$@"; }

torch() {
    # shellcheck disable=SC2046
    locked locks/torch.txt $(local_files) || locked locks/torch.txt --index-url "$torch_index"
}

has_torch() { # of the locked version, whatever its build: somebody may have put a GPU's there
    "$venv/bin/python" - <<'PYTHON'
import importlib.metadata, re, sys
wanted = re.search(r"^torch==([\d.]+)", open("locks/torch.txt").read(), re.M)[1]
try:
    found = importlib.metadata.version("torch").partition("+")[0]
except importlib.metadata.PackageNotFoundError:
    found = None
sys.exit(found != wanted)
PYTHON
}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "liveweights needs Python 3.11 or later; $("$python" --version) was found. Set PYTHON=..." >&2
    exit 1
}
if is_dead "$venv"; then
    echo "The environment in $venv was moved, or its Python is gone: it is made anew"
    rm -rf "$venv"
fi
# One whose making broke off has a Python, and no pip yet: it is completed.
"$venv/bin/python" -m pip --version >/dev/null 2>&1 || step "A virtual environment in $venv" make_venv
has_torch || step "PyTorch ($installer)" torch || {
    echo "PyTorch's CPU build was found neither on the configured package index nor at" \
        "$torch_index: set TORCH_INDEX to an index that has it" >&2
    exit 1
}
for set in run "$@"; do
    step "$(grep -c == "locks/$set.txt") packages of locks/$set.txt ($installer)" \
        locked "locks/$set.txt"
done
# shellcheck disable=SC2086
[ -z "$project" ] || step "liveweights" install --no-build-isolation $project
