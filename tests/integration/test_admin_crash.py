"""Control dies: nothing that was acknowledged is lost, and it comes back by itself."""
import os
import signal
import threading

import pytest
import requests

from support import state_of, wait_for


class Writer(threading.Thread):
    """Creates consumers until told to stop; remembers which were acknowledged."""

    def __init__(self, base):
        super().__init__()
        self.base, self.acknowledged, self.ending = base, [], threading.Event()
        self.start()

    def run(self):
        n = 0
        while not self.ending.is_set():
            name, n = f"u{n}", n + 1
            try:
                if requests.post(f"{self.base}/consumers", json={"username": name}, timeout=30).status_code == 201:
                    self.acknowledged.append(name)
            except requests.RequestException:
                pass

    def stop(self):
        self.ending.set()
        self.join()


def stored(gw):
    names, url = set(), "/consumers?size=1000"
    while url:
        page = gw.admin.get(url).json()
        names |= {c["username"] for c in page["data"]}
        url = page["next"]
    return names


@pytest.mark.parametrize("victim", ["worker", "master"])
def test_kill_control(gateway, victim):
    gw = gateway()
    gw.allow_log(r"signal 9|exited on signal|killed")
    writer = Writer(gw.admin.base)
    try:
        for _ in range(3):
            seen = len(writer.acknowledged)
            wait_for(lambda: len(writer.acknowledged) > seen + 20, "acknowledged writes")
            pid = gw.workers("control")[0] if victim == "worker" else gw.pid("control")
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda: state_of(pid) is None, "its end")
            seen = len(writer.acknowledged)
            wait_for(lambda: len(writer.acknowledged) > seen, "control to write again")
    finally:
        writer.stop()
    assert set(writer.acknowledged) <= stored(gw)
    assert len(gw.workers("control")) == 1


def test_second_writer_is_refused(gateway):
    """While a node runs, nobody else gets the writer role of its prefix."""
    import fcntl
    gw = gateway()
    with open(gw.prefix / "store" / "writer.lock") as lock:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_stop_finishes_what_was_begun(gateway):
    gw = gateway()
    writer = Writer(gw.admin.base)
    wait_for(lambda: len(writer.acknowledged) > 20, "acknowledged writes")
    gw.stop()
    writer.stop()
    gw.start()
    assert set(writer.acknowledged) <= stored(gw)
