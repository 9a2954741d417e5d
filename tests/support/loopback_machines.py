"""Machines to try a cluster on: each an sshd on a loopback address, in namespaces of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Machine:
    """An sshd with a home of its own, whose processes see only each other."""

    name: str
    address: str
    folder: Path
    unshare: subprocess.Popen[bytes] = field(init=False)

    def start(self, key: Path) -> None:
        """Start the sshd. Root's home, which sshd looks up, is a folder of this machine."""
        home, run = self.folder / "home", self.folder / "ray"
        for folder in (home, run):
            folder.mkdir(parents=True)
        (home / ".bashrc").touch()
        (self.folder / "passwd").write_text(
            f"root:x:0:0:root:{home}:/bin/bash\nsshd:x:100:65534::/run/sshd:/usr/sbin/nologin\n"
        )
        (self.folder / "shadow").write_text("root:*:19000:0:99999:7:::\n")
        shutil.copy(key.with_suffix(".pub"), self.folder / "authorized_keys")
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / "host_key"], check=True)
        settings = {
            "ListenAddress": self.address,
            "HostKey": self.folder / "host_key",
            "AuthorizedKeysFile": self.folder / "authorized_keys",
            "SetEnv": f"RAY_TMPDIR={run}",
            "PasswordAuthentication": "no",
            "StrictModes": "no",
            "PidFile": "none",
        }
        (self.folder / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        script = (
            f"mount --bind {self.folder}/passwd /etc/passwd && mount --bind {self.folder}/shadow /etc/shadow && "
            f"mount -t tmpfs tmpfs /run && mkdir /run/sshd && exec /usr/sbin/sshd -D -e -f {self.folder}/sshd_config"
        )
        namespaces = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"]
        with (self.folder / "sshd.log").open("w") as log:
            self.unshare = subprocess.Popen([*namespaces, "bash", "-c", script], stdout=log, stderr=log)
        wait_for(lambda: any(f"{self.address}:22 " in line for line in listening()), 20)

    def processes(self) -> list[str]:
        """The command lines of the processes in its namespace, as seen from outside."""
        namespace = os.readlink(f"/proc/{self._sshd()}/ns/pid")
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(process / "ns/pid") == namespace:
                    found.append(command_line(int(process.name)))
            except OSError:
                continue  # it has ended
        return [command for command in found if command]

    def started_processes(self) -> list[str]:
        """Those that are not its sshd's own."""
        return [command for command in self.processes() if "sshd" not in command.split()[0]]

    def stop(self) -> None:
        """End the sshd, and with it its namespaces."""
        os.kill(self._sshd(), signal.SIGTERM)  # unshare itself ignores it
        self.unshare.wait(20)

    def _sshd(self) -> int:
        return int(Path(f"/proc/{self.unshare.pid}/task/{self.unshare.pid}/children").read_text().split()[0])


def wait_for(condition: Callable[[], object], seconds: float) -> float:
    """Seconds until the condition holds; AssertionError if it does not within `seconds`."""
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < seconds, f"did not come true within {seconds:g} s"
        time.sleep(0.5)
    return time.monotonic() - begin


def command_line(pid: int) -> str:
    """Words of a process, or nothing if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def listening() -> list[str]:
    """Addresses and ports that something listens on in this network namespace."""
    return subprocess.run(["ss", "-Hltn"], check=True, capture_output=True, text=True).stdout.splitlines()
