"""The demo: a model gets better from its users while it serves them, and the proof.

Start the service, ask the base model at held-out positions, let replayed developers type while
the service learns, ask the last released checkpoint at the same positions, and compare.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from liveweights.replay import plot
from liveweights.replay.client import Client, RequestFailed, Status
from liveweights.replay.corpus import Corpus, Split
from liveweights.replay.developer import Position
from liveweights.replay.display import Board, Display, closing_table, percent
from liveweights.replay.measure import Measurement, choose, compare_measurements, measure
from liveweights.replay.scorecard import Comparison
from liveweights.replay.service import Service, ServiceFailed, free_port, write_config
from liveweights.replay.settings import DemoOptions
from liveweights.replay.traffic import Tally, Traffic

START_SECONDS = 240.0
INTERRUPTED = 130
# How long the status may be unreadable before the service counts as gone.
_DEAF_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Result:
    """What the closing scorecard is made of."""

    corpus: Corpus
    split: Split
    files: Comparison
    packages: Comparison | None
    status: Status
    released: int
    traffic_seconds: float


def run_demo(options: DemoOptions) -> int:
    """Run the demo; 0 if nothing failed and enough was released, 130 if it was interrupted.

    Writes ``scorecard.json``, ``accept_rate.png`` and ``service.log`` into ``options.folder``.
    The service is stopped whatever happens, unless ``options.keep`` is set and the demo came
    to its end.
    """
    folder = Path(options.folder).absolute()
    board = Board(Tally())
    display = Display(board, options.plain)
    try:
        service = _start(folder, options)
    except ServiceFailed as error:
        display.say(str(error))
        return 1
    keep = False
    try:
        with display:
            result = asyncio.run(_demo(service, options, board, display))
        _close(result, options, board, display, folder)
        keep = options.keep
        return 0 if board.tally.failed == 0 and result.released >= options.releases else 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        display.say("Interrupted: stopping the service.")
        return INTERRUPTED
    except ServiceFailed as error:
        display.say(str(error))
        return 1
    finally:
        if keep and service.is_running:
            display.say(
                f"The service is still running at {service.url} (base_url for an OpenAI client: "
                f"{service.url}/v1). Stop it with: kill {service.pid}"
            )
        else:
            service.stop()
            _pid_file(folder).unlink(missing_ok=True)


def _start(folder: Path, options: DemoOptions) -> Service:
    """A service on an empty home. Raises ServiceFailed."""
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError, ValueError, ProcessLookupError):
        pid = int(_pid_file(folder).read_text())
        os.kill(pid, 0)
        raise ServiceFailed(
            f"the service of an earlier demo may still be running: stop it with `kill {pid}`, "
            f"or remove {_pid_file(folder)} if process {pid} is something else"
        )
    home = folder / "home"
    if home.exists():
        shutil.rmtree(home)
    config = folder / "liveweights.toml"
    write_config(config, options.config)
    port = options.port or free_port()
    service = Service(home, config, port, folder / "service.log", options.model)
    _pid_file(folder).write_text(str(service.pid))
    return service


def _pid_file(folder: Path) -> Path:
    return folder / "service.pid"


async def _demo(service: Service, options: DemoOptions, board: Board, display: Display) -> Result:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        # Both end the demo as Ctrl-C does.
        loop.add_signal_handler(number, task.cancel)
    async with Client(service.url, timeout=options.traffic.timeout) as client:
        ticking = asyncio.create_task(_tick(display))
        try:
            return await _circle(service, client, options, board, display)
        finally:
            ticking.cancel()


async def _circle(
    service: Service, client: Client, options: DemoOptions, board: Board, display: Display
) -> Result:
    reading = asyncio.create_task(asyncio.to_thread(_read_corpus, options))
    showing = asyncio.create_task(_show_start(service, board))
    try:
        await service.wait(client, START_SECONDS)
        corpus, split = await reading
    finally:
        showing.cancel()
        reading.cancel()
    files = choose(split.held_out_files, options.measure.files, options.measure, options.traffic)
    packages = choose(
        split.held_out_packages, options.measure.package_files, options.measure, options.traffic
    )
    first = board.status = await _first_status(client)
    base_id, alias = first.live or "", options.alias or first.alias
    display.say(
        f"{alias!r} is {base_id} at {service.url}; {len(split.training)} files to type, "
        f"{len(files)} positions in held-out files, {len(packages)} in held-out packages"
    )
    base = await _measure(client, base_id, [*files, *packages], "base", options, board)

    began = time.monotonic()
    traffic = Traffic(
        client, split.training, model=alias, settings=options.traffic, tally=board.tally
    )
    typing = asyncio.create_task(traffic.run())
    try:
        await _watch(service, client, typing, first, options, board, display)
        board.phase = "finishing requests under way"
        traffic.stop()
        await typing
    finally:
        typing.cancel()
    traffic_seconds = time.monotonic() - began

    board.status = await client.status()
    last_id = board.status.live or base_id
    last = base
    if last_id != base_id:
        last = await _measure(client, last_id, [*files, *packages], "last", options, board)
    board.status = await client.status()
    board.released = board.status.releases - first.releases
    count = len(files)
    return Result(
        corpus=corpus,
        split=split,
        files=compare_measurements(base[:count], last[:count], options.rewards),
        packages=(
            compare_measurements(base[count:], last[count:], options.rewards) if packages else None
        ),
        status=board.status,
        released=board.released,
        traffic_seconds=traffic_seconds,
    )


async def _watch(
    service: Service,
    client: Client,
    typing: asyncio.Task[Tally],
    first: Status,
    options: DemoOptions,
    board: Board,
    display: Display,
) -> None:
    """Follow the circle until enough was released and the time is used up.

    It does not end while a canary is open, as far as ``most_minutes`` allow: what is live then
    stays live while it is measured. Raises ServiceFailed if the service ends.
    """
    began = heard = time.monotonic()
    told = set[tuple[int, str]]()
    while True:
        now = time.monotonic()
        if not service.is_running:
            raise ServiceFailed(f"the service ended during the demo; see {service.log}")
        if typing.done():
            return
        try:
            board.status = await client.status()
            heard = now
        except RequestFailed as error:
            if now - heard > _DEAF_SECONDS:
                raise ServiceFailed(f"no status for {_DEAF_SECONDS:.0f} s: {error}") from error
        status = board.status
        board.released = status.releases - first.releases
        for cycle in status.cycles:
            if cycle.outcome and (cycle.id, cycle.outcome) not in told:
                told.add((cycle.id, cycle.outcome))
                about = f": {cycle.reason}" if cycle.reason else ""
                display.say(
                    f"cycle {cycle.id} {cycle.outcome} {cycle.candidate or ''}{about}".rstrip()
                )
        minutes = (now - began) / 60
        board.phase = f"developers are typing: {minutes:.1f} of {options.minutes:g} min"
        enough = board.released >= options.releases and status.canary is None
        if minutes >= options.most_minutes or (minutes >= options.minutes and enough):
            return
        await asyncio.sleep(1.0)


async def _measure(
    client: Client,
    model: str,
    places: list[Position],
    what: str,
    options: DemoOptions,
    board: Board,
) -> Measurement:
    def report(done: int) -> None:
        board.phase = f"measuring the {what} checkpoint: {done}/{len(places)} held-out positions"

    report(0)
    return await measure(
        client,
        model,
        places,
        tally=board.tally,
        concurrency=options.measure.concurrency,
        max_tokens=options.traffic.max_tokens,
        report=report,
    )


def _read_corpus(options: DemoOptions) -> tuple[Corpus, Split]:
    corpus = Corpus.find()
    return corpus, corpus.split(options.traffic.seed)


async def _show_start(service: Service, board: Board) -> None:
    while True:
        board.phase = f"starting: {service.last_line()}"[:110]
        await asyncio.sleep(0.3)


async def _tick(display: Display) -> None:
    while True:
        display.tick()
        await asyncio.sleep(0.5)


async def _first_status(client: Client) -> Status:
    """The status once the alias answers. Raises ServiceFailed after a minute without."""
    end = time.monotonic() + 60
    why = "the status names no live checkpoint"
    while time.monotonic() < end:
        try:
            status = await client.status()
            if status.live:
                return status
        except RequestFailed as error:
            why = str(error)
        await asyncio.sleep(0.3)
    raise ServiceFailed(f"no model is live: {why}")


def _close(
    result: Result, options: DemoOptions, board: Board, display: Display, folder: Path
) -> None:
    """Print the scorecard, write it as JSON, and draw the plot."""
    tally = board.tally
    seconds = time.monotonic() - board.began
    scorecard = scorecard_of(result, tally, seconds)
    path, picture = folder / "scorecard.json", folder / "accept_rate.png"
    path.write_text(json.dumps(scorecard, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    rate = f"temperature {options.traffic.temperature:g}"
    plot.draw(
        picture,
        _columns(result, tally),
        options.rewards,
        f"live traffic at {rate}, held-out positions at temperature 0",
    )
    display.console.print()
    display.console.print(closing_table("Held-out files (no developer typed them)", result.files))
    if result.packages is not None:
        display.console.print(
            closing_table("Held-out packages (no file of them was typed)", result.packages)
        )
    display.say(
        f"{tally.requests} requests, {tally.failed} failed; {result.released} releases; "
        f"latency median {tally.latency(0.5):.2f} s, 95% {tally.latency(0.95):.2f} s; "
        f"{seconds:.0f} s in all"
    )
    for error in list(tally.errors)[-3:]:
        display.say(f"failed: {error}")
    low = result.files.reward_diff.low
    better = "better" if low > 0 else "not shown to be better"
    display.say(
        f"On held-out files the last checkpoint is {better} than the base "
        f"(mean reward {result.files.reward_diff.mean:+.4f}, accept rate "
        f"{percent(result.files.accept_rate_diff.mean, sign=True)})."
    )
    display.say(f"wrote {path} and {picture}")


def scorecard_of(result: Result, tally: Tally, seconds: float) -> dict[str, object]:
    """The content of ``scorecard.json``; ``seconds`` is the whole run."""
    files = result.files.as_dict()
    return {
        "requests": tally.requests,
        "failed": tally.failed,
        "releases": result.released,
        "positions": files["positions"],
        "seconds": round(seconds, 1),
        "base": files["base"],
        "last": files["last"],
        "reward_diff": files["reward_diff"],
        "accept_rate_diff": files["accept_rate_diff"],
        "packages": result.packages.as_dict() if result.packages else None,
        "completions": tally.completions,
        "feedback": tally.feedback,
        "latency": {"median": _known(tally, 0.5), "p95": _known(tally, 0.95)},
        "traffic": {
            "seconds": round(result.traffic_seconds, 1),
            "checkpoints": {
                checkpoint: {
                    "asked": counts.asked,
                    "shown": counts.shown,
                    "accepted": counts.accepted,
                    "silence": counts.silence,
                }
                for checkpoint, counts in tally.checkpoints.items()
            },
        },
        "corpus": {
            "training_files": len(result.split.training),
            "dropped_as_repeating": result.split.dropped,
            "held_out_packages": sorted({f.package for f in result.split.held_out_packages}),
            "packages": {
                package.name: f"{package.version}, {package.licence}"
                for package in result.corpus.packages
            },
        },
        "errors": list(tally.errors),
    }


def _known(tally: Tally, share: float) -> float | None:
    return round(tally.latency(share), 3) if tally.seconds else None


def _columns(result: Result, tally: Tally) -> list[plot.Column]:
    """Base first, then in the order of the first answers; what was only ever a canary says so."""
    base, last = result.files.base.checkpoint, result.files.last.checkpoint
    promoted = {cycle.candidate for cycle in result.status.cycles if cycle.outcome == "promoted"}
    columns = list[plot.Column]()
    for checkpoint in dict.fromkeys([base, *tally.checkpoints, last]):
        digest = checkpoint.partition("@")[2][:6] or checkpoint
        if checkpoint == base:
            note = "base"
        else:
            note = "released" if checkpoint in {*promoted, last} else "canary only"
        scores = [
            None if part is None else {base: part.base, last: part.last}.get(checkpoint)
            for part in (result.files, result.packages)
        ]
        columns.append(plot.Column(f"{digest}\n{note}", tally.checkpoints.get(checkpoint), *scores))
    return columns
