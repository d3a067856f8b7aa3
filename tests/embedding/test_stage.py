import pytest

from filtering.config.run import parse_config
from filtering.core.errors import InputError
from filtering.embedding.shape import crew_shape
from filtering.runtime.worker_pools import ActorShape


def shape(device, cpus, gpus, shards=100, **ray):
    config = {
        "input": {"shards": "pool"},
        "output": "run",
        "embedding": {"model": "demo", "device": device},
        "ray": ray,
    }
    return crew_shape(parse_config(config), cpus, gpus, shards)


def test_on_cpus_each_embedder_decodes_for_itself():
    assert shape("auto", 8, 0) == (ActorShape(8, 1, 0, 1), 0)


def test_on_gpus_all_cpus_decode_and_an_embedder_takes_none():
    assert shape("auto", 32, 4) == (ActorShape(4, 0, 1.0, 8), 8)


def test_a_gpu_is_shared():
    assert shape("cuda", 32, 2, gpus_per_embedder=0.25) == (ActorShape(8, 0, 0.25, 4), 4)


def test_no_more_embedders_than_shards():
    assert shape("auto", 8, 0, shards=3)[0].count == 3


def test_cpu_is_not_given_a_gpu():
    assert shape("cpu", 8, 4)[0].gpus == 0


def test_numbers_beyond_the_cluster_are_its_demand():
    assert shape("cuda", 1, 0, embedders=6, decoders=20) == (ActorShape(6, 0, 1.0, 20), 20)


def test_decoders_on_cpus_leave_room_for_themselves():
    assert shape("cpu", 8, 0, decoders=2) == (ActorShape(4, 1, 0, 2), 2)


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
