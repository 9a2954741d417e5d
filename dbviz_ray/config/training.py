"""The data set of a sweep, and how its models are trained."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from dbviz_ray.config.registry import check_dataset
from dbviz_ray.config.validation import (
    Architecture,
    Count,
    Frozen,
    NonNegative,
    Pattern,
    Positive,
    PositiveShare,
    RecipeName,
    Seed,
    Several,
    absolute,
    excluded,
    not_repeated,
)
from dbviz_ray.errors import FieldError


class DatasetConfig(Frozen):
    """The images and the kind of label noise. Leave fields unset that the data set does not use."""

    name: Annotated[str, AfterValidator(check_dataset)] = Field(
        "digits", description="A registered data set, or a function as `package.module:function`."
    )
    folder: Annotated[str, AfterValidator(absolute)] | None = Field(
        None,
        description="image_folder only: a folder with train/CLASS/* and test/CLASS/*; a relative path starts at the "
        "sweep's file, or at the present folder on a command line.",
    )
    image_size: Count | None = Field(None, description="image_folder only: images are resized to this side, in pixels.")
    train_size: Several | None = Field(None, description="Training images kept; all of them if unset.")
    test_size: Several | None = Field(None, description="Test images kept; all of them if unset.")
    split_seed: Seed = Field(
        0, description="Seed of the train/test split (digits), of the kept subsets and of the held-out images."
    )
    held_out: Several | None = Field(
        None,
        description="Number of training images to hold out and use in place of the test images, for choosing settings; "
        "the test set then stays unused.",
    )
    noise_kind: Literal["symmetric", "asymmetric"] = Field(
        "symmetric",
        description="How label noise picks the new label. symmetric: any other class, uniformly; asymmetric: a fixed "
        "similar class (CIFAR-10) or the next class (other data sets).",
    )


class DistillationConfig(Frozen):
    """Distillation from a teacher, the one model of the same sweep that these fields select.

    Loss (Hinton et al., arXiv 1503.02531): share * T^2 * CE(softmax(teacher / T), softmax(student / T))
    + (1 - share) * CE(labels, student), with T = `temperature`; for hard labels, share * CE(argmax teacher, student).
    The teacher is evaluated on the same augmented batch, in evaluation mode.
    """

    recipe: RecipeName = Field(description="Recipe of the teacher, which must not be distilled itself.")
    architecture: Architecture | None = Field(None, description="The student's own if unset.")
    width: Count | None = Field(None, description="If unset, the only width of the teacher's architecture.")
    seed: Seed | None = Field(None, description="The teacher's init seed; the student's own if unset.")
    temperature: Positive = Field(30.0, description="Soft labels only.")
    labels: Literal["soft", "hard"] = Field("soft", description="The teacher's probabilities, or its classes.")
    share: PositiveShare = Field(
        1.0, description="Weight of the teacher's labels in the loss; the given labels get the rest."
    )

    @model_validator(mode="after")
    def _temperature_belongs_to_soft_labels(self) -> Self:
        if self.labels == "hard" and self.temperature != 30:
            raise excluded("temperature", self.temperature, "labels=hard", "unset")
        return self


class AdversaryConfig(Frozen):
    """Training on adversarial images: projected gradient descent (Madry et al., arXiv 1706.06083).

    The attack starts at a uniform random point of the L-infinity ball, follows the sign of the loss's gradient with
    the network in evaluation mode, and stays within the ball and the range of pixels.
    """

    radius: Positive = Field(8.0, description="Radius of the ball, in raw pixel units (8 of 255 is usual).")
    step: Positive = Field(2.0, description="Length of one step, in raw pixel units.")
    steps: Count = Field(7, description="Steps of the attack.")


class TrainingConfig(Frozen):
    """How one model is trained. It keeps the last epoch's weights; test data select nothing."""

    epochs: Count = Field(400, description="Passes over the training images.")
    batch_size: Count = Field(128, description="Images in a step; the last batch of an epoch may be smaller.")
    optimizer: Literal["sgd", "adam", "adamw"] = Field("adam", description="torch.optim's SGD, Adam or AdamW.")
    learning_rate: Positive = Field(0.01, description="Learning rate before the schedule changes it.")
    schedule: Literal["constant", "drops", "cosine", "inverse_sqrt"] = Field(
        "constant",
        description="drops: x0.1 at 3/8, 5/8 and 7/8 of the epochs (the paper's); cosine: to zero over the training; "
        "inverse_sqrt: 1/sqrt(1 + floor(step/512)) (arXiv 1912.02292).",
    )
    momentum: Annotated[float, Field(strict=True, ge=0, lt=1)] = Field(0.0, description="SGD only.")
    weight_decay: NonNegative = Field(
        0.0, description="L2 penalty added to the gradient, as torch.optim does; for AdamW decoupled from it."
    )
    sam_radius: NonNegative = Field(
        0.0, description="rho of sharpness-aware minimisation (arXiv 2010.01412) over the optimizer; 0: none."
    )
    augmentation: Literal["none", "crop_flip"] = Field(
        "none", description="crop_flip: 4 pixels of zero padding, random crop, random horizontal flip."
    )
    mixing: Literal["none", "mixup", "cutmix"] = Field(
        "none", description="Mixing of a batch's images and labels (arXiv 1710.09412, 1905.04899)."
    )
    mixing_alpha: Positive = Field(1.0, description="mixup and cutmix only: the share comes from Beta(alpha, alpha).")
    distillation: DistillationConfig | None = Field(
        None, description="Learn from another model of the sweep; if unset, from the labels alone."
    )
    adversary: AdversaryConfig | None = Field(
        None, description="Train on adversarial images; if unset, on the original images."
    )
    precision: Literal["float32", "float64", "bfloat16"] = Field(
        "float32", description="bfloat16 is autocast over float32 weights."
    )
    evaluate_every: Count = Field(
        10, description="Epochs between two test evaluations in the history; at 10 they cost under 3 % of the time."
    )
    command: Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        None,
        description="A command of your own that trains one model, as a list of words. {seed}, {out}, {width}, "
        "{label_noise}, {data} (a .npz file with the images and the given labels) and the fields of training and of "
        "the options may stand in it; docs/scripts.md explains it.",
    )
    weights: Pattern = Field(
        "*.pt", description="command only: the weights that it writes to {out}; of several files the last by name."
    )
    snapshots: Annotated[tuple[Count, ...], AfterValidator(not_repeated)] = Field(
        (), description="Earlier epochs whose weights are also kept and scored."
    )

    @model_validator(mode="after")
    def _fields_belong_together(self) -> Self:
        if self.optimizer != "sgd" and self.momentum:
            raise excluded("momentum", self.momentum, f"optimizer={self.optimizer}", "0, or optimizer=sgd")
        if self.mixing == "none" and self.mixing_alpha != 1:
            raise excluded("mixing_alpha", self.mixing_alpha, "mixing=none", "unset, or mixing=mixup or cutmix")
        if self.command is None and self.weights != "*.pt":
            raise excluded("weights", self.weights, "command unset", "unset")
        for field in ("snapshots", "distillation", "adversary") if self.command is not None else ():
            if value := getattr(self, field):
                raise excluded(field, value, "a command", "unset")
        late = [epoch for epoch in self.snapshots if epoch >= self.epochs]
        if late:
            allowed = f"epochs before the last, {self.epochs}, whose weights are always kept"
            raise FieldError("snapshots", late, allowed=allowed)
        return self

    @property
    def kept_epochs(self) -> tuple[int, ...]:
        """Every epoch whose weights are kept, ascending; the last one is the model's own."""
        return (*sorted(self.snapshots), self.epochs)
