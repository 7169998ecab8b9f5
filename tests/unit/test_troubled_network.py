"""The network that tests make trouble in leaves nothing open itself: pytest fails for a socket nobody closed."""

from __future__ import annotations

import contextlib
import gc
import socket
import threading
import time
from pathlib import Path

from factories.troubled_network import troubled_network


def test_a_network_that_ends_while_connections_come_closes_every_one(tmp_path: Path) -> None:
    path = str(tmp_path / "database.sock")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as database:
        database.bind(path)
        database.listen()
        for round_number in range(4):
            came, ended = threading.Event(), threading.Event()
            with troubled_network(path) as network:

                def come_again(port: int, came: threading.Event, ended: threading.Event) -> None:
                    while not ended.is_set():
                        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.1):
                            came.set()
                            time.sleep(0.001)  # as much as the network needs to take the next one

                clients = [threading.Thread(target=come_again, args=(network.port, came, ended)) for _ in range(2)]
                for client in clients:
                    client.start()
                assert came.wait(10)
                if round_number % 2:
                    network.cut()
            ended.set()
            for client in clients:
                client.join()
            gc.collect()
