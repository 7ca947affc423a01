"""The steps of the Dockerfile, carried out in a root directory of their own where no container engine runs."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.running import REPOSITORY

DOCKERFILE = REPOSITORY / "deploy" / "docker" / "Dockerfile"
MINUTES_READY = 5
ROOT = """
set -eux
root=$1; shift
mkdir -p $root/{usr,etc,opt,proc,dev,tmp,var/lib,src}
for link in bin sbin lib lib64; do ln -sfn usr/$link $root/$link; done
mount --rbind /usr $root/usr
mkdir -p $root$PREFIX; mount --bind $PREFIX $root$PREFIX  # Python, which is first in the path as in its image
export PATH=$PREFIX/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
cp -a /etc/. $root/etc
for folder in /opt/*/; do mkdir -p $root$folder; mount --bind $folder $root$folder; done
mount -t proc proc $root/proc
mount --rbind /dev $root/dev
chmod 1777 $root/tmp
inside() { chroot $root /bin/bash -c "cd ${workdir:-/}; $1"; }
"""


def instructions() -> list[tuple[str, str]]:
    """Instructions of the Dockerfile in their order, each with its argument on one line."""
    text = re.sub(r"\\\n\s*", "", DOCKERFILE.read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(name, argument) for name, _, argument in (line.partition(" ") for line in lines)]


def script() -> str:
    """What a container engine would do, as a program of the shell: the steps, the command and its health check."""
    steps, found = [ROOT], dict(instructions())
    for name, argument in instructions():
        if name == "COPY" and not argument.startswith("--from"):
            *sources, target = argument.split()
            steps += [f"cp -r {REPOSITORY / source} $root/src/{'' if target == './' else target}" for source in sources]
        elif name == "RUN":
            steps.append(f"inside {shlex.quote(argument)}")
        elif name == "WORKDIR":
            steps.append(f"workdir={argument}")
        elif name in ("ENV", "ARG"):
            steps.append(f"export {argument}")
    command = [*json.loads(found["ENTRYPOINT"]), *json.loads(found["CMD"])]
    check = shlex.join(json.loads(found["HEALTHCHECK"].partition("CMD ")[2]))
    as_user = f"chroot --userspec={found['USER']}:{found['USER']} $root"
    return "\n".join([
        *steps,
        "mount -o remount,bind,ro $root/usr; mount --bind $root/opt $root/opt; mount -o remount,bind,ro $root/opt",
        f"{as_user} {shlex.join(command)} & node=$!",
        f"for _ in {{1..{60 * MINUTES_READY}}}; do {as_user} {check} && break; kill -0 $node; sleep 1; done",
        f"{as_user} {check}",
        f"{as_user} /usr/bin/touch /opt/lookalike/written && exit 9",
        f"stat -c %a:%u $root{found['VOLUME']}",
        "kill $node; wait $node",
    ])  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root, and util-linux's unshare")
def test_the_steps_of_the_image_make_a_node_that_passes_its_health_check(tmp_path: Path) -> None:
    folder = Path("/var/tmp") / f"lookalike-image-{os.getpid()}"  # another user must get there
    folder.mkdir(mode=0o755)
    program = tmp_path / "steps.sh"
    program.write_text(script())
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LOOKALIKE", "VIRTUAL"))}
    try:
        run = subprocess.run(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", str(program), str(folder)],
            env=environment | {"PREFIX": sys.base_prefix, "HOME": "/tmp"},
            capture_output=True,
            text=True,
            timeout=3000,
            check=False,
        )
    finally:
        assert str(folder) not in Path("/proc/self/mountinfo").read_text(), "what is mounted there is of this machine"
        shutil.rmtree(folder)

    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert "LOOKALIKE OK" in run.stdout
    assert "700:10001" in run.stdout
