"""Exports as repositories on a hub: made private, filled by one commit or not at all."""

from __future__ import annotations

import textwrap
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from liveweights.weights.hub import SCHEME, Address, HubError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_ALWAYS = {".gitattributes"}
"""What a hub itself puts into a repository without anything."""


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What a hub has now: ``url`` of the repository, and the ``commit`` that filled it."""

    url: str
    commit: str


def check_room(address: Address, *, public: bool) -> None:
    """Raise HubError unless there is a token that may write, and nothing in the repository, which
    need not be there; where it is and everybody may see it, the export has to be ``public``."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    api = HfApi()
    where = f"{SCHEME}{address.repository}"
    if address.revision is not None:
        raise HubError(f"name a repository alone: {where}")
    with _told(where, api.endpoint):
        who = api.whoami()
        if who.get("auth", {}).get("accessToken", {}).get("role") == "read":
            raise HubError("the token may read only: it has to be one that may write")
        try:
            files = set(api.list_repo_files(address.repository)) - _ALWAYS
        except GatedRepoError as error:
            raise HubError(f"{where} is there already and others'; name a new one") from error
        except RepositoryNotFoundError:
            return
        _check_sight(api, address, public=public)
    if files:
        raise HubError(
            f"{where} is there already, with {sorted(files)[0]}"
            f"{' and more' if len(files) > 1 else ''}; name a new repository"
        )


def upload(folder: Path, address: Address, *, public: bool, message: str) -> Uploaded:
    """Make the repository where it is missing, for everybody to see where it is to be ``public``,
    and put all files of ``folder`` into it. Raises HubError, also where everybody may see one that
    was there and it is not to be ``public``."""
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi()
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    added = [CommitOperationAdd(file.relative_to(folder).as_posix(), file) for file in files]
    with _told(f"{SCHEME}{address.repository}", api.endpoint):
        made = api.create_repo(address.repository, private=not public, exist_ok=True)
        _check_sight(api, address, public=public)
        done = api.create_commit(address.repository, added, commit_message=message)
    return Uploaded(str(made), done.oid)


def _check_sight(api: HfApi, address: Address, *, public: bool) -> None:
    if not public and not api.model_info(address.repository).private:
        raise HubError(
            f"{SCHEME}{address.repository} is there already, and everybody may see it: say --public"
            " if they may, or name a new repository"
        )


@contextmanager
def _told(where: str, endpoint: str) -> Generator[None]:
    """What goes wrong on a hub, as a sentence."""
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    try:
        yield
    except HubError:
        raise
    except LocalTokenNotFoundError as error:
        raise HubError("there is no token to write with: `hf auth login`, or HF_TOKEN") from error
    except OfflineModeIsEnabled as error:
        raise HubError("HF_HUB_OFFLINE is set: no hub is asked") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        why = {
            401: "it does not know the token",
            403: f"the token may not write to {where}",
        }.get(status, f"{status}: {_sentence(error)}")
        raise HubError(f"the hub at {endpoint} refuses: {why}") from error
    except Exception as error:  # whatever its HTTP client and its transfers raise
        raise HubError(
            f"the hub at {endpoint} did not take it ({type(error).__name__}: {_sentence(error)})"
        ) from error


def _sentence(error: Exception) -> str:
    return textwrap.shorten(str(error), 300) or repr(error)
