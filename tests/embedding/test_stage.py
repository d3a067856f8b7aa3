import pytest

from filtering.config.run import parse_config
from filtering.core.errors import InputError
from filtering.embedding.shape import embedder_shape
from filtering.runtime.task_spec import Capacity, WorkerShape


def shape(device, cpus, gpus, shards=100, **ray):
    config = {
        "input": {"shards": "pool"},
        "output": "run",
        "embedding": {"model": "demo", "device": device},
        "ray": ray,
    }
    parsed = parse_config(config)
    return embedder_shape(parsed.embedding, parsed.ray, Capacity(cpus, gpus), shards)


def test_on_cpus_each_embedder_decodes_for_itself():
    assert shape("auto", 8, 0) == (WorkerShape(8, 1, 0, 1), 0)


def test_on_gpus_all_cpus_decode_and_an_embedder_takes_none():
    assert shape("auto", 32, 4) == (WorkerShape(4, 0, 1.0, 8), 8)


def test_a_gpu_is_shared():
    assert shape("cuda", 32, 2, gpus_per_embedder=0.25) == (WorkerShape(8, 0, 0.25, 4), 4)


def test_no_more_embedders_than_shards():
    assert shape("auto", 8, 0, shards=3)[0].count == 3


def test_cpu_is_not_given_a_gpu():
    assert shape("cpu", 8, 4)[0].gpus == 0


def test_numbers_beyond_the_cluster_are_its_demand():
    assert shape("cuda", 1, 0, embedders=6, decoders=20) == (WorkerShape(6, 0, 1.0, 20), 20)


def test_decoders_on_cpus_leave_room_for_themselves():
    assert shape("cpu", 8, 0, decoders=2) == (WorkerShape(4, 1, 0, 2), 2)


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        (("cuda", 8, 0), {}, "the cluster has no GPU now; set ray.embedders"),
        (("cpu", 1, 0), {"decoders": 1}, "needs at least 2 CPUs"),
        (("cpu", 4, 0), {"decoders": 1, "embedders": 4}, "leave none of the 4 CPUs to decoders"),
    ],
)
def test_what_could_never_start_is_refused(arguments, settings, message):
    with pytest.raises(InputError, match=message):
        shape(*arguments, **settings)
