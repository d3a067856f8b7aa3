import pytest

from filtering.core.errors import RunError
from filtering.runtime.events import EventLog, read_events
from filtering.storage.store import Store


def test_an_event_holds_no_secret(tmp_path):
    store = Store(str(tmp_path))
    EventLog(store).append("run_failed", detail="https://name:Zm9vYmFy@host/x is not there", shards=3)
    (event,) = read_events(store)
    assert (event["detail"], event["shards"]) == ("https://***@host/x is not there", 3)


def test_a_driver_that_lost_its_lease_writes_no_event(tmp_path):
    def taken_over():
        raise RunError("the lease was taken over")

    log = EventLog(Store(str(tmp_path)), taken_over)
    with pytest.raises(RunError, match="taken over"):
        log.append("run_failed")
    assert Store(str(tmp_path)).names() == []
