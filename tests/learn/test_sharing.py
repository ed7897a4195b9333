from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from safetensors.torch import load_file
from tests.learn.families import make_family
from tests.learn.shared_update import run
from tests.learn.test_families import make_circle

from liveweights.learn.job import RESULT, WEIGHTS, Job, Result
from liveweights.learn.rewards import RewardMap
from liveweights.learn.settings import LearnSettings

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(1000)  # three processes, on a machine that may have others to run
@pytest.mark.parametrize("updater", ["lora", pytest.param("full", marks=pytest.mark.slow)])
def test_two_processes_make_the_update_of_one(updater: str, tmp_path: Path) -> None:
    model = make_family("deepseek_v3", tmp_path / "model")
    alone = run(model, updater, tmp_path / "saved")
    store = tmp_path / "store"
    command = [sys.executable, "-W", "ignore", "-m", "tests.learn.shared_update", model, store]
    workers = [
        subprocess.Popen([*command, rank, "2", updater], cwd=ROOT, stderr=subprocess.PIPE)
        for rank in ("0", "1")
    ]
    for worker in workers:
        _, errors = worker.communicate(timeout=900)
        assert worker.returncode == 0, errors.decode()[-2000:]
    shared = json.loads((tmp_path / "store.json").read_text())
    for name in ("loss", "kl", "grad_norm", "scores"):
        assert shared[name] == pytest.approx(alone[name], rel=1e-4, abs=1e-5), name
    (file,) = (tmp_path / "saved").glob("*.safetensors")
    if updater == "lora":
        ours, theirs = load_file(file), load_file(tmp_path / "store.saved" / file.name)
        assert ours.keys() == theirs.keys()
        for name, weight in ours.items():
            assert weight.shape == theirs[name].shape
            assert float((weight - theirs[name]).abs().max()) < 1e-3, name


@pytest.mark.slow
@pytest.mark.timeout(2000)
def test_ray_makes_the_update_of_one_process(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="pip install 'liveweights[ray]'")
    import asyncio

    circle = make_circle("llama", tmp_path)

    async def serve() -> list[object]:
        await circle.engine.load(circle.base)
        return list(await circle.serve())

    examples = asyncio.run(serve())
    asyncio.run(circle.engine.close())
    found: list[Result] = []
    for workers in (1, 2):
        job = Job(
            base=str(circle.base.folder),
            parent=None,
            incumbent=circle.base.id,
            train=examples[:11],  # type: ignore[arg-type]
            held_back=examples[11:],  # type: ignore[arg-type]
            baseline_weight={},
            baseline_total={},
            rewards=RewardMap(),
            settings=LearnSettings(
                rank=4,
                nodes=64,
                step_rows=2,
                learning_rate=5e-3,
                dtype="float32",
                workers=workers,
            ),
        )
        folder = tmp_path / f"cycle{workers}"
        folder.mkdir()
        (folder / "job.json").write_bytes(msgspec.json.encode(job))
        subprocess.run(
            [sys.executable, "-m", "liveweights.learn.process", folder / "job.json", folder],
            check=True,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            timeout=900,
        )
        assert (folder / WEIGHTS / "adapter_model.safetensors").is_file()
        found.append(msgspec.json.decode((folder / RESULT).read_bytes(), type=Result))
    alone, shared = found
    assert alone.report.steps > 1
    assert shared.report.loss == pytest.approx(alone.report.loss, rel=1e-4)
    assert shared.report.kl == pytest.approx(alone.report.kl, rel=1e-3, abs=1e-6)
    for one, other in zip(alone.held_back, shared.held_back, strict=True):
        assert other.candidate_answer == pytest.approx(one.candidate_answer, abs=1e-3)
