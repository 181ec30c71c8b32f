import pytest
from surfshift.analysis.coatings.energies import shipped_table
from surfshift.analysis.coatings.errors import EmptyPhaseSpaceError, MissingKeyError
from surfshift.analysis.coatings.screening import Settings, electrode_of
from surfshift.workflows.materials_project import fetch_table
from surfshift.workflows.screening import cache_key, load_table, screen_all

PAIRS = [(("LTP", "LiTi2P3O12"), electrode_of("Li"))]
QUICK = Settings(n_samples=8)


def test_a_stopped_screening_goes_on_and_gives_the_same(tmp_path):
    said = []
    first, _ = screen_all(
        ["LiF", "Li2O"], PAIRS, shipped_table(), QUICK, folder=tmp_path, workers=1, report=said.append
    )
    key = cache_key(shipped_table(), QUICK, "Li2O", PAIRS)
    (tmp_path / "coatings" / f"{key}.json").unlink()
    said.clear()
    again, _ = screen_all(
        ["LiF", "Li2O"], PAIRS, shipped_table(), QUICK, folder=tmp_path, workers=1, report=said.append
    )
    assert again == first
    assert said == ["1 of 2 coatings were finished before", "2/2 Li2O"]


def test_results_on_disk_belong_to_their_settings_and_table():
    keys = {
        cache_key(shipped_table(), QUICK, "LiF", PAIRS),
        cache_key(shipped_table(), Settings(n_samples=9), "LiF", PAIRS),
        cache_key(shipped_table(), QUICK, "LiCl", PAIRS),
        cache_key(load_table("experiment", None, []), QUICK, "LiF", PAIRS),
    }
    assert len(keys) == 4


def test_a_coating_that_cannot_be_screened_is_named_and_the_others_go_on(tmp_path):
    results, refused = screen_all(["LiF", "RbF"], PAIRS, shipped_table(), QUICK, folder=tmp_path, workers=1)
    assert [r.coating for r in results] == ["LiF"]
    assert "no phase of Rb" in refused["RbF | LTP | Li"]
    with pytest.raises(EmptyPhaseSpaceError, match="nothing could be screened"):
        screen_all(["RbF"], PAIRS, shipped_table(), QUICK, folder=tmp_path, workers=1)


def test_materials_project_needs_a_key(tmp_path, monkeypatch):
    monkeypatch.delenv("MP_API_KEY", raising=False)
    monkeypatch.delenv("PMG_MAPI_KEY", raising=False)
    with pytest.raises(MissingKeyError, match="MP_API_KEY"):
        fetch_table(["Li", "O"], tmp_path)


def test_an_earlier_fetch_is_read_from_disk_without_a_key(tmp_path, monkeypatch):
    monkeypatch.delenv("MP_API_KEY", raising=False)
    (tmp_path / "Li-O.json").write_text(shipped_table().model_dump_json())
    assert fetch_table(["O", "Li"], tmp_path) == shipped_table()
