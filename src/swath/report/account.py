"""Sections that account for a run: its cost, its labels, and how to make it again."""

from __future__ import annotations

from swath.report.html import (
    Column,
    Html,
    facts,
    paragraph,
    section,
    sentence,
    table,
    text,
)
from swath.report.record import RunRecord
from swath.report.words import count, duration, is_number, short, together

__all__ = ["costs", "provenance", "split"]


def costs(run: RunRecord) -> Html:
    """Return the time and memory of every phase but this page's own, which ends after it."""
    cost, scene = run.part("cost"), run.part("scene")
    if not cost:
        return section("Cost", sentence("No cost is recorded."))
    pixels = scene.get("rows", 0) * scene.get("columns", 0) or scene.get("test_pixels", 0)
    whole = cost.get("peak_memory_mib")
    so_far = cost.get("peak_memory_by_phase") is False
    last = "test tiles" if run.of_tiles else "mapping"
    rows: list[list[str]] = []
    for phase, name in (("search", "search"), ("train", "training"), ("map", last)):
        seconds = cost.get(f"{phase}_seconds")
        if not is_number(seconds) or not seconds:
            rows.append([name, "none", "–", "", "–"])
            continue
        memory = cost.get(f"{phase}_peak_memory_mib")
        on_device = cost.get(f"{phase}_peak_device_memory_mib")
        peak = count(memory)
        if is_number(on_device):
            peak += f" and {count(on_device)} on the GPU"
        pace = ""
        if phase == "map" and pixels:
            pace = f"{short(pixels / seconds)} pixels a second"
        elif phase == "search" and run.search:
            pace = f"{duration(seconds / len(run.search))} an epoch"
        elif phase == "search" and run.study:
            pace = f"{duration(seconds / len(run.study.trials))} a trial"
        elif phase == "train" and run.training and run.training[-1]["iteration"]:
            pace = f"{1000 * seconds / run.training[-1]['iteration']:.0f} ms an iteration"
        rows.append([name, duration(seconds), f"{seconds:,.1f}", pace, peak])
    total = cost.get("total_seconds")
    if is_number(total):
        rows.append(["all together", duration(total), f"{total:,.1f}", "", count(whole)])
    columns = [
        Column("phase"),
        Column("time", "number"),
        Column("seconds", "number"),
        Column("pace", "number"),
        Column("most memory so far, MiB" if so_far else "most memory, MiB", "number"),
    ]
    pairs = [
        ("parameters", count(cost.get("parameters")) + together(cost.get("members"))),
        ("FLOPs per pixel", f"{count(cost.get('flops_per_pixel'))} (a multiply-add is two)"),
        ("peak memory", f"{count(whole)} MiB" if is_number(whole) else "–"),
        ("device", str(run.metrics.get("device") or "–")),
    ]
    apart = 1 if is_number(total) else 0
    phases = table(columns, rows, last_apart=apart)
    return section("Cost", Html(f'<div class="pair"><div>{phases}</div>{facts(pairs)}</div>'))


_CAUTION = {
    "tiles": (
        "No image is in two parts. Whether images of two parts lie beside each other on the ground "
        "is up to where they were taken; where they do, the figures are better than they would be "
        "elsewhere."
    ),
    "random": (
        "Caution: a random split leaks. Test pixels lie beside training pixels, and the network "
        "sees whole windows, so that these figures are better than they would be in a place "
        "without labels. A spatial split says more of that."
    ),
    "spatial": (
        "Train, validation and test lie in blocks apart from each other, so that no training "
        "window holds a test pixel."
    ),
    "fixed": (
        "Train and test pixels were given as maps. Whether they lie apart is up to those maps; "
        "where they touch, the figures are better than they would be elsewhere."
    ),
}


def split(run: RunRecord) -> Html:
    """Return the split protocol, its caution, and the numbers of pixels."""
    data = run.part("split")
    if not data:
        return section("Labels and split", sentence("The split is not recorded."))
    protocol = str(data.get("protocol") or "unnamed")
    caution = _CAUTION.get("tiles" if run.of_tiles else protocol)
    leaks = protocol == "random" and not run.of_tiles
    description = str(data.get("description") or f"A {protocol} split.")
    pairs = [("protocol", protocol)]
    unit = "tiles" if run.of_tiles else "pixels"
    pairs += [(f"{role} {unit}", count(data.get(role))) for role in ("train", "validation", "test")]
    if data.get("seed") is not None:
        pairs.append(("seed", str(data["seed"])))
    notes = data.get("notes")
    lines = "".join(f"<li>{text(note)}</li>" for note in notes) if isinstance(notes, list) else ""
    return section(
        "Labels and split",
        paragraph(description),
        paragraph(caution, "caution" if leaks else "") if caution else None,
        paragraph(
            "The search and the choice of the trained network used validation labels only; test "
            "labels were read once, at the end."
        ),
        Html(f'<ul class="soft">{lines}</ul>') if lines else None,
        Html(str(facts(pairs)).replace('class="facts"', 'class="facts left"')),
    )


def provenance(run: RunRecord) -> Html:
    """Return how to make this run again: command, versions, resolved recipe."""
    command = run.metrics.get("command")
    versions = run.part("versions")
    parts: list[str] = []
    if command:
        parts += [Html("<h3>Command</h3>"), Html(f"<pre>{text(command)}</pre>")]
    else:
        parts.append(sentence("The command is not recorded."))
    if versions:
        line = ", ".join(f"{name} {version}" for name, version in versions.items())
        parts += [Html("<h3>Versions</h3>"), paragraph(line)]
    if run.recipe_text:
        parts.append(Html("<h3>Recipe, every default written out</h3>"))
        parts.append(Html(f'<pre class="columns">{text(run.recipe_text.strip())}</pre>'))
    else:
        parts.append(sentence("There is no recipe in this run folder."))
    return section("How to make it again", *parts)
