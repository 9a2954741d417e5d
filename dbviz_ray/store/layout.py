"""The run directory: the name of every file, and which stage makes it. docs/tables.md tells what each holds.

Evaluators write probabilities and the first picture before the label maps, which mark all three as complete. Beside
that page, cohorts/<cohort_id>/ holds state.safetensors, the training state, and cohort.json, the members' model_ids.
"""

SWEEP_FILE, REPORT_FILE, TRACKING_FILE, DRIVERS = "sweep.yaml", "report.html", "tracking.json", ".drivers"
FINDINGS_FILE = "scores/findings.json"
TABLES_RECORD, FIGURES_RECORD = "digests/tables.json", "digests/figures.json"
"""The digests of tables and findings, and of figures and report; written when all of them are."""
WEIGHTS, HISTORY, PREDICTIONS, MODEL = "weights.safetensors", "history.parquet", "predictions.parquet", "model.json"
COHORT_STATE, COHORT_MEMBERS = "state.safetensors", "cohort.json"
MODELS, COHORTS, PLANES, FAILURES, SCORES, FIGURES = "models", "cohorts", "planes", "failures", "scores", "figures"
LABELS, PROBABILITIES, PICTURES, MARGINS = "labels", "probabilities", "pictures", "margins"
EVALUATIONS = {
    LABELS: "labels.parquet",
    PROBABILITIES: "probabilities.parquet",
    PICTURES: "picture.parquet",
    MARGINS: "margins.parquet",
}
"""Results of evaluators: file name by folder."""
MADE_BY = {MODELS: "train", PLANES: "evaluate", **dict.fromkeys(EVALUATIONS, "evaluate"), SCORES: "analyse"}
"""The stage that makes the files of a folder, and can remake them from the other folders."""


def partition(key: str, value: str | int) -> str:
    """The folder name of a Hive partition; leading zeros make numbers sort correctly."""
    return f"{key}={value:05}" if isinstance(value, int) else f"{key}={value}"


def partitions_of(name: str) -> dict[str, str]:
    """The values of the partitions in a file's name, by key."""
    return dict(part.split("=", 1) for part in name.split("/") if "=" in part)


def folder_of(name: str) -> str:
    """The first folder in a file's name, such as "models"."""
    return name.split("/")[0]


def owner_of(name: str) -> str:
    """The model_id or cohort_id in the name of a file in "models" or "cohorts"."""
    return name.split("/")[1]


def _evaluation(folder: str, **partitions: str | int) -> str:
    return "/".join([folder, *(partition(key, value) for key, value in partitions.items()), EVALUATIONS[folder]])


class Layout:
    """The names of the files; a `Store` has these methods too."""

    @staticmethod
    def model_folder(model_id: str) -> str:
        """The folder of a model."""
        return f"{MODELS}/{model_id}"

    @classmethod
    def model_file(cls, model_id: str, file: str, epoch: int | None = None) -> str:
        """One of a model's files after the earlier `epoch`, or after the last (None)."""
        snapshot = "" if epoch is None else f"snapshots/{partition('epoch', epoch)}/"
        return f"{cls.model_folder(model_id)}/{snapshot}{file}"

    @staticmethod
    def cohort_file(cohort_id: str, file: str) -> str:
        """One of the files of a cohort in training."""
        return f"{COHORTS}/{cohort_id}/{file}"

    @staticmethod
    def failure_file(model_id: str) -> str:
        """The record of a model's failure."""
        return f"{FAILURES}/{model_id}.json"

    @staticmethod
    def planes_file(plane_set: str) -> str:
        """A plane set."""
        return f"{PLANES}/{plane_set}.parquet"

    @staticmethod
    def labels_file(plane_set: str, model_id: str, epoch: int) -> str:
        """The label maps of one model after `epoch` on one plane set."""
        return _evaluation(LABELS, plane_set=plane_set, model_id=model_id, epoch=epoch)

    @staticmethod
    def probabilities_file(plane_set: str, model_id: str, epoch: int) -> str:
        """The class probabilities of one model after `epoch` on one plane set."""
        return _evaluation(PROBABILITIES, plane_set=plane_set, model_id=model_id, epoch=epoch)

    @staticmethod
    def picture_file(plane_set: str, model_id: str, epoch: int, plane: int) -> str:
        """The picture of one plane by one model after `epoch`."""
        return _evaluation(PICTURES, plane_set=plane_set, model_id=model_id, epoch=epoch, plane=plane)

    @staticmethod
    def margins_file(model_id: str, epoch: int) -> str:
        """The margins of one model after `epoch`."""
        return _evaluation(MARGINS, model_id=model_id, epoch=epoch)

    @staticmethod
    def scores_file(table: str, suffix: str = "parquet") -> str:
        """A table of scores."""
        return f"{SCORES}/{table}.{suffix}"

    @staticmethod
    def figure_file(figure: str, suffix: str = "png") -> str:
        """A figure."""
        return f"{FIGURES}/{figure}.{suffix}"
