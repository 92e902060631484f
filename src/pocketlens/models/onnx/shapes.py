"""What only moves values: shape, order, joining and taking apart."""

import operator

import numpy as np
import torch
from torch import fx

from pocketlens.models.assembly import BATCHES, Known, Value
from pocketlens.models.onnx.operator import Builder, Operator


def reshape(op: Operator) -> fx.Node:
    """Reshape: 0 takes a side over, -1 takes what is left."""
    wanted = op.value(1)
    if not isinstance(wanted, Known):
        raise op.unsupported("to a shape that is computed from the image")
    targets = []
    for asked, shape in zip((wanted.first, wanted.second), op.assembly.shapes(op.x), strict=True):
        keep = not op.get("allowzero", 0)
        targets.append([shape[i] if v == 0 and keep else int(v) for i, v in enumerate(asked.reshape(-1))])
    return op.assembly.reshape(op.name, op.x, *targets)


def flatten(op: Operator) -> fx.Node:
    """Flatten to two dimensions."""
    axis = int(op.get("axis", 1))
    first, second = op.assembly.shapes(op.x)
    axis = axis % (len(first) + 1) if axis < 0 else axis
    targets = [[int(np.prod(shape[:axis], dtype=np.int64)), -1] for shape in (first, second)]
    return op.assembly.reshape(op.name, op.x, *targets)


def transpose(op: Operator) -> fx.Node:
    """Transpose -> permute."""
    rank = op.assembly.rank(op.x)
    return op.call(torch.permute, op.x, tuple(int(v) for v in op.get("perm", range(rank)[::-1])))


def squeeze(op: Operator) -> fx.Node:
    """Drop sides of length 1."""
    axes = op.numbers("axes", 1, "axes")
    x, shape = op.x, op.assembly.shape(op.x)
    if axes is None:
        axes = [i for i, size in enumerate(shape) if size == 1]
    for axis in sorted((a % len(shape) for a in axes), reverse=True):
        if shape[axis] != 1:
            raise op.unsupported(f"of dimension {axis}, which has {shape[axis]} entries,")
        x = op.call(torch.squeeze, x, axis)
    return x


def unsqueeze(op: Operator) -> fx.Node:
    """Add sides of length 1."""
    axes = op.numbers("axes", 1, "axes") or []
    rank = op.assembly.rank(op.x) + len(axes)
    x = op.x
    for axis in sorted(a % rank for a in axes):
        x = op.call(torch.unsqueeze, x, axis)
    return x


def concat(op: Operator) -> fx.Node:
    """Concat -> cat."""
    parts = [op.value(i) for i in range(len(op.inputs))]
    rank = next(op.assembly.rank(part) for part in parts if isinstance(part, fx.Node))
    return op.assembly.cat(op.name, parts, int(op.attributes["axis"]) % rank)


def split(op: Operator) -> list[fx.Node]:
    """Split into parts of given sizes, or into equal ones."""
    axis, count = op.axis(), len(op.proto.output)
    size = op.assembly.shape(op.x)[axis]
    sizes = op.numbers("split", 1, "sizes")
    if sizes is None:
        part = -(-size // count)
        sizes = [min(part, size - part * i) for i in range(count)]
    parts = op.call(torch.split, op.x, tuple(sizes), axis)
    return [op.assembly.item(op.name, parts, i) for i in range(count)]


def slice_(op: Operator) -> fx.Node:
    """Slice with constant bounds and positive steps."""
    starts, ends = op.numbers("starts", 1, "starts"), op.numbers("ends", 2, "ends")
    if starts is None or ends is None:
        raise op.unsupported("without bounds")
    axes = op.numbers("axes", 3, "axes") or list(range(len(starts)))
    steps = op.numbers("steps", 4, "steps") or [1] * len(starts)
    shape = op.assembly.shape(op.x)
    index = [slice(None)] * len(shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step < 1:
            raise op.unsupported("that runs backwards")
        axis %= len(shape)
        low, high, _ = slice(start, end).indices(shape[axis])
        if axis == 0 and op.assembly.batched(op.x) and (low, high) != (0, shape[0]):
            raise op.unsupported("of some images of a batch")
        whole = (low, high, step) == (0, shape[axis], 1)
        index[axis] = slice(None) if whole else slice(low, high, step if step > 1 else None)
    if all(part == slice(None) for part in index):
        return op.x
    return op.call(operator.getitem, op.x, tuple(index))


def gather(op: Operator) -> fx.Node:
    """Gather one entry, or a run of them, along an axis; all entries in order are a reshape."""
    index = op.value(1)
    if op.assembly.rank(op.x) == 1 and isinstance(index, Known):
        places = index.first.reshape(-1)
        if index.first.ndim > 1 and np.array_equal(places, np.arange(len(places))):
            return op.assembly.reshape(op.name, op.x, index.first.shape, index.second.shape)
    axis, indices = op.axis(), op.constant(1, "index")
    size = op.assembly.shape(op.x)[axis]
    if axis == 0 and op.assembly.batched(op.x):
        raise op.unsupported("of some images of a batch")
    before = (slice(None),) * axis
    if indices.ndim == 0:
        return op.call(operator.getitem, op.x, (*before, int(indices) % size))
    places = indices.reshape(-1) % size
    step = int(places[1] - places[0]) if len(places) > 1 else 1
    if indices.ndim != 1 or step < 1 or not np.array_equal(places, places[0] + step * np.arange(len(places))):
        raise op.unsupported("of entries in no order")
    run = slice(int(places[0]), int(places[-1]) + 1, step if step > 1 else None)
    return op.call(operator.getitem, op.x, (*before, run))


def expand(op: Operator) -> fx.Node:
    """Expand to a shape; only the batch may be one that is known when it runs."""
    wanted = op.value(1)
    if not isinstance(wanted, Known):
        raise op.unsupported("to a shape that is computed from the image")
    shapes = op.assembly.shapes(op.x)
    targets = [
        np.broadcast_shapes(tuple(int(v) for v in asked.reshape(-1)), shape)
        for asked, shape in zip((wanted.first, wanted.second), shapes, strict=True)
    ]
    if targets == list(shapes):
        return op.x
    x = op.x
    if (
        tuple(t[0] for t in targets) == BATCHES
        and not op.assembly.batched(x)
        and op.assembly.rank(x) == len(targets[0])
    ):
        x = op.assembly.over_batch(op.name, x)
    keeps = op.assembly.batched(x)
    if targets[0][1:] == op.assembly.shape(x)[1:] and keeps:
        return x
    ones = np.ones((1, *targets[0][1:]) if keeps else targets[0], np.float32)
    return op.call(operator.mul, x, op.assembly.tensor(f"{op.name}_ones", ones))


def space_to_depth(op: Operator) -> fx.Node:
    """SpaceToDepth as reshape, permute, reshape."""
    block = int(op.attributes["blocksize"])
    _, c, h, w = op.assembly.shape(op.x)
    x = op.call(torch.reshape, op.x, (-1, c, h // block, block, w // block, block))
    x = op.call(torch.permute, x, (0, 3, 5, 1, 2, 4))
    return op.call(torch.reshape, x, (-1, c * block * block, h // block, w // block))


def depth_to_space(op: Operator) -> fx.Node:
    """DepthToSpace (pixel shuffle) as reshape, permute, reshape."""
    block = int(op.attributes["blocksize"])
    _, c, h, w = op.assembly.shape(op.x)
    rest = c // block**2
    if op.get("mode", b"DCR") == b"DCR":
        x = op.call(torch.reshape, op.x, (-1, block, block, rest, h, w))
        x = op.call(torch.permute, x, (0, 3, 4, 1, 5, 2))
    else:
        x = op.call(torch.reshape, op.x, (-1, rest, block, block, h, w))
        x = op.call(torch.permute, x, (0, 1, 4, 2, 5, 3))
    return op.call(torch.reshape, x, (-1, rest, h * block, w * block))


def shape(op: Operator) -> Value:
    """Shape: known at both batch sizes."""
    first, second = (np.array(s[op.get("start", 0) : op.get("end", None)], np.int64) for s in op.assembly.shapes(op.x))
    return Known(first, second)


def same(op: Operator) -> Value:
    """What changes no value when a model only runs."""
    return op.value(0)


def cast(op: Operator) -> fx.Node:
    """Cast of an activation: nothing, from float32 to float32."""
    op.only("to", 1)
    return op.x


SHAPES: dict[str, Builder] = {
    "Reshape": reshape,
    "Flatten": flatten,
    "Transpose": transpose,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Concat": concat,
    "Split": split,
    "Slice": slice_,
    "Gather": gather,
    "Expand": expand,
    "SpaceToDepth": space_to_depth,
    "DepthToSpace": depth_to_space,
    "Shape": shape,
    "Identity": same,
    "Dropout": same,
    "Cast": cast,
}
