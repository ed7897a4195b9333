"""OpenVINO GenAI with continuous batching, for `engine.py`; runs in an environment of its own.

`python _openvino.py MODEL.gguf THREADS STREAMS TOKENS`: a line of JSON `[id, token ids, how many]`
comes on standard input for each request, and `[id, how many were decoded]` goes out once it is
answered; `[]` says that the model is loaded. It ends with its input.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
from typing import Any

import numpy as np
from openvino import Tensor
from openvino_genai import (
    ContinuousBatchingPipeline,
    GenerationConfig,
    GenerationStatus,
    SchedulerConfig,
)


def load(gguf: str, threads: int, streams: int, tokens: int) -> Any:
    """``streams`` at once, and at most ``tokens`` read in one step."""
    scheduler = SchedulerConfig()
    scheduler.cache_size = 2  # GiB
    scheduler.max_num_seqs = streams
    scheduler.max_num_batched_tokens = tokens
    scheduler.enable_prefix_caching = True
    options = {"INFERENCE_NUM_THREADS": threads}
    return ContinuousBatchingPipeline(gguf, scheduler, "CPU", options)


def say(*words: int) -> None:
    print(json.dumps(words), flush=True)


def serve(pipeline: Any) -> None:
    asked: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            asked.put(line)
        asked.put("")

    threading.Thread(target=listen, daemon=True).start()
    say()
    running: dict[int, Any] = {}
    while True:
        while not running or not asked.empty():
            line = asked.get()
            if not line:
                return
            id, ids, count = json.loads(line)
            config = GenerationConfig()
            config.max_new_tokens, config.ignore_eos, config.do_sample = count, True, False
            prompt = Tensor(np.array([ids], dtype=np.int64))
            running[id] = pipeline.add_request(id, prompt, config)
        pipeline.step()
        for id, handle in list(running.items()):
            if handle.get_status() != GenerationStatus.RUNNING:
                (output,) = running.pop(id).read_all()
                say(id, len(output.generated_ids))


if __name__ == "__main__":
    path, *numbers = sys.argv[1:]
    serve(load(path, *map(int, numbers)))
