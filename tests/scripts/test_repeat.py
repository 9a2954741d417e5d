"""A command of anybody's is trained again and again, whatever framework it uses and however it ends."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from support.ray_up_local import wait_for

from dbviz_ray.__main__ import main
from dbviz_ray.scripts.recipe import trials_of

PYTHON = sys.executable
COMMON = """
import sys
import numpy as np
from sklearn.datasets import load_digits
seed, out, rate = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else 0.01
images, labels = load_digits(return_X_y=True)
images = (images / 16).astype(np.float32)
train, test = slice(0, 300), slice(1500, None)
"""
SCRIPTS = {
    "scikit-learn": """
import pandas as pd
from sklearn.neural_network import MLPClassifier
model = MLPClassifier((16,), random_state=seed, max_iter=20, learning_rate_init=rate).fit(images[train], labels[train])
chances = pd.DataFrame(model.predict_proba(images[test])).add_prefix("probability_")
chances.assign(id=range(len(chances)), label=labels[test]).to_parquet(f"{out}/predictions.parquet")
""",
    "PyTorch": """
import torch
torch.manual_seed(seed)
network = torch.nn.Sequential(torch.nn.Linear(64, 16), torch.nn.ReLU(), torch.nn.Linear(16, 10))
optimizer = torch.optim.Adam(network.parameters(), rate)
for _ in range(30):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(network(torch.tensor(images[train])), torch.tensor(labels[train])).backward()
    optimizer.step()
chances = network(torch.tensor(images[test])).softmax(1).detach().numpy()
np.savez(f"{out}/predictions.npz", label=labels[test], probabilities=chances)
""",
    "Lightning": """
import lightning, torch
lightning.seed_everything(seed)
class Classifier(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(64, 10)
    def training_step(self, batch):
        return torch.nn.functional.cross_entropy(self.linear(batch[0]), batch[1])
    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), rate)
data = torch.utils.data.TensorDataset(torch.tensor(images[train]), torch.tensor(labels[train]))
network, quiet = Classifier(), {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
loader = torch.utils.data.DataLoader(data, 30, shuffle=True)
lightning.Trainer(max_epochs=5, accelerator="cpu", **quiet).fit(network, loader)
np.savez(f"{out}/predictions.npz", label=labels[test], prediction=network.linear(torch.tensor(images[test])).argmax(1))
""",
    "Keras": """
import os
os.environ["KERAS_BACKEND"] = "torch"
import keras
keras.utils.set_random_seed(seed)
model = keras.Sequential([keras.layers.Dense(16, activation="relu"), keras.layers.Dense(10, activation="softmax")])
model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
model.fit(images[train], labels[train], epochs=3, verbose=0)
np.savez(f"{out}/predictions.npz", label=labels[test], probabilities=model.predict(images[test], verbose=0))
""",
}


@pytest.fixture
def here(here):
    for name, script in SCRIPTS.items():
        (here / f"{name}.py").write_text(COMMON + script)
    return here


def repeat(*words, address="none"):
    return main(["repeat", "--address", address, "--out", "run", *words])


@pytest.mark.parametrize("framework", ["Lightning", "Keras"])
def test_other_frameworks_are_repeated_too(framework, here, capsys):
    assert repeat("--seeds", "2", "--", PYTHON, f"{framework}.py", "{seed}", "{out}") == 0
    outcome = json.loads((here / "run" / "compared" / "comparison.json").read_text())
    assert 0.2 < outcome["agreement"]["value"] < 1


@pytest.mark.parametrize("framework", ["scikit-learn", "PyTorch"])
def test_trainings_in_any_framework_are_repeated_and_compared(framework, here, capsys):
    command = ["--", PYTHON, f"{framework}.py", "{seed}", "{out}"]
    assert repeat("--seeds", "3", "--same-seed", *command) == 0
    printed = capsys.readouterr().out
    assert "Two trainings with seed 0 wrote the same files to the bit" in printed
    assert "Two of these 3 models predict the same class" in printed
    outcomes = {path: path.stat().st_mtime_ns for path in (here / "run").glob("seed=*/outcome.json")}
    assert len(outcomes) == 4
    assert repeat("--seeds", "4", "--same-seed", *command) == 0, "one more"
    assert all(path.stat().st_mtime_ns == before for path, before in outcomes.items())
    old, new = (f"run/seed={seed}/out/{next((here / 'run/seed=0/out').iterdir()).name}" for seed in (0, 1))
    assert main(["gate", old, new, "--reruns", "run"]) == 0


def test_a_shell_script_runs_on_ray_as_without_it(here, capsys):
    script = 'echo "id,label,prediction" > {out}/predictions.csv; '
    script += 'for i in 0 1 2 3; do echo "$i,1,$(((i + {seed}) % 2))" >> {out}/predictions.csv; done'
    assert repeat("--seeds", "2,5", "--", "sh", "-c", script, address="local") == 0
    told = capsys.readouterr()
    assert "They" not in told.err
    assert "Trial" not in told.out
    outcome = json.loads((here / "run" / "seed=5" / "outcome.json").read_text())
    assert (outcome["code"], outcome["tries"]) == (0, 1)
    churn = pd.read_csv(here / "run" / "compared" / "pairs.csv")["churn"][0]
    assert churn == 1


def test_what_is_varied_has_a_table_and_a_curve(here, capsys):
    command = ["--", PYTHON, "PyTorch.py", "{seed}", "{out}", "{rate}"]
    assert repeat("--seeds", "3", "--vary", "rate=[0.001,0.01]", *command) == 0
    table = pd.read_csv(here / "run" / "recipes.csv")
    assert table["rate"].tolist() == [0.001, 0.01]
    for rate, agreement, error in zip(table["rate"], table["agreement"], table["error"], strict=True):
        files = [np.load(path) for path in (here / "run").glob(f"rate={rate}-*/out/predictions.npz")]
        predicted = np.stack([file["probabilities"].argmax(axis=1) for file in files])
        assert error == pytest.approx((predicted != files[0]["label"]).mean())
        pairs = [(predicted[a] == predicted[b]).mean() for a, b in ((0, 1), (0, 2), (1, 2))]
        assert agreement == pytest.approx(np.mean(pairs))
    assert (here / "run" / "recipes.png").stat().st_size > 10_000


def test_weights_are_compared_and_two_trainings_of_a_seed_told_apart(here, capsys, monkeypatch):
    monkeypatch.syspath_prepend(here)
    (here / "net.py").write_text(
        "from torch import nn\n\n\ndef small():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    (here / "train.py").write_text(
        "import sys, os, torch\nfrom net import small\ntorch.manual_seed(int(sys.argv[1]))\nnetwork = small()\n"
        "torch.save(network.state_dict(), 'epoch-0.pt')\n"
        "torch.nn.init.normal_(network[1].weight, generator=torch.Generator().manual_seed(os.getpid()))\n"
        "torch.save(network.state_dict(), 'epoch-10.pt')\n"
    )
    words = ["--model", "net:small", "--data", "digits", "--seeds", "2", "--same-seed", "--weights"]
    assert repeat(*words, "*.pt", "--", PYTHON, "train.py", "{seed}") == 0
    printed = capsys.readouterr().out
    assert "differ from epoch-10.pt on, file 2 of 2" in printed
    assert "which is more than rounding" in printed
    assert "seed=0 and seed=1 predict" in printed
    assert repeat(*words, "epoch-0.pt", "--", PYTHON, "train.py", "{seed}") == 0
    assert "the same epoch-0.pt to the bit, but other files differ: epoch-10.pt." in capsys.readouterr().out


WRONG = {
    "no placeholder": (["true"], "COMMAND: has no {seed}", 2),
    "an unknown one": (["echo", "{seed}", "{width}"], "'{width}' is unknown", 2),
    "no command": ([], "COMMAND: is missing", 2),
    "nothing written": (["echo", "{seed}", "{out}"], "it wrote nothing to its folder", 2),
    "another file written": (["touch", "{out}/a{seed}.txt"], "it wrote a0.txt", 2),
    "always failing": (["sh", "-c", "echo hello; echo broken {seed} >&2; exit 7"], "(exit code 7): broken 0", 1),
    "no such program": (["no-such-program", "{seed}"], "No such file or directory: 'no-such-program'", 1),
}


@pytest.mark.parametrize("case", WRONG)
def test_commands_that_cannot_be_compared_say_why(case, here, capsys):
    words, told, code = WRONG[case]
    assert repeat("--seeds", "2", "--", *words) == code
    assert told in capsys.readouterr().err


def test_a_command_that_ignores_its_seed_is_told_apart(here, capsys):
    write = "printf 'id,label,prediction\\n1,1,1\\n2,1,0\\n' > {out}/predictions.csv # {seed}"
    assert repeat("--seeds", "3", "--", "sh", "-c", write) == 0
    assert "All 3 trainings wrote the same file to the bit: the command ignores its seed" in capsys.readouterr().out


def test_a_failing_training_is_tried_again_and_a_changed_script_is_refused(here, capsys):
    script = 'test -e "$2/once" || { touch "$2/once"; exit 3; }\necho "prediction\n$1" > $2/predictions.csv'
    (here / "train.sh").write_text(script)
    command = ["--", "sh", "train.sh", "{seed}", "{out}"]
    assert repeat("--seeds", "2", *command) == 1
    assert "2 of 2 trainings failed" in capsys.readouterr().err
    assert repeat("--seeds", "3", "--retries", "1", *command) == 2, "one item has no interval"
    outcomes = [json.loads((here / "run" / f"seed={seed}" / "outcome.json").read_text()) for seed in range(3)]
    assert [(one["code"], one["tries"]) for one in outcomes] == [(0, 1), (0, 1), (0, 2)]
    capsys.readouterr()
    (here / "train.sh").write_text("true")
    assert repeat("--seeds", "2", *command) == 2
    assert "uses train.sh, which has changed since it made" in capsys.readouterr().err


def test_a_killed_command_ends_its_trainings_and_the_same_command_continues(here):
    script = 'sleep $1; echo $$ > $2/pid; sleep ${3:-0}; echo "id,prediction\n1,$1\n2,0" > $2/predictions.csv'
    (here / "slow.sh").write_text(script)
    words = ["--seeds", "2", "--", "sh", "slow.sh", "{seed}", "{out}"]
    command = [PYTHON, "-m", "dbviz_ray", "repeat", "--address", "none", "--out", "run", *words]
    for number, code in ((signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)):
        process = subprocess.Popen([*command, "100"], start_new_session=True)
        marker = here / "run" / "seed=0" / "out" / "pid"
        marker.unlink(missing_ok=True)
        while not (marker.exists() and marker.read_text().strip()):
            assert process.poll() is None
            time.sleep(0.05)
        training = int(marker.read_text())
        process.send_signal(number)
        assert process.wait(60) == code
        wait_for(lambda ended=f"/proc/{training}": not os.path.exists(ended), 20)
    assert main(["repeat", "--address", "none", "--out", "run", *words]) == 0


def test_names_and_folders_of_trainings(here):
    trials = trials_of(["x", "{seed}", "a={lr}"], [0, 1], {"lr": ["1e-3", "../x"]}, here / "run", again=True)
    names = ["lr=1e-3-seed=0", "lr=1e-3-seed=0-again", "lr=1e-3-seed=1", "lr=.._x-seed=0", "lr=.._x-seed=1"]
    assert [trial.name for trial in trials] == names
    assert trials[3].words == ("x", "0", "a=../x")
    assert all(trial.folder.parent == here / "run" for trial in trials)
    assert trials[0].place == trials[0].written, "without {out} it starts in its own folder"
