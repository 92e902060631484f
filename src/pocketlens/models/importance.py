"""What an error of each weight costs at its layer's output."""

from collections.abc import Iterator

import torch
from torch import Tensor

from pocketlens.models.calibration import correction_images
from pocketlens.models.frontier import QuantizedLayer, quantized_steps
from pocketlens.ops import patches
from pocketlens.ops.quantized import QuantizedConvTranspose2d
from pocketlens.types import Context, Model

_POSITIONS = 4096


def input_energy(model: Model, context: Context, images: int) -> dict[str, Tensor]:
    """The mean square of what each weight is multiplied with: half the diagonal of the Hessian of its layer's
    squared output error (LeCun et al. 1990, "Optimal Brain Damage").

    Args:
        model: quantized.
        context: calibration images, and the model before it was quantized.
        images: how many of them.
    Returns: layer -> the codes' shape.
    """
    energy = {}
    for name, layer, read in _inputs(model, context, images):
        square = read.square().mean(1)  # (groups, k)
        if isinstance(layer, QuantizedConvTranspose2d):
            energy[name] = square.reshape(-1, 1, 1, 1).expand(layer.codes.shape)
        else:
            energy[name] = square.repeat_interleave(len(layer.codes) // len(square), 0).reshape(layer.codes.shape)
    return energy


def input_moments(model: Model, context: Context, images: int) -> dict[str, Tensor]:
    """E[x x^T] of what a row of weights is multiplied with: half the Hessian of the row's squared output error.

    Few images do not tell how a thousand inputs go together, so the covariance is shrunk to its diagonal, the more the
    fewer samples there are for its size; the mean, which matters most behind a ReLU, is taken as it is.

    Args:
        model: quantized.
        context: calibration images, and the model before it was quantized.
        images: how many of them.
    Returns: layer -> (groups, k, k); of a transposed convolution the diagonal of its channels, (channels, 1, 1).
    """
    moments = {}
    for name, _, read in _inputs(model, context, images):
        samples, k = read.shape[1:]
        mean = read.mean(1, keepdim=True)
        covariance = (read - mean).mT @ (read - mean) / samples
        known = samples / (samples + k)
        spread = torch.diag_embed(covariance.diagonal(dim1=-2, dim2=-1))
        moments[name] = mean.mT @ mean + known * covariance + (1 - known) * spread
    return moments


def _inputs(model: Model, context: Context, images: int) -> Iterator[tuple[str, QuantizedLayer, Tensor]]:
    """Every integer layer with samples of what it reads, (groups, positions, k)."""
    reference, chunks = correction_images(model, context, images, batch_size=8)
    generator = torch.Generator().manual_seed(context.seed)
    with torch.no_grad():
        for step in quantized_steps(model.graph, reference.graph, chunks, context.progress, "weighing weights"):
            layer, inputs = step.layer, step.inputs
            if isinstance(layer, QuantizedConvTranspose2d):
                # Every input of a channel meets every weight of it, but at the borders.
                yield step.name, layer, torch.cat([x.transpose(0, 1).flatten(1) for x in inputs], 1)[:, :, None]
                continue
            each = -(-_POSITIONS // len(inputs))
            drawn = [(x, patches.draw(layer, y, each, generator)) for x, y in zip(inputs, step.targets, strict=True)]
            yield step.name, layer, torch.cat([patches.inputs_at(layer, x, at) for x, at in drawn], 1)


def along(layer: QuantizedLayer, scale: Tensor) -> Tensor:
    """A layer's weight scale, () or one a channel, in a shape that multiplies its codes."""
    return scale.reshape([-1 if d == layer.axis else 1 for d in range(layer.codes.dim())]) if scale.dim() else scale


def grouped(layer: QuantizedLayer, weight: Tensor) -> Tensor:
    """A weight of the layer as (groups, rows, k), to go with `input_moments`."""
    if isinstance(layer, QuantizedConvTranspose2d):
        return weight.reshape(len(weight), -1, 1)
    return patches.by_group(layer, weight)


def output_power(weight: Tensor, moment: Tensor) -> float:
    """The mean square of a layer's outputs, summed over channels, with this weight or error of weights.

    Args:
        weight: (groups, rows, k).
        moment: (groups, k, k).
    """
    return float(((weight @ moment) * weight).sum().clamp(min=0))
