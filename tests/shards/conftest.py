import pyarrow as pa
import pytest


@pytest.fixture
def memory():
    """What Arrow takes from now on."""
    before, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(pool)
    yield pool
    pa.set_memory_pool(before)
