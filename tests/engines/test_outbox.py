from __future__ import annotations

import asyncio
import threading

from liveweights.engines.outbox import Outbox


def test_items_come_in_order_and_a_loop_is_woken_once() -> None:
    async def go() -> None:
        outbox: Outbox[int] = Outbox()
        queues: list[asyncio.Queue[int]] = [asyncio.Queue() for _ in range(3)]
        loop = asyncio.get_running_loop()
        woken: list[object] = []
        wake = loop.call_soon_threadsafe
        loop.call_soon_threadsafe = lambda *a, **k: (woken.append(a), wake(*a, **k))[1]  # type: ignore[method-assign]

        def work() -> None:
            for item in range(9):
                outbox.put(loop, queues[item % 3], item)
            outbox.flush()

        thread = threading.Thread(target=work)
        thread.start()
        got = [[await queue.get() for _ in range(3)] for queue in queues]
        thread.join()
        assert got == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]
        assert len(woken) == 1

    asyncio.run(go())


def test_nothing_goes_out_before_it_is_flushed_and_nothing_twice() -> None:
    async def go() -> None:
        outbox: Outbox[int] = Outbox()
        queue: asyncio.Queue[int] = asyncio.Queue()
        outbox.put(asyncio.get_running_loop(), queue, 1)
        await asyncio.sleep(0)
        assert queue.empty()
        outbox.flush()
        outbox.flush()
        await asyncio.sleep(0)
        assert queue.qsize() == 1

    asyncio.run(go())


def test_a_closed_loop_is_passed_over() -> None:
    outbox: Outbox[int] = Outbox()
    gone = asyncio.new_event_loop()
    gone.close()

    async def go() -> int:
        queue: asyncio.Queue[int] = asyncio.Queue()
        outbox.put(gone, asyncio.Queue(), 1)
        outbox.put(asyncio.get_running_loop(), queue, 2)
        outbox.flush()
        return await queue.get()

    assert asyncio.run(go()) == 2


def test_a_loop_that_closes_while_it_is_woken_keeps_no_other_waiting() -> None:
    class Closing(asyncio.SelectorEventLoop):
        late = False

        def is_closed(self) -> bool:
            return super().is_closed() and not self.late

    outbox: Outbox[int] = Outbox()
    gone = Closing()
    gone.close()
    gone.late = True  # it says what was true a moment ago

    async def go() -> int:
        queue: asyncio.Queue[int] = asyncio.Queue()
        outbox.put(gone, asyncio.Queue(), 1)
        outbox.put(asyncio.get_running_loop(), queue, 2)
        outbox.flush()
        return await queue.get()

    assert asyncio.run(go()) == 2
    gone.late = False
