"""The atlas as a site of self-contained pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deepscope.report._atlas_checks import check
from deepscope.report._atlas_entry import INSTRUMENTS, SPECIMENS, entries_page, entry_page
from deepscope.report._atlas_gallery import gallery_page
from deepscope.report._atlas_map import map_page
from deepscope.report._atlas_site import Site, page_of
from deepscope.report._atlas_study import atlas_study_page


def atlas_site(atlas: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Return the pages of the atlas, one at a time, so that hundreds of them are never held at once.

    Every page is one file that fetches nothing. Links between them are relative: the site opens from disk, and from
    any folder of a web server.

    Parameters
    ----------
    atlas
        Plain data:

        ``version``
            Of deepscope.
        ``studies``
            Each with id, claim, source, topics, rows, protocol, files (path and text, the study's own first),
            record (what ``deepscope study run --json`` prints, and the identity of the code; or None), figure (SVG, or
            ``""``) and stale (why the record no longer holds, or ``""``).
        ``instruments``, ``specimens``
            Each with name, title, formula, source, rows, pinned_by, path and fault (why its test does not count, or
            ``""``); an instrument with how_to_read, a specimen with family.
        ``rows``
            The whole map: each with id, name, group, claim, source, lists, kind and evidence: what demonstrates it,
            as ``"study:<id>"``, ``"instrument:<name>"``, ``"specimen:<name>"`` or ``"row:<id>"``.

    Returns
    -------
    iterator of (str, str)
        A page's path from the root of the site, with ``/``, and its HTML.

    Raises
    ------
    UsageError
        The atlas points to what it does not have, a name cannot be that of a file, a record lacks something, or a
        figure is not one SVG element; before the first page is made.
    """
    check(atlas)
    return _pages(Site.of(atlas))


def _pages(site: Site) -> Iterator[tuple[str, str]]:
    yield "index.html", gallery_page(site)
    yield "map.html", map_page(site)
    for study in site.studies:
        yield page_of("study", study["id"]), atlas_study_page(site, study)
    for kind, entries in ((INSTRUMENTS, site.instruments), (SPECIMENS, site.specimens)):
        yield kind.href, entries_page(site, kind)
        for entry in entries:
            yield page_of(kind.word, entry["name"]), entry_page(site, kind, entry)
