"""Who may import whom: the table of DESIGN.md section 3, read from the sources."""

import ast
import functools
import os
import pathlib
import subprocess
import sys

import pytest
from sources import nodes, parse

ROOT = pathlib.Path(__file__).parents[1] / "plugins" / "fastseek"

# A room may import rooms of lower levels, and itself; level 0 also its own level.
LEVELS = {
    0: "errors progress suggestions compat io registry structures",
    1: """costs data.images data.ray_casting data.synthetic knn regions formats report classification views schedules
          modeling.layers""",
    2: """data.rejects data.datasets data.transforms data.samplers data.crops
          modeling.backbones modeling.blocks modeling.branches modeling.heads modeling.losses
          enhance search metrics fuse protocols self_training audit""",
    3: "adapt recognition distributed",
    4: "rerank",
    5: "retrieval index data modeling config",
    6: "inference",
    7: "training",
    8: "workflows",
    9: "service cli api",
    10: "__main__",
}
# Rooms of more than twelve files, from the ground up: a file imports only from floors below its own.
FLOORS = {
    "classification": [
        "blend class_labels confusion gate prior refit",
        "evolve predictions scoring",
        "by_size calibration class_mean top",
    ],
    "cli": [
        "_machine _needs _rankings _reference_pages _shown_images",
        """_allocator _arguments _audit _audit_clean _audit_copies _audit_noise _join _memory _model_options _outputs _plan _recognize
        _score _listed_images _submit _submit_classes _terminal _threads""",
        "_adapt _blend _diff _fuse _index _recipe_arguments _report _score_contests _search",
        "_bench _codes _rerank",
        """ablate adapt audit bench blend classify classify_report codes contest demo diff doctor embed export fuse index
        models parts plan recipes recognize report rerank run search self_train subjects submit train try_folder""",
        "score",
    ],
    "data.datasets": [
        """_benchmark _fetch _file_patterns _image_scan _listed_tasks _query_share _scene_layouts
        _rendered_objects extended gldv2 inat landmarks planted_places""",
        """_official_layouts _reid_folders _table_blocks cars coco_boxes cub cuhk03 deep_fashion2
        gpr1200 grocery holidays inat_retrieval inshop instre mars met msmt17 ukbench uned
        products10k rendered sop sorghum vehicle_id veri_wild""",
        "_tar_index cuhk03_np duke folder manifest market veri776",
        "image_folder rp2k semi_inat webdataset",
        "_distractors",
        "ilias oxford_buildings revisited",
    ],
    "data.transforms": [
        "_filters _image_ops _rng",
        """_noise_level _pipeline _scaling auto_augment blur brightness center_crop
        channel_shuffle color_jitter cutout de_gaussian de_pepper grayscale hflip jpeg
        pad_crop perspective planted_noise random_erasing random_patch random_rotate90
        shift_scale_rotate vflip""",
        "denoise random_resized_crop rescale_pad resize",
        "attended_crop",
    ],
    "enhance": [
        "_blended_map _fits _frame _sides aqe",
        "_concatenated _expansion _moments adapter l2 quantile truncate",
        "alpha_qe center concat dba pca",
        "whiten",
    ],
    "formats": [
        """answer_lists class_answers gldv2_names listed matlab met names reid_names
        restricted_pickle uned""",
        """coco cub cuhk03 deep_fashion2 digix gldv2 gldv2_lists ilias inat inshop instre mars
        msmt17 online_products oxford_buildings products10k revisited semi_inat sorghum stanford_cars vehicle_id
        veri776 veri_wild""",
    ],
    "index": [
        """_ast_lock _postgres_connection _postgres_copy _postgres_engines addresses manifest
        names""",
        "_postgres_graph",
        "columns engines",
        "filters segment store",
        "_milvus_filters _sql_filters view",
        "_checks _descriptions draft",
        "incoming",
        "database",
        "folder_index milvus_index postgres_index",
        "migration open_store",
    ],
    "inference.pretrained": [
        """cache catalog decoding embedding_net onnx_programs options preprocessing timm_networks""",
        "engines hub_weights local_network",
        "image_model",
        "embed onnx_models timm_models trained_models",
        "embed_locals load",
        "in_memory inventory",
    ],
    "io": [
        "braces code_version crop_locations hub_reach image_formats paths processors text_table",
        "digests locks model_names model_size yaml_lines",
        "atomic locations spec_reader",
        "csv_rows json_files location_states remote_folder",
        "file_kinds stage_record",
    ],
    "metrics": [
        "_align _gap_interval _origin _paired",
        "_relevance_ranks",
        "_base gap",
        "_evaluate _predictions cmc map map_at_r minp mmp ndcg position precision recall top1",
        "_reid digix n_s revisited",
        "_contest_scores",
    ],
    "modeling.branches": [
        "_necks two_stream",
        """batch_drop bnneck boq cfcd crow delg dolg gem geo linear_neck net_vlad r_mac salad scda self_similarity
        spca spoc token""",
    ],
    "modeling.layers": [
        """atrous classes cross_attention drop_rectangle gather geo_encoding margin part_protocols precision
        sampled tensor_files virtual_token""",
        "attention gem orthogonal subcenter trainer_contract transport wheel_weights",
        "class_shard",
        "streamed",
    ],
    "modeling.losses": [
        """_distances _hard_pairs _legal _margin_softmax _memory _pairs _teachers cross_entropy matryoshka
        penalty subcenter_arcface""",
        """_ranks ada_face am_softmax arcface center circle contrastive curricular distill elastic_face
        hyperbolic info_nce mada_cos mag_face multi_similarity prototype proxy_anchor proxy_nca soft_triple
        supcon triplet uni_face xbm""",
        "recall_at_k roadmap smooth_ap",
    ],
    "report": [
        "browser interval one_protocol provenance_table query_cases sanitize thumbnails",
        "classes heat_map image_names render results several_runs widgets",
        "classified neighbors page predictions readme",
    ],
    "rerank": [
        "_base _k_reciprocal_encoding _locals _sparse_jaccard hard_rank",
        """_frame _gallery_graph _memory_plan chamfer diffusion graph_convolution hard_insert label_rank mds
        non_landmark sinkhorn super_global""",
        "k_reciprocal k_reciprocal_query mutual_matches transport",
    ],
    "search": [
        """_faiss_library _frame _merge _milvus_ids _milvus_journal _milvus_lite _milvus_types _recall _rescoring _row_digests
        exact""",
        "_milvus_connection _milvus_vectors",
        "_milvus_lock",
        "_faiss_file _milvus_store binary quantized sharded",
        "_faiss_index _faiss_lists milvus",
        "_faiss_probes",
        "_faiss_kept",
        "_faiss_on_disk",
        "faiss_hnsw faiss_ivf faiss_ivf_pq faiss_ivf_rabitq faiss_pq faiss_rabitq",
    ],
    "structures": [
        "_old_field_name arrays class_file item job_part known_digests label_file",
        "archive file_list letters",
        "id_column",
        "item_columns listed_ids",
        "answers item_table",
        "embeddings_manifest geolocation identity item_table_builder score shard_files splits",
        "remote_copy",
        "embeddings ranking",
        "ground_truth",
        "embedding_job ground_truth_file local_embeddings provenance task",
        "local_embeddings_writer shard_records",
        "embeddings_writer",
        "remote_embeddings",
    ],
    "training": [
        """accumulation checkpoint_manifest class_index data_fingerprint lr_groups memory_estimate random_state
        results sanity_check weight_average whole_tensors writers""",
        "attention_crops checkpoint evaluation optimizer run_setup schedule step",
        "hooks recipe_border resume_check",
        "lr_table trainer",
        "upstream",
    ],
}

ABSENT = {"service"}  # rooms of the plan that are not built yet
LEVEL = {room: level for level, rooms in LEVELS.items() for room in rooms.split()}
FASTREID = {
    "config",
    "data.builders",
    "data.fastreid_datasets",
    "distributed",
    "inference",
    "modeling",
    "modeling.backbones",
    "modeling.blocks",
    "modeling.branches",
    "modeling.heads",
    "modeling.layers",
    "modeling.losses",
    "training",
    "workflows",
}
# What runs without torch and fast-reid: the retrieval half and its verbs.
RETRIEVAL_HALF = """errors progress suggestions io registry structures knn regions formats report classification
    enhance search metrics fuse protocols recognition adapt rerank retrieval index
    api cli._adapt cli._blend cli._codes cli._diff cli._fuse cli._outputs cli._recognize cli._report cli._score cli._score_contests cli._search
    cli._submit cli._submit_classes""".split()


def is_retrieval_half(name):
    """Whether a module has to work where neither torch nor fast-reid is installed."""
    return bool({name, group(name)} & set(RETRIEVAL_HALF))


def modules():
    """Dotted name below fastseek ("" is the package itself) -> file."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


@functools.cache
def imports(name, top_level=False):
    """What a module imports: ("ours", dotted name, line) and ("other", top name, line)."""
    return tuple(_imports(name, parse(MODULES[name]).body if top_level else nodes(MODULES[name])))


def _imports(name, found):
    path = MODULES[name]
    home = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    home = [part for part in home if part]
    for node in found:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from known(alias.name.split("."), "", node.lineno)
        elif isinstance(node, ast.ImportFrom):
            up = ["fastseek", *home[: len(home) - node.level + 1]] if node.level else []
            for alias in node.names:
                yield from known(
                    [*up, *(node.module or "").split(".")] if node.module else up,
                    alias.name,
                    node.lineno,
                )


def known(base, last, line):
    if base[0] != "fastseek":
        yield "other", base[0], line
        return
    inner = ".".join(base[1:])
    full = ".".join([*base[1:], last])
    yield "ours", full if full in MODULES else inner, line


def group(name):
    """The line of the table a module belongs to."""
    parts = name.split(".")
    for size in (2, 1):
        if ".".join(parts[:size]) in LEVEL:
            return ".".join(parts[:size])
    return None


def test_every_module_stands_in_the_table():
    missing = [name for name in MODULES if name not in ("", "modeling") and group(name) is None]
    assert missing == [], (
        f"{missing} are in no line of LEVELS: say in tests/test_layers.py which level they are"
    )


@pytest.mark.parametrize("name", [name for name in MODULES if name not in ("", "data", "modeling")])
def test_a_module_imports_only_what_its_level_may(name):
    mine = group(name)
    for kind, other, line in imports(name):
        if kind != "ours" or other == "":
            assert other != "" or LEVEL[mine] >= 6 or name == "", (
                f"{name}:{line} imports the whole package"
            )
            continue
        theirs = group(other)
        legal = theirs == mine or LEVEL[theirs] < LEVEL[mine]
        legal = legal or LEVEL[mine] == LEVEL[theirs] == 0
        assert legal, f"{name}:{line} (level {LEVEL[mine]}) imports {other} (level {LEVEL[theirs]})"


def test_only_the_training_half_imports_fastreid_and_always_after_compat():
    for name in MODULES:
        found = list(imports(name))
        lines = [line for kind, other, line in found if (kind, other) == ("other", "fastreid")]
        if not lines:
            continue
        assert name in FASTREID or group(name) in FASTREID, f"{name}:{lines[0]} imports fastreid"
        before = [
            line
            for kind, other, line in found
            if (kind, other) == ("ours", "compat") and line < lines[0]
        ]
        packages = [name.rsplit(".", depth)[0] for depth in range(1, name.count(".") + 1)]
        before += [1 for package in packages if ("ours", "compat") in compat_of(package)]
        assert before, f"{name}:{lines[0]} imports fastreid before compat"


def compat_of(package):
    return {(kind, other) for kind, other, _ in imports(package)}


def test_no_import_makes_a_circle():
    graph = {
        name: {other for kind, other, _ in imports(name, True) if kind == "ours" and other != name}
        for name in MODULES
    }
    done, path = set(), []

    def visit(name):
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name in done:
            return
        path.append(name)
        for other in sorted(graph[name]):
            visit(other)
        path.pop()
        done.add(name)

    for name in graph:
        visit(name)


def room_of(name):
    return name.rpartition(".")[0]


def crowded_rooms():
    """Packages of more than twelve files, with their modules."""
    rooms = {}
    for name, path in MODULES.items():
        if path.name != "__init__.py" and room_of(name):
            rooms.setdefault(room_of(name), []).append(name)
    return {room: names for room, names in rooms.items() if len(names) > 12}


def neighbors(name):
    """The modules of its own room that a module imports, also through the room's `__init__`."""
    room = room_of(name)
    offered = {}
    for node in parse(MODULES[room]).body:
        if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module:
            offered |= {alias.asname or alias.name: node.module for alias in node.names}
    for node in nodes(MODULES[name]):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            for alias in node.names:
                other = node.module or offered.get(alias.name, alias.name)
                if f"{room}.{other}" in MODULES:
                    yield other


def test_every_crowded_room_has_floors_that_name_each_of_its_files_once():
    assert sorted(FLOORS) == sorted(crowded_rooms())
    for room, names in crowded_rooms().items():
        listed = [name for floor in FLOORS[room] for name in floor.split()]
        assert sorted(listed) == sorted(name.rpartition(".")[2] for name in names), room


@pytest.mark.parametrize("room", sorted(crowded_rooms()))
def test_a_file_imports_only_from_the_floors_below_its_own(room):
    floor = {name: number for number, names in enumerate(FLOORS[room]) for name in names.split()}
    for name in floor:
        for other in neighbors(f"{room}.{name}"):
            assert floor[other] < floor[name], f"{room}: {name} imports {other}"


def test_the_package_imports_nothing_of_the_repository_around_it():
    for name in MODULES:
        bad = [
            other
            for kind, other, _ in imports(name)
            if kind == "other"
            and other in ("projects", "tools", "configs", "tests", "benchmarks", "toy")
        ]
        assert bad == [], f"{name} imports {bad}"


def test_the_retrieval_half_imports_without_torch_and_fastreid():
    names = [name for name in MODULES if is_retrieval_half(name)]
    assert len(names) > 30
    script = (
        "import sys, importlib\n"
        "for name in ('torch', 'fastreid', 'faiss', 'torchvision', 'timm', 'yacs'):\n"
        "    sys.modules[name] = None\n"
        f"for name in {names!r}:\n    importlib.import_module('fastseek.' + name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT.parent)},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr


def test_importing_the_retrieval_half_is_not_what_loads_torch():
    names = [name for name in MODULES if is_retrieval_half(name)]
    script = (
        f"import sys, importlib\nfor name in {names!r}:\n    importlib.import_module('fastseek.' +"
        " name)\nprint(sorted({'torch', 'fastreid', 'faiss', 'timm'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT.parent)},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
