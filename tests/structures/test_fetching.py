"""Databases: what is said when a client or an entry is missing. Nothing here asks a database."""

import importlib.util

import pytest
from surfshift.structures.fetching import FetchError, fetch_materials_project, fetch_optimade


@pytest.mark.skipif(importlib.util.find_spec("mp_api") is not None, reason="the client is installed")
def test_missing_client_says_the_install_line() -> None:
    with pytest.raises(FetchError, match=r"mp-7848: .*pip install mp-api"):
        fetch_materials_project("mp-7848")


def test_unknown_optimade_provider_lists_the_known_ones() -> None:
    with pytest.raises(FetchError, match=r"'nowhere' is not known; known: .*cod"):
        fetch_optimade("1", provider="nowhere")
