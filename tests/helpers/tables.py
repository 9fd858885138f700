"""Tables of cases, of which the quick tests run a part."""

import pytest


def first(count, cases):
    """The first few cases as they are; the rest, which repeat what these show, for the slow tests
    alone."""
    cases = list(cases)
    slow = [
        pytest.param(*(case if type(case) is tuple else (case,)), marks=pytest.mark.slow)
        for case in cases[count:]
    ]
    return cases[:count] + slow
