"""deepscope atlas record|build|coverage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from deepscope._terminal import progress, say
from deepscope.cli._options import DONE, INTERRUPTED, PARTLY, USAGE, Json, command_of
from deepscope.cli._output import print_json, show
from deepscope.cli._study_options import Workers
from deepscope.cli._study_run import check_known, each_study

if TYPE_CHECKING:
    from deepscope.lab import Recorded

Records = Annotated[Path | None, Parameter(help="Folder of the records; the repository's atlas/ by default.")]
Out = Annotated[Path, Parameter(help="A folder that is empty, or does not exist yet.")]
Scale = Annotated[
    Literal["quick", "full"],
    Parameter(help="Quick gives a verdict, full is the largest protocol."),
]

atlas_app = App(name="atlas", help="The atlas: record verdicts, build its pages, count what is demonstrated.")


@atlas_app.command(name="record")
def atlas_record(
    *names: str, scale: Scale = "quick", workers: Workers = None, records: Records = None, json: Json = False
) -> int:
    """Run studies as their files say them, and record verdict, criteria and figure in the repository.

    Exit code 0: all are recorded, whatever their verdicts. 3: some are not. 2: none is.

    Parameters
    ----------
    names
        Studies as "deepscope study list" names them; those without a fresh record of this scale if none is named.
    """
    given = locals()
    check_known(names)

    from deepscope.lab import record_study, records_folder, unrecorded
    from deepscope.report import verdict_sentence

    place = records or records_folder()
    asked = tuple(dict.fromkeys(names)) or unrecorded(scale, place)

    def work(name: str) -> Recorded:
        with progress(in_words=True) as tell:
            return record_study(name, scale=scale, workers=workers, folder=place, progress=tell)

    done = []
    try:
        for made in each_study(asked, work):
            done.append(made.record)
            if not json:
                print(f"{made.study}: {verdict_sentence(made.record)}")
                print(f"  {made.path}{f' kept: {made.kept}' if made.kept else ''}", flush=True)
    except KeyboardInterrupt:
        again = command_of("atlas record", atlas_record, given)
        say(f"Interrupted. The trials that were finished are stored; go on with:\n{again}")
        return INTERRUPTED
    if json:
        print_json(done)
    elif not asked:
        print(f"Every study has a fresh record at {scale}. Name one to record it again.")
    return _code(len(done), len(asked))


@atlas_app.command(name="build")
def atlas_build(*, out: Out, records: Records = None) -> int:
    """Write the atlas as a site: a gallery of claims and verdicts, a page for each, and the map of the field."""
    from deepscope.lab import atlas, build_site, check_empty

    check_empty(out)
    content = atlas(records)
    entrance = build_site(content, out)
    recorded = sum(study["record"] is not None for study in content["studies"])
    stale = sum(bool(study["stale"]) for study in content["studies"])
    print(f"{len(content['studies'])} studies, {recorded} with a recorded verdict, {stale} of these stale.")
    print(f"Atlas: {entrance}")
    return DONE


@atlas_app.command(name="coverage")
def atlas_coverage(*, records: Records = None, json: Json = False) -> int:
    """Count, by group, the rows of the map that are demonstrated here."""
    from deepscope.lab import coverage
    from deepscope.report import coverage_text

    show(coverage(records), coverage_text, json=json, out=None)
    return DONE


def _code(recorded: int, asked: int) -> int:
    if recorded == asked:
        return DONE
    return PARTLY if recorded else USAGE
