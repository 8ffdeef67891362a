"""Mask personal data with ko-pii: rule-based, with checksums where the numbers have them."""

from __future__ import annotations

from collections import Counter

from ko_pii import detect_all, redact

# What identifies a person by itself. Names, places and court case numbers stay: masking every name in prose and
# rulings would teach a model to write labels instead of names.
LABELS = ("RRN", "FRN", "DRIVER_LICENSE", "PASSPORT", "CARD", "ACCOUNT", "PHONE", "FAX", "EMAIL", "MEDICAL_INSURANCE")


def mask(text: str) -> tuple[str, Counter[str]]:
    """The text with personal data replaced by labels such as [전화번호], and how many of each label there were."""
    found = detect_all(text, include=LABELS)
    if not found:
        return text, Counter()
    return redact(text, found), Counter(str(item.label) for item in found)
