import pytest
from surfshift.workflows.engines.protocols import (
    ClusterProtocol,
    UnknownProtocolError,
    load_protocol,
    protocol_names,
)


def test_every_shipped_protocol_is_valid_and_differs() -> None:
    protocols = [load_protocol(name) for name in protocol_names()]
    assert [p.name for p in protocols] == ["fast", "balanced", "stringent", "hybrid"]
    assert len({p.hash for p in protocols}) == 4


def test_round_trip_keeps_the_hash() -> None:
    protocol = load_protocol("balanced")
    again = ClusterProtocol.model_validate_json(protocol.model_dump_json())
    assert again == protocol
    assert again.hash == protocol.hash


def test_hash_follows_the_numbers_not_the_words() -> None:
    fast = load_protocol("fast")
    assert load_protocol("fast", description="other words").hash == fast.hash
    assert load_protocol("fast", min_gap_ev=2.0).hash == fast.hash
    assert load_protocol("fast", shells=3).hash != fast.hash
    assert load_protocol("fast", program="nwchem").hash != fast.hash


def test_typo_gets_the_nearest_name() -> None:
    with pytest.raises(UnknownProtocolError, match="did you mean 'balanced'"):
        load_protocol("balansed")
    with pytest.raises(UnknownProtocolError, match="did you mean 'shells'"):
        load_protocol("fast", shels=3)


def test_value_that_does_not_fit_is_named() -> None:
    with pytest.raises(UnknownProtocolError, match="shells"):
        load_protocol("fast", shells=0)
