"""Which models may answer a request: by the rules of use, and by what is asked of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from liveweights.http.authentication import check_model
from liveweights.http.errors import ApiError, bad_request
from liveweights.meter.keys import Client
from liveweights.serve.models import Models
from liveweights.serve.router import UnknownModel
from liveweights.terms.current import Terms
from liveweights.terms.decision import Decision, Question
from liveweights.terms.needs import NOTHING, Needs
from liveweights.terms.roster import AUTO, NoModelFits, NoSuchModel, Removal, Roster
from liveweights.terms.route import ANY, Route, RouteError, parse_route

RouteOf = Callable[[Client], Route]
"""What a key's requests ask of a model where they do not say."""
Headers = tuple[tuple[bytes, bytes], ...]
NOTICE, WARNING = b"x-model-notice", b"x-terms-warning"
KEPT = 10_000
"""Headers that are kept, of models for tenants."""


def any_route(client: Client) -> Route:
    """Nothing is asked."""
    return ANY


class Choices:
    """Chooses by ``terms`` among models of ours and hosted ones. For use from one event loop."""

    def __init__(self, terms: Terms, models: Models, route_of: RouteOf = any_route) -> None:
        self._terms = terms
        self._models = models
        self._route_of = route_of
        self._headers: dict[tuple[str, Question], Headers] = {}
        self._of: Roster | None = None

    def choose(
        self, client: Client, name: str, wish: Any = None, needs: Needs = NOTHING
    ) -> tuple[str, ...]:
        """The models that may answer what ``client`` asks of the model ``name``, the first choice
        first, and none that the key is not for; ``wish`` is the request's ``route``, None where it
        has none, and ``needs`` what it needs of a model that it does not name.

        A name that nobody here knows stays as it is, and what the service asks of itself is asked
        of the model that it names. Raises ApiError: 400 for a route that is not understood, 403
        where the key is not for it or the terms deny it, 422 where no model fits.
        """
        if client.own:
            return (name,)
        if name != AUTO:
            check_model(client, name)
        route = self._read(wish, client)
        known = self._find(name)
        if known is None:
            return (name,)
        try:
            names = self._terms.choose(known, client.tenant, route, needs)
        except NoSuchModel as error:
            raise bad_request(f"{_sentence(error)}.", "route.fallback", "invalid_value") from None
        except NoModelFits as error:
            raise _refusal(name, error) from None
        called = (name if one == known else one for one in names)
        allowed = tuple(one for one in called if client.rights.allow_model(one))
        if not allowed:
            check_model(client, names[0])
        return allowed

    def headers(self, model: str, tenant: str) -> Headers:
        """What is owed with each answer of a model: the notices that its licence asks for, and
        which rules warn of it."""
        known = self._find(model)
        if known is None:
            return ()
        if self._of is not self._terms.roster or len(self._headers) >= KEPT:
            self._of = self._terms.roster
            self._headers.clear()
        key = (known, self._terms.ask("route", tenant))
        headers = self._headers.get(key)
        if headers is None:
            decision = self._terms.decide(*key)
            headers = self._headers[key] = tuple(_headers(decision))
        return headers

    def _find(self, name: str) -> str | None:
        """What the terms know it as: for a checkpoint, that is the model that it is of."""
        roster = self._terms.roster
        if name in roster or name == AUTO:
            return name
        try:
            model = self._models.find(name)
        except UnknownModel:
            return None
        return next((route.name for route in model.router.routes() if route.name in roster), None)

    def _read(self, wish: Any, client: Client) -> Route:
        try:
            defaults = self._route_of(client)
            return defaults if wish is None else parse_route(wish, defaults)
        except RouteError as error:
            raise bad_request(f"{_sentence(error)}.", "route", "invalid_value") from None


def _headers(decision: Decision) -> Iterator[tuple[bytes, bytes]]:
    for text in decision.notices:
        yield NOTICE, _printable(text)
    warning = [one.rule for one in decision.matched if one.then == "warn" and one.aside is None]
    if warning:
        yield WARNING, _printable(", ".join(warning))


def _printable(text: str) -> bytes:
    """In ASCII, on one line."""
    return " ".join(text.split()).encode("ascii", "replace")


def _refusal(name: str, error: NoModelFits) -> ApiError:
    first = _denial(name, error.removed)
    if first is None:
        message = f"{_sentence(error)}."
        return ApiError(422, message, param="route", code="no_model_fits")
    message = (
        f"The model {name!r} may not be used for this: {first.reason}. The rule is {first.rule}."
    )
    return ApiError(403, message, type="permission_error", param="model", code="model_denied")


def _denial(name: str, removed: Sequence[Removal]) -> Removal | None:
    """Where nothing but the terms stands between a request and the model that it names."""
    if name == AUTO or not all(one.rule.startswith("terms.") for one in removed):
        return None
    return removed[0]


def _sentence(error: Exception) -> str:
    text = str(error).rstrip(".")
    return text[:1].upper() + text[1:]
