"""An update on several processes, GPUs or machines, started by Ray Train.

``RAY_ADDRESS`` names a running cluster; without it Ray starts on this machine. All machines have
to see the cycle's folder and the model's under the same paths.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any


class RayMissing(RuntimeError):
    """``learn.workers`` asks for Ray, which is not installed."""


def learn_on_ray(job_file: Path, folder: Path, workers: int) -> None:
    """Run ``learner.learn`` in ``workers`` processes that share one update; rank 0 writes.

    Each gets a GPU where the cluster has any. Raises RayMissing, and Ray's TrainingFailedError.
    """
    try:
        ray: Any = import_module("ray")
        train: Any = import_module("ray.train")
        torch: Any = import_module("ray.train.torch")
    except ImportError as error:
        raise RayMissing("learn.workers needs Ray: pip install 'liveweights[ray]'") from error
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    local: dict[str, int] = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": workers}
    ray.init(include_dashboard=False, log_to_driver=False, **local)
    try:
        gpus = ray.cluster_resources().get("GPU", 0) >= workers
        torch.TorchTrainer(
            _work,
            train_loop_config={"job": str(job_file.resolve()), "folder": str(folder.resolve())},
            scaling_config=train.ScalingConfig(num_workers=workers, use_gpu=gpus),
            # What is counted lies in the machine's memory, also where weights are on a GPU.
            torch_config=torch.TorchConfig(backend="cpu:gloo,cuda:nccl" if gpus else "gloo"),
            run_config=train.RunConfig(storage_path=str(folder.resolve() / "ray")),
        ).fit()
    finally:
        ray.shutdown()


def _work(places: Mapping[str, Any]) -> None:
    import torch

    given = import_module("ray.train.torch").get_device()
    if given.type == "cuda":
        torch.cuda.set_device(given)  # its own, which "cuda" names from now on
    from liveweights.learn.job import read_job
    from liveweights.learn.learner import learn

    learn(read_job(Path(places["job"])), Path(places["folder"]))
