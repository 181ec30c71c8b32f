"""What commands print with ``--json``: one object on standard output, everything else on standard error."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from ..analysis.spectra_io import Readout
    from ..analysis.vocabulary import StudyResult
    from .queue.records import Snapshot


def verdict_json(result: StudyResult, report: Path) -> str:
    """The verdict with its populations, what failed, and where everything else lies."""
    found: dict[str, Any] = {"study": result.name, "verdict": None}
    assignment = result.assignment
    if assignment is not None:
        names = {p.candidate_id: p.candidate_name for p in assignment.populations}
        found |= {
            "verdict": assignment.verdict.value,
            "statement": assignment.statement,
            "probability": assignment.probability,
            "fit_probability": assignment.fit_probability,
            "members": [names.get(member, member) for member in assignment.members],
            "populations": [p.model_dump() for p in assignment.populations],
            "samples": [s.model_dump() for s in assignment.samples],
            "warnings": list(assignment.warnings),
        }
    found |= {"failures": list(result.failures), "report": str(report), "result": str(report.with_name("result.json"))}
    return json.dumps(found, indent=1, ensure_ascii=False)


def status_json(now: Snapshot, spent: str, *, is_unattended: bool) -> str:
    """Every job with its status, seconds and why it failed, their counts, and whether no runner looks after them."""
    from .queue.records import JobStatus

    jobs = [
        {
            "name": job.name,
            "status": job.status.value,
            "is_queued": job.is_queued,
            "seconds": job.seconds,
            "reason": job.reason,
        }
        for job in now.jobs
    ]
    counts = {status.value: now.count(status) for status in JobStatus}
    found = {"counts": counts, "is_active": now.is_active, "is_unattended": is_unattended, "spent": spent, "jobs": jobs}
    return json.dumps(found, indent=1)


def spectrum_json(readout: Readout, *, picture: Path, csdm: Path | None) -> str:
    """What was read of a spectrum, without its points, and its maxima."""
    from ..analysis.spectra_io import find_lines

    spectrum = readout.spectrum
    found = spectrum.model_dump(mode="json", exclude={"axis_ppm", "intensity"})
    found |= {
        "file_format": readout.raw.file_format,
        "points": len(spectrum.axis_ppm),
        "range_ppm": [spectrum.axis_ppm[0], spectrum.axis_ppm[-1]],
        "maxima": [
            {
                "position_ppm": line.position_ppm,
                "width_ppm": line.width_ppm,
                "height_over_noise": line.height_over_noise,
            }
            for line in find_lines(spectrum)
        ],
        "picture": str(picture),
        "csdm": None if csdm is None else str(csdm),
    }
    return json.dumps(found, indent=1, ensure_ascii=False)
