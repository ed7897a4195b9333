from __future__ import annotations

import asyncio

import pytest

from liveweights.gate.suites.mathematics import missing, open_mathematics

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"needs {missing()}")


def test_cases_are_the_same_each_time_and_answers_are_compared_as_mathematics() -> None:
    async def go() -> None:
        suite, again = open_mathematics(), open_mathematics()
        try:
            assert suite.cases() == again.cases()
            case = suite.cases()[0]
            for said, expected in [
                (f"The answer is {case.target}.", 1.0),
                (f"${case.target}.0$", 1.0),
                (f"{case.target}1", 0.0),
                ("", 0.0),
                ("9" * 50 + "^{" + "9" * 50 + "}!" * 20, 0.0),
            ]:
                assert (await suite.score(said, case))[0] == expected, said
        finally:
            await suite.close()
            await again.close()

    asyncio.run(go())
