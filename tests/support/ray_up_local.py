"""Start docs/cluster/local.yaml's cluster over ssh on loopback addresses, run a sweep on it, and take it down again.

    python tests/support/ray_up_local.py

It needs root, openssh-server, rsync, and this project with its `cluster` extra in .venv. Each "machine" is an sshd in
process, mount and network namespaces where no process, port or home of the real machine is to be seen: the start
commands run `ray stop`, which ends every Ray process that it sees. Exit codes: 0 all holds, 1 something does not,
2 something that it needs is missing.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from getpass import getuser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ["sshd", "ssh", "rsync", "unshare", "ip"]
TUNNEL = "http://127.0.0.1:8266"
SWEEP = ["double_descent_digits", "grid.width=[4,8,16]", "grid.seed=[0,1]", "training.epochs=20", "margins=null"]
SWEEP += ["planes={test: {count: 10, resolution: 15}}"]
MODELS = 12
"""Three widths, two seeds, and the sweep's two levels of label noise."""
WORKER = re.compile(r"ray::(?!IDLE|DashboardAgent|RuntimeEnvAgent|.*JobSupervisor)")
"""How Ray calls the processes of trials and evaluators."""


def missing() -> list[str]:
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    lacking = [name for name in PROGRAMS if not shutil.which(name, path=path)]
    if os.geteuid() != 0:
        lacking.append("root's rights, to make namespaces")
    if not (ROOT / ".venv/bin/ray").exists():
        lacking.append(f"{ROOT / '.venv/bin/ray'} (pip install -e '.[cluster]')")
    return lacking


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
        (self.folder / "sshd_config").write_text(
            f"ListenAddress {self.address}\nHostKey {self.folder}/host_key\nSetEnv RAY_TMPDIR={run}\nPidFile none\n"
            f"AuthorizedKeysFile {self.folder}/authorized_keys\nPasswordAuthentication no\nStrictModes no\n"
        )
        script = (
            f"mount --bind {self.folder}/passwd /etc/passwd && mount --bind {self.folder}/shadow /etc/shadow && "
            f"mount -t tmpfs tmpfs /run && mkdir /run/sshd && exec /usr/sbin/sshd -D -e -f {self.folder}/sshd_config"
        )
        namespaces = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"]
        with (self.folder / "sshd.log").open("w") as log:
            self.unshare = subprocess.Popen([*namespaces, "bash", "-c", script], stdout=log, stderr=log)
        wait_for(lambda: any(f"{self.address}:22 " in line for line in listening()), 20)

    def started_processes(self) -> list[str]:
        """Command lines of the processes in its namespace, as seen from outside, but for its sshd's own."""
        sshd = Path(f"/proc/{self.unshare.pid}/task/{self.unshare.pid}/children").read_text().split()[0]
        namespace = os.readlink(f"/proc/{sshd}/ns/pid")
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended
                if os.readlink(process / "ns/pid") == namespace:
                    found.append(command_line(int(process.name)))
        return [command for command in found if command and "sshd" not in command.split()[0]]


def wait_for(condition: Callable[[], object], seconds: float) -> None:
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < seconds, f"did not come true within {seconds:g} s"
        time.sleep(0.5)


def command_line(pid: int) -> str:
    """Words of a process, or nothing if it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return ""


def listening() -> list[str]:
    """Addresses and ports that something listens on in this network namespace."""
    return subprocess.run(["ss", "-Hltn"], check=True, capture_output=True, text=True).stdout.splitlines()


class Laptop:
    """Where `ray up` is run: the machines are reached from here by ssh and nothing else."""

    def __init__(self, scratch: Path, machines: list[Machine]) -> None:
        self.home = scratch / "laptop"
        (self.home / ".ssh").mkdir(parents=True)
        self.key = self.home / ".ssh" / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)
        self.environment = {"HOME": str(self.home), "PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}", "TERM": "dumb"}
        self.environment |= {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": str(self.home)}
        self.environment |= {"TMPDIR": str(self.home), "RAY_API_SERVER_ADDRESS": TUNNEL}
        self.file = scratch / "cluster.yaml"
        text = (ROOT / "docs/cluster/local.yaml").read_text()
        for old, new in {
            "cluster_name: dbviz": f"cluster_name: {scratch.name}",  # Ray shares ssh connections by the cluster's name
            "192.168.1.10": machines[0].address,
            "[192.168.1.11, 192.168.1.12]": str([machine.address for machine in machines[1:]]),
            "ssh_user: me": "ssh_user: root",
            "~/.ssh/id_ed25519": str(self.key),
            "/shared/dbviz_ray": str(ROOT),
        }.items():
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        self.file.write_text(text)

    def run(self, *command: str, fails: bool = False, **changed: str) -> str:
        """The command's standard output; AssertionError, with all its output, if it ends otherwise than expected."""
        settings = {"env": self.environment | changed, "stdin": subprocess.DEVNULL, "timeout": 600}
        done = subprocess.run(command, capture_output=True, text=True, **settings)
        said = f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert (done.returncode != 0) == fails, said
        return said if fails else done.stdout

    def ssh(self, machine: Machine, command: str) -> str:
        options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
        return self.run("ssh", *options, "-i", str(self.key), f"root@{machine.address}", command)

    def state(self, kind: str) -> list[str]:
        """The states that `ray list` gives of the cluster's nodes or jobs."""
        said = self.run("ray", "list", kind, "--format", "json", "--limit", "1000").strip()
        return [] if said.startswith("No resource") else [entry.get("state") for entry in json.loads(said)]

    @contextmanager
    def tunnel(self) -> Iterator[None]:
        """`ray dashboard`, as long as the block runs."""
        silent = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        command = ["ray", "dashboard", "-p", TUNNEL.rpartition(":")[2], str(self.file)]
        tunnel = subprocess.Popen(command, env=self.environment, start_new_session=True, **silent)
        try:
            wait_for(lambda: any(TUNNEL.removeprefix("http://") + " " in line for line in listening()), 60)
            yield
        finally:
            os.killpg(tunnel.pid, signal.SIGINT)  # as Ctrl-C in a terminal, which reaches ssh too
            tunnel.wait(20)


def check_refusals(laptop: Laptop, head: Machine) -> None:
    """Neither a job nor a driver gets in without the token, or with another one."""
    nobody = {"HOME": str(laptop.home / "nobody")}
    Path(nobody["HOME"]).mkdir()
    driver = ["python", "-c", f"import ray; ray.init(address='{head.address}:6379'); print(ray.nodes())"]
    for command in (["ray", "job", "submit", "--", "true"], driver):
        for without in ({"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_TOKEN": "0" * 64}):
            said = laptop.run(*command, fails=True, **nobody, **without)
            assert re.search("unauthenticated|unauthorized|401|authentication", said, re.IGNORECASE), said
    assert not laptop.state("jobs")


def run_sweep(laptop: Laptop, machines: list[Machine], out: Path) -> None:
    """As a job; its files are complete, and while it ran, each machine had workers of it."""
    worked: dict[str, set[str]] = {machine.name: set() for machine in machines}
    with ThreadPoolExecutor(1) as pool:
        command = ["ray", "job", "submit", "--", "python", "-m", "dbviz_ray.sweep", *SWEEP, "--out", str(out)]
        job = pool.submit(laptop.run, *command)
        while not job.done():
            for machine in machines:
                worked[machine.name] |= {title for title in machine.started_processes() if WORKER.match(title)}
            time.sleep(0.2)
        job.result()
    assert all(worked.values()), worked
    print(f"          {worked}")
    assert len(list(out.glob("models/*/model.json"))) == MODELS
    assert len(list(out.glob("labels/*/*/*/labels.parquet"))) == MODELS
    assert len((out / "scores" / "groups.csv").read_text().splitlines()) == 1 + MODELS // 2
    wait_for(lambda: counted(laptop, machines[0]) == {"models": MODELS, "tasks": MODELS}, 60)


def counted(laptop: Laptop, head: Machine) -> dict[str, float]:
    """The models and tasks that are done, as the cluster tells Prometheus."""
    [services] = head.folder.glob("ray/ray/prom_metrics_service_discovery.json")
    places = [place for service in json.loads(services.read_text()) for place in service["targets"]]
    said = laptop.ssh(head, "; ".join(f"curl -s -m 5 http://{place}/metrics" for place in places))
    found = re.findall(r'ray_dbviz_(models|tasks)_total\{.*outcome="done".*\} ([\d.]+)', said)
    return {name: float(value) for name, value in found}


def main(scratch: Path) -> None:
    """The whole course, within the outer namespaces."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    machines = [Machine("head", "127.0.0.2", scratch / "head"), Machine("worker", "127.0.0.3", scratch / "worker")]
    laptop = Laptop(scratch, machines)
    file = str(laptop.file)
    for machine in machines:
        machine.start(laptop.key)
        seen = laptop.ssh(machine, "ps -e -o comm=").split()
        assert set(seen) <= {"sshd", "ps", "bash"}, f"{machine.name} sees processes of others: {seen}"
    laptop.run("ray", "get-auth-token", "--generate")
    with step("ray up: the head"):
        laptop.run("ray", "up", "-y", file)
    with laptop.tunnel():
        with step("the worker joins"):
            wait_for(lambda: laptop.state("nodes").count("ALIVE") == 2, 180)
        with step("four ways in without the token are refused"):
            check_refusals(laptop, machines[0])
        with step(f"a sweep of {MODELS} models as a job, on both nodes"):
            run_sweep(laptop, machines, scratch / "shared" / "runs" / "digits")
    with step("ray down"):
        laptop.run("ray", "down", "-y", file)
    with step("no process is left on either machine but its sshd"):
        wait_for(lambda: not [process for machine in machines for process in machine.started_processes()], 180)
    user, name = (hashlib.sha256(text.encode()).hexdigest()[:10] for text in (getuser(), scratch.name))
    shutil.rmtree(Path("/tmp") / f"ray_ssh_{user}" / name, ignore_errors=True)  # Ray's ssh connections


@contextmanager
def step(what: str) -> Iterator[None]:
    """Says how long the block took."""
    begin = time.monotonic()
    yield
    print(f"{time.monotonic() - begin:6.1f} s  {what}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        main(Path(sys.argv[2]))
        sys.exit(0)
    if lacking := missing():
        print(f"ray_up_local: missing: {'; '.join(lacking)}", file=sys.stderr)
        sys.exit(2)
    with tempfile.TemporaryDirectory(prefix="ray_up_") as folder:
        outer = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"]
        sys.exit(subprocess.run([*outer, sys.executable, __file__, "--inside", folder]).returncode)
