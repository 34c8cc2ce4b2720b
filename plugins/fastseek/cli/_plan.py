"""The cost card as text, and the images a second that it begins with."""

from __future__ import annotations

import itertools
import pathlib
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..costs.card import Job, make_card
from ..costs.growth import load_growth
from ..io.json_files import write_json
from ..io.paths import PathLike
from ..io.text_table import align_columns

if TYPE_CHECKING:
    from ..inference.pretrained import ImageModel, ModelOptions

DRAWN = 64  # images that are embedded over and over
SIDE = 512  # of a drawn image, in pixels
NAMES = (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
SPANS = (("years", 365 * 86_400.0), ("days", 86_400.0), ("hours", 3600.0), ("minutes", 60.0))


class Asked(NamedTuple):
    """The model, and what is known of it.

    Args:
        model: its name; None where width and rate are given.
        options: how it is run.
        dim: numbers of a vector; the model's where it is None.
        rate: images a second; measured where it is None.
        seconds: to measure for.
        threads: that read images; 0 chooses.
    """

    model: str | None
    options: ModelOptions | None
    dim: int | None
    rate: float | None
    seconds: float = 5.0
    threads: int = 0


def plan_images(
    images: int,
    asked: Asked,
    processes: int,
    machines: int,
    ram: float,
    bytes_per_image: float = 0.0,
    out: PathLike | None = None,
) -> str:
    """Reckon what a number of images takes.

    Args:
        images: how many.
        asked: the model.
        processes: on a machine.
        machines: that embed at the same time.
        ram: bytes of memory of a machine.
        bytes_per_image: of an image file; 0 where it is not known.
        out: also write the card to this file, as JSON.

    Returns:
        the card as text.

    Raises:
        UsageError, DataError, ArtefactError: as `load_model`.
    """
    dim, rate, measured = asked.dim, asked.rate, None
    if dim is None or rate is None:
        from ..inference.pretrained import load_model
        from ..inference.pretrained.options import ModelOptions

        model = load_model(str(asked.model), asked.options or ModelOptions())
        dim = dim or model.dim
        if rate is None:
            measured = measure_rate(model.tuned(images), asked.seconds, asked.threads)
            rate = measured["images a second"]
    job = Job(images, dim, rate, processes, machines, ram, bytes_per_image)
    card = make_card(job, load_growth())
    card["embedding"] |= {"model": asked.model, "measured": measured}
    if out is not None:
        write_json(out, card)
    return describe_card(card)


def measure_rate(model: ImageModel, seconds: float, threads: int = 0) -> dict[str, Any]:
    """Images a second of this machine: drawn JPEG files, read and embedded for some seconds.

    Args:
        model: what is measured.
        seconds: how long, after a first batch that does not count.
        threads: that read images; 0 chooses.
    """
    from ..data.synthetic import draw_image
    from ..inference.pretrained.embed import embed_batches
    from ..structures import Item

    with tempfile.TemporaryDirectory() as folder:
        paths = [pathlib.Path(folder) / f"{number}.jpg" for number in range(DRAWN)]
        for number, path in enumerate(paths):
            draw_image(number, number, SIDE).save(path, quality=85)
        size = sum(path.stat().st_size for path in paths) / DRAWN
        items = [Item(str(path), "", "", "", path.name) for path in paths]
        list(embed_batches(model, items[: model.batch_size], threads=threads))
        done, started, busy = 0, time.perf_counter(), time.process_time()
        for _ in itertools.count():
            done += sum(len(ids) for ids, _, _ in embed_batches(model, items, threads=threads))
            if time.perf_counter() - started >= seconds:
                break
        wall, cpu = time.perf_counter() - started, time.process_time() - busy
    return {
        "images": done,
        "images a second": done / wall,
        "images a cpu second": done / max(cpu, 1e-9),
        "seconds": wall,
        "bytes an image": size,
    }


def describe_card(card: Mapping[str, Any]) -> str:
    """The card as lines of text."""
    job = card["job"]
    parts = [
        f"{job['images']:,} images, vectors of {job['dim']} numbers",
        _section("Embedding", _embedding_rows(card)),
        _section("On disk", _disk_rows(card)),
        _section("Engines", _engine_rows(card["engines"])),
        f"Advised: {card['choice']['engine']} ({card['choice']['why']})",
        _section("What breaks, the nearest first", _break_rows(card["breaks"])),
        "\n".join(["Taken for granted", *(f"  - {line}" for line in card["assumptions"])]),
    ]
    return "\n\n".join(parts)


def _embedding_rows(card: Mapping[str, Any]) -> list[list[str]]:
    told, job = card["embedding"], card["job"]
    machines = f"{job['machines']} machine{'s' if job['machines'] > 1 else ''}"
    workers = f"{job['processes']} a machine, {machines}"
    rows = [
        ["images a second a process", f"{job['rate']:,.1f}", "given"],
        ["processes", workers, ""],
        ["time", say_time(told["seconds"]), ""],
    ]
    measured = told["measured"]
    if measured:
        each = f"{measured['images a cpu second']:,.1f} a CPU second"
        rows[0][2] = f"measured in {measured['seconds']:.0f} s, {each}"
    if told["bytes read"]:
        speed = f"{say_bytes(told['bytes read a second'])} a second"
        rows.append(["image files", say_bytes(told["bytes read"]), speed])
    return rows


def _disk_rows(card: Mapping[str, Any]) -> list[list[str]]:
    told = card["disk"]
    return [
        ["embeddings folder", say_bytes(told["embeddings folder"]), f"{told['files']:,} files"],
        ["of it vectors", say_bytes(told["vectors"]), "half as float16"],
        ["of it ids", say_bytes(told["ids and pages"]), ""],
    ]


def _engine_rows(engines: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    head = ["", "memory", "disk", "build", "a query", "recall@10", "measured up to", "fits"]
    rows = [head]
    for one in engines:
        known = one["measured at"] > 0
        recall = "exact" if one["engine"] == "exact" else _or_dash(one["recall"], "{:.3f}")
        rows.append(
            [
                one["engine"],
                say_bytes(one["ram"]),
                say_bytes(one["disk"]),
                say_time(one["build cpu s"]),
                "-" if one["query cpu s"] is None else f"{1e3 * one['query cpu s']:,.1f} ms",
                recall if known else "-",
                f"{one['measured at']:,}" if known else "-",
                "yes" if one["fits"] else one["why"],
            ]
        )
    return rows


def _break_rows(breaks: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    return [
        [
            f"{_round(one['images']):,}",
            "reached" if one["reached"] else "",
            f"{one['what']}: {one['remedy']}",
        ]
        for one in breaks
    ]


def _section(title: str, rows: Sequence[Sequence[str]]) -> str:
    left = (0, 2) if title.startswith("What") else (0, len(rows[0]) - 1)
    text = align_columns([list(row) for row in rows], left=left)
    return "\n".join([title, *(f"  {line}" for line in text.splitlines())])


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _round(value: float) -> int:
    """A number of images to two digits."""
    return int(float(f"{value:.1e}"))


def say_bytes(value: float | None) -> str:
    """Bytes for people, "-" where they are not known."""
    if value is None:
        return "-"
    for name, size in NAMES:
        if value >= size:
            return f"{value / size:,.1f} {name}"
    return f"{value:,.0f} B"


def say_time(value: float | None) -> str:
    """Seconds for people, "-" where they are not known."""
    if value is None:
        return "-"
    for name, size in SPANS:
        if value >= 1.5 * size:
            return f"{value / size:,.1f} {name}"
    return f"{value:,.1f} s"
