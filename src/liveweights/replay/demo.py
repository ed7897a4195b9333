"""The demo: a model gets better from its users while it serves them, and the proof."""

from __future__ import annotations

import asyncio
import secrets
import shlex
import signal
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Self

from liveweights.replay import report
from liveweights.replay.client import Client
from liveweights.replay.course import Course, Result
from liveweights.replay.display import Board, Display
from liveweights.replay.folder import hold_folder, pid_file
from liveweights.replay.plan import Plan, make_plan, service_settings
from liveweights.replay.service import Service, ServiceFailed, free_port, write_config
from liveweights.replay.settings import DemoOptions
from liveweights.replay.speed import measure_apart
from liveweights.replay.traffic import Tally

INTERRUPTED = 130
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Ctrl-C, SIGTERM and a closed terminal end the demo, at whatever moment they come, but for
    those that whoever started it lets it ignore.

    A running ``task`` is cancelled, other code gets a KeyboardInterrupt. What is ``whole`` is
    finished first.
    """

    def __init__(self) -> None:
        self.task: asyncio.Task[Any] | None = None
        self._whole = self._came = False
        self._former: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            # `nohup` ignores SIGHUP, and a shell SIGINT of what it runs in the background.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._former[number] = signal.signal(number, self._come)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    @contextmanager
    def whole(self) -> Generator[None]:
        """What is done within is done to its end. Raises KeyboardInterrupt then, if one came."""
        self._whole = True
        try:
            yield
        finally:
            self._whole = False
        if self._came:
            raise KeyboardInterrupt

    def ignore(self) -> None:
        """From now on they are too late."""
        self._whole = True

    def _come(self, number: int, frame: FrameType | None) -> None:
        if self._whole:
            self._came = True
        elif self.task is None or self.task.done():
            raise KeyboardInterrupt
        else:
            self.task.get_loop().call_soon_threadsafe(self.task.cancel)


def run_demo(options: DemoOptions) -> int:
    """Run the demo; 0 if no request failed and the last checkpoint is shown to be better than the
    base, 1 with a sentence why not, 130 if it was interrupted.

    Writes ``scorecard.json``, ``accept_rate.png`` and ``service.log`` into ``options.folder``.
    The service is stopped whatever happens, unless ``options.keep`` is set and the demo came
    to its end. Raises NotForDemo and Held, see ``hold_folder``.
    """
    folder = Path(options.folder).absolute()
    with Interrupts() as interrupts:
        try:
            with hold_folder(folder):
                return _show(folder, options, interrupts)
        except KeyboardInterrupt:
            return INTERRUPTED


def _show(folder: Path, options: DemoOptions, interrupts: Interrupts) -> int:
    """As ``run_demo``, in a folder that is held."""
    board = Board(Tally())
    display = Display(board, options.plain)
    keep = False
    operator_key = secrets.token_urlsafe(24)
    service: Service | None = None
    try:
        with display:
            plan = asyncio.run(_plan(display, board, interrupts))
            with interrupts.whole():
                service = _start(folder, options, plan, operator_key)
            result = asyncio.run(
                _run(service, options, plan, board=board, display=display, interrupts=interrupts)
            )
        with interrupts.whole():
            failure = _close(result, options, board, display, folder=folder)
        keep = options.keep
        if failure:
            display.say(failure, "bold red")
        return 1 if failure else 0
    except (KeyboardInterrupt, asyncio.CancelledError):
        display.say("Interrupted: stopping the service.")
        return INTERRUPTED
    except (ServiceFailed, RuntimeError) as error:
        display.say(str(error), "bold red")
        return 1
    finally:
        interrupts.ignore()
        if keep and service is not None and service.is_running:
            _say_where(service, options, operator_key, display)
        elif service is not None:
            service.stop()
            pid_file(folder).unlink(missing_ok=True)


async def _plan(display: Display, board: Board, interrupts: Interrupts) -> Plan:
    interrupts.task = asyncio.current_task()
    board.phase = "measuring how fast this machine computes"
    display.tick()
    return make_plan(await measure_apart())


def _start(folder: Path, options: DemoOptions, plan: Plan, operator_key: str) -> Service:
    """A service on an empty home. Raises ServiceFailed."""
    settings = _merged(service_settings(plan), options.config)
    if options.keep:
        settings = _merged(settings, {"api": {"operator_key": operator_key}})
    config = folder / "liveweights.toml"
    write_config(config, settings)
    port = options.port or free_port()
    service = Service(folder / "home", config, port, folder / "service.log", model=options.model)
    pid_file(folder).write_text(str(service.pid))
    return service


def _merged(settings: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``settings`` with those of ``over``, table by table."""
    merged = dict(settings)
    for key, value in over.items():
        inner: Any = merged.get(key, {})
        merged[key] = _merged(inner, value) if isinstance(value, Mapping) else value
    return merged


async def _run(
    service: Service,
    options: DemoOptions,
    plan: Plan,
    *,
    board: Board,
    display: Display,
    interrupts: Interrupts,
) -> Result:
    interrupts.task = asyncio.current_task()

    async def tick() -> None:
        while True:
            display.tick()
            await asyncio.sleep(0.5)

    async with Client(service.url, timeout=options.traffic.timeout) as client:
        ticking = asyncio.create_task(tick())
        try:
            return await Course(service, client, options, plan, board, display).run()
        finally:
            ticking.cancel()


def _close(
    result: Result, options: DemoOptions, board: Board, display: Display, *, folder: Path
) -> str:
    """Show the end, write scorecard and plot; why the demo failed, or nothing."""
    tally = board.tally
    seconds = time.monotonic() - board.began
    files = report.write(folder, result, options, tally, seconds=seconds)
    board.phase = "done"
    (folder / "board.txt").write_text(display.capture(), encoding="utf-8")
    display.console.print()
    if result.proofs:
        report.show_places(display.console, result.proofs[-1])
    report.show_tables(display.console, result)
    display.say(
        f"{tally.requests} requests, {tally.failed} failed; {result.released} releases; "
        f"latency median {tally.latency(0.5):.2f} s, 95% {tally.latency(0.95):.2f} s; "
        f"{seconds:.0f} s in all"
    )
    display.say(f"wrote {files[0]} and {files[1]}")
    return why_failed(result, options, tally, folder / "service.log")


def why_failed(result: Result, options: DemoOptions, tally: Tally, log: Path) -> str:
    """One sentence with what to do, or nothing where the demo showed what it is to show."""
    if tally.failed:
        return (
            f"{tally.failed} of {tally.requests} requests failed, the last with "
            f"{tally.errors[-1]!r}: {log} says what the service did."
        )
    if not result.proofs:
        ends = "; ".join(
            f"cycle {cycle.id} {cycle.outcome}: {cycle.reason}"
            for cycle in result.status.cycles
            if cycle.outcome
        )
        return (
            f"Nothing was released within {options.most_minutes:g} minutes "
            f"({ends or 'no cycle ended'}): give it longer, with --most-minutes."
        )
    if not result.proofs[-1].is_clear:
        reward = result.proofs[-1].comparison.reward_diff
        return (
            f"The last checkpoint was not shown to be better than the base (mean reward "
            f"{reward.mean:+.3f}, 95% {reward.low:+.3f} to {reward.high:+.3f}): give it longer, "
            "with --long or --most-minutes."
        )
    if result.released < options.releases:
        return (
            f"{result.released} releases came where {options.releases} were demanded: give it "
            "longer, with --most-minutes, or demand fewer."
        )
    return ""


def _say_where(service: Service, options: DemoOptions, operator_key: str, display: Display) -> None:
    display.say(
        f"The service is still running.\n"
        f"  API      {service.url}/v1   (base_url of an OpenAI client; model {options.alias!r})\n"
        f"  console  {service.url}/   (any user name, password {operator_key})\n"
        f"  status   {service.url}/status   metrics {service.url}/metrics\n"
        f"  commands {shlex.join(service.command('status'))}\n"
        f"Stop it with: kill {service.pid}"
    )
