"""The commands of `fastseek index`: each reads its arguments and returns what is printed."""

from __future__ import annotations

import json
import os
import pathlib
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ArtefactError, DataError, UsageError, escape_controls
from ..index import Index, MilvusIndex, PostgresIndex, Store, open_store
from ..index.columns import RESERVED, MetadataTable
from ..index.engines import FLAT, FLAT_BELOW
from ..index.migration import NewModel, digest_vectors, migrate, plan_migration, roll_back
from ..index.open_store import check_folder_name, is_database
from ..index.postgres_index import is_postgres
from ..index.segment import ROWS
from ..io.atomic import check_writable
from ..io.file_kinds import PAGE, check_replaceable
from ..io.model_names import anchor_name
from ..io.paths import PathLike
from ..io.text_table import count_noun
from ..knn.align import rows_of
from ..structures import Embeddings, Ranking
from ..structures.answers import TABLES, AnswerTable, find_form
from ..structures.identity import root_of
from ..structures.provenance import tell_root
from ._outputs import check_ranking_suffix, save_ranking
from ._shown_images import may_be_shown

HASH = 12  # letters of the hash of a model that are shown
SHOWN = 10  # queries whose answers are shown where no file is named


def create_index(args: Namespace) -> str:
    """Make an empty index."""
    provenance = {"name": anchor_name(args.model)} if args.model else {}
    if is_database(args.out):
        return _create_in_database(args, provenance)
    check_folder_name(args.out)
    if args.dim:
        raise UsageError("--dim is for a database: a folder takes that of the first images")
    if args.partition:
        raise UsageError("--partition is for Milvus: leave it out")
    flat_below = FLAT_BELOW if args.flat_below is None else args.flat_below
    made = Index.create(args.out, args.engine, args.metric, args.dtype, provenance, flat_below)
    later = "" if args.engine == FLAT else f", flat below {flat_below} images"
    return f"{made.folder}: an empty index, {args.engine}{later}, {args.metric}, {args.dtype}"


def _create_in_database(args: Namespace, provenance: Mapping[str, str]) -> str:
    if args.flat_below is not None:
        raise UsageError("--flat-below is for a folder: leave it out")
    settings = args.out, args.dim, args.metric, args.engine, provenance, args.dtype
    made: MilvusIndex | PostgresIndex
    if not is_postgres(args.out):
        made = MilvusIndex.create(*settings, args.partition)
    elif args.partition:
        raise UsageError("--partition is for Milvus: leave it out")
    else:
        made = PostgresIndex.create(*settings)
    with made:
        return f"{made.name}: an empty index, {args.engine}, {args.metric}, {args.dim} numbers"


def add_index(args: Namespace) -> str:
    """Put in images that are not there yet."""
    return _put(args, replace=False)


def upsert_index(args: Namespace) -> str:
    """Put in images, in the place of those that are there."""
    return _put(args, replace=True)


def delete_index(args: Namespace) -> str:
    """Take images out."""
    with open_store(args.index) as index:
        ids = [*args.ids, *_read_ids(args.file)]
        if args.filter:
            ids += index.select(args.filter).tolist()
        elif not ids:
            raise UsageError("name the images to delete: ID …, --ids FILE or --filter CONDITION")
        count = index.delete(ids)
        missing = len(set(ids)) - count
        rest = f"; {missing} not there" if missing else ""
        gone = count_noun(count, "image")
        return f"{index.name}: {gone} deleted{rest}; {len(index)} left"


def search_index(args: Namespace) -> str:
    """Rank the images of an index for every query."""
    if (args.images is None) == (args.queries is None):
        raise UsageError("name the queries: either --images or --queries")
    given = args.queries if args.images is None else args.images
    if args.out is not None:
        _check_outside(args.out, args.index)
        check_ranking_suffix(args.out)
        check_replaceable(args.out, "ranking", args.force, (given, args.index))
        check_writable(args.out, [given, args.index])
    if args.show and not (args.out and find_form(args.out) == PAGE):
        raise UsageError(f"images are shown in a page only: name a {PAGE} file with --out")
    with open_store(args.index) as index:
        files: dict[str, str] = {}
        lost = ""
        if args.queries is not None:
            queries = read_vectors(args.queries)
        else:
            queries, files, lost = _embed_queries(args, index)
        ranking = index.search(queries, args.k, args.filter)
        if args.out is None:
            return _show(ranking, index) + lost
        _save(ranking, index, args, files)
        count, depth = ranking.indices.shape
        asked = count_noun(count, "query", "queries")
        return f"{asked}, {depth} of {len(index)} images each: {args.out}{lost}"


def _embed_queries(args: Namespace, index: Store) -> tuple[Embeddings, dict[str, str], str]:
    """The queries, their files by id, and a line that names those that could not be read."""
    from ..data.rejects import describe_rejects
    from ..inference.index_images import embed_queries

    queries, files, rejects = embed_queries(args.images, _load_model(args, index), args.threads)
    of = f" (of {len(queries) + len(rejects)} queries)"
    return queries, files, f"\n{describe_rejects(rejects)}{of}" if rejects else ""


def info_index(args: Namespace) -> str:
    """What an index holds, as JSON."""
    with open_store(args.index) as index:
        return json.dumps(_tell_model(index.info(), index.provenance), indent=1)


def _tell_model(info: dict[str, Any], provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What an index holds, its model by the name and the pooling, and by the start of its hash."""
    told = {**info, "model": str(info["model"])[:HASH] if info.get("model") else None}
    preprocessing = provenance.get("preprocessing")
    pooling = preprocessing.get("pooling") if isinstance(preprocessing, Mapping) else None
    return {**told, "name": provenance.get("name"), "pooling": pooling}


def check_index(args: Namespace) -> str:
    """Read every byte of an index.

    Raises:
        ArtefactError: something is wrong; a line a fault.
    """
    with open_store(args.index) as index:
        faults = index.check()
        if faults:
            raise ArtefactError("\n".join(faults))
        return f"{index.name}: whole, {len(index)} images"


def compact_index(args: Namespace) -> str:
    """Write all images of an index as one file."""
    with Index.open(_folder(args)) as index:
        before = index.info()["bytes"]
        index.compact()
        told = index.info()
        return f"{index.name}: {len(index)} images, {before} -> {told['bytes']} bytes"


def migrate_index(args: Namespace) -> str:
    """Make the vectors of another model beside those of an index, compare, and switch."""
    _folder(args)
    if args.rollback:
        count = roll_back(args.index, args.force)
        return f"{args.index}: the vectors from before are current again; {count} images"
    model = _new_model(args)
    plan = plan_migration(args.index, model, args.images)
    if args.dry_run:
        missing = 0 if args.embeddings else plan.missing
        lost = f"; the files of {missing} are not there" if missing else ""
        what = "vectors to take over" if args.embeddings else "images to embed"
        return f"{args.index}: {plan.images - plan.done} of {plan.images} {what}{lost}"
    found = migrate(args.index, model, args.images, not args.no_switch, args.sample, args.k)
    share = "nothing to compare" if found.overlap is None else f"overlap@{found.k} {found.overlap}"
    how = "the old vectors stay current" if args.no_switch else "the new vectors are current"
    back = "" if args.no_switch else "; --rollback goes back"
    return f"{args.index}: {share} of old and new on {found.queries} images; {how}{back}"


def _folder(args: Namespace) -> str:
    """The folder of an index that must be one."""
    if is_database(args.index):
        raise UsageError(f"{args.command} works on an index that is a folder only")
    check_folder_name(args.index)
    return str(args.index)


def _new_model(args: Namespace) -> NewModel:
    if bool(args.model) == bool(args.embeddings):
        raise UsageError("name what is migrated to: either --model or --embeddings")
    if args.embeddings:
        return _stored_model(read_vectors(args.embeddings))

    from ..inference.index_images import make_new_model
    from ..inference.pretrained import load_model
    from ._model_options import read_model_options

    return make_new_model(load_model(args.model, read_model_options(args)), args.threads)


def _stored_model(new: Embeddings) -> NewModel:
    """Vectors that were made before, as a model."""

    def embed(ids: Sequence[str], _: Sequence[str]) -> Iterator[tuple[list[str], np.ndarray]]:
        rows = rows_of(ids, new.ids)
        for start in range(0, len(rows), ROWS):
            mine = rows[start : start + ROWS]
            mine = mine[mine >= 0]
            if len(mine):
                yield new.ids[mine].tolist(), np.asarray(new.vectors[mine])

    content = "" if "model" in new.provenance else digest_vectors(new)
    return NewModel(new.dim, new.provenance, embed, content)


def read_vectors(path: PathLike) -> Embeddings:
    """Embeddings of a folder or file, their bytes compared with their hashes."""
    return tell_root(Embeddings.load(path, verify=True), path)


def _put(args: Namespace, replace: bool) -> str:
    with open_store(args.index) as index:
        table = None if args.metadata is None else MetadataTable(args.metadata, index.columns)
        if args.images is not None:
            return _put_images(args, index, table, replace)
        if args.embeddings is not None:
            return _put_vectors(args, index, table, replace)
        if not replace or table is None:
            raise UsageError("name what is put in: --images or --embeddings")
        return _put_metadata(index, table)


def _put_images(args: Namespace, index: Store, table: MetadataTable | None, replace: bool) -> str:
    from ..inference.index_images import Arrival, put_images

    arrival = Arrival(args.images, replace, args.prefix, table, args.threads, args.embeddings)
    done = put_images(index, arrival, lambda: _load_model(args, index))
    told = [f"{count_noun(done.embedded, 'image')} embedded and put in"]
    if done.taken:
        told = told if done.embedded else []
        told.append(f"{count_noun(done.taken, 'image')} put in with vectors of {args.embeddings}")
    told += [f"{done.replaced} of them replaced"] if replace else []
    told += [f"{done.known} were there already"] if done.known else []
    told += [f"{done.rejected} could not be read, see {index.rejects}"] * (done.rejected > 0)
    return f"{index.name}: {'; '.join(told)}; {len(index)} are there"


def _put_vectors(args: Namespace, index: Store, table: MetadataTable | None, replace: bool) -> str:
    given = read_vectors(args.embeddings)
    ids = np.char.add(args.prefix, given.ids) if args.prefix else given.ids
    metadata = None
    if table is not None:
        table.check_ids(ids)
        metadata = table.pick(ids)
    verb = index.upsert if replace else index.add
    count = verb(ids, given.vectors, metadata, given.provenance)
    how = f", {count} of them replaced" if replace else ""
    return f"{index.name}: {len(ids)} images put in{how}; {len(index)} are there"


def _load_model(args: Namespace, index: Store) -> Any:
    from ..inference.index_images import load_model_of
    from ._model_options import read_model_options

    return load_model_of(index, args.model or "", read_model_options(args))


def _put_metadata(index: Store, table: MetadataTable) -> str:
    """New values for images that are there; their vectors stay."""
    index.update(table.ids, table.columns)
    return f"{index.name}: metadata of {len(table.ids)} images replaced"


def _read_ids(path: PathLike | None) -> list[str]:
    if path is None:
        return []
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    return [line for line in text.splitlines() if line]


def _save(ranking: Ranking, index: Store, args: Namespace, files: Mapping[str, str]) -> None:
    """Write a ranking; a table has the metadata as columns of its own."""
    out, form = args.out, find_form(args.out)
    if form == PAGE:
        from ..report import neighbors_page  # other answers need no Pillow
        from ..report.thumbnails import ImageSources

        sources = ImageSources(files or args.show, _shown_files(ranking, index, args.show))
        neighbors_page(ranking, sources, out)
    elif form in TABLES:
        _tabulate(ranking, index).write(out)
    else:
        save_ranking(ranking, out)


def _shown_files(ranking: Ranking, index: Store, folders: Sequence[PathLike]) -> dict[str, str]:
    """The files of the images that were found, as far as they lie in one of the folders: an index
    may come from a stranger, and a page may be shown around.
    """
    roots = [os.path.join(os.path.realpath(folder), "") for folder in folders]
    names = ranking.gallery_ids.tolist()
    stored = index.metadata(names, ["path"])["path"] if "path" in index.columns else names
    found = {}
    for name, path in zip(names, stored, strict=True):
        places = [path or name, *(os.path.join(root, name) for root in roots)]
        inside = [one for one in places if os.path.realpath(one).startswith(tuple(roots))]
        found[name] = next((one for one in inside if os.path.isfile(one)), "")
        if not found[name] and may_be_shown(path or name, folders):
            found[name] = path or name
    return {name: path for name, path in found.items() if path}


def _check_outside(out: PathLike, folder: PathLike) -> None:
    """Refuse an output that lies in the folder of the index."""
    place = pathlib.Path(os.path.realpath(out))
    if pathlib.Path(os.path.realpath(folder)) in (place, *place.parents):
        raise UsageError(f"{out} lies in the index: name another file")


def _tabulate(ranking: Ranking, index: Store) -> AnswerTable:
    names = ranking.gallery_ids.tolist()
    metadata = index.metadata(names)
    paths, _ = (metadata.pop(name, None) for name in RESERVED)
    more = {name: dict(zip(names, values, strict=True)) for name, values in metadata.items()}
    root = root_of(ranking.provenance, "gallery")
    known = None if paths is None else dict(zip(names, paths, strict=True))
    return AnswerTable(ranking.rows(), root, more=more, paths=known)


def _show(ranking: Ranking, index: Store) -> str:
    """The answers of the first queries as lines."""
    lines: list[str] = []
    for answer in ranking.rows():
        if answer.rank == 1 and len(lines) > SHOWN * (ranking.indices.shape[1] + 1):
            lines.append(f"… {len(ranking.query_ids)} queries: --out writes all of them")
            break
        if answer.rank == 1:
            lines.append(escape_controls(answer.query))
        lines.append(f"{answer.rank:4d}  {answer.score:.4f}  {escape_controls(answer.id)}")
    return "\n".join(lines) if lines else f"{index.name}: nothing was found"
