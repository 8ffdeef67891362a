"""The Hugging Face Hub: load an adapter after checking that it fits its base, and publish what a run has made.

Light to import: torch comes in when an adapter is checked or loaded.
"""

from korean_llm.hub.fetch import Fetched, fetch_adapter
from korean_llm.hub.load import Adapted, check_adapter, load_adapter
from korean_llm.hub.push import Pushed, push

__all__ = ["Adapted", "Fetched", "Pushed", "check_adapter", "fetch_adapter", "load_adapter", "push"]
