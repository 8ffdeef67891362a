"""Load an adapter on its base: first everything that can be told without the base's weights, then the weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from korean_llm import console
from korean_llm.errors import KoreanLLMError
from korean_llm.hub.fetch import SETTINGS, WEIGHTS, Fetched, fetch, fetch_adapter, hub_id
from korean_llm.hub.identity import ADAPTER_CONFIG, read_base, read_json, shown
from korean_llm.machine import Machine

if TYPE_CHECKING:
    from peft import PeftModel

    from korean_llm.chat import Chat

_INSTEAD = "give the folder of the base with base="


@dataclass(frozen=True)
class Adapted:
    """An adapter on its base, ready to answer.

    Attributes:
        model: plain PEFT, in evaluation mode.
        chat: tokenizer and chat template the adapter was trained with.
        adapter, base: the folders they were read from.
        revision: the adapter's commit on the Hub, None for a local folder.
    """

    model: PeftModel
    chat: Chat
    adapter: Path
    base: Path
    revision: str | None


@dataclass(frozen=True)
class _BasePlace:
    """A local folder, or a repository of the Hub at a revision."""

    folder: Path | None
    repository: str = ""
    revision: str | None = None


def load_adapter(
    source: str | Path,
    *,
    base: str | Path | None = None,
    revision: str | None = None,
    machine: Machine = Machine(),  # noqa: B008  frozen
) -> Adapted:
    """Open an adapter from a folder or the Hub on its base, after checking that the two belong together.

    Args:
        source: adapter folder, or `org/name`, or `org/name@revision`.
        base: folder or Hub id of the base; by default the one the adapter names.

    Offline (HF_HUB_OFFLINE=1) both come from the cache or from folders. Raises KoreanLLMError, before any weights
    of the base are read or fetched, where the adapter is damaged or does not fit.
    """
    from peft import PeftModel
    from safetensors import SafetensorError

    from korean_llm.hub.check import check_weights, checked_chat
    from korean_llm.modeling.load import load_model

    fetched = fetch_adapter(source, revision)
    place = _base_place(fetched, base)
    folder = place.folder
    if folder is None:
        settings = fetch(place.repository, place.revision, SETTINGS, _INSTEAD)
        chat = checked_chat(fetched.folder, settings.folder)
        folder = fetch(place.repository, settings.revision, (*SETTINGS, *WEIGHTS), _INSTEAD).folder
    else:
        chat = checked_chat(fetched.folder, folder)
    check_weights(fetched.folder, folder)
    with console.working(f"opening {source}"):
        try:
            model = PeftModel.from_pretrained(load_model(folder, machine), str(fetched.folder)).eval()
        except (OSError, SafetensorError) as error:
            why = " ".join(str(error).split())[:160]
            raise KoreanLLMError(f"the base {shown(folder)} cannot be opened ({why}); fetch it again, whole.") from None
    return Adapted(model, chat, fetched.folder, folder, fetched.revision)


def check_adapter(adapter: Path, base: Path) -> None:
    """Raises KoreanLLMError, in one sentence that names both sides, where an adapter does not fit a base folder.

    Reads settings, tokenizers and the headers of the weights; loads no model.
    """
    from korean_llm.hub.check import check_weights, checked_chat

    checked_chat(adapter, base)
    check_weights(adapter, base)


def _base_place(fetched: Fetched, given: str | Path | None) -> _BasePlace:
    """Where the base is: as given, else as recorded beside the adapter, else as adapter_config.json names it.

    An adapter of the Hub names bases of the Hub only: no folder of this machine is opened because it says so.
    """
    adapter = fetched.folder
    config = read_json(adapter / ADAPTER_CONFIG) or {}
    named = str(config.get("base_model_name_or_path") or "")
    recorded = read_base(adapter)
    if given is not None:
        return _given_place(adapter, given, named, known=recorded is not None)
    if recorded:
        return _BasePlace(None, recorded.hub, recorded.revision)
    for folder in (adapter / named, Path(named)):
        if named and fetched.revision is None and (folder / "config.json").exists():
            return _BasePlace(folder.resolve())
    found = hub_id(named)
    if found is None:
        raise KoreanLLMError(
            f"{shown(adapter)} names {named or 'nothing'!r} as its base, which is neither a folder here nor a Hub id;"
            " give the base with base=, a folder or a Hub id."
        )
    return _BasePlace(None, found[0], config.get("revision") or found[1])


def _given_place(adapter: Path, given: str | Path, named: str, *, known: bool) -> _BasePlace:
    """The base that was asked for; known: its weights can be told from another's by what is recorded."""
    for folder in (Path(given).expanduser(), Path(given).expanduser() / "model"):
        if (folder / "config.json").exists():
            return _BasePlace(folder)
    found = hub_id(given)
    if found is None:
        raise KoreanLLMError(f"the base {given} holds no model (config.json is missing); give its folder or a Hub id.")
    if not known and hub_id(named) and hub_id(named) != found and named != found[0]:
        raise KoreanLLMError(
            f"{shown(adapter)} names {named} as its base, but {found[0]} was given; leave base out to take {named}."
        )
    return _BasePlace(None, *found)
