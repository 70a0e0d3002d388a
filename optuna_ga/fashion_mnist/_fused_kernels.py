"""Triton kernels of one step of training for C of the paper's networks at once.

The layouts put the member first and the channels last, so that every load is contiguous:

    images      (N, 28, 28) uint8           order     (N,) int64: the epoch's order of images
    hidden1     (C, B, 26, 26, 32)          conv1, its bias and ReLU
    pooled      (C, 12, B, 12, 64)          conv2, its bias, the maximum of 2 x 2, and ReLU
    winners     (C, 12, B, 12, 64) int8     which of the 2 x 2 was the maximum; 4 if ReLU is closed
    filters1    (C, 16, 32)                 rows 0 to 8 are the taps, row 9 is the bias, the rest 0
    filters2    (C, 9, 32, 64)              tap, input channel, output channel
    matrix1     (C, 12, 768, 128)           fc1 in twelve parts, one for each pooled row
    matrix2     (C, 128, 16)                fc2; ten columns are used
    settings    (C, 3)                      learning rate, momentum, weight decay

Gradients of the weights are never stored where a single program has all of one: its program takes
SGD's step at once. The convolutions' gradients are summed over parts of the batch first.

Every reduction has a fixed order, so that a step repeats to the bit. No program reads another
member's values. Products are of the type of their inputs, sums are float32.
"""

from __future__ import annotations

import triton
import triton.language as tl

from optuna_ga.fashion_mnist._data import MEAN, STANDARD_DEVIATION

_MEAN = tl.constexpr(MEAN)
_DEVIATION = tl.constexpr(STANDARD_DEVIATION)


@triton.jit
def _pixel(images, image, row, column, mask):
    pixel = tl.load(images + image * 784 + row * 28 + column, mask=mask, other=0).to(tl.float32)
    return (pixel / 255.0 - _MEAN) / _DEVIATION


@triton.jit
def _relu(x):
    return tl.where(x <= 0.0, 0.0, x)  # NaN stays NaN, as in PyTorch.


@triton.jit
def _settings(settings, member):
    at = settings + 3 * member
    return tl.load(at), tl.load(at + 1), tl.load(at + 2)


@triton.jit
def _sgd(weights, momenta, gradient, rate, momentum, decay):
    """Take a step of torch.optim.SGD and return the new weights."""
    before = tl.load(weights)
    velocity = momentum * tl.load(momenta) + (gradient + decay * before)
    tl.store(momenta, velocity)
    after = before - rate * velocity
    tl.store(weights, after)
    return after


@triton.jit
def conv1_forward(
    images, order, position, filters1, hidden1, B: tl.constexpr, ROWS: tl.constexpr
):  # fmt: skip
    """Program (rows of B * 26 * 26, member): 3 x 3 taps of one channel, then bias and ReLU."""
    member = tl.program_id(1)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = row < B * 676
    image = tl.load(order + tl.load(position) + row // 676, mask=inside, other=0)
    y, x = (row % 676) // 26, row % 26
    out = tl.arange(0, 32)
    filters = filters1 + member * 512 + out
    sums = tl.zeros((ROWS, 32), tl.float32) + tl.load(filters + 9 * 32)[None, :]
    for tap in tl.static_range(9):
        pixels = _pixel(images, image, y + tap // 3, x + tap % 3, inside)
        sums += pixels[:, None] * tl.load(filters + tap * 32)[None, :]
    at = hidden1 + (member.to(tl.int64) * B * 676 + row[:, None]) * 32 + out[None, :]
    tl.store(at, _relu(sums).to(hidden1.dtype.element_ty), mask=inside[:, None])


@triton.jit
def conv2_forward(
    hidden1, filters2, bias2, pooled, winners,
    B: tl.constexpr, ROWS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Program (rows of 12 * B * 12, member): the four convolutions below a pooled value at once.

    The 4 x 4 inputs below it are loaded once for all four.
    """
    member = tl.program_id(1)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = row < B * 144
    x, image, y = row % 12, (row // 12) % B, row // (12 * B)
    channel, out = tl.arange(0, 32), tl.arange(0, 64)
    corner = (member.to(tl.int64) * B + image) * 676 + 2 * y * 26 + 2 * x
    inputs = hidden1 + corner[:, None] * 32 + channel[None, :]
    filters = filters2 + member * 18432 + channel[:, None] * 64 + out[None, :]
    sums00 = tl.zeros((ROWS, 64), tl.float32)
    sums01 = tl.zeros((ROWS, 64), tl.float32)
    sums10 = tl.zeros((ROWS, 64), tl.float32)
    sums11 = tl.zeros((ROWS, 64), tl.float32)
    for i in tl.static_range(4):
        for j in tl.static_range(4):
            a = tl.load(inputs + (i * 26 + j) * 32, mask=inside[:, None], other=0.0)
            if i < 3 and j < 3:
                tap = tl.load(filters + (i * 3 + j) * 2048)
                sums00 = tl.dot(a, tap, sums00, input_precision=PRECISION)
            if i < 3 and j > 0:
                tap = tl.load(filters + (i * 3 + j - 1) * 2048)
                sums01 = tl.dot(a, tap, sums01, input_precision=PRECISION)
            if i > 0 and j < 3:
                tap = tl.load(filters + ((i - 1) * 3 + j) * 2048)
                sums10 = tl.dot(a, tap, sums10, input_precision=PRECISION)
            if i > 0 and j > 0:
                tap = tl.load(filters + ((i - 1) * 3 + j - 1) * 2048)
                sums11 = tl.dot(a, tap, sums11, input_precision=PRECISION)
    best, winner = sums00, tl.zeros((ROWS, 64), tl.int32)
    winner = tl.where(sums01 > best, 1, winner)
    best = tl.maximum(sums01, best, propagate_nan=tl.PropagateNan.ALL)
    winner = tl.where(sums10 > best, 2, winner)
    best = tl.maximum(sums10, best, propagate_nan=tl.PropagateNan.ALL)
    winner = tl.where(sums11 > best, 3, winner)
    best = tl.maximum(sums11, best, propagate_nan=tl.PropagateNan.ALL)
    best += tl.load(bias2 + member * 64 + out)[None, :]
    winner = tl.where(best <= 0.0, 4, winner)
    at = (member.to(tl.int64) * B * 144 + row)[:, None] * 64 + out[None, :]
    tl.store(pooled + at, _relu(best).to(pooled.dtype.element_ty), mask=inside[:, None])
    tl.store(winners + at, winner.to(tl.int8), mask=inside[:, None])


@triton.jit
def fc2_step(
    partial, bias3, matrix2, bias4, order, position, labels, kept, dhidden2, total,
    momenta3, momenta2, momenta4, settings,
    B: tl.constexpr, PADDED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Program (member): from fc1's twelve partial sums to the loss and back, with SGD on the way.

    `kept` (B, 128) are dropout's factors, or None. PADDED is a power of two, at least B and 16.
    """
    member = tl.program_id(0)
    rate, momentum, decay = _settings(settings, member)
    image, unit, label = tl.arange(0, PADDED), tl.arange(0, 128), tl.arange(0, 16)
    inside = image < B
    hidden = tl.zeros((PADDED, 128), tl.float32) + tl.load(bias3 + member * 128 + unit)[None, :]
    for part in range(12):
        at = ((member * 12 + part) * B + image)[:, None] * 128 + unit[None, :]
        hidden += tl.load(partial + at, mask=inside[:, None], other=0.0).to(tl.float32)
    hidden = _relu(hidden)
    at = image[:, None] * 128 + unit[None, :]
    dropped = hidden
    if kept is not None:
        dropped *= tl.load(kept + at, mask=inside[:, None], other=0.0)
    place2 = member * 2048 + unit[:, None] * 16 + label[None, :]
    matrix = tl.load(matrix2 + place2)
    logits = tl.dot(dropped, matrix, input_precision=PRECISION)
    logits += tl.load(bias4 + member * 16 + label)[None, :]
    logits = tl.where((label < 10)[None, :], logits, float("-inf"))
    number = tl.load(order + tl.load(position) + image, mask=inside, other=0)
    truth = label[None, :] == tl.load(labels + number)[:, None].to(tl.int32)
    top = tl.max(logits, 1)
    exponentials = tl.exp(logits - top[:, None])
    norm = tl.sum(exponentials, 1)
    losses = tl.log(norm) + top - tl.sum(tl.where(truth, logits, 0.0), 1)
    tl.store(total + member, tl.load(total + member) + tl.sum(tl.where(inside, losses, 0.0), 0))
    dlogits = (exponentials / norm[:, None] - truth.to(tl.float32)) / B
    dlogits = tl.where((label < 10)[None, :] & inside[:, None], dlogits, 0.0)
    dhidden = tl.dot(dlogits, tl.trans(matrix), input_precision=PRECISION)
    if kept is not None:
        dhidden *= tl.load(kept + at, mask=inside[:, None], other=0.0)
    dhidden = tl.where(hidden > 0.0, dhidden, 0.0)
    at = dhidden2 + member * B * 128 + at
    tl.store(at, dhidden.to(dhidden2.dtype.element_ty), mask=inside[:, None])
    gradient = tl.dot(tl.trans(dropped), dlogits, input_precision=PRECISION)
    _sgd(matrix2 + place2, momenta2 + place2, gradient, rate, momentum, decay)
    at = member * 16 + label
    _sgd(bias4 + at, momenta4 + at, tl.sum(dlogits, 0), rate, momentum, decay)
    at = member * 128 + unit
    _sgd(bias3 + at, momenta3 + at, tl.sum(dhidden, 0), rate, momentum, decay)


@triton.jit
def fc1_step(
    matrix1, momenta1, rounded1, pooled, dhidden2, dpooled, settings,
    B: tl.constexpr, PADDED: tl.constexpr, COLUMNS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Program (columns of 9216, member): the gradient of the pooled values, then SGD on fc1.

    The weights are read and written once; `rounded1` is their copy in the computing precision, or
    None.
    """
    tile, member = tl.program_id(0), tl.program_id(1)
    rate, momentum, decay = _settings(settings, member)
    part = member.to(tl.int64) * 12 + tile // (768 // COLUMNS)
    column = tile % (768 // COLUMNS) * COLUMNS + tl.arange(0, COLUMNS)
    image, unit = tl.arange(0, PADDED), tl.arange(0, 128)
    inside = (image < B)[:, None]
    place = (part * 768 + column)[:, None] * 128 + unit[None, :]
    weights = tl.load(matrix1 + place)
    at = dhidden2 + (member * B + image)[:, None] * 128 + unit[None, :]
    dhidden = tl.load(at, mask=inside, other=0.0)
    activations = (part * B + image)[:, None] * 768 + column[None, :]
    inputs = tl.load(pooled + activations, mask=inside, other=0.0)
    d = tl.dot(dhidden, tl.trans(weights.to(dhidden.dtype)), input_precision=PRECISION)
    tl.store(dpooled + activations, d.to(dpooled.dtype.element_ty), mask=inside)
    gradient = tl.dot(tl.trans(inputs), dhidden, input_precision=PRECISION)
    after = _sgd(matrix1 + place, momenta1 + place, gradient, rate, momentum, decay)
    if rounded1 is not None:
        tl.store(rounded1 + place, after.to(rounded1.dtype.element_ty))


@triton.jit
def conv2_backward_input(
    dpooled, winners, filters2, hidden1, dhidden1,
    B: tl.constexpr, ROWS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Program (rows of B * 13 * 13, member): the gradient of 2 x 2 of conv1's outputs at a time.

    Four pooled values lie above them, and each has its gradient from one of its four places.
    """
    member = tl.program_id(1)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = row < B * 169
    image, i, j = row // 169, (row % 169) // 13, row % 13
    channel, out = tl.arange(0, 32), tl.arange(0, 64)
    filters = filters2 + member * 18432 + channel[None, :] * 64 + out[:, None]  # (64, 32)
    sums00 = tl.zeros((ROWS, 32), tl.float32)
    sums01 = tl.zeros((ROWS, 32), tl.float32)
    sums10 = tl.zeros((ROWS, 32), tl.float32)
    sums11 = tl.zeros((ROWS, 32), tl.float32)
    for u in tl.static_range(2):
        for v in tl.static_range(2):
            y, x = i - u, j - v
            valid = (inside & (y >= 0) & (y < 12) & (x >= 0) & (x < 12))[:, None]
            at = ((member.to(tl.int64) * 12 + y) * B + image) * 12 + x
            at = at[:, None] * 64 + out[None, :]
            above = tl.load(dpooled + at, mask=valid, other=0.0)
            winner = tl.load(winners + at, mask=valid, other=4).to(tl.int32)
            for s in tl.static_range(4):
                d = tl.where(winner == s, above, 0.0).to(above.dtype)
                for t in tl.static_range(4):
                    dy, dx = 2 * u + t // 2 - s // 2, 2 * v + t % 2 - s % 2
                    if dy >= 0 and dy < 3 and dx >= 0 and dx < 3:
                        tap = tl.load(filters + (dy * 3 + dx) * 2048)
                        if t == 0:
                            sums00 = tl.dot(d, tap, sums00, input_precision=PRECISION)
                        if t == 1:
                            sums01 = tl.dot(d, tap, sums01, input_precision=PRECISION)
                        if t == 2:
                            sums10 = tl.dot(d, tap, sums10, input_precision=PRECISION)
                        if t == 3:
                            sums11 = tl.dot(d, tap, sums11, input_precision=PRECISION)
    at = (member.to(tl.int64) * B + image) * 676 + 2 * i * 26 + 2 * j
    at = at[:, None] * 32 + channel[None, :]
    _store_through_relu(sums00, hidden1, dhidden1, at, inside)
    _store_through_relu(sums01, hidden1, dhidden1, at + 32, inside)
    _store_through_relu(sums10, hidden1, dhidden1, at + 832, inside)
    _store_through_relu(sums11, hidden1, dhidden1, at + 864, inside)


@triton.jit
def _store_through_relu(gradient, activations, gradients, at, inside):
    is_open = tl.load(activations + at, mask=inside[:, None], other=0.0).to(tl.float32) > 0.0
    gradient = tl.where(is_open, gradient, 0.0).to(gradients.dtype.element_ty)
    tl.store(gradients + at, gradient, mask=inside[:, None])


@triton.jit
def conv2_backward_weight(
    hidden1, dpooled, winners, gradients, bias_gradients,
    B: tl.constexpr, ROWS: tl.constexpr, PARTS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Program (part, member): conv2's gradients (C, PARTS, 9, 64, 32) and (C, PARTS, 64)."""
    part, member = tl.program_id(0), tl.program_id(1)
    # Three taps side by side are one product; its last quarter is padding.
    column, out = tl.arange(0, 128), tl.arange(0, 64)
    used = (column < 96)[None, :]
    top = tl.zeros((64, 128), tl.float32)
    middle = tl.zeros((64, 128), tl.float32)
    bottom = tl.zeros((64, 128), tl.float32)
    bias = tl.zeros((64,), tl.float32)
    for turn in range((B * 144 + ROWS * PARTS - 1) // (ROWS * PARTS)):
        row = (turn * PARTS + part) * ROWS + tl.arange(0, ROWS)
        inside = (row < B * 144)[:, None]
        x, image, y = row % 12, (row // 12) % B, row // (12 * B)
        at = (member.to(tl.int64) * B * 144 + row)[:, None] * 64 + out[None, :]
        above = tl.load(dpooled + at, mask=inside, other=0.0)
        winner = tl.load(winners + at, mask=inside, other=4).to(tl.int32)
        bias += tl.sum(tl.where(winner < 4, above, 0.0).to(tl.float32), 0)
        corner = (member.to(tl.int64) * B + image) * 676 + 2 * y * 26 + 2 * x
        inputs = hidden1 + corner[:, None] * 32 + column[None, :]
        valid = inside & used
        for s in tl.static_range(4):
            d = tl.trans(tl.where(winner == s, above, 0.0).to(above.dtype))  # (64, ROWS)
            taps = inputs + ((s // 2) * 26 + s % 2) * 32
            a = tl.load(taps, mask=valid, other=0.0)
            top = tl.dot(d, a, top, input_precision=PRECISION)
            a = tl.load(taps + 832, mask=valid, other=0.0)
            middle = tl.dot(d, a, middle, input_precision=PRECISION)
            a = tl.load(taps + 1664, mask=valid, other=0.0)
            bottom = tl.dot(d, a, bottom, input_precision=PRECISION)
    place = (column // 32 * 2048 + column % 32)[None, :] + out[:, None] * 32
    at = gradients + (member * PARTS + part) * 18432 + place
    tl.store(at, top, mask=used)
    tl.store(at + 6144, middle, mask=used)
    tl.store(at + 12288, bottom, mask=used)
    tl.store(bias_gradients + (member * PARTS + part) * 64 + out, bias)


@triton.jit
def conv1_backward_weight(
    images, order, position, dhidden1, gradients,
    B: tl.constexpr, ROWS: tl.constexpr, PARTS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Program (part, member): conv1's gradients (C, PARTS, 16, 32), nine taps and the bias."""
    part, member = tl.program_id(0), tl.program_id(1)
    tap, out = tl.arange(0, 16), tl.arange(0, 32)
    start = tl.load(position)
    sums = tl.zeros((16, 32), tl.float32)
    for turn in range((B * 676 + ROWS * PARTS - 1) // (ROWS * PARTS)):
        row = (turn * PARTS + part) * ROWS + tl.arange(0, ROWS)
        inside = row < B * 676
        image = tl.load(order + start + row // 676, mask=inside, other=0)
        y, x = (row % 676) // 26, row % 26
        valid = inside[None, :] & (tap < 9)[:, None]
        below = y[None, :] + tap[:, None] // 3, x[None, :] + tap[:, None] % 3
        pixels = _pixel(images, image[None, :], below[0], below[1], valid)
        rest = tl.where((tap == 9)[:, None], 1.0, 0.0)
        pixels = tl.where((tap < 9)[:, None], pixels, rest)
        at = (member.to(tl.int64) * B * 676 + row)[:, None] * 32 + out[None, :]
        d = tl.load(dhidden1 + at, mask=inside[:, None], other=0.0)
        sums = tl.dot(pixels.to(d.dtype), d, sums, input_precision=PRECISION)
    at = gradients + (member * PARTS + part) * 512 + tap[:, None] * 32 + out[None, :]
    tl.store(at, sums)


@triton.jit
def convolutions_sgd(
    filters1, momenta1, gradients1, filters2, momenta2, rounded2, gradients2,
    bias2, bias_momenta2, bias_gradients2, settings,
    PARTS1: tl.constexpr, PARTS2: tl.constexpr,
):  # fmt: skip
    """Program (tap, member): sum a tap's gradients over the parts, then SGD.

    Program 9 has the first convolution and the bias of the second.
    """
    tap, member = tl.program_id(0), tl.program_id(1)
    rate, momentum, decay = _settings(settings, member)
    channel, out = tl.arange(0, 32), tl.arange(0, 64)
    if tap < 9:
        sums = tl.zeros((64, 32), tl.float32)
        for part in range(PARTS2):
            parts = gradients2 + ((member * PARTS2 + part) * 9 + tap) * 2048
            sums += tl.load(parts + out[:, None] * 32 + channel[None, :])
        place2 = (member * 9 + tap) * 2048 + channel[None, :] * 64 + out[:, None]
        after = _sgd(filters2 + place2, momenta2 + place2, sums, rate, momentum, decay)
        if rounded2 is not None:
            tl.store(rounded2 + place2, after.to(rounded2.dtype.element_ty))
    else:
        bias = tl.zeros((64,), tl.float32)
        for part in range(PARTS2):
            bias += tl.load(bias_gradients2 + (member * PARTS2 + part) * 64 + out)
        units = member * 64 + out
        _sgd(bias2 + units, bias_momenta2 + units, bias, rate, momentum, decay)
        row = tl.arange(0, 16)
        first = tl.zeros((16, 32), tl.float32)
        for part in range(PARTS1):
            parts = gradients1 + (member * PARTS1 + part) * 512
            first += tl.load(parts + row[:, None] * 32 + channel[None, :])
        place1 = member * 512 + row[:, None] * 32 + channel[None, :]
        _sgd(filters1 + place1, momenta1 + place1, first, rate, momentum, decay)
