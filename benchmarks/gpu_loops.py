"""Two training loops over one array of random pixels: this library's, and one of timm's parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from melanoma.data.arrays import ImageArray
from melanoma.data.augmentation import Augmentation
from melanoma.data.batches import Batch, BatchLoader, plan_epoch
from melanoma.data.loader_workers import resolve_workers
from melanoma.data.transforms import NORMALIZATIONS
from melanoma.devices import autocast, resolve_precision
from melanoma.models.classifier import make_classifier
from melanoma.models.losses import binary_cross_entropy
from melanoma.recipe.overrides import make_recipe
from melanoma.training.cuda_graphs import make_graphs
from melanoma.training.epoch import train_epoch
from melanoma.training.state import start_state
from melanoma.training.training_network import compile_network

BACKBONE = "se_resnext50_32x4d"
TIMM_NAME = "legacy_seresnext50_32x4d"
EMA_DECAY = 0.999
RATE = 1e-4
PLAIN_STEPS: tuple[dict[str, Any], ...] = (
    {"shift_scale_rotate": {"shift": 0.0625, "scale": 0.1, "rotate": 15, "p": 0.5}},
    {"flip_horizontal": {"p": 0.5}},
    {"flip_vertical": {"p": 0.5}},
)


@dataclass(frozen=True)
class Setting:
    """What both loops share."""

    array: ImageArray
    device: torch.device
    batch: int
    steps: tuple[dict[str, Any], ...] = PLAIN_STEPS

    @property
    def precision(self) -> torch.dtype:
        return resolve_precision("auto", self.device)

    @property
    def workers(self) -> int:
        return resolve_workers("auto", self.device)


class Ours:
    """The library's own pieces, as loop.py puts them together."""

    def __init__(
        self, setting: Setting, *, compiled: bool = False, cuda_graphs: bool = True
    ) -> None:
        self.setting = setting
        self.recipe = make_recipe(
            {
                "name": "benchmark",
                "data": {"reader": "siim"},
                "folds": {"name": "benchmark"},
                "augment": setting.steps,
                "optimizer": {"name": "adamw", "rate": RATE},
                "schedule": {"name": "constant"},
                "training": {
                    "batch_size": setting.batch,
                    "ema_decay": EMA_DECAY,
                    "cuda_graphs": cuda_graphs,
                },
            }
        )
        model = make_classifier(BACKBONE, outputs=1).to(setting.device)
        self.model = model.to(memory_format=torch.channels_last)
        self.network = compile_network(self.model) if compiled else None
        self.state = start_state(
            self.model, self.recipe, precision=setting.precision, device=setting.device
        )
        self.loss = partial(binary_cross_entropy, positive_weight=1.0, label_smoothing=0.0)
        self.graphs = make_graphs(self.state, self.loss, self.network, precision=setting.precision)
        self.loader = BatchLoader(
            setting.array, workers=setting.workers, augmentation=Augmentation(setting.steps)
        )
        self.targets = np.arange(len(setting.array.names)) % 2
        self.resident: list[Batch] = []  # batches that lie on the device already

    def epoch(self) -> int:
        """Train on every image once; how many they were."""
        plans = plan_epoch(
            np.arange(len(self.targets)),
            self.targets,
            sampler=self.recipe.sampler,
            batch_size=self.setting.batch,
            accumulate=1,
            seed=(0, self.state.epoch),
        )
        batches = self.resident or self.loader.load(plans, seed=(0, self.state.epoch))
        train_epoch(
            self.state,
            batches,
            targets=self.targets,
            normalize="imagenet",
            clip_norm=None,
            loss=self.loss,
            precision=self.setting.precision,
            planned=len(plans),
            after_step=lambda: None,
            network=self.network,
            graphs=self.graphs,
        )
        images = self.state.images
        self.state.next_epoch()
        return images

    def keep_resident(self, batches: int) -> None:
        """From now on train on `batches` batches that wait on the device: no loader, no copies."""
        pixels = torch.from_numpy(self.setting.array.rows(np.arange(self.setting.batch)))
        batch = Batch(pixels.to(self.setting.device), np.arange(self.setting.batch), 1.0, True)
        self.resident = [batch] * batches


class Timm:
    """timm's model, loader with its prefetcher, optimizer and average, in a loop like its own.

    In its favor: the loss stays on the device until the epoch ends (timm's train.py reads it each
    step), and cuDNN may try its algorithms, as train.py lets it.
    """

    def __init__(self, setting: Setting, *, compiled: bool = False) -> None:
        import timm
        import timm.data
        import timm.optim
        import timm.utils

        self.setting = setting
        model = timm.create_model(TIMM_NAME, num_classes=1).to(setting.device)
        self.model = model.to(memory_format=torch.channels_last)
        self.network: Callable[[Tensor], Tensor] = (
            torch.compile(self.model) if compiled else self.model
        )
        self.average = timm.utils.ModelEmaV3(self.model, decay=EMA_DECAY, use_warmup=True)
        self.optimizer = timm.optim.create_optimizer_v2(self.model, opt="adamw", lr=RATE)
        cuda = setting.device.type == "cuda"
        self.scaler = timm.utils.NativeScaler() if setting.precision == torch.float16 else None
        mean, std = NORMALIZATIONS["imagenet"]
        self.loader = timm.data.create_loader(
            _Images(setting),  # type: ignore[arg-type]  # anything with __getitem__ and __len__
            input_size=(3, setting.array.size, setting.array.size),
            batch_size=setting.batch,
            is_training=True,
            no_aug=True,
            mean=mean,
            std=std,
            num_workers=setting.workers,
            persistent_workers=setting.workers > 0,
            pin_memory=cuda,
            device=setting.device,
            use_prefetcher=cuda,
        )
        self.updates = 0

    def epoch(self) -> int:
        """Train on every image once; how many they were."""
        device, images = self.setting.device, 0
        self.model.train()
        total = torch.zeros((), device=device)
        for pixels, target in self.loader:
            if self.setting.device.type != "cuda":
                pixels = pixels.float()
            pixels = pixels.to(device).contiguous(memory_format=torch.channels_last)
            with autocast(device, self.setting.precision):
                logits = self.network(pixels)
                loss = F.binary_cross_entropy_with_logits(logits[:, 0].float(), target.float())
            if self.scaler is not None:
                self.scaler(loss, self.optimizer, parameters=self.model.parameters())
            else:
                loss.backward()
                self.optimizer.step()
            self.optimizer.zero_grad()
            self.updates += 1
            self.average.update(self.model, step=self.updates)
            total += loss.detach()
            images += len(target)
        total.item()
        return images


class _Images(torch.utils.data.Dataset[tuple[np.ndarray, int]]):
    """One augmented image at a time, channels first, as timm's collation takes them."""

    def __init__(self, setting: Setting) -> None:
        self.array, self.augmentation = setting.array, Augmentation(setting.steps)
        self.transform: Any = None  # create_loader sets one; the augmentation is ours

    def __len__(self) -> int:
        return len(self.array.names)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        image = self.augmentation(self.array.rows([index])[0], seed=index)
        return np.ascontiguousarray(image.transpose(2, 0, 1)), index % 2
