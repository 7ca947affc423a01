"""What a node can do while its search kernels are still being compiled."""

import fcntl
from pathlib import Path

from pydicom import dcmread

from node.cli.send import files
from node.cli.similar import Asking, ask_node
from node.errors import Status
from storage.record import Level
from tests.support.running import running_node


def test_images_are_received_and_queries_answered_while_another_process_compiles_kernels(
    phantoms: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    (home / "run").mkdir(parents=True)
    with (home / "run" / "kernels.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        with running_node(home) as node:
            stored = list(node.peer.store(list(files(phantoms))[:3]))

            assert [one.status for one in stored] == [Status.SUCCESS] * 3
            assert node.wait_indexed().entities[Level.IMAGE] == 3
            uid = str(dcmread(stored[0].path, stop_before_pixels=True).SOPInstanceUID)
            asking = Asking.of(uid, 2, "IMAGE", "", other_patients=False)
            assert len(ask_node(node.peer, asking)) == 2
