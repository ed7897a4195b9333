#!/bin/sh
# Writes the lock files again: the newest versions that pyproject.toml admits, for all platforms.
#   TORCH        version of PyTorch; the locked one if it is not given
#   TORCH_INDEX  where its CPU builds' hashes are read
set -eu
uv=${UV:-uv}
"$uv" --version >/dev/null 2>&1 || {
    echo "locking needs uv: pip install uv" >&2
    exit 1
}
torch_index=${TORCH_INDEX:-https://download.pytorch.org/whl/cpu}
locked_torch=$(sed -n 's/^torch==\([0-9.]*\) .*/\1/p' locks/torch.txt)
torch=${TORCH:-$locked_torch}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

compile() { # compile OUT ARGUMENTS...: pins and hashes for every platform and Python
    out=$1
    shift
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
        --upgrade --custom-compile-command "make lock" --output-file "$scratch/$out" "$@"
}

if [ "$torch" != "$locked_torch" ]; then
    echo "PyTorch $torch"
    cat >"$scratch/torch.in" <<TORCH_IN
torch==$torch+cpu ; sys_platform == 'linux'
torch==$torch ; sys_platform == 'darwin'
TORCH_IN
    compile torch.txt --no-deps --default-index "$torch_index" "$scratch/torch.in"
fi

echo "torch==$torch" >"$scratch/constraints.txt"
echo "What running needs"
compile run.txt --constraint "$scratch/constraints.txt" --no-emit-package torch \
    --group build --group model pyproject.toml
# The other files hold what their extra adds.
cat "$scratch/run.txt" >>"$scratch/constraints.txt"
there=$(sed -n 's/^\([A-Za-z0-9._-]*\)==.*/--no-emit-package \1/p' "$scratch/run.txt")
for extra in dev openvino; do
    echo "What the extra '$extra' adds"
    # shellcheck disable=SC2086
    compile $extra.txt --constraint "$scratch/constraints.txt" --no-emit-package torch $there \
        --extra $extra pyproject.toml
done

echo "Whether every platform has wheels of all of it"
for platform in x86_64-manylinux_2_31 aarch64-manylinux_2_31 aarch64-apple-darwin; do
    for python in 3.11 3.12 3.13 3.14; do
        "$uv" pip install --quiet --dry-run --target "$scratch/none" --no-deps --require-hashes \
            --only-binary :all: --python-platform $platform --python-version $python \
            -r "$scratch/run.txt" -r "$scratch/dev.txt"
    done
done
mv "$scratch"/run.txt "$scratch"/dev.txt "$scratch"/openvino.txt locks/
[ ! -f "$scratch/torch.txt" ] || mv "$scratch/torch.txt" locks/
