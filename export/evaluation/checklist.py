"""The CLAIM 2024 checklist (doi 10.1148/ryai.240300), as far as a tool can fill it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

FILLED, USER, NOT_APPLICABLE = "filled", "user", "n/a"


@dataclass(frozen=True)
class Item:
    """One item of the checklist."""

    topic: str
    status: str  # `filled` by this evaluation, for the `user`, or `n/a`
    text: str  # the answer, what is to be told, or why it does not apply


def claim_items(facts: Mapping[str, str], idle: Mapping[str, str]) -> list[Item]:
    """The items that concern a test of a network, in the order of the checklist.

    Args:
        facts: what the evaluation knows, by topic of an item.
        idle: why an item does not apply here, by its topic.
    """
    return [_item(topic, question, facts, idle) for topic, question in _ITEMS]


def _item(topic: str, question: str, facts: Mapping[str, str], idle: Mapping[str, str]) -> Item:
    if topic in facts:
        return Item(topic, FILLED, facts[topic])
    return Item(topic, NOT_APPLICABLE, idle[topic]) if topic in idle else Item(topic, USER, question)


_ITEMS = (
    ("Study design", "prospective or retrospective, and its goal"),
    ("Data sources", "where the images come from, and when they were taken"),
    ("Inclusion and exclusion", "which patients and images were taken, and which were not"),
    ("De-identification", "how, and who looked"),
    ("Missing and unreadable data", "how many images were left out, and why"),
    ("Reference standard", "who read the images, how well they know them, and how many read each"),
    ("Data partitions", "how training and test images were separated, and at which level"),
    ("Intended use", "for whom, where, and for which decision"),
    ("Model", "architecture, inputs, outputs, weights"),
    ("Preprocessing", "from file to the network's input"),
    ("Software and hardware", "versions, processor"),
    ("Operating point", "how the threshold was chosen, and when it was frozen"),
    ("Measures of performance", "which, and why these"),
    ("Uncertainty", "intervals, and their methods"),
    ("Robustness", "subgroups, other sites, other devices"),
    ("Explainability", "what is shown of where the network looks, and how well that was tested"),
    ("External test", "whether the images are of another institution than those of training"),
    ("Failure analysis", "which images were decided wrongly, and what they have in common"),
    ("Limitations", "bias, small numbers, what was not tested"),
    ("Data and code", "where images, code and network can be had"),
)
