"""A SLURM cluster of several nodes on this machine: its own daemons, their keys and files in one folder."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.tracking_server import free_port

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "squeue")
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
KillWait=10
MpiDefault=none
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def is_installed() -> bool:
    return os.geteuid() == 0 and all(shutil.which(program) for program in PROGRAMS)


@contextmanager
def slurm_cluster(folder: Path, nodes: int) -> Iterator[str]:
    """What SLURM_CONF is for commands that use it."""
    host, configuration = socket.gethostname().partition(".")[0], folder / "slurm.conf"
    munge = folder / "munge"
    munge.mkdir(parents=True, mode=0o755)
    (munge / "key").touch(0o400)
    (munge / "key").write_bytes(os.urandom(128))
    lines = [
        f"NodeName=n{number} NodeHostname={host} NodeAddr=127.0.0.1 Port={free_port()} CPUs=2 CoresPerSocket=2"
        for number in range(1, nodes + 1)
    ]
    configuration.write_text("\n".join([CONFIGURATION.format(host=host, port=free_port(), folder=folder), *lines, ""]))
    for name in ("state", *(f"spool-n{number}" for number in range(1, nodes + 1))):
        (folder / name).mkdir()
    of_munge = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    daemons = [
        ["munged", "--force", *(f"--{option}={munge / name}" for option, name in of_munge.items())],
        ["slurmctld", "-i", "-f", str(configuration)],
        *(["slurmd", "-N", f"n{number}", "-f", str(configuration)] for number in range(1, nodes + 1)),
    ]
    try:
        for daemon in daemons:
            subprocess.run(daemon, check=True, capture_output=True, timeout=60)
        yield str(configuration)
    finally:
        for pid in [*folder.glob("*.pid"), munge / "pid"]:
            end(int(pid.read_text()))


def end(process: int) -> None:
    """End a daemon, and wait until it is gone."""
    os.kill(process, signal.SIGTERM)
    for _ in range(200):
        if not os.path.exists(f"/proc/{process}"):
            return
        time.sleep(0.1)
    os.kill(process, signal.SIGKILL)
