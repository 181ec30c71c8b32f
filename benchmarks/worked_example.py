"""The AlPO4 study end to end: what it says, what an adaptive run would have computed, and the figures of its docs page.

    surfshift run examples/alpo4/study.yaml
    python benchmarks/worked_example.py examples/alpo4/study.yaml --images docs/images

The adaptive run is replayed on the finished tensors of the exhaustive one: the same rule decides, stage by stage, which
of them it would have asked for, and their processor time is added up.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from surfshift.analysis.advice import advise
from surfshift.analysis.report.paragraph import paragraph
from surfshift.analysis.report.write import write_report
from surfshift.analysis.vocabulary import SiteTensors, StudyResult
from surfshift.workflows.adaptive import decide
from surfshift.workflows.candidates import Inputs, always_present_ids, load_inputs
from surfshift.workflows.stages import references_for
from surfshift.workflows.study import StudyFile, load_study
from surfshift.workflows.study_run import run_folder

FIGURES = ("populations", "evidence", "gains", "coupling-27Al")
WIDTH = 900


def replay(study: StudyFile, inputs: Inputs, result: StudyResult) -> tuple[list[SiteTensors], list[str]]:
    """Tensors that an adaptive run would have computed, in its order, and what it decided."""
    candidates = [r.candidate for r in result.relaxations]
    known = {(t.structure_id, t.atom_indices[0]): t for own in result.tensors.values() for t in own}
    done: list[SiteTensors] = []
    while True:
        decision = decide(study, inputs, candidates, done, references_for(study, inputs))
        if not decision.todo:
            return done, [*decision.notes, *decision.ruled_out.values()]
        done += [known[c.structure.content_id, orbit.atom_indices[0]] for c, orbit in decision.todo]


def adaptive_result(study: StudyFile, inputs: Inputs, result: StudyResult) -> tuple[StudyResult, list[SiteTensors]]:
    """The result that those tensors alone give."""
    from surfshift.analysis.matching import match
    from surfshift.workflows.adaptive import scaled_none_prior

    done, notes = replay(study, inputs, result)
    decision = decide(study, inputs, [r.candidate for r in result.relaxations], done, references_for(study, inputs))
    alive = {c.id for c in decision.alive}
    predicted = {
        key: [s for s in result.sites if s.candidate_id == key and s.isotope in decision.complete] for key in alive
    }
    measured = [m for m in inputs.measurements if m.isotope in decision.complete]
    settings = study.matching.model_copy(
        update={
            "always_present": always_present_ids(study, decision.alive),
            "none_prior": scaled_none_prior(study.matching.none_prior, len(result.relaxations), len(alive)),
        }
    )
    for note in notes:
        print(f"  {note}")
    return result.model_copy(update={"assignment": match(predicted, measured, inputs.references, settings)}), done


def main() -> None:
    """Print the example's numbers and write its figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("study", type=Path)
    parser.add_argument("--images", type=Path)
    given = parser.parse_args()
    study = load_study(given.study)
    folder = run_folder(study, given.study).report
    result = StudyResult.model_validate_json((folder / "result.json").read_bytes())
    inputs = load_inputs(study)
    everything = [t for own in result.tensors.values() for t in own]
    total = sum(t.cpu_seconds for t in everything)
    print(f"exhaustive: {len(everything)} sites, {total:.0f} s of processor time")
    for candidate in result.relaxations:
        own = result.tensors[candidate.candidate.id]
        print(f"  {candidate.candidate.name}: {len(own)} sites, {sum(t.cpu_seconds for t in own):.0f} s")
    assert result.assignment is not None
    print(f"{result.assignment.verdict.value}: {result.assignment.statement}")
    if not result.sensitivities:
        result = advise(result, study.matching, say=print)
    print(paragraph(result))
    print("adaptive:")
    adaptive, done = adaptive_result(study, inputs, result)
    assert adaptive.assignment is not None
    time = sum(t.cpu_seconds for t in done)
    print(f"  {len(done)} sites, {time:.0f} s of processor time: {100 * time / total:.0f} % of the exhaustive run")
    print(f"  {adaptive.assignment.verdict.value}: {adaptive.assignment.statement}")
    if given.images is not None:
        from PIL import Image

        write_report(result, folder)
        given.images.mkdir(parents=True, exist_ok=True)
        for name in FIGURES:
            source = folder / f"report-{name}.png"
            if source.is_file():
                with Image.open(source) as full:
                    small = full.convert("RGB").resize((WIDTH, round(full.height * WIDTH / full.width)))
                small.quantize(64).save(given.images / f"alpo4-{name}.png", optimize=True)


if __name__ == "__main__":
    main()
