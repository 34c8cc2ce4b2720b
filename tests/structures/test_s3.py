"""S3 by its protocol: a server of moto on this machine. Runs where moto[server] and s3fs are installed."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from fastseek.data.images import decode
from fastseek.data.own_images import images_of, source_of
from fastseek.errors import DataError, UsageError
from fastseek.structures import Embeddings
from fastseek.structures.embedding_job import EmbeddingJob
from fastseek.structures.job_part import JobPart
from fastseek.structures.remote_embeddings import store_part_anywhere

server = pytest.importorskip("moto.server")
s3fs = pytest.importorskip("s3fs")


@pytest.fixture(scope="module")
def bucket():
    """An S3 server with a bucket; yields its file system."""
    with pytest.MonkeyPatch.context() as patch:
        running = server.ThreadedMotoServer(port=0)
        running.start()
        host, port = running.get_host_and_port()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        system = s3fs.S3FileSystem()
        system.mkdir("box")
        yield system
        running.stop()
        s3fs.S3FileSystem.clear_instance_cache()


def picture(number):
    file = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (9, 9, 3), np.uint8)
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def test_images_and_tars_are_read_and_a_changed_one_is_noticed(bucket):
    for number in range(3):
        bucket.pipe_file(f"box/images/{number}.png", picture(number))
    items, root = images_of("s3://box/images")
    assert [item.id for item in items] == ["0.png", "1.png", "2.png"] and root == "s3://box/images"
    whole = [np.asarray(decode(item.path)) for item in items]
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for number in range(3):
            info = tarfile.TarInfo(f"{number}.png")
            info.size = len(picture(number))
            tar.addfile(info, io.BytesIO(picture(number)))
    bucket.pipe_file("box/0.tar", packed.getvalue())
    inside = images_of("s3://box/0.tar")[0]
    for one, other in zip(inside, whole, strict=True):
        assert (np.asarray(decode(one.path)) == other).all()
    before = source_of(items)
    bucket.pipe_file("box/images/1.png", picture(7))
    assert source_of(images_of("s3://box/images")[0]) != before
    with pytest.raises(DataError, match="nothing is there"):
        images_of("s3://box/nowhere")


def test_parts_are_put_there_and_read_back(bucket, monkeypatch, tmp_path):
    job = EmbeddingJob(11, {"model": "abc"}, "images", shard_items=3)

    def batches_of(runs):
        for run in runs:
            yield [f"{row}" for row in run], np.ones((len(run), 4), np.float32) * (run[0] + 1), []

    for number in (1, 2, 0):
        monkeypatch.setenv("HOME", str(tmp_path / f"machine{number}"))
        store_part_anywhere(batches_of, job, "s3://box/vectors", JobPart(number, 3))
    monkeypatch.setenv("HOME", str(tmp_path / "reader"))
    found = Embeddings.load("s3://box/vectors", verify=True)
    assert found.ids.tolist() == [f"{row}" for row in range(11)]
    assert found.vectors[:][:, 0].tolist() == [row // 3 * 3 + 1 for row in range(11)]
    with pytest.raises(UsageError, match="cannot be written"):
        store_part_anywhere(batches_of, job, "s3://no-such-bucket/vectors", JobPart())
