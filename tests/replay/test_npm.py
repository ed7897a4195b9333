from __future__ import annotations

import json
from pathlib import Path

from liveweights.replay.npm import read_packages

CODE = "\n".join(f"export const value{n} = compute{n}(argument{n});" for n in range(80))


def pack(folder: Path, name: str, licence: str | None, *files: str, text: bool = True) -> None:
    root = folder / name / "package"
    root.mkdir(parents=True)
    described = {"name": f"@scope/{name}", "version": "1.0.0", "license": licence}
    (root / "package.json").write_text(json.dumps(described))
    if text:
        (root / "LICENSE.md").write_text("Anybody may use it.")
    for number, file in enumerate(files):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(CODE.replace("compute", f"{name}{number}x"))


def test_what_may_be_read_and_what_somebody_types(tmp_path: Path) -> None:
    pack(
        tmp_path, "good", "MIT", "src/a.ts", "src/deep/b.ts", "src/a.d.ts", "src/a.test.ts",
        "src/__tests__/c.ts", "dist/a.js", "locales/de.ts",
    )  # fmt: skip
    pack(tmp_path, "copyleft", "GPL-3.0", "src/a.ts")
    pack(tmp_path, "silent", None, "src/a.ts")
    pack(tmp_path, "textless", "MIT", "src/a.ts", text=False)
    found = read_packages(tmp_path)
    assert [(p.name, p.version, p.licence) for p in found.packages] == [
        ("@scope/good", "1.0.0", "MIT")
    ]
    assert sorted(file.path for file in found.files) == ["src/a.ts", "src/deep/b.ts"]
    assert {file.language for file in found.files} == {"typescript"}
    assert {file.package for file in found.files} == {"@scope/good"}


def test_of_a_large_package_only_some_files_are_read(tmp_path: Path) -> None:
    pack(tmp_path, "large", "ISC", *(f"src/file{n}.ts" for n in range(9)))
    assert len(read_packages(tmp_path, max_files=4).files) == 4


def test_imports_and_comments_tell_no_files_apart(tmp_path: Path) -> None:
    pack(tmp_path, "good", "MIT", "src/a.ts")
    [file] = read_packages(tmp_path).files
    headed = "// a comment of some length\nimport { something } from './somewhere';\n" + file.text
    assert type(file)(file.package, file.path, headed, "typescript").lines == file.lines
