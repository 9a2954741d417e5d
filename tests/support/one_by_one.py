"""An ordinary training loop over one ordinary module, to compare cohorts with; float64."""

import copy
import math
import random
from dataclasses import replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler

from dbviz_ray.architectures import initialised_network
from dbviz_ray.architectures.outputs import logits_of
from dbviz_ray.config.seeds import derived_seed, numpy_generator, torch_generator
from dbviz_ray.datasets import given_labels


def optimizer_and_scheduler(network, settings, steps_per_epoch):
    """torch's own; the scheduler is advanced after every step."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    momentum = {"momentum": settings.momentum} if settings.optimizer == "sgd" else {}
    rates = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    optimizer = kinds[settings.optimizer](parameters, **rates, **momentum)
    milestones = [math.ceil(settings.epochs * part) * steps_per_epoch for part in (0.375, 0.625, 0.875)]
    schedules = {
        "constant": lambda: lr_scheduler.ConstantLR(optimizer, factor=1),
        "drops": lambda: lr_scheduler.MultiStepLR(optimizer, milestones, gamma=0.1),
        "cosine": lambda: lr_scheduler.CosineAnnealingLR(optimizer, T_max=settings.epochs * steps_per_epoch),
    }
    return optimizer, schedules[settings.schedule]()


def pixels(model, data, indices, places, draws):
    """Normalised images of a batch, cropped and flipped one after the other."""
    images = data.train_images[indices]
    if model.training.augmentation == "crop_flip":
        _, _, height, width = images.shape
        for image, place in zip(images, places, strict=True):
            top, left, flip = (int(draw * choices) for draw, choices in zip(draws[place], (9, 9, 2), strict=True))
            crop = F.pad(image, (4, 4, 4, 4))[:, top : top + height, left : left + width]
            image.copy_(crop.flip(2) if flip else crop)
    return data.normalised(images, torch.float64)


def mixed(model, epoch, steps, step, images, labels):
    """Mixup and CutMix by their papers' formulas, one number after the other."""
    generator, alpha = numpy_generator("mixing", model.seeds.augmentation, epoch), model.training.mixing_alpha
    share, centre = float(generator.beta(alpha, alpha, steps)[step]), generator.random((steps, 2))[step]
    classes = F.one_hot(labels, 10).double()
    if model.training.mixing == "mixup":
        images = share * images + (1 - share) * images.roll(1, 0)
    else:
        height, width = images.shape[2:]
        y, x = int(centre[0] * height), int(centre[1] * width)
        half_y, half_x = (int(0.5 * math.sqrt(1 - share) * side) for side in (height, width))
        rows, columns = slice(max(y - half_y, 0), y + half_y), slice(max(x - half_x, 0), x + half_x)
        images, others = images.clone(), images.roll(1, 0)[:, :, rows, columns]
        images[:, :, rows, columns] = others
        share = 1 - others[0, 0].numel() / (height * width)
    return images, share * classes + (1 - share) * classes.roll(1, 0)


def replace_dropout(network, generator_of):
    """Let dropout layers take their masks from a generator; within a step, a layer keeps its mask."""
    masks = {}

    def hook(layer, inputs, _):
        if not layer.training:
            return inputs[0]
        if layer not in masks:
            shape = inputs[0].shape
            shape = (*shape[:2], 1, 1) if isinstance(layer, nn.Dropout2d) else shape
            shape = (len(inputs[0]), 1) if isinstance(layer, nn.Dropout1d) else shape  # of rows, as of one image
            kept = torch.empty(shape, dtype=torch.float64).bernoulli_(1 - layer.p, generator=generator_of())
            masks[layer] = kept / (1 - layer.p)
        return inputs[0] * masks[layer]

    for layer in network.modules():
        if isinstance(layer, (nn.Dropout, nn.Dropout1d, nn.Dropout2d)):
            layer.register_forward_hook(hook)
    return masks


def attack(network, images, labels, start, settings, data):
    """Projected gradient descent with autograd's gradients of the pixels."""
    mean, deviation = (torch.tensor(of, dtype=torch.float64).view(-1, 1, 1) for of in (data.mean, data.deviation))
    radius, length = (raw / data.pixel_range / deviation for raw in (settings.radius, settings.step))
    network.eval()
    moved = images + start * radius
    for step in range(settings.steps + 1):
        moved = torch.clamp(moved, images - radius, images + radius)
        moved = torch.clamp(moved, -mean / deviation, (1 - mean) / deviation).detach().requires_grad_()
        if step < settings.steps:
            (gradient,) = torch.autograd.grad(F.cross_entropy(network(moved), labels), moved)
            moved = moved + length * gradient.sign()
    network.train()
    return moved.detach()


def loss_of(logits, labels, images, teacher, distillation):
    if distillation is None:
        return F.cross_entropy(logits, labels)
    with torch.no_grad():
        taught = teacher(images)
    if distillation.labels == "hard":
        of_teacher = F.cross_entropy(logits, taught.argmax(1))
    else:
        warmth = distillation.temperature
        logs = [F.log_softmax(scores / warmth, dim=1) for scores in (logits, taught)]
        of_teacher = warmth**2 * F.kl_div(*logs, reduction="batchmean", log_target=True)
    return distillation.share * of_teacher + (1 - distillation.share) * F.cross_entropy(logits, labels)


def sharpness_aware_gradients(network, radius, loss):
    """Move the weights uphill, take the gradient there, and put weights and batch-norm statistics back."""
    parameters = [parameter for parameter in network.parameters() if parameter.grad is not None]
    norm = torch.cat([parameter.grad.flatten() for parameter in parameters]).norm()
    kept = copy.deepcopy(network.state_dict())
    with torch.no_grad():
        for parameter in parameters:
            parameter += radius * parameter.grad / norm
    network.zero_grad()
    loss().backward()
    network.load_state_dict(kept)


def one_by_one(model, data, teacher=None, *, draws_itself=False):
    """The trained module in evaluation mode, and per-epoch (loss, error) on the given labels.

    `draws_itself`: the module draws from the global generators, seeded for every pass, and dropout layers do too.
    """
    settings, seeds = model.training, model.seeds
    network = initialised_network(model.architecture, model.width, data.image_shape, 10, seeds.init, model.options)
    network.double()
    network.train()
    given = given_labels(data, "symmetric", model.label_noise, seeds.label_noise)
    if seeds.train_set is not None:
        drawn = numpy_generator("train_set", seeds.train_set).integers(len(given), size=len(given))
        data, given = replace(data, train_images=data.train_images[drawn]), given[drawn]
    steps = math.ceil(len(given) / settings.batch_size)
    optimizer, scheduler = optimizer_and_scheduler(network, settings, steps)
    streams = {}
    masks = {} if draws_itself else replace_dropout(network, lambda: streams["dropout"])
    history = []
    for epoch in range(settings.epochs):
        streams["dropout"] = torch_generator("cpu", "dropout", seeds.dropout, epoch)
        attacks = torch_generator("cpu", "attack", seeds.augmentation, epoch)
        draws = torch.rand(len(given), 3, generator=torch_generator("cpu", "augmentation", seeds.augmentation, epoch))
        order = torch.randperm(len(given), generator=torch_generator("cpu", "order", seeds.order, epoch))
        places = torch.arange(len(given)).split(settings.batch_size)
        losses, wrong = 0.0, 0
        for step, batch in enumerate(order.split(settings.batch_size)):
            images, labels = pixels(model, data, batch, places[step], draws), given[batch]
            if settings.mixing != "none":
                images, labels = mixed(model, epoch, steps, step, images, labels)
            if settings.adversary is not None:
                start = torch.empty_like(images).uniform_(-1, 1, generator=attacks)
                images = attack(network, images, labels, start, settings.adversary, data)
            masks.clear()
            network.zero_grad()
            seed = derived_seed("forward", seeds.dropout, epoch, step)

            def outputs(images=images, seed=seed):
                random.seed(seed)
                np.random.seed(seed % 2**32)
                torch.manual_seed(seed)
                return logits_of(network(images))

            logits = outputs()
            loss_of(logits, labels, images, teacher, settings.distillation).backward()
            if settings.sam_radius:
                again = lambda: loss_of(outputs(), labels, images, teacher, settings.distillation)  # noqa: B023, E731
                sharpness_aware_gradients(network, settings.sam_radius, again)
            optimizer.step()
            scheduler.step()
            losses += F.cross_entropy(logits, given[batch], reduction="sum").item()
            wrong += (logits.argmax(1) != given[batch]).sum().item()
        with torch.no_grad():  # as loops do; a module may change itself even then
            network.eval()
            network(data.normalised(data.test_images, torch.float64))
        network.train()
        history.append((losses / len(given), wrong / len(given)))
    network.eval()
    return network, history
