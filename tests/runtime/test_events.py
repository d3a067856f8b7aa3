from filtering.runtime.events import EventLog, read_events
from filtering.storage.store import Store


def test_an_event_holds_no_secret(tmp_path):
    store = Store(str(tmp_path))
    EventLog(store).append("run_failed", detail="https://name:Zm9vYmFy@host/x is not there", shards=3)
    (event,) = read_events(store)
    assert (event["detail"], event["shards"]) == ("https://***@host/x is not there", 3)
