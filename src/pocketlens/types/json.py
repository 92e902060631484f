"""Plain data."""

from typing import Any

Json = dict[str, Any]
"""What JSON can say: string keys; numbers, strings, booleans, None, lists and such mappings."""
