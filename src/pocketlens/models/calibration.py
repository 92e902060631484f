"""The images and the reference that passes which repair quantization work from."""

import torch
from torch import Tensor

from pocketlens.datasets.choose import spread_evenly
from pocketlens.errors import ConfigError, DataError
from pocketlens.types import Context, Model


def correction_images(model: Model, context: Context, images: int, batch_size: int) -> tuple[Model, list[Tensor]]:
    """The model before quantization, and chunks of calibration images spread evenly over the set.

    Args:
        model: whose preprocessing applies.
        context: holds both.
        images: how many at most.
        batch_size: images a chunk.
    Returns: the float model, and tensors (n, c, h, w), float32.
    Raises: DataError without calibration images; ConfigError when no Chain kept the float model.
    """
    calibration = context.data.calibration
    if calibration is None:
        raise DataError("this pass needs calibration images, got none: pass --calibration DIR or --data DIR")
    if context.unquantized is None:
        raise ConfigError("this pass compares with the model before quantization: run both in one Chain")
    batches = spread_evenly(calibration, images).batches(model.spec.preprocessing, batch_size)
    return context.unquantized, [torch.from_numpy(batch.images) for batch in batches]
